"""The real gates over one customer's matches, looked at after each: which one withheld, and which were passed."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select

from beforehand.explaining.report import Choice, Decision, GateVerdict
from beforehand.passes.deciding import decide_on
from beforehand.wiring import App
from messaging import guards
from messaging.candidates import candidate, choice
from messaging.quiet import why_quiet
from messaging.whereabouts import AREA, law_of
from models.vocabulary import Channel, Reason
from rules.evaluate import matching
from rules.loader import Rule


def decisions(
    connection: Connection, app: App, rule: Rule, now: datetime, only: Select[Any], *, preview: bool
) -> dict[int, Decision]:
    """What the gates decide on the subjects in ``only`` that match, by subject id. Leaves the candidates filled.

    Limits that all customers share are looked at as if these came first. ``preview``: as if the rule were live.
    """
    found = matching(rule, now=now, zone=app.settings.time_zone, only=only)
    passed: list[tuple[str, dict[int, str | None]]] = []

    def seen(gate: guards.Gate) -> None:
        rows = connection.execute(select(candidate.c.subject_id, candidate.c.reason))
        passed.append((gate.name, {row.subject_id: row.reason for row in rows}))

    case = decide_on(connection, app, rule, now, preview=preview, found=found, seen=seen)
    ways = _ways(connection)
    return {
        row.subject_id: Decision(
            gates=_walk(row.subject_id, passed),
            reason=Reason(row.reason) if row.reason else None,
            occasion=row.occasion,
            channel=row.channel,
            template=row.template,
            due_at=row.due_at,
            expires_at=row.expires_at,
            choices=ways.get(row.id, ()),
            held=_held(case, row),
        )
        for row in connection.execute(select(candidate).order_by(candidate.c.id)).all()
    }


def _held(case: guards.Case, row: Any) -> str:
    """What keeps a message waiting, in words; empty where it may go at once."""
    lost = row.reason == Reason.NO_COMMON_HOUR
    if row.channel is None or not (lost or (row.reason is None and row.due_at > case.now)):
        return ""
    law = law_of((row.phone or "")[:AREA], row.country)
    hours = case.policy.hours(case.terms.purpose, Channel(row.channel), *law, row.own or "")
    return why_quiet(case.now, row.zone, hours) or f"heard enough, there is room at {row.due_at:%Y-%m-%d %H:%M} UTC"


def _walk(subject_id: int, passed: list[tuple[str, dict[int, str | None]]]) -> tuple[GateVerdict, ...]:
    """The gates in order, up to the one that withheld."""
    walked = []
    for name, reasons in passed:
        reason = reasons.get(subject_id)
        walked.append(GateVerdict(name, Reason(reason) if reason else None))
        if reason:
            break
    return tuple(walked)


def _ways(connection: Connection) -> dict[int, tuple[Choice, ...]]:
    """The ways to say it that each candidate had, in order, with what struck them out."""
    found: dict[int, tuple[Choice, ...]] = {}
    for row in connection.execute(select(choice).order_by(choice.c.candidate_id, choice.c.place)):
        way = Choice(row.channel, row.template, row.step, Reason(row.reason) if row.reason else None)
        found[row.candidate_id] = (*found.get(row.candidate_id, ()), way)
    return found
