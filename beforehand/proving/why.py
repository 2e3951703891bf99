"""Why a test came out otherwise: what the gates decided, and which named condition holds with which values."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, literal, select

import models
from beforehand.proving.happened import Happening
from messaging.candidates import UNTOLD
from models.places import closest
from models.terms import Send, Wait
from models.vocabulary import REASON_TEXT, MatchState, Reason
from rules.conditions import Group
from rules.loader import Rule
from rules.rule_tests import RuleTest, Stage
from rules.saying import Voice, sentence
from rules.verdicts import Told, Verdict, told

message: Any = models.Message.__table__  # type: ignore[attr-defined]
match: Any = models.Match.__table__  # type: ignore[attr-defined]


def reasons(connection: Connection, rule: Rule, first: Collection[Reason]) -> dict[Reason, str]:
    """The reasons for which something of this rule did not go, each with what it kept back.

    ``first`` are those of the first pass: of an occasion that was known before, no row says so.
    """
    found: dict[Reason, str] = dict.fromkeys(first, "")
    ours = [match.c.rule_id == rule.id, match.c.version == rule.terms.version, match.c.reason.is_not(None)]
    for row in connection.execute(select(match.c.reason).where(*ours).order_by(match.c.id)):
        found.setdefault(Reason(row.reason), "")
    dead = [message.c.rule_id == rule.id, message.c.version == rule.terms.version, message.c.state.in_(UNTOLD)]
    wanted = select(message.c.reason, message.c.template, message.c.channel)
    for row in connection.execute(wanted.where(*dead, message.c.reason.is_not(None)).order_by(message.c.id)):
        found[Reason(row.reason)] = f"{row.template} by {row.channel}"
    return found


def reason_differs(found: Mapping[Reason, str], wanted: Reason) -> list[str]:
    """How the reasons differ from the one that a test expects, in words; nothing where it is among them."""
    if wanted in found:
        return []
    given = " and ".join(f"'{_text(reason)}' ({reason})" for reason in found)
    return [f"the reason is {given}" if given else f"no gate said '{_text(wanted)}' ({wanted})"]


def what_gates_say(
    connection: Connection, rule: Rule, found: Mapping[Reason, str], stage: Stage, new: list[Happening], now: datetime
) -> list[str]:
    """What the gates withheld and why, what waits until when, and a template that the rule never names."""
    said = []
    for reason, what in found.items():
        said.append(f"withheld: {_text(reason)} ({reason}){f', {what}' if what else ''}")
    if len(new) < len(stage.steps):
        said += [f"it waits until {each}; a later 'after' would see more" for each in _waits(connection, rule, now)]
    known = {step.what for step in stage.steps if step.verb in ("send", "call", "survey")}
    templates = _templates(rule)
    for template in sorted(known - set(templates)):
        meant = closest(template, templates)
        hint = f"did you mean {meant}?" if meant else f"it sends {', '.join(templates) or 'nothing'}"
        said.append(f"the rule never sends '{template}'; {hint}")
    return said


def _waits(connection: Connection, rule: Rule, now: datetime) -> list[str]:
    opened = select(match.c.due_at, match.c.next_step).where(
        match.c.rule_id == rule.id, match.c.state == MatchState.OPEN
    )
    found = []
    for row in connection.execute(opened):
        step = rule.terms.steps[row.next_step] if row.next_step < len(rule.terms.steps) else None
        if isinstance(step, Wait) and step.until:
            found.append(f"{step.until} is known")
        elif row.due_at is not None and row.due_at > now:
            found.append(f"{row.due_at:%Y-%m-%d %H:%M} UTC")
    return found


def _templates(rule: Rule) -> list[str]:
    found: dict[str, None] = {}
    for step in rule.terms.steps:
        while isinstance(step, Send):
            found[step.template] = None
            if step.otherwise is None:
                break
            step = step.otherwise
    return list(found)


def what_conditions_say(
    connection: Connection, rule: Rule, test: RuleTest, subject_id: int | None, zone: str, *, came: bool
) -> list[str]:
    """Which named conditions decided: those that fail where nothing came, all of them where something came.

    ``subject_id`` None: every subject there is.
    """
    table = models.Base.metadata.tables[rule.subject.table]
    only = select(table.c.id) if subject_id is None else select(literal(subject_id))
    found = told(connection, rule, now=test.at.now, zone=zone, only=only)
    if not found:
        return [f"the test gives no {rule.subject.name}, so there is nothing to look at"]
    heads = [f"{rule.subject.name} {number}: " if len(found) > 1 else "" for number in range(1, 4)]
    said = [
        head + line
        for head, each in zip(heads, found, strict=False)
        for line in _of_subject(rule, each, came, test.at.now)
    ]
    return [*said, *([f"and {len(found) - 3} more {rule.subject.name} rows"] if len(found) > 3 else [])]


def _of_subject(rule: Rule, found: Told, came: bool, now: datetime) -> list[str]:
    if not found.there:
        return [f"the {rule.subject.name} is not there yet at the test's now"]
    voice = Voice(now, found.zone)
    failing = [f"{_name(v)} does not hold: {_words(v, voice)}" for v in found.conditions if not v.holds]
    failing += [
        f"{_name(v)}, which stops it, holds: {_words(v, voice, stops=True)}" for v in found.exceptions if v.holds
    ]
    if failing:
        return failing
    if not came:
        return ["every condition holds, and nothing of 'unless' does"]
    holding = [f"{_name(v)} holds: {_words(v, voice)}" for v in found.conditions]
    return holding + [f"{_name(v)}, which would stop it, does not hold" for v in found.exceptions]


def _name(verdict: Verdict) -> str:
    return f"'{verdict.part.name}'"


def _words(verdict: Verdict, voice: Voice, *, stops: bool = False) -> str:
    """The leaves of a verdict that decided it, each with what was found and what is asked."""
    return "; ".join(dict.fromkeys(sentence(leaf, voice, stops=stops) for leaf in _deciding(verdict)))


def _deciding(verdict: Verdict) -> Iterator[Verdict]:
    test = verdict.part.test
    if not isinstance(test, Group):
        yield verdict
        return
    for member in verdict.members:
        if test.how == "none" or member.holds == verdict.holds:
            yield from _deciding(member)


def _text(reason: Reason) -> str:
    return REASON_TEXT[reason]
