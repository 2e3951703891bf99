"""What the sample shop sells: 60 products in 8 categories, priced in euro cents."""

from dataclasses import dataclass

FAULTY = "KIT-04"
"""The product of which one batch has a known issue."""

_SHELVES: dict[str, tuple[str, str, str]] = {
    "coffee": (
        "COF",
        "Northgate Roasters",
        "House blend 1 kg:1890 House blend 250 g:690 Decaf 250 g:740 Espresso 1 kg:2090 Espresso 250 g:720 "
        "Single origin Yirgacheffe:1150 Single origin Huila:1090 Cold brew bags:890 Filter papers:390",
    ),
    "tea": (
        "TEA",
        "Harbour Tea",
        "Earl Grey:620 Assam:580 Jasmine pearls:980 Mint:450 Chamomile:450 Sencha:790 Oolong:1150 Rooibos:520",
    ),
    "kitchen": (
        "KIT",
        "Rima Works",
        "Pour-over set:3490 Hand grinder:5900 Scale:2990 Kettle Rima 1.7 l:5490 Milk jug:1890 Carafe:2790 "
        "Chef's knife:6900 Cutting board:3290",
    ),
    "machines": (
        "MAC",
        "Rima Works",
        "Espresso machine:28900 Filter machine:11900 Electric grinder:14900 Milk frother:4990 Toaster:6490 "
        "Stand mixer:19900 Slow cooker:8900",
    ),
    "tableware": (
        "TAB",
        "Aldham Pottery",
        "Mug:990 Set of four mugs:3490 Espresso cups:2490 Bowl:1290 Dinner plate:1490 Teapot:3990 Tray:2290",
    ),
    "textiles": (
        "TEX",
        "Linden Mill",
        "Tea towel:790 Apron:2690 Tablecloth:4490 Napkins:1990 Oven glove:1490 Wool throw:7900 Cushion:2990",
    ),
    "lighting": (
        "LIG",
        "Brightwell",
        "Table lamp:6900 Floor lamp:12900 String lights:1990 Candle:1290 Lantern:3490 Reading light:2990 Bulb:690",
    ),
    "garden": (
        "GAR",
        "Fernside",
        "Herb kit:1490 Planter:2290 Watering can:1990 Secateurs:2790 Seed box:990 Bird feeder:1890 Parasol:8900",
    ),
}

DAILY = ("coffee", "tea")
"""Categories that people buy again and again."""


@dataclass(frozen=True)
class Good:
    """A product; ``price`` is in euro cents."""

    sku: str
    name: str
    category: str
    supplier: str
    price: int


def _shelf(category: str) -> list[Good]:
    code, supplier, text = _SHELVES[category]
    goods = []
    for number, entry in enumerate(_entries(text), start=1):
        name, price = entry
        goods.append(Good(f"{code}-{number:02}", name, category, supplier, price))
    return goods


def _entries(text: str) -> list[tuple[str, int]]:
    # "House blend 1 kg:1890 Decaf:740": a price ends an entry
    found, words = [], []
    for word in text.split():
        head, colon, price = word.partition(":")
        words.append(head)
        if colon:
            found.append((" ".join(words), int(price)))
            words = []
    return found


GOODS: tuple[Good, ...] = tuple(good for category in _SHELVES for good in _shelf(category))
EVERYDAY: tuple[Good, ...] = tuple(good for good in GOODS if good.category in DAILY)
LASTING: tuple[Good, ...] = tuple(good for good in GOODS if good.category not in DAILY and good.sku != FAULTY)
"""Everything that is bought once in a while, but for the product whose sales the sample plants one by one."""
