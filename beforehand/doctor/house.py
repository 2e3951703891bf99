"""What the house works with: rule files, templates, the journal, time zones."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from beforehand.doctor.check import Check, look, ok, wrong
from beforehand.passes import rules_of, templates_of
from beforehand.wiring import App
from messaging.journal import JournalError
from messaging.journal.marks import held_since
from messaging.rendering import RenderingError
from models.customer import Customer
from rules.errors import RuleErrors

CUSTOMER: Any = Customer.__table__  # type: ignore[attr-defined]

OLD_ZONES = timedelta(days=540)
"""Time zones change several times a year; rules older than this are missing some."""


def rule_checks(app: App) -> Iterator[Check]:
    """Whether rule files and templates load."""
    try:
        rules = rules_of(app).rules
    except RuleErrors as refused:
        errors = [one for one in refused.problems if not one.warning]
        yield wrong("rules", f"{len(errors)} errors, the first: {errors[0]}", "`beforehand check` shows them all")
        return
    live = sum(rule.terms.status == "live" for rule in rules.values())
    yield ok("rules", f"{len(rules)} load, {live} are live")
    try:
        templates_of(app)
    except (RenderingError, OSError) as broken:
        yield wrong("templates", f"they do not load: {broken}", "`beforehand check` says more")
    else:
        yield ok("templates", "they load")


def journal_checks(app: App, connection: Connection, now: datetime) -> Iterator[Check]:
    """Whether the journal of what was sent can be read, and agrees with the database."""
    restore = "docs/how-to/restore-a-backup.md"
    if since := held_since(connection):
        yield wrong(
            "journal", f"everything is held since {since:%Y-%m-%d %H:%M} UTC", f"`beforehand reconcile`; {restore}"
        )
    if damage := app.journal.damage():
        yield wrong("journal", damage, restore)
    try:
        files = app.journal.in_scope()
        odd = [path.name for path in files if not app.journal.reads(path)]
        behind = app.journal.ahead(connection, now)
    except (JournalError, OSError) as broken:
        yield wrong("journal", f"it cannot be read ({type(broken).__name__})", "see BEFOREHAND_JOURNAL and its owner")
        return
    if odd:
        yield wrong("journal", f"{len(odd)} files were written under another secret key", "set the key that was in use")
    elif behind and not since:
        yield wrong(
            "journal", "the database knows less than what was sent from it", f"`beforehand reconcile`; {restore}"
        )
    elif not since and not damage:
        yield ok("journal", f"{len(files)} files, all readable; the database knows all of it")


def zone_checks(connection: Connection, now: datetime) -> Iterator[Check]:
    """Whether time zone data is recent, and knows every zone that a customer has."""
    try:
        found = version("tzdata")
    except PackageNotFoundError:
        found = ""
    year = re.match(r"(\d{4})\.(\d+)", found)
    if not year:
        yield look("time zones", "the system's data is used, of an age unknown", "install the package tzdata")
    elif now.year - int(year[1]) > OLD_ZONES / timedelta(days=365):
        yield look("time zones", f"the data is of {found}", "update the package tzdata")
    else:
        yield ok("time zones", f"the data is of {found}")
    zone = CUSTOMER.c.time_zone
    rows = connection.execute(select(zone, func.count()).where(zone.is_not(None)).group_by(zone)).all()
    unknown = {name: count for name, count in rows if not _known(name)}
    if unknown:
        named = ", ".join(f"{name} ({count:,})" for name, count in sorted(unknown.items())[:5])
        yield wrong("customers' zones", f"unknown: {named}", "put them right in the source, or update tzdata")
    else:
        yield ok("customers' zones", f"all {len(rows)} are known")


def _known(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
