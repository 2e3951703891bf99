"""What one check found."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """``look``: it works, but somebody should look at it. ``wrong``: it does not work, or not safely."""

    OK = "ok"
    LOOK = "look"
    WRONG = "wrong"


@dataclass(frozen=True)
class Check:
    """One line: ``what`` was looked at, what was found, and what to ``do`` about it (empty where all is well)."""

    what: str
    verdict: Verdict
    said: str
    do: str = ""


def ok(what: str, said: str) -> Check:
    """All is well."""
    return Check(what, Verdict.OK, said)


def look(what: str, said: str, do: str) -> Check:
    """It works, but somebody should look at it."""
    return Check(what, Verdict.LOOK, said, do)


def wrong(what: str, said: str, do: str) -> Check:
    """It does not work, or not safely."""
    return Check(what, Verdict.WRONG, said, do)
