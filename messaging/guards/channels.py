"""The ways to say it, and the gates about them: template, consent, suppression, address, guest list.

Each gate strikes out choices; a candidate is withheld by the gate that struck out its last one.
"""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    case,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from messaging.addresses import EMAIL, PHONE, address_hash, family, normal_address
from messaging.candidates import (
    TABLES,
    barred,
    candidate,
    choice,
    guest,
    message,
    open_for_decision,
    settle_statistics,
)
from messaging.guards.case import Case, withhold
from messaging.steps import Run
from models.terms import Send
from models.vocabulary import Channel, ConsentVerdict, Reason

consent = TABLES["consent"]
suppression = TABLES["suppression"]

PREFERENCE = (Channel.SMS, Channel.EMAIL, Channel.VOICE)
"""The order behind the customer's own preference, where a step names no channels."""

WHATEVER = "all"
"""In the ledger and in suppressions: every channel, or every purpose."""


def _places(send: Send, case_: Case) -> list[tuple[Channel, int]]:
    written = set(case_.policy.channels_of(send.template))
    return [(channel, place) for place, channel in enumerate(send.by or PREFERENCE) if channel in written]


def list_choices(connection: Connection, case_: Case) -> None:
    """Fill ``choice``: the step's channels in order, then those of its ``else``, each with address and consent."""
    send = case_.run.send
    if send is None:
        return
    ways = [(send, channel, place, case_.run.label) for channel, place in _places(send, case_)]
    if send.otherwise:
        other = f"{case_.run.send_at}.else"
        ways += [(send.otherwise, channel, 10 + place, other) for channel, place in _places(send.otherwise, case_)]
    for way in ways:
        _add(connection, case_, *way)
    settle_statistics(connection, choice)
    if not ways:
        withhold(connection, Reason.TEMPLATE_FAILED)


def _add(connection: Connection, case_: Case, send: Send, channel: Channel, place: int, step: str) -> None:
    newest = _newest_consent(case_, channel)
    rank: ColumnElement[int] = literal(place)
    if not send.by:
        rank = case((candidate.c.preferred == channel.value, literal(place - 5)), else_=literal(place))
    address = candidate.c.email if channel is Channel.EMAIL else candidate.c.phone
    source = (
        select(
            candidate.c.id,
            rank,
            literal(channel.value),
            literal(send.template),
            literal(step),
            func.nullif(address, ""),
            newest.c.id,
            _consent_reason(case_, newest),
        )
        .select_from(candidate.outerjoin(newest, newest.c.customer_id == candidate.c.customer_id))
        .where(open_for_decision())
    )
    names = ["candidate_id", "place", "channel", "template", "step", "address", "consent_id", "reason"]
    connection.execute(insert(choice).from_select(names, source))


def _newest_consent(case_: Case, channel: Channel) -> Subquery:
    """The newest ledger entry of each customer for this channel and purpose; only that one counts."""
    latest = (consent.c.given_at.desc(), consent.c.id.desc())
    turn = func.row_number().over(partition_by=consent.c.customer_id, order_by=latest)
    entries = (
        select(consent.c.id, consent.c.customer_id, consent.c.verdict, turn.label("turn"))
        .where(
            consent.c.channel.in_([channel.value, WHATEVER]),
            consent.c.purpose.in_([case_.terms.purpose.value, WHATEVER]),
            consent.c.given_at <= case_.now,
            consent.c.customer_id.in_(select(candidate.c.customer_id).where(open_for_decision())),
        )
        .subquery()
    )
    return select(entries.c.id, entries.c.customer_id, entries.c.verdict).where(entries.c.turn == 1).subquery()


def _consent_reason(case_: Case, newest: Subquery) -> ColumnElement[Any]:
    said_no = (newest.c.verdict == ConsentVerdict.WITHDRAWN.value, literal(Reason.OPTED_OUT.value))
    if case_.terms.purpose in case_.policy.consent_needed:
        return case(said_no, (newest.c.verdict.is_(None), literal(Reason.NO_CONSENT.value)))
    return case(said_no)


def withhold_without_choice(connection: Connection, reason: Reason | ColumnElement[Any]) -> None:
    """Withhold from whom no choice is left to."""
    left = select(choice.c.id).where(choice.c.candidate_id == candidate.c.id, choice.c.reason.is_(None))
    withhold(connection, reason, ~left.exists())


def consented(connection: Connection, case_: Case) -> None:
    """Withhold where the ledger leaves no channel: opted out, or (where a yes is needed) never agreed."""
    if case_.run.send is None:
        return
    no = select(choice.c.id).where(choice.c.candidate_id == candidate.c.id, choice.c.reason == Reason.OPTED_OUT.value)
    verdict = case((no.exists(), literal(Reason.OPTED_OUT.value)), else_=literal(Reason.NO_CONSENT.value))
    withhold_without_choice(connection, verdict)


def suppressed(connection: Connection, case_: Case) -> None:
    """Withhold where every address left must not be used. Addresses are compared by their keyed hashes."""
    if case_.run.send is None:
        return
    scopes = [WHATEVER, case_.terms.purpose.value]
    rows = connection.execute(
        select(suppression.c.address_hash, suppression.c.channel).where(
            suppression.c.scope.in_(scopes), suppression.c.since <= case_.now
        )
    )
    known = {(row.address_hash, row.channel) for row in rows}
    if known:
        _strike_barred(connection, case_, known)
        withhold_without_choice(connection, Reason.SUPPRESSED)


def _strike_barred(connection: Connection, case_: Case, known: set[tuple[str, str]]) -> None:
    open_choices = (choice.c.reason.is_(None), choice.c.address.is_not(None))
    used = connection.execute(select(choice.c.channel, choice.c.address).where(*open_choices).distinct())
    found = []
    for channel, address in used:
        hashed = address_hash(case_.policy.secret, channel, address)
        if any((hashed, scope) in known for scope in (channel, family(channel), WHATEVER)):
            found.append({"channel": channel, "address": address})
    if found:
        connection.execute(insert(barred), found)
        struck = tuple_(choice.c.channel, choice.c.address).in_(select(barred.c.channel, barred.c.address))
        connection.execute(update(choice).where(*open_choices, struck).values(reason=Reason.SUPPRESSED))


def reachable(connection: Connection, case_: Case) -> None:
    """Withhold where no allowed channel has a usable address: E.164 for phones, something at something for e-mail."""
    if case_.run.send is None:
        return
    mail = choice.c.channel == Channel.EMAIL.value
    usable = (mail & choice.c.address.like("%_@_%")) | (~mail & choice.c.address.like("+_______%"))
    connection.execute(
        update(choice)
        .where(choice.c.reason.is_(None), choice.c.address.is_(None) | ~usable)
        .values(reason=Reason.UNREACHABLE)
    )
    if case_.run.other > 1:
        _strike_tried(connection, case_.run)
    withhold_without_choice(connection, Reason.UNREACHABLE)


def _strike_tried(connection: Connection, run: Run) -> None:
    """Strike out the channels by which this very message was tried already: its address was bad there."""
    same = or_(message.c.step == run.branch, message.c.step.like(f"{run.branch}.other%"))
    tried = (
        select(message.c.id)
        .join(candidate, candidate.c.match_id == message.c.match_id)
        .where(candidate.c.id == choice.c.candidate_id, message.c.channel == choice.c.channel, same)
        .correlate(choice)
        .exists()
    )
    struck = update(choice).where(choice.c.reason.is_(None), tried)
    connection.execute(struck.values(reason=Reason.UNREACHABLE))


def on_guest_list(connection: Connection, case_: Case) -> None:
    """In trial mode, withhold whoever has no address on the guest list."""
    guests = case_.policy.guests
    if case_.run.send is None or guests is None:
        return
    spellings = guests | {normal_address(kind, g) for g in guests for kind in ("sms", "email") if _is(kind, g)}
    if spellings:
        connection.execute(insert(guest), [{"address": spelling} for spelling in sorted(spellings)])
    here = func.lower(choice.c.address).in_(_guests())
    connection.execute(update(choice).where(choice.c.reason.is_(None), ~here).values(reason=Reason.NOT_ON_GUEST_LIST))
    withhold_without_choice(connection, Reason.NOT_ON_GUEST_LIST)


def _is(kind: str, address: str) -> bool:
    return (EMAIL if "@" in address else PHONE) == family(kind)


def _guests() -> Select[Any]:
    return select(func.lower(guest.c.address))


def choose(connection: Connection, case_: Case) -> None:
    """Write the first choice that is left into each open candidate; a run without a message has only its step."""
    if case_.run.send is None:
        connection.execute(update(candidate).values(step=case_.run.label))
        return
    first = (
        select(choice.c.candidate_id, func.min(choice.c.place).label("place"))
        .where(choice.c.reason.is_(None))
        .group_by(choice.c.candidate_id)
        .subquery()
    )
    best = (
        select(choice.c.candidate_id, choice.c.channel, choice.c.address)
        .add_columns(choice.c.template, choice.c.step, choice.c.consent_id)
        .join(first, (first.c.candidate_id == choice.c.candidate_id) & (first.c.place == choice.c.place))
        .subquery()
    )
    names = ("channel", "address", "template", "step", "consent_id")
    connection.execute(
        update(candidate)
        .where(open_for_decision(), best.c.candidate_id == candidate.c.id)
        .values({candidate.c[name]: best.c[name] for name in names})
    )
