"""Explains one customer: every rule over their rows, the gates behind each match, and what is stored of the past."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, text

from beforehand.explaining.gates import decisions
from beforehand.explaining.past import past_of
from beforehand.explaining.people import Person, own_subjects, person_of
from beforehand.explaining.report import Explanation, PastMatch, RuleReport, SubjectReport
from beforehand.explaining.steps import steps_of
from beforehand.passes.house import UnknownRule, read_each, rule_alone, rules_of, version_of
from beforehand.wiring import App
from messaging.candidates import TABLES
from messaging.preferences import own_choice
from models.database import reading
from models.vocabulary import RuleStatus
from rules.attributes import with_attributes
from rules.errors import RuleErrors
from rules.evaluate import matching
from rules.facts import subjects as known_subjects
from rules.history import without_history
from rules.loader import Rule, RuleSet, read_folder
from rules.misses import Look, misses
from rules.saying import Voice, some
from rules.verdicts import Told, Verdict, told

SHOWN_MATCHES = 10
SHOWN_MISSES = 3
"""So many subjects that do not match are shown of a rule that was named; of each of all rules the nearest one."""
WIDE = 500
"""So many of a customer's rows of one kind are looked at, the newest first; matches among the rest are found anyway."""
LOOKS, FEW_LOOKS = 60, 12
"""So often a subject is looked at again at another moment: for a rule that was named, and for each of all rules where
only one condition is in the way."""
PAST = 20

rule_pass = TABLES["rule_pass"]
rule_version = TABLES["rule_version"]


@dataclass(frozen=True)
class _Question:
    """What is asked: of whom, about which rules, as of when; ``wall`` is the moment of asking."""

    app: App
    connection: Connection
    person: Person
    now: datetime
    wall: datetime
    named: bool
    pretend: bool = False

    @property
    def zone(self) -> str:
        return self.app.settings.time_zone

    @property
    def is_past(self) -> bool:
        return self.now < self.wall


def explain(
    app: App, said: str, now: datetime, *, rule_id: str | None = None, wall: datetime | None = None, limit: int = PAST
) -> Explanation:
    """Why the customer ``said`` (id, e-mail address, phone number or ``order/1001``) got what they got, or did not.

    ``now`` is the moment it is told as of, ``wall`` the moment of asking where that is another one. ``limit``: so many
    matches of the past. Writes nothing. Raises UnknownCustomer, and UnknownRule where nothing is stored of it either.
    """
    running, notes = _running(app)
    with _reading(app) as connection:
        person = person_of(connection, said, _subjects(app, running), app.settings.time_zone)
        asked = _Question(app, connection, person, now, wall or now, rule_id is not None)
        rules, more_notes = _chosen(asked, running, rule_id)
        past, more = past_of(connection, app, person, running, rule_id, now, limit=limit)
        reports = [_rule(asked, rule, past) for rule in rules]
        own = _own_choice(connection, person)
    shown = sorted(reports, key=_relevance)
    return Explanation(
        customer=person.external_id,
        name=person.name,
        zone=person.zone,
        now=now,
        as_of=asked.now != asked.wall,
        rules=tuple(shown),
        past=tuple(past),
        more_past=more,
        notes=(*notes, *more_notes, *own),
    )


def explain_one(app: App, said: str, now: datetime, rule_id: str) -> Explanation:
    """One rule for one customer, step by step: conditions, gates as if the rule were live, and each message rendered.

    Raises UnknownCustomer, UnknownRule, and RuleErrors where the rule's file is refused.
    """
    rule, problems = rule_alone(app, rule_id)
    with _reading(app) as connection:
        person = person_of(connection, said, rule.parser.subjects, app.settings.time_zone)
        asked = _Question(app, connection, person, now, now, named=True, pretend=True)
        report = _rule(asked, rule, [])
        own = _own_choice(connection, person)
    notes = (*(str(problem) for problem in problems), *own)
    return Explanation(person.external_id, person.name, person.zone, now, rules=(report,), notes=notes)


def _own_choice(connection: Connection, person: Person) -> list[str]:
    said = own_choice(connection, person.id)
    return [f"the customer chose for themselves: {said}"] if said else []


@contextmanager
def _reading(app: App) -> Iterator[Connection]:
    with reading(app.engine) as connection:
        if connection.dialect.name == "postgresql":
            # many statements about few rows: compiling one takes longer than running it
            connection.execute(text("SET LOCAL jit = off"))
        yield connection


def _running(app: App) -> tuple[RuleSet | None, list[str]]:
    """The rules in force; where the folder is broken, those of it that can be read, and what is wrong with the rest."""
    try:
        return rules_of(app), []
    except RuleErrors:
        folder, facts = app.settings.rules, app.settings.facts
        notes: list[str] = []
        try:
            rules, wrong = read_each(app, folder, facts)
        except RuleErrors as rates:
            rules, wrong = read_folder(folder, facts)
            notes = [f"the rates are refused: {problem}" for problem in rates.problems]
        return RuleSet(rules), notes + [f"a rule file is refused: {each}" for each in wrong if not each.warning]


def _subjects(app: App, running: RuleSet | None) -> dict[str, Any]:
    first = next(iter(running.rules.values()), None) if running is not None else None
    if first is not None:
        return first.parser.subjects
    return with_attributes(known_subjects(), app.settings.facts)


def _chosen(asked: _Question, running: RuleSet | None, rule_id: str | None) -> tuple[list[Rule], list[str]]:
    """The rules that are asked about, each in the text that was in force then."""
    known = running.rules if running is not None else {}
    if rule_id is None:
        told = [rule for rule in known.values() if rule.terms.status is not RuleStatus.RETIRED]
        return [_as_of(asked, rule) for rule in told], []
    if rule_id in known:
        return [_as_of(asked, known[rule_id])], []
    stored = select(rule_version.c.rule_id).where(rule_version.c.rule_id == rule_id).limit(1)
    if asked.connection.execute(stored).first() is None:
        every = asked.connection.execute(select(rule_version.c.rule_id).distinct()).scalars()
        raise UnknownRule(rule_id, sorted({*known, *every}))
    return [], [f"the rule '{rule_id}' is no longer in the folder: what is stored of it is told"]


def _as_of(asked: _Question, rule: Rule) -> Rule:
    """The rule in the text that was in force at a past moment; as it is now, where nothing is stored of then."""
    if not asked.is_past:
        return rule
    mine = [rule_pass.c.rule_id == rule.id, rule_pass.c.started_at <= asked.now]
    ran = select(rule_pass.c.version).where(*mine).order_by(rule_pass.c.started_at.desc()).limit(1)
    version = asked.connection.execute(ran).scalar_one_or_none()
    if version is None or version == rule.terms.version:
        return rule
    try:
        return version_of(asked.app, asked.connection, rule.id, version) or rule
    except RuleErrors:
        return rule


def _relevance(report: RuleReport) -> tuple[int, int, str]:
    """Rules that match first, then those that nearly do, then those with nothing to look at."""
    failing = min((len(subject.told.failing) for subject in report.subjects), default=1_000)
    return (0 if report.matching else 1, failing, report.rule_id)


def _rule(asked: _Question, rule: Rule, past: list[PastMatch]) -> RuleReport:
    terms = rule.terms
    report = RuleReport(rule.id, terms.title, terms.status.value, terms.version, terms.subject)
    only, count, notes = _rows_of(asked, rule)
    verdicts = told(asked.connection, rule, now=asked.now, zone=asked.zone, only=only) if count else []
    verdicts.sort(key=lambda each: (not each.holds, not each.there, len(each.failing), -each.subject_id))
    holding = [each for each in verdicts if each.holds]
    decided, problem = {}, ""
    if holding:
        preview = asked.pretend or terms.status is RuleStatus.DRAFT
        try:
            decided = decisions(asked.connection, asked.app, rule, asked.now, only, preview=preview)
        except RuleErrors as wrong:
            problem = f"the rule cannot be run: {wrong.problems[0]}"
        notes += _gate_notes(asked, rule)
    few = SHOWN_MISSES if asked.named and not holding else 0 if holding and asked.pretend else 1
    shown = [*holding[:SHOWN_MATCHES], *[each for each in verdicts if not each.holds][:few]]
    keys = _keys(asked, rule, [each.subject_id for each in shown])
    made = [_subject(asked, rule, each, keys) for each in shown]
    steps = steps_of(asked.connection, asked.app, rule, asked.now, only, decided) if asked.pretend and decided else {}
    made = [
        replace(subject, decision=decided.get(subject.told.subject_id), steps=steps.get(subject.told.subject_id, ()))
        for subject in made
    ]
    notes += _stored_notes(rule, made, past)
    return replace(
        report,
        looked_at=count,
        matching=len(holding),
        subjects=tuple(made),
        notes=tuple(notes),
        problem=problem,
    )


def _rows_of(asked: _Question, rule: Rule) -> tuple[Select[Any], int, list[str]]:
    """The person's rows that the rule may look at, as named ids (any planner understands these), and how many."""
    own, table = own_subjects(rule.subject, asked.person), TABLES[rule.subject.table]
    newest = table.c[rule.subject.natural].desc().nulls_last() if rule.subject.natural else table.c.id.desc()
    chosen = own.order_by(newest, table.c.id.desc()).limit(WIDE + 1)
    ids = list(asked.connection.execute(chosen).scalars())
    if len(ids) <= WIDE:
        return select(table.c.id).where(table.c.id.in_(ids)), len(ids), []
    count = asked.connection.execute(select(func.count()).select_from(own.subquery())).scalar_one()
    found = matching(rule, now=asked.now, zone=asked.zone, only=own).subquery()
    matched = asked.connection.execute(select(found.c.subject_id).limit(WIDE)).scalars()
    both = sorted({*ids[:WIDE], *matched})
    said = f"of {some(count, rule.subject.name)} the newest {WIDE} are looked at, and all that match"
    return select(table.c.id).where(table.c.id.in_(both)), count, [said]


def _gate_notes(asked: _Question, rule: Rule) -> list[str]:
    notes = []
    if rule.terms.status is RuleStatus.DRAFT:
        notes.append("the rule is a draft: nothing is planned; the gates are told as if it were live")
    if asked.is_past:
        notes.append("the gates are told over what is stored now, not over what was stored then")
    return notes


def _stored_notes(rule: Rule, made: list[SubjectReport], past: list[PastMatch]) -> list[str]:
    """Where a match of a shown subject is stored, its facts of then are in the past below."""
    stored = {found.subject for found in past if found.rule_id == rule.id}
    here = [f"{subject.kind}/{subject.key}" for subject in made if f"{subject.kind}/{subject.key}" in stored]
    return [f"a match is stored for {', '.join(here)}: its facts as stored then are told below"] if here else []


def _keys(asked: _Question, rule: Rule, ids: Iterable[int]) -> dict[int, str]:
    table = TABLES[rule.subject.table]
    if "external_id" not in table.c:
        return {}
    found: Iterable[Row[Any]] = asked.connection.execute(
        select(table.c.id, table.c.external_id).where(table.c.id.in_(list(ids)))
    )
    return {row.id: row.external_id for row in found}


def _subject(asked: _Question, rule: Rule, seen: Told, keys: dict[int, str]) -> SubjectReport:
    voice = Voice(asked.now, seen.zone)
    few = FEW_LOOKS if len(seen.failing) == 1 else 0
    look = _look(asked, rule, seen, LOOKS if asked.named else few)
    tell = not seen.holds and seen.there
    return SubjectReport(
        kind=rule.subject.name,
        key=keys.get(seen.subject_id, str(seen.subject_id)),
        told=seen,
        voice=voice,
        misses=tuple(misses(seen, voice, look)) if tell else (),
        unsure=_unsure(seen, asked) if asked.is_past else (),
    )


def _look(asked: _Question, rule: Rule, seen: Told, most: int) -> Look:
    """Asks the compiler about the same subject at another moment, each moment once, and not without end."""
    table = TABLES[rule.subject.table]
    only = select(table.c.id).where(table.c.id == seen.subject_id)
    known: dict[datetime, Told | None] = {}

    def look(moment: datetime) -> Told | None:
        if asked.is_past or (moment not in known and len(known) >= most):
            return None
        if moment not in known:
            there = told(asked.connection, rule, now=moment, zone=asked.zone, only=only)
            known[moment] = there[0] if there else None
        return known[moment]

    return look


def _unsure(seen: Told, asked: _Question) -> tuple[str, ...]:
    """Facts without history in what is told of a past moment, unless their row has not changed since then."""
    names: list[str] = []
    for verdict in (*seen.conditions, *seen.exceptions):
        for leaf in _leaves(verdict):
            same = leaf.changed_at is not None and leaf.changed_at <= asked.now and not any(leaf.others)
            names += [] if same else without_history(leaf.part.test)
    return tuple(dict.fromkeys(names))


def _leaves(verdict: Verdict) -> Iterable[Verdict]:
    if not verdict.members:
        yield verdict
    for member in verdict.members:
        yield from _leaves(member)
