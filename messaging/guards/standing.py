"""Complaint open: nobody gets a voucher, a survey or an advertisement while we owe them something."""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from messaging.candidates import TABLES, candidate, local_time, open_for_decision
from messaging.guards.case import Case, withhold
from models.vocabulary import CallDirection, CallOutcome, Purpose, Reason

ticket = TABLES["ticket"]
orders = TABLES["orders"]
call = TABLES["call"]

MISSED_WITHIN = timedelta(days=7)
MISSED = [CallOutcome.DROPPED.value, CallOutcome.NO_ANSWER.value, CallOutcome.FAILED.value]


def complaint_open(connection: Connection, case_: Case) -> None:
    """Withhold marketing, surveys and vouchers while a ticket is open, an order is late or a callback was missed."""
    run = case_.run
    if case_.terms.purpose is Purpose.SERVICE and run.voucher is None and not (run.send and run.send.survey):
        return
    troubled = (_open_tickets(case_), _late_orders(case_), _missed_callbacks(case_))
    for customers in troubled:
        withhold(connection, Reason.COMPLAINT_OPEN, candidate.c.customer_id.in_(customers))


def _not_by(column: ColumnElement[Any], case_: Case) -> ColumnElement[bool]:
    """Not happened by now; what a source dates later than now has not happened yet."""
    return or_(column.is_(None), column > case_.now)


def _by(column: ColumnElement[Any], case_: Case) -> ColumnElement[bool]:
    return or_(column.is_(None), column <= case_.now)


def _asked() -> Select[Any]:
    return select(candidate.c.customer_id).where(open_for_decision())


def _open_tickets(case_: Case) -> Select[Any]:
    is_open = and_(_by(ticket.c.opened_at, case_), _not_by(ticket.c.closed_at, case_))
    return select(ticket.c.customer_id).where(is_open, ticket.c.customer_id.in_(_asked()))


def _late_orders(case_: Case) -> Select[Any]:
    """The promised day is over where the customer lives, and the order is neither there nor called off."""
    return (
        select(orders.c.customer_id)
        .join(candidate, candidate.c.customer_id == orders.c.customer_id)
        .join(local_time, local_time.c.zone == candidate.c.zone)
        .where(
            open_for_decision(),
            orders.c.promised_on < local_time.c.today,
            _by(orders.c.placed_at, case_),
            _not_by(orders.c.delivered_at, case_),
            _not_by(orders.c.cancelled_at, case_),
            _not_by(orders.c.returned_at, case_),
        )
    )


def _missed_callbacks(case_: Case) -> Select[Any]:
    later = call.alias("later")
    spoken_since = select(later.c.id).where(
        later.c.customer_id == call.c.customer_id,
        later.c.outcome == CallOutcome.COMPLETED.value,
        later.c.ended_at > call.c.ended_at,
        later.c.ended_at <= case_.now,
    )
    return select(call.c.customer_id).where(
        call.c.direction == CallDirection.OUTBOUND.value,
        call.c.reason == "callback",
        call.c.outcome.in_(MISSED),
        call.c.ended_at.between(case_.now - MISSED_WITHIN, case_.now),
        ~spoken_since.exists(),
    )
