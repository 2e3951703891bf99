"""Two transactions that wait for one another: PostgreSQL ends one, and what was told only once is done anew."""

import threading

import pytest
from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import OperationalError

import models
from models.database import in_one_go, writing
from tests.deciding import NOON

customer = models.Customer.__table__  # type: ignore[attr-defined]


def test_whoever_is_broken_off_goes_again(postgres_engine: Engine) -> None:
    with writing(postgres_engine) as connection:
        rows = [{"external_id": name, "changed_at": NOON, "bucket": 0} for name in "ab"]
        connection.execute(insert(customer), rows)
    both, tries = threading.Barrier(2), []

    def crossing(first: str, second: str) -> None:
        begun: list[int] = []

        def work(connection: Connection) -> None:
            begun.append(1)
            tries.append(first)
            connection.execute(update(customer).where(customer.c.external_id == first).values(tier=first))
            if len(begun) == 1:
                both.wait(10)
            connection.execute(update(customer).where(customer.c.external_id == second).values(tier=first))

        in_one_go(postgres_engine, work)

    threads = [threading.Thread(target=crossing, args=pair) for pair in ("ab", "ba")]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    with postgres_engine.connect() as connection:
        tiers = connection.execute(select(customer.c.tier)).scalars().all()
    assert len(tries) == 3, "they met, and one of them went again"
    assert len(set(tiers)) == 1, "the one that went again wrote both"


def test_another_error_is_not_tried_again(sqlite_engine: Engine) -> None:
    tries = []

    def work(_connection: Connection) -> None:
        tries.append(1)
        raise OperationalError("", {}, Exception("away"))

    with pytest.raises(OperationalError):
        in_one_go(sqlite_engine, work)
    assert tries == [1]
