"""The caps per person across rules: the more important message goes first, and takes a waiting lesser one's place.

A person is a customer, or all who share a phone number or an e-mail address with them (``candidate.person``). It counts
when a message goes (``due_at``), so that one which waits takes its place in the window in which it will be heard.
"""

from collections.abc import Sequence
from typing import Any

from dateutil.relativedelta import relativedelta
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Select,
    Subquery,
    and_,
    case,
    func,
    literal,
    select,
    type_coerce,
    update,
)

from messaging.candidates import candidate, choice, counts, customer, message, open_for_decision
from messaging.guards.case import Case, withhold
from messaging.guards.channels import withhold_without_choice
from messaging.guards.times import ends_of, later, next_hour
from messaging.policy import Cap
from messaging.taken_back import take_back
from models.vocabulary import Channel, MessageState, Purpose, Reason, WhenCapped

WAITING = (MessageState.PLANNED, MessageState.HELD)
DISPLACEABLE = (Purpose.MARKETING, Purpose.SURVEY)
FATE = "when_capped"
"""In a message's details: what its rule wants should a more important one take its place."""


def cap_of(case_: Case) -> Cap | None:
    """The cap that holds for this decision, or None: runs without a message have none."""
    return case_.policy.caps.get(case_.terms.purpose) if case_.run.send is not None else None


def _lesser(case_: Case) -> ColumnElement[bool]:
    """A message of a lower priority that waits and may give way. Service messages are never taken back."""
    may_give_way = message.c.purpose.in_([purpose.value for purpose in DISPLACEABLE])
    return and_(message.c.state.in_(WAITING), message.c.priority < case_.terms.priority, may_give_way)


def _kin() -> Subquery:
    """The customers whose messages count for the open candidates: they themselves, and who shares their household."""
    own = select(candidate.c.customer_id, candidate.c.person).where(open_for_decision())
    households = select(-candidate.c.person).where(open_for_decision(), candidate.c.person < 0)
    others = select(customer.c.id, -customer.c.household_id).where(customer.c.household_id.in_(households))
    return own.union(others).subquery("kin")


def _counted(case_: Case, cap: Cap, channel: Channel | None = None) -> Select[Any]:
    """The messages that count, by person: columns ``person, id, priority, due_at, created_at, lesser``."""
    kin = _kin()
    lesser = literal(False) if channel else _lesser(case_)
    found = (
        select(kin.c.person, message.c.id, message.c.priority, message.c.due_at, message.c.created_at)
        .add_columns(lesser.label("lesser"))
        .join(message, message.c.customer_id == kin.c.customer_id)
        .where(
            message.c.purpose == case_.terms.purpose.value,
            message.c.due_at > cap.since(case_.now),
            counts(),
        )
    )
    return found.where(message.c.channel == channel.value) if channel else found


def _over(case_: Case, cap: Cap, which: ColumnElement[bool], channel: Channel | None = None) -> Subquery:
    """Candidates beyond the cap: ``id``, ``person`` and ``excess`` (1: one too many). Lesser messages do not count."""
    counted = _counted(case_, cap, channel).subquery()
    heard = (
        select(counted.c.person, func.count().label("heard"))
        .where(~counted.c.lesser)
        .group_by(counted.c.person)
        .subquery()
    )
    turn = func.row_number().over(partition_by=candidate.c.person, order_by=candidate.c.id)
    ranked = select(candidate.c.id, candidate.c.person, turn.label("turn")).where(open_for_decision(), which).subquery()
    excess = ranked.c.turn + func.coalesce(heard.c.heard, 0) - cap.most
    return (
        select(ranked.c.id, ranked.c.person, excess.label("excess"))
        .outerjoin(heard, heard.c.person == ranked.c.person)
        .where(excess > 0)
        .subquery()
    )


def capped(connection: Connection, case_: Case) -> None:
    """Withhold from whoever has heard enough, or put off until there is room, as the rule says."""
    cap = cap_of(case_)
    if cap is None:
        return
    over = _over(case_, cap, candidate.c.person.is_not(None))
    if case_.terms.when_capped is WhenCapped.DEFER:
        _defer(connection, case_, cap, over)
    else:
        withhold(connection, Reason.CAP, candidate.c.id.in_(select(over.c.id)))


def channel_capped(connection: Connection, case_: Case) -> None:
    """The same for a cap of one channel; a rule may take the step's other channel instead.

    A message that waits is not taken back here, however little it matters: it may have been the other way already.
    """
    caps = case_.policy.channel_caps
    mine = [
        (channel, caps[case_.terms.purpose, channel]) for channel in Channel if (case_.terms.purpose, channel) in caps
    ]
    if case_.run.send is None or not mine:
        return
    rounds = len(Channel) if case_.terms.when_capped is WhenCapped.OTHER_CHANNEL else 1
    for _ in range(rounds):  # whom one channel sends away comes to the next
        for channel, cap in mine:
            _cap_channel(connection, case_, channel, cap)
    withhold_without_choice(connection, Reason.CAP)


def _cap_channel(connection: Connection, case_: Case, channel: Channel, cap: Cap) -> None:
    best = (
        select(choice.c.candidate_id, func.min(choice.c.place).label("place"))
        .where(choice.c.reason.is_(None))
        .group_by(choice.c.candidate_id)
        .subquery()
    )
    here = select(choice.c.candidate_id).join(
        best, (best.c.candidate_id == choice.c.candidate_id) & (best.c.place == choice.c.place)
    )
    over = _over(case_, cap, candidate.c.id.in_(here.where(choice.c.channel == channel.value)), channel)
    if case_.terms.when_capped is WhenCapped.DEFER:
        _defer(connection, case_, cap, over, channel)
    elif case_.terms.when_capped is WhenCapped.OTHER_CHANNEL:
        full = choice.c.candidate_id.in_(select(over.c.id))
        struck = update(choice).where(full, choice.c.channel == channel.value, choice.c.reason.is_(None))
        connection.execute(struck.values(reason=Reason.CAP))
    else:
        withhold(connection, Reason.CAP, candidate.c.id.in_(select(over.c.id)))


def _span(cap: Cap) -> relativedelta:
    """How long the window is at most: a month may have 31 days."""
    return relativedelta(days=31 * cap.window.months) if cap.window.months else cap.window


def _frees(due_at: ColumnElement[Any], case_: Case, cap: Cap) -> ColumnElement[Any]:
    """When a message leaves the window, at the full hour: few moments for many customers."""
    return next_hour(later(due_at, _span(cap), case_.now))


def _defer(connection: Connection, case_: Case, cap: Cap, over: Subquery, channel: Channel | None = None) -> None:
    """Put off whom the cap keeps back until the window has room for them; withhold where that is too late.

    The first in line takes the place of the message that leaves the window first, the next one that of the next. For
    whom there is no such place yet (their own pass fills the window), it is decided anew at the next pass.
    """
    counted = _counted(case_, cap, channel).subquery()
    turn = func.row_number().over(partition_by=counted.c.person, order_by=(counted.c.due_at, counted.c.id))
    places = select(counted.c.person, counted.c.due_at, turn.label("turn")).where(~counted.c.lesser).subquery()
    room = (
        select(over.c.id, _frees(places.c.due_at, case_, cap).label("at"))
        .join(places, (places.c.person == over.c.person) & (places.c.turn == over.c.excess))
        .subquery()
    )
    withhold(connection, Reason.CAP, candidate.c.id.in_(select(over.c.id)), candidate.c.id.not_in(select(room.c.id)))
    connection.execute(
        update(candidate)
        .where(open_for_decision(), candidate.c.id == room.c.id, candidate.c.due_at < room.c.at)
        .values(due_at=room.c.at)
    )
    withhold(connection, Reason.CAP, candidate.c.due_at > case_.now, candidate.c.due_at >= ends_of(case_))


def displace(connection: Connection, case_: Case) -> int:
    """Let the waiting lesser messages give way whose place is taken. Returns how many; called only when planning.

    The least important and youngest go first, and only as many as there are too many. They are suppressed; those whose
    rule says ``defer`` wait for the next room, where that is not too late.
    """
    cap = cap_of(case_)
    if cap is None or case_.terms.purpose not in DISPLACEABLE:
        return 0
    chosen = connection.execute(_too_many(case_, cap)).all()
    if not chosen:
        return 0
    ids = [row.id for row in chosen]
    put_off = _put_off(connection, case_, cap, ids)
    taken_back = {"state": MessageState.SUPPRESSED, "reason": Reason.CAP, "ended_at": case_.now}
    given_way = update(message).where(message.c.id.in_(set(ids) - put_off), message.c.state.in_(WAITING))
    matches = connection.execute(given_way.values(taken_back).returning(message.c.match_id)).scalars().all()
    take_back(connection, matches, case_.now)
    return len(matches) + len(put_off)


def _put_off(connection: Connection, case_: Case, cap: Cap, ids: Sequence[int]) -> set[int]:
    """Of the messages that give way, put off those whose rule wants it and that are not too late then. Their ids."""
    counted = _counted(case_, cap).where(message.c.id.not_in(ids)).subquery()
    stays = select(counted.c.person, counted.c.due_at)
    taken = stays.union_all(select(candidate.c.person, candidate.c.due_at).where(open_for_decision())).subquery()
    total = func.count().over(partition_by=taken.c.person).label("total")
    places = select(taken.c.person, taken.c.due_at, _turn(taken.c.person, taken.c.due_at), total).subquery()
    kin = _kin()
    fate = type_coerce(message.c.details, JSON)[FATE].as_string()
    mine = (
        select(message.c.id, kin.c.person, _turn(kin.c.person, message.c.priority.desc(), message.c.id))
        .join(kin, kin.c.customer_id == message.c.customer_id)
        .where(message.c.id.in_(ids), fate == WhenCapped.DEFER.value)
        .subquery()
    )
    leaves = places.c.turn == mine.c.turn + places.c.total - cap.most
    frees = (
        select(mine.c.id, _frees(places.c.due_at, case_, cap).label("at"))
        .join(places, (places.c.person == mine.c.person) & leaves)
        .subquery()
    )
    in_time = message.c.expires_at.is_(None) | (message.c.expires_at > frees.c.at)
    # whoever holds a message knows by its reason that it is theirs to let go again
    reason = case((message.c.state == MessageState.HELD, message.c.reason), else_=literal(Reason.CAP.value))
    moved = update(message).where(message.c.id == frees.c.id, in_time).values(due_at=frees.c.at, reason=reason)
    return set(connection.execute(moved.returning(message.c.id)).scalars())


def _turn(person: ColumnElement[Any], *order: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.row_number().over(partition_by=person, order_by=order).label("turn")


def _too_many(case_: Case, cap: Cap) -> Select[Any]:
    """The ids of the lesser messages that must give way to what is about to be planned now."""
    counted = _counted(case_, cap).subquery()
    load = select(counted.c.person, func.count().label("used")).group_by(counted.c.person).subquery()
    wanted = (
        select(candidate.c.person, func.count().label("wanted"))
        .where(open_for_decision(), candidate.c.person.is_not(None))
        .group_by(candidate.c.person)
        .subquery()
    )
    # What was put off to a later window counts as used too, so each new message sends away one at most.
    excess = wanted.c.wanted + load.c.used - cap.most
    most = case((excess < wanted.c.wanted, excess), else_=wanted.c.wanted).label("most")
    need = select(wanted.c.person, most).join(load, load.c.person == wanted.c.person).subquery()
    order = (counted.c.priority, counted.c.created_at.desc(), counted.c.id.desc())
    lesser = select(counted.c.id, counted.c.person, _turn(counted.c.person, *order)).where(counted.c.lesser).subquery()
    return select(lesser.c.id).join(need, need.c.person == lesser.c.person).where(lesser.c.turn <= need.c.most)
