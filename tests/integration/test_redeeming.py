"""Vouchers at the till: redeemed once, whoever asks; wrong codes are counted; a lost answer can be asked for again."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, select, update
from typer.testing import CliRunner

import models
from beforehand import dispatching
from beforehand.cli import app as command_line
from beforehand.passes import run_rule
from beforehand.web.serving import Pages
from messaging.candidates import customer
from messaging.redeeming import MOST_WRONG, WRONG_WITHIN, Refusal, look, redeem, voucher
from messaging.taken_back import take_back
from messaging.vouchers import code_hash, voucher_code
from models.database import reading, writing
from models.delivery import Message
from models.terms import Money
from tests.deciding import NOON, House

SECRET = b"s" * 32
KEY = "k" * 32
DAY = timedelta(days=1)


def promised(engine: Engine, count: int = 1, **columns: Any) -> list[str]:
    """So many vouchers of 50 EUR; gives their codes."""
    salts = [f"{number:032x}" for number in range(1, count + 1)]
    codes = [voucher_code(SECRET, salt) for salt in salts]
    with writing(engine) as connection:
        who = connection.execute(
            insert(customer).values(external_id="c1", changed_at=NOON, bucket=0).returning(customer.c.id)
        ).scalar_one()
        rows = [
            {
                "external_id": f"v{place}", "changed_at": NOON, "customer_id": who, "salt": salt, "currency": "EUR",
                "code_hash": code_hash(code), "worth": 5000, "issued_at": NOON, "valid_until": NOON + 90 * DAY,
            } | columns
            for place, (salt, code) in enumerate(zip(salts, codes, strict=True))
        ]  # fmt: skip
        connection.execute(insert(models.Voucher), rows)
    return codes


def test_a_voucher_is_good_once(engine: Engine) -> None:
    (code,) = promised(engine)
    with writing(engine) as connection:
        assert look(connection, code, by="till", now=NOON).refusal is None
        first = redeem(connection, code.lower().replace("-", " "), by="till", now=NOON)
        again = redeem(connection, code, by="till", now=NOON + DAY)
    assert (first.refusal, first.worth, first.redeemed_at) == (None, Money(5000, "EUR"), NOON)
    assert (again.refusal, again.redeemed_at) == (Refusal.REDEEMED_BEFORE, NOON)


def test_a_till_that_lost_the_answer_gets_it_again_and_nobody_else_does(engine: Engine) -> None:
    (code,) = promised(engine)
    with writing(engine) as connection:
        asked = [("till", "4711"), ("till", "4711"), ("till", "4712"), ("other", "4711"), ("till", "")]
        answers = [redeem(connection, code, by=by, receipt=receipt, now=NOON) for by, receipt in asked]
    no = Refusal.REDEEMED_BEFORE
    assert [(answer.refusal, answer.again) for answer in answers] == [
        (None, False), (None, True), (no, False), (no, False), (no, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "refusal"),
    [
        ({"valid_until": NOON}, Refusal.TOO_LATE),
        ({"voided_at": NOON - DAY}, Refusal.TAKEN_BACK),
        ({"redeemed_at": NOON - DAY}, Refusal.REDEEMED_BEFORE),
    ],
)
def test_what_is_good_no_more_says_why_and_is_no_guess(
    engine: Engine, columns: dict[str, Any], refusal: Refusal
) -> None:
    (code,) = promised(engine, **columns)
    for _ in range(MOST_WRONG + 1):
        with writing(engine) as connection:
            assert look(connection, code, by="till", now=NOON).refusal is refusal
            assert redeem(connection, code, by="till", now=NOON).refusal is refusal


def test_whoever_guesses_must_wait_and_nobody_else(engine: Engine) -> None:
    (code,) = promised(engine)
    wrong = "00000-00000-00000-00000"
    for number in range(MOST_WRONG):
        with writing(engine) as connection:
            guess = redeem(
                connection, wrong if number % 2 else "hello", by="till", now=NOON + timedelta(seconds=number)
            )
            assert guess.refusal is (Refusal.NOT_KNOWN if number % 2 else Refusal.NOT_A_CODE)
    with writing(engine) as connection:
        at = NOON + timedelta(minutes=1)
        shut = redeem(connection, code, by="till", now=at)
        assert (shut.refusal, shut.wait_until) == (Refusal.TOO_MANY_GUESSES, NOON + WRONG_WITHIN)
        assert look(connection, code, by="till", now=at).refusal is Refusal.TOO_MANY_GUESSES
        assert look(connection, code, by="other", now=at).refusal is None
        assert redeem(connection, code, by="till", now=NOON + WRONG_WITHIN).refusal is None


def race(engine: Engine, codes: list[str], redeemers: int) -> list[str]:
    """Everybody tries every code at once, each in an order of their own; gives the codes that were granted."""
    barrier = Barrier(redeemers)

    def till(number: int) -> list[str]:
        barrier.wait(30)
        start = number * len(codes) // redeemers
        granted = []
        for code in codes[start:] + codes[:start]:
            with writing(engine) as connection:
                answer = redeem(connection, code, by=f"till-{number}", receipt="1", now=NOON)
            granted += [code] if answer.refusal is None and not answer.again else []
        return granted

    with ThreadPoolExecutor(redeemers) as pool:
        return [code for granted in pool.map(till, range(redeemers)) for code in granted]


def test_of_many_tills_at_once_one_gets_it(engine: Engine) -> None:
    codes = promised(engine, 6)
    assert sorted(race(engine, codes, 8)) == sorted(codes)


@pytest.mark.prove
def test_two_hundred_vouchers_and_fifty_redeemers(engine: Engine) -> None:
    codes = promised(engine, 200)
    granted = race(engine, codes, 50)
    print(f"PROOF vouchers {engine.dialect.name}: {len(granted)} grants of {len(codes)} vouchers, 50 redeemers each")
    assert sorted(granted) == sorted(codes)
    with reading(engine) as connection:
        takers = set(connection.execute(select(voucher.c.redeemed_by)).scalars())
    assert len(takers) > 1, "one till took them all: nobody raced"


def test_over_http_with_a_key(engine: Engine, tmp_path: Path) -> None:
    codes = promised(engine, 2)
    house = House(engine, tmp_path, {"api_keys": {"till-3": SecretStr(KEY)}})
    with Pages(house.app) as pages:
        ask = httpx.Client(base_url=pages.url, headers={"Authorization": f"Bearer {KEY}"})
        path = "/api/vouchers/redeem"
        assert ask.post("/api/vouchers/show", json={"code": codes[0]}).json()["redeemed"] is False
        taken = ask.post(path, json={"code": codes[0], "receipt": "9"})
        assert (taken.status_code, taken.json()["worth"]) == (200, {"minor": 5000, "currency": "EUR"})
        assert ask.post(path, json={"code": codes[0], "receipt": "9"}).json()["again"] is True
        assert ask.post(path, json={"code": codes[0]}).status_code == 409
        for _ in range(MOST_WRONG):
            assert ask.post(path, json={"code": "nothing"}).status_code == 404
        shut = ask.post(path, json={"code": codes[1]})
        assert (shut.status_code, shut.headers["Retry-After"]) == (429, str(15 * 60))
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
            refused = httpx.post(f"{pages.url}{path}", json={"code": codes[1]}, headers=headers)
            assert refused.status_code == 401
        assert ask.get(path).status_code == 405
    assert set(house.rows(models.Voucher, "redeemed_by")) == {"till-3/9", None}


def test_by_hand(tmp_path: Path, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = promised(sqlite_engine)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEFOREHAND_DATABASE_URL", f"sqlite:///{sqlite_engine.url.database}")
    with writing(sqlite_engine) as connection:
        connection.execute(update(voucher).values(valid_until=None))
    run = CliRunner()
    assert "Good: worth €50.00. Not redeemed yet." in run.invoke(command_line, ["voucher", "show", code]).output
    taken = run.invoke(command_line, ["voucher", "redeem", code, "--json"])
    assert (taken.exit_code, json.loads(taken.output)["redeemed"]) == (0, True)
    twice = run.invoke(command_line, ["voucher", "redeem", code])
    assert (twice.exit_code, twice.output.splitlines()[0]) == (
        1, "Not redeemed: this voucher has been redeemed already.",
    )  # fmt: skip


def test_a_voucher_is_reserved_and_confirmed_once_its_message_was_taken(engine: Engine, tmp_path: Path) -> None:
    house = House(engine, tmp_path)
    house.template()
    house.rule(steps="  - {voucher: {worth: 50 EUR, valid_for: 90 days}}\n  - {send: hello, by: [sms]}")
    house.customer()
    run_rule(house.app, "hello", NOON)
    dispatching.reap(house.app, NOON)
    assert house.rows(models.Voucher, "confirmed_at") == [None]
    house.set(Message, state="accepted")
    dispatching.reap(house.app, NOON + DAY)
    assert house.rows(models.Voucher, "confirmed_at") == [NOON + DAY]


def test_a_voucher_that_was_taken_back_is_good_again_where_the_answer_came_late(engine: Engine, tmp_path: Path) -> None:
    house = House(engine, tmp_path)
    house.template()
    house.rule(steps="  - {voucher: {worth: 50 EUR, valid_for: 90 days}}\n  - {send: hello, by: [sms]}")
    house.customer()
    run_rule(house.app, "hello", NOON)
    (good_until,) = house.rows(models.Voucher, "valid_until")
    house.set(Message, state="failed")
    house.set(models.Match, state="done")
    with writing(engine) as connection:
        assert take_back(connection, house.rows(models.Match, "id"), NOON) == 1
    assert house.rows(models.Voucher, "voided_at", "valid_until") == [(NOON, NOON)]
    house.set(Message, state="accepted")
    dispatching.reap(house.app, NOON + timedelta(minutes=1))
    assert house.rows(models.Voucher, "voided_at", "valid_until", "promised_until") == [(None, good_until, None)]
