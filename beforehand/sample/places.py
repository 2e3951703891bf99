"""Where the sample's customers live: six countries, three languages, and phone numbers that look right there."""

from dataclasses import dataclass
from random import Random

LONDON_AND_OTHERS = ("207946", "113496", "114496", "116496", "117496", "118496", "121496", "131496", "141496", "151496")
"""Ofcom's numbers for drama, followed by 0 and three digits. Its mobile range (07700 900) is no valid number to
``phonenumbers``, so the sample's British numbers are landlines.
Source: https://www.ofcom.org.uk/phones-and-broadband/phone-numbers/numbers-for-drama"""

AMERICAN_AREAS = ("202", "206", "212", "213", "303", "305", "312", "404", "415", "503", "512", "617", "702", "713")
"""In each area 555-0100 to 555-0199 are kept for fiction (ATIS, 555 line number reference document)."""


@dataclass(frozen=True)
class Place:
    """A country: its share of the customers, its zones, and (language tag, weight) of what is spoken."""

    country: str
    share: float
    zones: tuple[str, ...]
    languages: tuple[tuple[str, int], ...]


PLACES = (
    Place("GB", 0.30, ("Europe/London",), (("en-GB", 6), ("en", 3), ("ar", 1))),
    Place(
        "US",
        0.22,
        ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"),
        (("en-US", 7), ("en", 2), ("zh", 1)),
    ),
    Place("AE", 0.13, ("Asia/Dubai",), (("ar-AE", 6), ("ar", 2), ("en", 2))),
    Place("EG", 0.12, ("Africa/Cairo",), (("ar-EG", 9), ("en", 1))),
    Place("CN", 0.13, ("Asia/Shanghai",), (("zh-CN", 9), ("zh", 1))),
    Place("SG", 0.10, ("Asia/Singapore",), (("en", 5), ("zh-SG", 4), ("zh", 1))),
)


def phone_of(country: str, serial: int, random: Random) -> str:
    """A number in E.164, unlike that of any other ``serial`` of the country.

    Where a range is kept for fiction it is from that range (GB, US). AE, EG, CN and SG have none: those numbers are
    well-formed and may be somebody's, so the sample must only ever be pointed at the post room.
    """
    if country == "GB":
        area = LONDON_AND_OTHERS[serial // 1000 % len(LONDON_AND_OTHERS)]
        return f"+44{area}0{serial % 1000:03}"
    if country == "US":
        return f"+1{AMERICAN_AREAS[serial // 100 % len(AMERICAN_AREAS)]}55501{serial % 100:02}"
    tail = f"{serial:05}"
    if country == "AE":
        return f"+97150{random.randint(20, 99)}{tail}"
    if country == "EG":
        return f"+2010{random.randint(100, 699)}{tail}"
    if country == "CN":
        return f"+86138{random.randint(100, 999)}{tail}"
    return f"+658{random.randint(10, 79)}{tail}"
