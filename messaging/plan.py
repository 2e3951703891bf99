"""The plan transaction: match rows, vouchers, messages, surveys and tasks of one decision, written together.

Everything is planned once: the unique keys hold it, and ``INSERT .. ON CONFLICT DO NOTHING`` lets a second planner
of the same occasion do nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    Table,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    text,
    true,
    update,
)

from messaging.candidates import TABLES, candidate, customer, match, message, open_for_decision, outside_key, table_of
from messaging.guards import brake
from messaging.guards.cap import FATE, displace
from messaging.guards.case import Case
from messaging.guards.times import later
from messaging.held.holding import first_wait, hold
from messaging.journal.past import recall
from messaging.steps import leading_waits
from messaging.vouchers import CROCKFORD, RandomBytes, code_hash, new_salt, voucher_code
from models.database import dialect_insert
from models.terms import Send, Wait, after
from models.types import Json, UTCDateTime
from models.vocabulary import MatchState, MessageState, Reason, WebhookState, WhenCapped

voucher = TABLES["voucher"]
task = TABLES["task"]
webhook = TABLES["webhook"]
survey = TABLES["survey"]
rule_version = TABLES["rule_version"]

REFERENCE_LETTERS = 8
REFERENCE_FACTOR = 2_654_435
"""Odd, so that multiplying by it modulo 2**40 gives every number another one; small, so that 64 bits suffice."""

ORDINALS = 1024
TRIES = 16
"""Messages of one step are told apart by their run's ordinal, 0 to 15."""
DECIDING = 0x_BEF0
"""The key of the PostgreSQL lock under which decisions are taken one after the other (caps look across rules)."""


@dataclass(frozen=True)
class Planned:
    """What one plan wrote: new messages, tasks, vouchers and webhooks, and lesser messages that gave way.

    ``held``: all of it was held by the brake, and nothing else was written.
    """

    messages: int = 0
    tasks: int = 0
    vouchers: int = 0
    displaced: int = 0
    webhooks: int = 0
    held: brake.Over | None = None


OCCASION_KEYS = {
    "match": ["rule_id", "occasion"],
    "message": ["rule_id", "occasion", "step", "customer_id"],
    "task": ["match_id", "step"],
    "webhook": ["match_id", "step"],
    "survey": ["external_id"],
}
"""The keys by which each row is planned once; any other conflict is an error and must be heard."""


def one_decision_at_a_time(connection: Connection) -> None:
    """Wait until no other decision is being taken. SQLite's write transaction does that by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": DECIDING})


def insert_new(connection: Connection, table: Table, values: dict[str, ColumnElement[Any]], rows: Select[Any]) -> int:
    """INSERT .. SELECT .. ON CONFLICT DO NOTHING. ``rows`` gives the FROM and WHERE. Returns how many were new."""
    # SQLite needs a WHERE to tell the ON of a conflict from the ON of a join.
    source = rows.with_only_columns(*values.values(), maintain_column_froms=True).where(true())
    insertion = dialect_insert(connection, table).from_select(list(values), source, include_defaults=False)
    statement = insertion.on_conflict_do_nothing(index_elements=OCCASION_KEYS[table.name])
    return int(connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount)


def insert_if_new(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert one row; False where its key is there already."""
    statement = dialect_insert(connection, table).values(row).on_conflict_do_nothing().returning(table.c.id)
    return connection.execute(statement).first() is not None


def keep_version(
    connection: Connection, rule_id: str, version: str, rule_text: str, now: datetime, *, author: str | None = None
) -> None:
    """Keep the text of a rule under its version, once, with who wrote it where that is known."""
    row = {"rule_id": rule_id, "version": version, "text": rule_text, "first_used_at": now}
    row["author"] = author[:200] if author else None
    insert_if_new(connection, rule_version, row)


def moment(value: datetime) -> ColumnElement[datetime]:
    """A bound moment."""
    return literal(value, UTCDateTime())


def plan_new(connection: Connection, case_: Case, secret: bytes, random: RandomBytes) -> Planned:
    """Write the matches of a pass, withheld ones too, and take the first steps of those that may go.

    Where they are more than the brake lets pass, nothing of them is taken: they are held as one run.
    """
    _update_withheld(connection, case_)
    _insert_matches(connection, case_)
    _link(connection, case_)
    over = brake.over(connection, case_)
    if over is not None:
        hold(connection, case_, over)
        return Planned(held=over)
    if leading_waits(case_.terms.steps):
        _begin_waiting(connection, case_)
        return Planned()
    return take_run(connection, case_, secret, random)


def _update_withheld(connection: Connection, case_: Case) -> None:
    """Say of matches that were withheld before what is known of them now."""
    c = candidate.c
    connection.execute(
        update(match)
        .where(match.c.id == c.match_id, match.c.state == MatchState.WITHHELD)
        .values(
            reason=c.reason,
            seen_at=case_.now,
            matched_at=c.matched_at,
            facts=c.facts,
            subject=case_.terms.subject,  # an edit may have changed for_each, and a source whose order it is
            subject_id=c.subject_id,
            customer_id=c.customer_id,
            version=case_.terms.version,
        )
    )


def _insert_matches(connection: Connection, case_: Case) -> None:
    c, terms = candidate.c, case_.terms
    values = {
        "rule_id": literal(terms.rule_id),
        "version": literal(terms.version),
        "occasion": c.occasion,
        "subject": literal(terms.subject),
        "subject_id": c.subject_id,
        "customer_id": c.customer_id,
        "facts": c.facts,
        "matched_at": c.matched_at,
        "seen_at": moment(case_.now),
        "state": literal(MatchState.WITHHELD.value),
        "reason": c.reason,
        "next_step": literal(0),
    }
    fresh = or_(open_for_decision(), c.reason != Reason.KNOWN_OCCASION.value)
    insert_new(connection, match, values, select(c.id).where(c.match_id.is_(None), fresh))


def _link(connection: Connection, case_: Case) -> None:
    """Tell each candidate its match; where another planner was quicker, the occasion is known by now."""
    c = candidate.c
    mine = (match.c.rule_id == case_.terms.rule_id) & (match.c.occasion == c.occasion)
    begun = case((match.c.state != MatchState.WITHHELD, literal(Reason.KNOWN_OCCASION.value)))
    connection.execute(update(candidate).where(open_for_decision(), mine).values(match_id=match.c.id, reason=begun))


def _begin_waiting(connection: Connection, case_: Case) -> None:
    """Start the matches of a rule that begins with a wait; nothing is said yet."""
    values = {"state": MatchState.OPEN, "next_step": 0, "started_at": case_.now, "reason": None}
    values |= first_wait(leading_waits(case_.terms.steps)[0], case_)
    connection.execute(update(match).where(match.c.id == candidate.c.match_id, open_for_decision()).values(values))


def take_run(connection: Connection, case_: Case, secret: bytes, random: RandomBytes) -> Planned:
    """Take the run's steps for every candidate that may go, and move their matches on."""
    displaced = displace(connection, case_)
    vouchers = _issue_vouchers(connection, case_, secret, random)
    messages = _insert_messages(connection, case_)
    _recall(connection, case_, secret)
    _open_surveys(connection, case_)
    tasks = insert_tasks(connection, case_, open_for_decision())
    webhooks = insert_webhooks(connection, case_, open_for_decision())
    move_on(connection, case_, open_for_decision())
    return Planned(messages, tasks, vouchers, displaced, webhooks)


def _issue_vouchers(connection: Connection, case_: Case, secret: bytes, random: RandomBytes) -> int:
    step = case_.run.voucher
    if step is None:
        return 0
    rows = connection.execute(select(candidate.c.match_id, candidate.c.customer_id).where(open_for_decision())).all()
    salts = [new_salt(random) for _ in rows]
    values = [
        {
            "external_id": f"voucher/{row.match_id}",
            "changed_at": case_.now,
            "customer_id": row.customer_id,
            "rule_id": case_.terms.rule_id,
            "match_id": row.match_id,
            "salt": salt,
            "code_hash": code_hash(voucher_code(secret, salt)),
            "currency": step.worth.currency,
            "worth": step.worth.minor,
            "issued_at": case_.now,
            "valid_until": after(case_.now, step.valid_for),
        }
        for row, salt in zip(rows, salts, strict=True)
    ]
    if not values:
        return 0
    connection.execute(dialect_insert(connection, voucher).on_conflict_do_nothing(index_elements=["match_id"]), values)
    return len(values)


def _details(case_: Case, send: Send) -> dict[str, Any]:
    """What the channels need beside the text; empty words are left out."""
    said = {"connect_to": send.connect_to, "survey": send.survey, "tries": send.tries if send.tries > 1 else None}
    if case_.terms.when_capped is WhenCapped.DEFER:
        said[FATE] = WhenCapped.DEFER.value
    if case_.run.voucher is not None:
        said["voucher"] = True
    return {word: value for word, value in said.items() if value is not None}


def _number(value: int) -> ColumnElement[int]:
    return literal(value, BigInteger())


def reference(match_id: ColumnElement[Any], ordinal: ColumnElement[int]) -> ColumnElement[str]:
    """The short word of a message, in SQL: eight letters that no other (match, ordinal) has, up to 2**30 matches.

    ``ordinal`` (0 to 1023) tells the messages of one match apart.
    """
    number = (match_id * _number(ORDINALS) + ordinal) % _number(2**40)
    mixed = (number * _number(REFERENCE_FACTOR)) % _number(2**40)
    word: ColumnElement[str] = literal("")
    for letter in range(REFERENCE_LETTERS):
        digit = (mixed // _number(32**letter)) % _number(32)
        word = word + func.substr(literal(CROCKFORD), cast(digit, Integer) + 1, 1)
    return word


def take_other(connection: Connection, case_: Case, secret: bytes, details: ColumnElement[Any]) -> int:
    """Plan the run's message with the ``details`` of one that went before it; the matches stay where they are."""
    displace(connection, case_)
    count = _insert_messages(connection, case_, details=details)
    _recall(connection, case_, secret)
    _open_surveys(connection, case_)  # a survey is known by the step of the message that asks
    return count


def _insert_messages(connection: Connection, case_: Case, **instead: ColumnElement[Any]) -> int:
    send = case_.run.send
    if send is None:
        return 0
    values = _message(case_, send) | instead
    return insert_new(connection, message, values, select(candidate.c.id).where(open_for_decision()))


def _recall(connection: Connection, case_: Case, secret: bytes) -> None:
    """What went out before the database was restored is not said again: the new row is put right by what is known."""
    mine = message.c.match_id.in_(select(candidate.c.match_id).where(open_for_decision()))
    recall(connection, select(message.c.id).where(mine, message.c.state == MessageState.PLANNED), case_.now, secret)


def _message(case_: Case, send: Send) -> dict[str, ColumnElement[Any]]:
    c, terms = candidate.c, case_.terms
    place = TRIES * (case_.run.send_at or 0)
    is_else = c.step.like("%.else")
    details: ColumnElement[Any] = literal(_details(case_, send), Json)
    if send.otherwise:
        details = case((is_else, literal(_details(case_, send.otherwise), Json)), else_=details)
    return {
        "match_id": c.match_id,
        "rule_id": literal(terms.rule_id),
        "version": literal(terms.version),
        "occasion": c.occasion,
        "step": c.step,
        "customer_id": c.customer_id,
        "purpose": literal(terms.purpose.value),
        "priority": literal(terms.priority),
        "channel": c.channel,
        "address": c.address,
        "template": c.template,
        "language": c.language,
        "details": details,
        "consent_id": c.consent_id,
        "state": literal(MessageState.PLANNED.value),
        "created_at": moment(case_.now),
        "due_at": c.due_at,
        "expires_at": c.expires_at,
        "tries": literal(0),
        "reference": reference(c.match_id, case((is_else, place + 1), else_=place + case_.run.ordinal)),
    }


def _open_surveys(connection: Connection, case_: Case) -> None:
    send = case_.run.send
    if send is None or send.survey is None:
        return
    c, subject = candidate.c, case_.terms.subject
    values: dict[str, ColumnElement[Any]] = {
        "external_id": literal("survey/") + cast(c.match_id, String) + literal("/") + c.step,
        "changed_at": moment(case_.now),
        "customer_id": c.customer_id,
        "match_id": c.match_id,
        "kind": literal(send.survey),
        "asked_at": c.due_at,
    }
    if f"{subject}_id" in survey.c and subject != "customer":
        values[f"{subject}_id"] = c.subject_id
    insert_new(connection, survey, values, select(c.id).where(open_for_decision()))


def insert_tasks(connection: Connection, case_: Case, which: ColumnElement[bool]) -> int:
    """Write the run's tasks for the chosen candidates. Returns how many were new."""
    c, count = candidate.c, 0
    for place, step in case_.run.tasks:
        values: dict[str, ColumnElement[Any]] = {
            "match_id": c.match_id,
            "step": literal(str(place)),
            "customer_id": c.customer_id,
            "desk": literal(step.desk),
            "what": literal(step.what),
            "created_at": moment(case_.now),
        }
        count += insert_new(connection, task, values, select(c.id).where(which))
    return count


def insert_webhooks(connection: Connection, case_: Case, which: ColumnElement[bool]) -> int:
    """Write the webhooks of the run for the chosen candidates; their facts are told afterwards. Counts the new ones."""
    c, count, terms = candidate.c, 0, case_.terms
    subject = table_of(terms.subject).alias("subject")
    outside = cast(outside_key(subject), String)
    for place, step in case_.run.webhooks:
        values: dict[str, ColumnElement[Any]] = {
            "match_id": c.match_id,
            "rule_id": literal(terms.rule_id),
            "version": literal(terms.version),
            "occasion": c.occasion,
            "step": literal(str(place)),
            "endpoint": literal(step.endpoint),
            "subject": literal(terms.subject),
            "subject_id": c.subject_id,
            "subject_key": select(outside).where(subject.c.id == c.subject_id).scalar_subquery(),
            "customer_id": c.customer_id,
            "customer_key": select(customer.c.external_id).where(customer.c.id == c.customer_id).scalar_subquery(),
            "said": literal(dict(step.said), Json),
            "state": literal(WebhookState.PLANNED.value),
            "created_at": moment(case_.now),
            "due_at": moment(case_.now),
            "tries": literal(0),
        }
        count += insert_new(connection, webhook, values, select(c.id).where(which))
    return count


def move_on(connection: Connection, case_: Case, which: ColumnElement[bool], *, to: int | None = None) -> None:
    """Move the chosen candidates' matches behind the run (or to step ``to``), or to their end."""
    values = _standing(case_, case_.run.end if to is None else to)
    if to is None and case_.run.awaits_outcome:
        stays = candidate.c.step == literal(case_.run.label)
        here = _here(case_)
        values = {name: case((stays, here[name]), else_=values[name]) for name in values}
    begun = func.coalesce(match.c.started_at, moment(case_.now), type_=UTCDateTime())
    chosen = update(match).where(match.c.id == candidate.c.match_id, which)
    connection.execute(chosen.values(**values, started_at=begun))


def _never() -> ColumnElement[Any]:
    """No moment, of a moment's type: PostgreSQL takes a CASE of bare nulls for a text."""
    return cast(null(), UTCDateTime())


def _here(case_: Case) -> dict[str, ColumnElement[Any]]:
    """A match that stays at its send until the outcome is known."""
    return {
        "state": literal(MatchState.OPEN.value),
        "next_step": literal(case_.run.send_at or 0),
        "due_at": candidate.c.due_at,
        "gives_up_at": _never(),
        "ended_at": _never(),
        "reason": null(),
    }


def _standing(case_: Case, place: int) -> dict[str, ColumnElement[Any]]:
    """Where a match stands that has taken all steps before ``place``. A wait counts from when the message may go."""
    steps = case_.terms.steps
    over = place >= len(steps)
    due: ColumnElement[Any] = moment(case_.now)
    step = None if over else steps[place]
    gives_up = _never()
    if isinstance(step, Wait):
        since = func.coalesce(candidate.c.due_at, due, type_=UTCDateTime())
        due = later(since, step.lasts, case_.now) if step.lasts else due
        gives_up = later(since, step.at_most, case_.now) if step.at_most else gives_up
    return {
        "state": literal((MatchState.DONE if over else MatchState.OPEN).value),
        "next_step": literal(place),
        "due_at": _never() if over else due,
        "gives_up_at": gives_up,
        "ended_at": moment(case_.now) if over else _never(),
        "reason": candidate.c.reason if over else null(),
    }
