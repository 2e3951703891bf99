"""What a reviewer broke once: between the plan and the wire a customer's address may change, or be taken out."""

import pytest
from sqlalchemy import Engine, update

from beforehand.web.postroom.server import PostRoom
from messaging.addresses import address_hash
from messaging.outbox import claim
from models.customer import Customer
from models.database import writing
from models.vocabulary import Reason
from tests.integration.out_world import NOW, POLICY, SECRET, phone, plan_messages, rows_of, send_due, ways


def set_customer(engine: Engine, **values: object) -> None:
    with writing(engine) as connection:
        connection.execute(update(Customer).values(**values))


def test_a_number_that_was_put_right_overnight_is_the_one_we_use(engine: Engine) -> None:
    """Seen: a message planned at night went in the morning to a number that was the customer's no more."""
    plan_messages(engine, 1)
    set_customer(engine, phone=phone(77))
    with PostRoom() as room:
        assert send_due(engine, ways(room)).sent == 1
        assert [entry.to for entry in room.ledger.entries] == [phone(77)]
    assert rows_of(engine)[0].address == phone(77), "the row says where it went"


def test_the_new_number_passes_the_same_gates(engine: Engine) -> None:
    plan_messages(engine, 1)
    set_customer(engine, phone=phone(77))
    with writing(engine) as connection:
        (claimed,) = claim(connection, NOW, limit=1, lease_seconds=60, policy=POLICY).claims
    assert claimed.address == phone(77)
    assert claimed.address_hash == address_hash(SECRET, "sms", phone(77))


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_address_that_was_taken_out_is_not_used(engine: Engine, nothing: str | None) -> None:
    """Seen: a message went to a number that its customer had had removed before."""
    plan_messages(engine, 1)
    set_customer(engine, phone=nothing)
    with writing(engine) as connection:
        claimed = claim(connection, NOW, limit=1, lease_seconds=60, policy=POLICY)
    assert (claimed.claims, claimed.withheld) == ([], {Reason.UNREACHABLE: 1})
    assert (rows_of(engine)[0].state, rows_of(engine)[0].reason) == ("suppressed", "unreachable")
