"""What is stored of a customer's matches: facts, messages, attempts, evidence, receipts, tasks, vouchers, by time."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select

from beforehand.explaining.people import Person
from beforehand.explaining.report import Event, PastMatch
from beforehand.passes.house import version_of
from beforehand.wiring import App
from messaging.candidates import TABLES, match, message, table_of
from models.vocabulary import REASON_TEXT, MatchState, Reason
from rules.because import because
from rules.errors import RuleErrors
from rules.loader import Rule, RuleSet
from rules.saying import money_text

LONGEST = 160
"""So much of a piece of evidence is shown."""


def past_of(
    connection: Connection, app: App, person: Person, running: RuleSet | None, rule_id: str | None, until: datetime,
    *, limit: int
) -> tuple[list[PastMatch], int]:  # fmt: skip
    """The newest ``limit`` matches up to ``until`` with all that came of them, the oldest first; and how many more."""
    known = select(TABLES["rule_version"].c.rule_id).distinct()
    mine = [match.c.customer_id == person.id, match.c.matched_at <= until]
    mine.append(match.c.rule_id.in_(known) if rule_id is None else match.c.rule_id == rule_id)
    if person.subject:
        mine += [match.c.subject == person.subject, match.c.subject_id == person.subject_id]
    count = connection.execute(select(func.count()).select_from(match).where(*mine)).scalar_one()
    newest = select(match).where(*mine).order_by(match.c.matched_at.desc(), match.c.id.desc()).limit(limit)
    rows = list(reversed(connection.execute(newest).all()))
    events = _Events(connection, [row.id for row in rows], until).gathered()
    keys = _keys(connection, rows, app)
    found = [_match(connection, app, row, running, events.get(row.id, []), keys, person.zone) for row in rows]
    found = [replace(each, events=tuple(event for event in each.events if event.at <= until)) for each in found]
    return found, max(count - len(rows), 0)


def _keys(connection: Connection, rows: Sequence[Row[Any]], app: App) -> dict[tuple[str, int], str]:
    """The outside keys of the matched subjects, by kind and id."""
    keys = {}
    for kind in {row.subject for row in rows}:
        table = table_of(kind)
        if "external_id" in table.c:
            ids = [row.subject_id for row in rows if row.subject == kind]
            found = connection.execute(select(table.c.id, table.c.external_id).where(table.c.id.in_(ids)))
            keys.update({(kind, row.id): row.external_id for row in found})
    return keys


def _match(
    connection: Connection, app: App, row: Row[Any], running: RuleSet | None, events: list[Event],
    keys: dict[tuple[str, int], str], zone: str
) -> PastMatch:  # fmt: skip
    told = PastMatch(
        rule_id=row.rule_id,
        version=row.version,
        occasion=row.occasion,
        subject=f"{row.subject}/{keys.get((row.subject, row.subject_id), row.subject_id)}",
        state=row.state,
        reason=_reason(row.reason),
        matched_at=row.matched_at,
        events=tuple(sorted([*_of_match(row), *events], key=lambda event: event.at)),
    )
    try:
        rule: Rule | None = version_of(app, connection, row.rule_id, row.version)
    except RuleErrors as wrong:
        note = f"the stored text no longer loads: {wrong.problems[0]}"
        return replace(told, kept=False, other_text=note)
    if rule is None:
        return replace(told, kept=False, other_text="the text of this version is not kept")
    said = tuple(because(rule, row.facts or {}, row.matched_at, zone))
    return replace(told, because=said, other_text=_since(row, running))


def _since(row: Row[Any], running: RuleSet | None) -> str:
    if running is None:
        return ""
    now = running.rules.get(row.rule_id)
    if now is None:
        return "the rule is no longer in the folder; this is its text as stored then"
    return "" if now.terms.version == row.version else "the rule has changed since; this is its text as stored then"


def _reason(stored: str | None) -> Reason | None:
    return Reason(stored) if stored is not None and stored in set(Reason) else None


def _why(stored: str | None) -> str:
    reason = _reason(stored)
    return f": {REASON_TEXT[reason]} ({reason.value})" if reason else f": {stored}" if stored else ""


def _of_match(row: Row[Any]) -> Iterable[Event]:
    yield Event(row.matched_at, "found", f"by {row.rule_id} (version {row.version})")
    if row.state == MatchState.WITHHELD:
        yield Event(row.seen_at, "withheld", f"looked at last{_why(row.reason)}")
    if row.state == MatchState.HELD:
        yield Event(row.seen_at, "held", f"with run {row.held_run_id} of the rule{_why(row.reason)}")
    # cancel writes the moment on what had not begun, too, so that its occasion counts as used
    if row.started_at is not None and not (row.reason == Reason.CANCELLED_BY_STAFF and row.started_at == row.ended_at):
        yield Event(row.started_at, "begun", "its steps began")
    if row.ended_at is not None:
        yield Event(row.ended_at, "ended", f"{row.state}{_why(row.reason)}")


class _Events:
    """All stored rows that hang on some matches, as events by match id: one statement a table."""

    def __init__(self, connection: Connection, match_ids: list[int], until: datetime) -> None:
        self.connection = connection
        self.match_ids = match_ids
        self.until = until
        self.found: dict[int, list[Event]] = {}
        self.of_message: dict[int, int] = {}
        self.of_attempt: dict[int, int] = {}

    def gathered(self) -> dict[int, list[Event]]:
        """The events that had happened by then."""
        for row in self._rows(message, message.c.match_id, self.match_ids):
            self.of_message[row.id] = row.match_id
            self._message(row)
        for row in self._rows(TABLES["attempt"], TABLES["attempt"].c.message_id, self.of_message):
            self.of_attempt[row.id] = self.of_message[row.message_id]
            self._attempt(row)
        for row in self._rows(TABLES["evidence"], TABLES["evidence"].c.attempt_id, self.of_attempt):
            said = json.dumps(row.content or {}, ensure_ascii=False, default=str)
            shown = said if len(said) <= LONGEST else said[:LONGEST] + " ..."
            self._add(self.of_attempt[row.attempt_id], row.seen_at, "evidence", f"{row.kind} {shown}")
        for row in self._rows(TABLES["receipt"], TABLES["receipt"].c.message_id, self.of_message):
            code = f" ({row.code})" if row.code else ""
            self._add(self.of_message[row.message_id], row.happened_at or row.seen_at, "receipt", f"{row.state}{code}")
        self._of_match()
        return self.found

    def _of_match(self) -> None:
        for row in self._rows(TABLES["task"], TABLES["task"].c.match_id, self.match_ids):
            self._add(row.match_id, row.created_at, "task", f"for {row.desk}: {row.what}")
            self._add(row.match_id, row.done_at, "task", f"{row.desk} has done: {row.what}")
        for row in self._rows(TABLES["webhook"], TABLES["webhook"].c.match_id, self.match_ids):
            code = f" ({row.code})" if row.code else ""
            self._add(row.match_id, row.created_at, "webhook", f"{row.endpoint}: {row.state}{code}")
        for row in self._rows(TABLES["voucher"], TABLES["voucher"].c.match_id, self.match_ids):
            self._add(row.match_id, row.issued_at, "voucher", f"issued, {money_text(row.worth, row.currency)}")
            self._add(row.match_id, row.redeemed_at, "voucher", "redeemed")
        for row in self._rows(TABLES["survey"], TABLES["survey"].c.match_id, self.match_ids):
            self._add(row.match_id, row.asked_at, "survey", f"asked: {row.kind}")
            self._add(row.match_id, row.answered_at, "survey", f"answered, score {row.score}")

    def _rows(self, table: Table, column: Any, ids: Iterable[int]) -> Sequence[Row[Any]]:
        wanted = list(ids)
        return self.connection.execute(select(table).where(column.in_(wanted)).order_by(table.c.id)).all()

    def _add(self, match_id: int, at: datetime | None, kind: str, says: str) -> None:
        if at is not None and at <= self.until:
            self.found.setdefault(match_id, []).append(Event(at, kind, says))

    def _message(self, row: Row[Any]) -> None:
        what = f"{row.template} by {row.channel} (step {row.step}, {row.reference})"
        self._add(row.match_id, row.created_at, "message", f"planned: {what}")
        self._add(row.match_id, row.accepted_at, "message", f"{row.channel} accepted by the provider")
        if row.ended_at is not None and row.ended_at != row.accepted_at:
            self._add(row.match_id, row.ended_at, "message", f"{row.channel} {row.state}{_why(row.reason)}")
        elif row.ended_at is None and row.accepted_at is None:
            said = f"{row.channel} is {row.state}{_why(row.reason)}, may go from {row.due_at:%Y-%m-%d %H:%M} UTC"
            self._add(row.match_id, row.created_at, "message", said)

    def _attempt(self, row: Row[Any]) -> None:
        outcome = ", ".join(part for part in (row.outcome, row.code, row.provider) if part)
        said = f"try {row.number}: {row.state}{f' ({outcome})' if outcome else ''}"
        self._add(self.of_attempt[row.id], row.armed_at or row.claimed_at, "attempt", said)
