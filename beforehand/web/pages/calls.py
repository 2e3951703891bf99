"""A customer asks to be called: a task for the desk and an event that a rule can begin with, once an hour at most."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select

from beforehand.web.pages.visitors import Visitor
from models.changes import touch
from models.contact import Event
from models.delivery import Task

event = Event.__table__  # type: ignore[attr-defined]
task = Task.__table__  # type: ignore[attr-defined]

CALL_ME = "customer.call_me"
"""The event's name, for rules with ``for_each: event`` and ``when: {event: event.happened}``."""

AGAIN = timedelta(hours=1)


def ask_for_a_call(connection: Connection, who: Visitor, desk: str, now: datetime) -> str:
    """Write task and event unless that was done within the hour. Returns the word of the text that says so."""
    e = event.c
    lately = select(e.id).where(e.customer_id == who.customer_id, e.name == CALL_ME, e.happened_at > now - AGAIN)
    if not who.phone:
        return "no_phone"
    if connection.execute(lately.limit(1)).first() is not None:
        return "called_before"
    connection.execute(
        insert(event).values(
            external_id=f"call_me/{who.reference}/{now.isoformat()}",
            changed_at=now,
            customer_id=who.customer_id,
            name=CALL_ME,
            happened_at=now,
            properties={"by": "preferences", "message": who.reference},
        )
    )
    connection.execute(
        insert(task).values(
            match_id=who.match_id,
            step=f"call_me {now:%y%m%d%H%M%S}",
            customer_id=who.customer_id,
            desk=desk,
            what="Call the customer, who asked for it on the preference page",
            created_at=now,
        )
    )
    touch(connection, ("event.happened", "event.updated"), now)
    return "called"
