"""The cap per person across rules: the more important message goes first, and takes a waiting lesser one's place."""

from typing import Any

from sqlalchemy import Connection, Select, Subquery, case, func, select, update

from messaging.candidates import candidate, counts, message, open_for_decision
from messaging.guards.case import Case, withhold
from messaging.policy import Cap
from messaging.taken_back import take_back
from models.vocabulary import MessageState, Purpose, Reason

WAITING = (MessageState.PLANNED, MessageState.HELD)
DISPLACEABLE = (Purpose.MARKETING, Purpose.SURVEY)


def cap_of(case_: Case) -> Cap | None:
    """The cap that holds for this decision, or None: runs without a message have none."""
    return case_.policy.caps.get(case_.terms.purpose) if case_.run.send is not None else None


def _lesser(case_: Case) -> Any:
    """A message of a lower priority that waits and may give way. Service messages are never taken back."""
    return (
        message.c.state.in_(WAITING)
        & (message.c.priority < case_.terms.priority)
        & message.c.purpose.in_([purpose.value for purpose in DISPLACEABLE])
    )


def _counted(case_: Case, cap: Cap) -> list[Any]:
    return [
        message.c.purpose == case_.terms.purpose.value,
        message.c.created_at > cap.since(case_.now),
        counts(),
        message.c.customer_id.in_(select(candidate.c.customer_id).where(open_for_decision())),
    ]


def _load(case_: Case, cap: Cap) -> Subquery:
    """What customers have had: ``used`` in the window, and ``waiting`` of it, which may still give way."""
    waiting = func.sum(case((_lesser(case_), 1), else_=0))
    return (
        select(message.c.customer_id, func.count().label("used"), waiting.label("waiting"))
        .where(*_counted(case_, cap))
        .group_by(message.c.customer_id)
        .subquery()
    )


def capped(connection: Connection, case_: Case) -> None:
    """Withhold from whoever has heard enough; a lesser message that still waits does not count."""
    cap = cap_of(case_)
    if cap is None:
        return
    load = _load(case_, cap)
    turn = func.row_number().over(partition_by=candidate.c.customer_id, order_by=candidate.c.id)
    ranked = select(candidate.c.id, candidate.c.customer_id, turn.label("turn")).where(open_for_decision()).subquery()
    heard = func.coalesce(load.c.used, 0) - func.coalesce(load.c.waiting, 0)
    over = (
        select(ranked.c.id)
        .outerjoin(load, load.c.customer_id == ranked.c.customer_id)
        .where(ranked.c.turn + heard > cap.most)
    )
    withhold(connection, Reason.CAP, candidate.c.id.in_(over))


def displace(connection: Connection, case_: Case) -> int:
    """Suppress the waiting lesser messages whose place is taken. Returns how many; called when planning, not before.

    The least important and youngest go first, and only as many as there are too many.
    """
    cap = cap_of(case_)
    if cap is None or case_.terms.purpose not in DISPLACEABLE:
        return 0
    taken_back = {"state": MessageState.SUPPRESSED, "reason": Reason.CAP, "ended_at": case_.now}
    given_way = update(message).where(message.c.id.in_(_too_many(case_, cap)), message.c.state.in_(WAITING))
    ids = connection.execute(given_way.values(taken_back).returning(message.c.match_id)).scalars().all()
    take_back(connection, ids, case_.now)
    return len(ids)


def _too_many(case_: Case, cap: Cap) -> Select[Any]:
    load = _load(case_, cap)
    wanted = (
        select(candidate.c.customer_id, func.count().label("wanted"))
        .where(open_for_decision())
        .group_by(candidate.c.customer_id)
        .subquery()
    )
    excess = (wanted.c.wanted + load.c.used - cap.most).label("excess")
    need = select(wanted.c.customer_id, excess).join(load, load.c.customer_id == wanted.c.customer_id).subquery()
    order = (message.c.priority, message.c.created_at.desc(), message.c.id.desc())
    turn = func.row_number().over(partition_by=message.c.customer_id, order_by=order)
    lesser = (
        select(message.c.id, message.c.customer_id, turn.label("turn"))
        .where(*_counted(case_, cap), _lesser(case_))
        .subquery()
    )
    return (
        select(lesser.c.id).join(need, need.c.customer_id == lesser.c.customer_id).where(lesser.c.turn <= need.c.excess)
    )
