"""Signed links: short, silent about people, good for one kind and one message, and for 60 days after a key."""

import string
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.links import Kind, LinkKey, Links, reference_in

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MADE = NOW - timedelta(days=3)
KEY, OLD = LinkKey(b"k" * 32), LinkKey(b"o" * 32, replaced=date(2026, 3, 1))
LINKS = Links("https://care.example.com/", (KEY, OLD))
WORD = "7K2M9QXC"


def held(token: str, kind: Kind = Kind.STOP, made: datetime = MADE, now: datetime = NOW, links: Links = LINKS) -> bool:
    return links.holds(token, kind, made, now)


@pytest.mark.parametrize("kind", Kind)
def test_a_link_opens_what_it_was_made_for_and_nothing_else(kind: Kind) -> None:
    token = LINKS.token(kind, WORD, MADE)
    assert [other for other in Kind if held(token, other)] == [kind]
    assert reference_in(token) == WORD
    assert not held(token, kind, made=MADE + timedelta(microseconds=1)), "a message of another moment"


def test_a_link_is_short_enough_for_an_sms_and_says_nothing_of_the_person() -> None:
    url = LINKS.url(Kind.PREFERENCES, WORD, MADE)
    assert url.startswith("https://care.example.com/p/")
    assert len(url.rpartition("/")[2]) == 26
    assert set(url.rpartition("/")[2]) <= set(string.ascii_lowercase + "234567" + WORD), "no sign that ends a link"


def test_every_single_change_of_a_token_closes_it() -> None:
    token = LINKS.token(Kind.STOP, WORD, MADE)
    letters = string.ascii_letters + string.digits + "-_. "
    changed = [token[:at] + letter + token[at + 1 :] for at in range(len(token)) for letter in letters]
    assert [one for one in changed if one != token and held(one)] == []
    assert not held(token[:-1])
    assert not held(token + "X")


@given(st.text(max_size=60))
def test_garbage_neither_opens_nor_raises(garbage: str) -> None:
    for kind in Kind:
        assert not held(garbage, kind)
    reference_in(garbage)
    assert not LINKS.is_seal(garbage, WORD, NOW)


def test_the_sight_of_a_key_shows_nothing_of_it() -> None:
    assert "kkk" not in repr(LINKS)


def test_a_replaced_key_opens_its_links_for_60_days_and_stops_for_as_long_as_it_is_listed() -> None:
    before = Links("https://care.example.com", (LinkKey(OLD.value),))
    tokens = {kind: before.token(kind, WORD, MADE) for kind in Kind}
    days = [datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=n) for n in (0, 30, 60, 61, 400)]
    assert [held(tokens[Kind.PREFERENCES], Kind.PREFERENCES, now=day) for day in days] == [True] * 3 + [False] * 2
    assert [held(tokens[Kind.ANSWER], Kind.ANSWER, now=day) for day in days] == [True] * 3 + [False] * 2
    assert all(held(tokens[Kind.STOP], now=day) for day in days)
    without = Links("https://care.example.com", (KEY,))
    assert not any(held(tokens[kind], kind, links=without) for kind in Kind)


def test_new_links_are_signed_with_the_key_in_use() -> None:
    token = LINKS.token(Kind.STOP, WORD, MADE)
    assert held(token, links=Links("", (KEY,)))
    assert not held(token, links=Links("", (OLD,)))


def test_what_a_preview_shows_opens_nothing() -> None:
    shown = LINKS.of_message(WORD, None)
    real = LINKS.of_message(WORD, MADE, survey=True)
    assert shown["survey"] is None
    assert len(str(shown["preferences"])) == len(str(real["preferences"]))
    assert not held(str(shown["unsubscribe"]).rpartition("/")[2])
    assert held(str(real["survey"]).rpartition("/")[2], Kind.ANSWER)


def test_a_seal_is_for_one_form_and_lasts_over_midnight() -> None:
    seal = LINKS.seal("p/token", NOW)
    assert LINKS.is_seal(seal, "p/token", NOW)
    assert LINKS.is_seal(seal, "p/token", NOW + timedelta(days=1))
    assert not LINKS.is_seal(seal, "p/token", NOW + timedelta(days=2))
    assert not LINKS.is_seal(seal, "p/other", NOW)
