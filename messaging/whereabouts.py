"""Where a customer may be: time zones, country and region, from what they say and from their phone number."""

import csv
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX

from messaging.quiet import BETWEEN

LONGEST_PREFIX: int = TIMEZONE_LONGEST_PREFIX
AREA = 5
"""So many characters of a phone number (with the plus) tell its country, and its state in North America."""

ANYWHERE = "anywhere"
"""Stands where zones do for a number that may be anywhere on earth (a satellite phone, say). No zone has that name."""

NORTH_AMERICA = Path(__file__).with_name("area_codes.csv")
KAZAKHSTAN = ("+76", "+77")


def zones_of(zone: str | None, phone: str | None, country: str | None, home: str) -> str:
    """The zones in which a customer may be, joined by ``|``, or ANYWHERE.

    Their own, if there is such a zone; else those of their phone number, of which those of their ``country`` are kept
    where there are any; without a phone number those of the country, and without anything ``home``, the house's own.
    """
    if zone and is_zone(zone):
        return zone
    if not phone:
        return zones_of_country(country) or home
    found = zones_of_phone(phone[: LONGEST_PREFIX + 1])
    in_country = zones_of_country(country)
    if found is None:
        return in_country or ANYWHERE
    kept = [name for name in found.split(BETWEEN) if in_country and name in in_country.split(BETWEEN)]
    return BETWEEN.join(kept) or found


@lru_cache(maxsize=4096)
def is_zone(name: str) -> bool:
    """Whether tzdata knows the zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=65_536)
def zones_of_phone(prefix: str) -> str | None:
    """The zones in which a phone number may be, from its first digits (E.164), joined by ``|``; None: nobody knows.

    ``prefix`` needs the plus and at most ``LONGEST_PREFIX`` digits. Source: libphonenumber's zone table.
    """
    digits = prefix.lstrip("+")[:LONGEST_PREFIX]
    for length in range(len(digits), 0, -1):
        zones = TIMEZONE_DATA.get(digits[:length])
        if zones:
            return BETWEEN.join(zones)
    return None


@lru_cache(maxsize=512)
def zones_of_country(country: str | None) -> str:
    """The zones of a country (ISO 3166), joined by ``|``; empty where it is unknown. Source: tzdata's ``zone.tab``."""
    return BETWEEN.join(_by_country().get((country or "").upper(), ()))


@cache
def _by_country() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    table = files("tzdata").joinpath("zoneinfo", "zone.tab").read_text(encoding="utf-8")
    for line in table.splitlines():
        if line and not line.startswith("#"):
            country, _place, name, *_note = line.split("\t")
            found.setdefault(country, []).append(name)
    return found


@lru_cache(maxsize=65_536)
def area_of(start: str) -> tuple[str, str]:
    """The country of a phone number and, in North America, its state, from its first ``AREA`` characters.

    Empty where nobody knows. Where a code is shared (+44, +7 but for Kazakhstan), the greatest country stands for all.
    """
    digits = start.removeprefix("+")
    if digits.startswith("1"):
        return _north_america().get(digits[1:4], ("", ""))
    if start.startswith(KAZAKHSTAN):
        return "KZ", ""
    for length in (1, 2, 3):
        regions = COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length])) if digits[:length].isdigit() else None
        if regions:
            return ("", "") if regions[0] == "001" else (regions[0], "")
    return "", ""


@cache
def _north_america() -> dict[str, tuple[str, str]]:
    with NORTH_AMERICA.open(newline="") as file:
        return {row["area_code"]: (row["country"], row["region"]) for row in csv.DictReader(file)}


def law_of(phone_start: str | None, country: str | None) -> tuple[str, str]:
    """The country and region whose law holds: the phone number's, else the customer's own country."""
    found = area_of(phone_start) if phone_start else ("", "")
    return found if found[0] else ((country or "").upper(), "")
