"""Rates between currencies, from a CSV file of the operator's: read strictly, kept as exact fractions."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

from babel.numbers import get_currency_precision, list_currencies

from rules.errors import Problem, RuleErrors

HEADER = ["from", "to", "rate"]
LARGEST = 10**9
"""The largest part of a fraction: twice the product of two of them still fits 64 bits, on both databases."""


@dataclass(frozen=True)
class Rates:
    """What one minor unit of each currency is worth in minor units of ``base``: (currency, numerator, denominator)."""

    base: str
    worth: tuple[tuple[str, int, int], ...]
    path: str = ""

    @property
    def known(self) -> frozenset[str]:
        """The currencies that can be converted, the base among them."""
        return frozenset({self.base, *(currency for currency, _, _ in self.worth)})

    def into(self, currency: str) -> dict[str, list[int]]:
        """Numerator and denominator by which each currency becomes ``currency``; itself alone if it has no rate."""
        worth = {name: Fraction(*parts) for name, *parts in self.worth} | {self.base: Fraction(1)}
        if currency not in worth:
            return {currency: [1, 1]}
        each = {name: _fitting(value / worth[currency]) for name, value in sorted(worth.items())}
        return {name: [found.numerator, found.denominator] for name, found in each.items()}


def convert(minor: int, numerator: int, denominator: int) -> int:
    """Minor units times a rate, rounded to the nearest; a half goes away from zero. The SQL says the same."""
    whole, rest = divmod(abs(minor), denominator)
    found = whole * numerator + (2 * rest * numerator + denominator) // (2 * denominator)
    return found if minor >= 0 else -found


def load_rates(path: Path, base: str) -> Rates:
    """Read ``from,to,rate``: one of ``from`` is worth ``rate`` of ``to``, and ``base`` is one of the two in each line.

    Raises RuleErrors with all that is wrong, each with its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [(number, [cell.strip() for cell in row]) for number, row in enumerate(csv.reader(stream), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as wrong:
        said = f"the rates cannot be read: {getattr(wrong, 'strerror', None) or 'not a CSV file in UTF-8'}"
        raise RuleErrors([Problem(str(path), 1, 1, said)]) from wrong
    if not rows or [cell.lower() for cell in rows[0][1]] != HEADER:
        raise RuleErrors([Problem(str(path), 1, 1, "the first line is not the header", "from,to,rate")])
    reader = _Reader(str(path), base)
    worth = dict(found for number, row in rows[1:] for found in reader.line(number, row))
    if reader.problems:
        raise RuleErrors(reader.problems)
    return Rates(base, tuple((name, f.numerator, f.denominator) for name, f in sorted(worth.items())), str(path))


class _Reader:
    def __init__(self, path: str, base: str) -> None:
        self.path, self.base = path, base
        self.problems: list[Problem] = []
        self.seen: dict[str, int] = {}

    def line(self, number: int, row: list[str]) -> Iterator[tuple[str, Fraction]]:
        """The currency of a line and what one minor unit of it is worth; nothing where the line is wrong (noted)."""
        if len(row) != len(HEADER):
            return self._wrong(number, f"{len(row)} values", "from,to,rate")
        source, target, said = row
        for currency in (source, target):
            if currency not in list_currencies():
                return self._wrong(number, f"'{currency}' is no currency", "an ISO 4217 code such as USD")
        if self.base not in (source, target) or source == target:
            return self._wrong(number, f"neither side is {self.base}", f"{self.base} on one side (BEFOREHAND_CURRENCY)")
        rate, other = _rate(said), target if source == self.base else source
        if rate is None:
            return self._wrong(number, f"'{said}' is no rate", "a number above 0, such as 1.0876")
        if other in self.seen:
            return self._wrong(number, f"{other} stands twice (first in line {self.seen[other]})", "one rate each")
        self.seen[other] = number
        scale = Fraction(10) ** (get_currency_precision(self.base) - get_currency_precision(other))
        worth = _fitting((1 / rate if source == self.base else rate) * scale)
        if not worth:
            return self._wrong(number, f"'{said}' is out of all proportion", "a rate that somebody uses")
        return iter([(other, worth)])

    def _wrong(self, number: int, said: str, expected: str) -> Iterator[tuple[str, Fraction]]:
        self.problems.append(Problem(self.path, number, 1, said, expected))
        return iter(())


def _rate(said: str) -> Fraction | None:
    try:
        rate = Decimal(said)
    except InvalidOperation:
        return None
    return Fraction(rate) if rate.is_finite() and rate > 0 and abs(rate.adjusted()) < 15 else None


def _fitting(rate: Fraction) -> Fraction:
    """The nearest fraction whose parts are small enough; 0 where there is none."""
    if max(rate.numerator, rate.denominator) <= LARGEST:
        return rate
    if rate <= 1:
        return rate.limit_denominator(LARGEST)
    turned = (1 / rate).limit_denominator(LARGEST)
    return 1 / turned if turned else Fraction(0)
