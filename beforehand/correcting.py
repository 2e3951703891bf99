"""A correction to exactly those whom a version of a rule has told, or may have told: once each, through all gates.

It is a rule of its own, made for this once and kept under its version like any other, so that the claim, explain and
whoever approves can read it; who it finds is the list of those told.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from beforehand.passes.deciding import pass_on
from beforehand.passes.house import templates_of
from beforehand.passes.previewing import preview_on
from beforehand.passes.reports import PassReport, Preview
from beforehand.wiring import App
from messaging import audit
from messaging.plan import keep_version, one_decision_at_a_time
from messaging.sent import subjects_of, told_by
from messaging.versions import version_named
from models.database import reading, writing
from models.places import closest
from models.terms import THE_BEGINNING
from models.vocabulary import Channel, Purpose
from rules.loader import Rule, load_text

TEMPLATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

TEXT = """id: {id}
title: {title}
why: What we said before was wrong, and whoever heard it has a right to hear that, too.
owner: {owner}
status: live
purpose: {purpose}
priority: 90
for_each: {subject}
if:
  was_told: {{{messages}: {{any: {{rule_id: {rule}}}}}}}
then:
  - send: {template}
    by: {by}
limits: {{once_per: customer}}
"""


class NothingToCorrect(LookupError):
    """Nobody was told, or there is no such template; the text says which."""


@dataclass(frozen=True)
class Asked:
    """What is asked for: a correction of ``version`` (a prefix that is unique) of ``rule`` by ``template``.

    ``by`` are the channels allowed, in order; empty: the one by which each was told, then the others. ``owner`` asks.
    """

    rule: str
    version: str
    template: str
    owner: str
    by: Sequence[Channel] = ()
    purpose: Purpose = Purpose.SERVICE


@dataclass(frozen=True)
class Correction:
    """The rule that was made for it, whom it finds, and how many customers those are."""

    rule: Rule
    version: str
    found: Select[Any]
    told: int


def preview_correction(app: App, asked: Asked, now: datetime, *, limit: int = 5) -> tuple[Correction, Preview]:
    """Who would get the correction, and what. Writes nothing. Raises UnknownVersion and NothingToCorrect."""
    with reading(app.engine) as connection:
        made = correction(app, connection, asked)
        seen = preview_on(connection, app, made.rule, now, limit=limit, found=made.found, live_from=THE_BEGINNING)
    return made, seen


def correct(app: App, asked: Asked, now: datetime) -> tuple[Correction, PassReport]:
    """Plan the correction; asked again, only those are planned who have been told since. Raises as the preview does."""
    with writing(app.engine) as connection:
        one_decision_at_a_time(connection)
        made = correction(app, connection, asked)
        terms = made.rule.terms
        keep_version(connection, made.rule.id, terms.version, made.rule.text, now, author=asked.owner)
        report = pass_on(connection, app, made.rule, now, found=made.found, live_from=THE_BEGINNING)
        details = {
            "version": made.version,
            "template": asked.template,
            "correction": made.rule.id,
            "customers": made.told,
            "planned": report.planned,
        }
        audit.write(connection, by=asked.owner, action="correct", about=f"rule:{asked.rule}", now=now, details=details)
    return made, report


def correction(app: App, connection: Connection, asked: Asked) -> Correction:
    """Make the rule. Raises UnknownVersion, and NothingToCorrect where nobody was told or the template is not there."""
    version = version_named(connection, asked.rule, asked.version)
    _check_template(app, asked.template)
    kinds = subjects_of(connection, asked.rule, version)
    if not kinds:
        raise NothingToCorrect(f"nobody was told anything by {asked.rule} with its text {version}")
    if len(kinds) > 1:
        raise NothingToCorrect(f"{asked.rule} {version} spoke of different things: {', '.join(kinds)}")
    found = told_by(asked.rule, version)
    told = connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()
    rule_id = correction_id(asked.rule, version, asked.template)
    text = _text(asked, rule_id, version, kinds[0])
    folder = app.settings.rules
    lists = folder if folder.is_dir() else folder.parent
    return Correction(load_text(text, rule_id, lists, app.settings.facts, tests=False), version, found, told)


def correction_id(rule_id: str, version: str, template: str) -> str:
    """The id of the rule that corrects ``version`` by ``template``: always the same, so that each hears it once."""
    digest = hashlib.sha256(f"{rule_id}/{version}/{template}".encode()).hexdigest()[:8]
    return f"correction-{rule_id[:70].strip('-')}-{digest}"


def _text(asked: Asked, rule_id: str, version: str, subject: str) -> str:
    by = f"[{', '.join(channel.value for channel in asked.by)}]" if asked.by else "preferred"
    return TEXT.format(
        id=rule_id,
        title=json.dumps(f"A correction to those whom {asked.rule} told with its text {version}"),
        owner=json.dumps(asked.owner, ensure_ascii=False),
        purpose=asked.purpose.value,
        subject=subject,
        messages="messages" if subject == "customer" else "customer.messages",
        rule=json.dumps(asked.rule),
        template=json.dumps(asked.template),
        by=by,
    )


def _check_template(app: App, name: str) -> None:
    if TEMPLATE.fullmatch(name) and templates_of(app).channels(name):
        return
    folder = app.settings.templates
    known = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_"))
    meant = closest(name, known)
    hint = f"; did you mean {meant}?" if meant else ""
    raise NothingToCorrect(f"there is no template {name!r}{hint}")
