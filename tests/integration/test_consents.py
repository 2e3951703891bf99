"""The consent ledger and suppressions: appended to, never changed; START takes back what STOP made and no more."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import DBAPIError

from messaging.consents import consent, erasing, lift, record_consent, suppress, suppression
from models.database import reading, writing
from models.vocabulary import ConsentVerdict
from tests.integration.out_world import NOW, SECRET, plan_messages, rows_of

NUMBER = "+447700900001"


def grant(engine: Engine) -> None:
    who = [row.customer_id for row in rows_of(engine)]
    with writing(engine) as connection:
        record_consent(
            connection, who, channel="sms", purpose="marketing", verdict=ConsentVerdict.GRANTED, source="test",
            text_version="v3", at=NOW, now=NOW,
        )  # fmt: skip


def causes(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return sorted(connection.execute(select(suppression.c.cause)).scalars())


def test_an_entry_said_twice_is_one(engine: Engine) -> None:
    plan_messages(engine, 2)
    grant(engine)
    grant(engine)
    with reading(engine) as connection:
        rows = connection.execute(select(consent)).all()
    assert [(row.verdict, row.text_version, row.given_at) for row in rows] == [("granted", "v3", NOW)] * 2


@pytest.mark.parametrize("change", [update(consent).values(verdict="granted"), delete(consent)])
def test_the_database_refuses_to_change_the_ledger(engine: Engine, change: object) -> None:
    plan_messages(engine, 1)
    grant(engine)
    with pytest.raises(DBAPIError, match="append-only"), writing(engine) as connection:
        connection.execute(change)  # type: ignore[call-overload]
    with reading(engine) as connection:
        assert len(connection.execute(select(consent)).all()) == 1


def test_only_an_erasure_may_delete_and_only_while_it_lasts(engine: Engine) -> None:
    plan_messages(engine, 1)
    grant(engine)
    with writing(engine) as connection, erasing(connection, NOW):
        connection.execute(delete(consent))
    grant(engine)
    with pytest.raises(DBAPIError, match="append-only"), writing(engine) as connection:
        connection.execute(delete(consent))
    with pytest.raises(DBAPIError, match="append-only"), writing(engine) as connection, erasing(connection, NOW):
        connection.execute(update(consent).values(verdict="granted"))


def test_another_word_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="fax"), writing(engine) as connection:
        record_consent(
            connection, [1], channel="fax", purpose="all", verdict=ConsentVerdict.GRANTED, source="test", at=NOW,
            now=NOW,
        )  # fmt: skip


def test_start_takes_back_what_stop_made_and_leaves_the_rest(engine: Engine) -> None:
    with writing(engine) as connection:
        said = {"secret": SECRET, "channel": "sms", "address": NUMBER}
        suppress(connection, **said, cause="provider_30005", at=NOW)  # type: ignore[arg-type]
        suppress(connection, **said, cause="stop", at=NOW + timedelta(hours=1))  # type: ignore[arg-type]
        suppress(connection, **said, cause="stop", at=NOW + timedelta(hours=2))  # type: ignore[arg-type]
    assert causes(engine) == ["provider_30005", "stop"]
    with writing(engine) as connection:
        assert lift(connection, secret=SECRET, channel="sms", address=NUMBER) == 1
    assert causes(engine) == ["provider_30005"]
