"""Who somebody is, as far as a name, a login or an e-mail address tells."""

import re
from collections.abc import Collection

NOBODY = frozenset({"root", "unknown", "nobody"})
"""Logins that many share, as in containers: they tell of nobody who it is."""

NAMED = re.compile(r"(?P<name>[^<]*)<(?P<mail>[^>]*)>")


def forms_of(said: str) -> set[str]:
    """All that ``Eva Muster <eva@example.com>`` may be known by, in small letters: whole, name, address, login."""
    whole = _plain(said)
    found = NAMED.fullmatch(whole)
    parts = [whole, *(found.groups() if found else ())]
    logins = [part.partition("@")[0] for part in parts if "@" in part and "<" not in part]
    return {form for form in map(_plain, [*parts, *logins]) if form}


def same_person(one: str, other: str) -> bool:
    """Whether two names may be the same person's: one form in common is enough, so that in doubt they are."""
    return bool(forms_of(one) & forms_of(other))


def tells(login: str) -> bool:
    """Whether a login tells who somebody is."""
    return _plain(login) not in {*NOBODY, ""}


def is_among(by: str, people: Collection[str]) -> bool:
    """Whether ``by`` is surely one of ``people``: the same login at another domain is somebody else."""
    return any(_surely(by, one) for one in people)


def _surely(one: str, other: str) -> bool:
    mails = [{form for form in forms_of(said) if "@" in form and "<" not in form} for said in (one, other)]
    return bool(mails[0] & mails[1]) if all(mails) else same_person(one, other)


def _plain(said: str) -> str:
    return " ".join(said.split()).casefold()
