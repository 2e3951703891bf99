"""How many segments an SMS takes: GSM-7 or UCS-2, septets or code units, one segment or several.

The character tables and the smart-encoding table are those of TwilioDevEd/message-segment-calculator (MIT), which
follows 3GPP TS 23.038 section 6.2.1; the sizes are those of 3GPP TS 23.040: 140 bytes a segment, 6 of them for the
header as soon as there is more than one. No library on the registry counts by all of these rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import regex

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENDED = frozenset("\f^{}\\[~]|€")
"""Characters that take two septets: the escape and themselves."""

SEGMENT_BITS = 1120
HEADER_BITS = 48

SMART = {
    '"': "\u00ab\u00bb\u201c\u201d\u02ba\u02ee\u201f\u201e\u275d\u275e\u301d\u301e\uff02",
    "'": (
        "\u2018\u2019\u02bb\u02c8\u02bc\u02bd\u02b9\u201b\uff07\u00b4\u02ca\u0060\u02cb\u275b\u275c\u0313"
        "\u0314\ufe10\ufe11"
    ),
    "/": "\u00f7\u29f8\u0337\u0338\u2044\u2215\uff0f",
    "1/4": "\u00bc",
    "1/2": "\u00bd",
    "3/4": "\u00be",
    "\\": "\u29f9\u29f5\u20e5\ufe68\uff3c",
    "_": "\u0332\uff3f\u2017",
    "|": "\u20d2\u20d3\u2223\uff5c\u23b8\u23b9\u23d0\u239c\u239f",
    "-": "\u23bc\u23bd\u2015\ufe63\uff0d\u2010\u2043\u2014\u2013\u2022",
    "@": "\ufe6b\uff20",
    "$": "\ufe69\uff04",
    "!": "\u01c3\ufe15\ufe57\uff01",
    "#": "\ufe5f\uff03",
    "%": "\ufe6a\uff05",
    "&": "\ufe60\uff06",
    ",": "\u201a\u0326\ufe50\ufe51\uff0c\uff64\u3001",
    "(": "\u2768\u276a\ufe59\uff08\u27ee\u2985",
    ")": "\u2769\u276b\ufe5a\uff09\u27ef\u2986",
    "*": (
        "\u204e\u2217\u229b\u2722\u2723\u2724\u2725\u2731\u2732\u2733\u273a\u273b\u273c\u273d\u2743\u2749"
        "\u274a\u274b\u29c6\ufe61\uff0a"
    ),
    "+": "\u02d6\ufe62\uff0b",
    ".": "\u3002\ufe52\uff0e\uff61",
    "0": "\uff10",
    "1": "\uff11",
    "2": "\uff12",
    "3": "\uff13",
    "4": "\uff14",
    "5": "\uff15",
    "6": "\uff16",
    "7": "\uff17",
    "8": "\uff18",
    "9": "\uff19",
    ":": "\u02d0\u02f8\u2982\ua789\ufe13\uff1a",
    ";": "\u204f\ufe14\ufe54\uff1b",
    "<": "\ufe64\uff1c\u203a",
    "=": "\u0347\ua78a\ufe66\uff1d",
    ">": "\ufe65\uff1e\u2039",
    "?": "\ufe16\ufe56\uff1f",
    "A": "\uff21\u1d00",
    "B": "\uff22\u0299",
    "C": "\uff23\u1d04",
    "D": "\uff24\u1d05",
    "E": "\uff25\u1d07",
    "F": "\uff26\ua730",
    "G": "\uff27\u0262",
    "H": "\uff28\u029c",
    "I": "\uff29\u026a",
    "J": "\uff2a\u1d0a",
    "K": "\uff2b\u1d0b",
    "L": "\uff2c\u029f",
    "M": "\uff2d\u1d0d",
    "N": "\uff2e\u0274",
    "O": "\uff2f\u1d0f",
    "P": "\uff30\u1d18",
    "Q": "\uff31",
    "R": "\uff32\u0280",
    "S": "\uff33\ua731",
    "T": "\uff34\u1d1b",
    "U": "\uff35\u1d1c",
    "V": "\uff36\u1d20",
    "W": "\uff37\u1d21",
    "X": "\uff38",
    "Y": "\uff39\u028f",
    "Z": "\uff3a\u1d22",
    "^": "\u02c6\u0302\uff3e\u1dcd",
    "{": "\u2774\ufe5b\uff5b",
    "}": "\u2775\ufe5c\uff5d",
    "[": "\uff3b",
    "]": "\uff3d",
    "~": "\u02dc\u02f7\u0303\u0330\u0334\u223c\uff5e",
    "  ": (
        "\u00a0\u2000\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\u008d\u009f"
        "\u0080\u0090\u009b"
    ),
    "": "\u0010\u0000\u0003\u0004\u0017\u0019\u0011\u0012\u0013\u0014\u2060\u200b\ufeff",
    "       ": "\u0009",
    "!!": "\u203c",
    " ": "\u2028\u2029\u2001",
    "...": "\u2026",
}
"""What may stand for a character that GSM-7 lacks: the plain text, then the characters it can stand for."""

_SMART = str.maketrans({char: plain for plain, chars in SMART.items() for char in chars})


@dataclass(frozen=True)
class Segments:
    """What an SMS takes.

    ``encoding`` is ``GSM-7`` or ``UCS-2``; ``units`` are septets or 16-bit code units; ``characters`` is what a reader
    would count; ``bits`` is the size on the air, headers included.
    """

    encoding: str
    units: int
    segments: int
    characters: int
    bits: int


def count(text: str) -> Segments:
    """Count what ``text`` takes as an SMS. The empty text takes no segment.

    >>> count("x" * 161).segments
    2
    """
    clusters = list(_clusters(text))
    gsm = all(char in GSM_BASIC or char in GSM_EXTENDED for char in text)
    sizes = [_bits(cluster, gsm=gsm) for cluster in clusters]
    segments = _segments(sizes)
    headers = HEADER_BITS * segments if segments > 1 else 0
    return Segments(
        encoding="GSM-7" if gsm else "UCS-2",
        units=sum(sizes) // (7 if gsm else 16),
        segments=segments,
        characters=len(clusters),
        bits=sum(sizes) + headers,
    )


def smart(text: str) -> str:
    """Put plain characters for typographic ones (“ ” ’ – … non-breaking spaces), so that GSM-7 may be enough.

    It changes what the customer reads, so nothing does it unasked.
    """
    return text.translate(_SMART)


def _clusters(text: str) -> Iterator[str]:
    """Cut into what a reader takes for one character (Unicode's grapheme clusters); CR LF stays two."""
    for cluster in regex.findall(r"\X", text):
        if cluster == "\r\n":
            yield from cluster
        else:
            yield cluster


def _bits(cluster: str, *, gsm: bool) -> int:
    if gsm:
        return sum(14 if char in GSM_EXTENDED else 7 for char in cluster)
    return len(cluster.encode("utf-16-le", "surrogatepass")) * 8


def _segments(sizes: list[int]) -> int:
    """Fill segments in order, never cutting a cluster, so no escape pair, surrogate pair or emoji is torn apart."""
    if sum(sizes) <= SEGMENT_BITS:
        return 1 if sizes else 0
    room = SEGMENT_BITS - HEADER_BITS
    used, segments = 0, 1
    for size in sizes:
        if used and used + size > room:
            used, segments = 0, segments + 1
        segments += (size - 1) // room  # a cluster wider than a segment has to be torn
        used += min(size, room)
    return segments
