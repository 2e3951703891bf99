"""The whole examination: check after check, so that one that fails keeps no other from being made."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from beforehand.doctor.check import Check, wrong
from beforehand.doctor.database import database_checks
from beforehand.doctor.house import journal_checks, rule_checks, zone_checks
from beforehand.doctor.orphans import orphan_checks
from beforehand.doctor.outside import clock_checks, disk_checks, prefect_checks, provider_checks, public_checks
from beforehand.doctor.records import record_checks
from beforehand.doctor.settings import settings_checks
from beforehand.surroundings import Surroundings, disks, look_around
from beforehand.wiring import App
from models.database import is_current, reading
from models.trouble import plainly


@dataclass(frozen=True)
class Asked:
    """What to ask beside: the ``resolver`` for the sender's records, the ``selector`` of its DKIM key."""

    resolver: str = ""
    selector: str = ""


def examine(app: App, asked: Asked) -> Iterator[Check]:
    """Every check. Nothing is written, and nothing is sent; off this machine only providers when live are asked, the
    public address when live, and the resolver where one is given.
    """
    settings = app.settings
    yield from settings_checks(settings)
    answers = True
    try:
        yield from database_checks(app.engine, settings)
        current = is_current(app.engine)
    except SQLAlchemyError as broken:
        answers = current = False
        yield wrong("database", plainly(broken, settings.database_url), "see BEFOREHAND_DATABASE_URL")
    around = _around(app) if answers and current else Surroundings(disks=disks(settings))
    if answers and current:
        yield from _tables(app)
    yield from _guarded("rules", lambda: rule_checks(app))
    yield from _guarded("disk", lambda: disk_checks(around))
    yield from _guarded("Prefect", lambda: prefect_checks(around))
    yield from _guarded("clocks", lambda: clock_checks(around))
    yield from _guarded("providers", lambda: provider_checks(settings, app.clock))
    yield from _guarded("public address", lambda: public_checks(settings, around))
    if resolver := asked.resolver or settings.resolver:
        yield from _guarded("DNS", lambda: record_checks(settings, resolver, asked.selector))


def _around(app: App) -> Surroundings:
    with reading(app.engine) as connection:
        return look_around(connection, app.settings, app.clock, app.clock())


def _tables(app: App) -> Iterator[Check]:
    with reading(app.engine) as connection:
        now = app.clock()
        yield from _guarded("rows", lambda: orphan_checks(connection, now))
        yield from _guarded("journal", lambda: journal_checks(app, connection, now))
        yield from _guarded("time zones", lambda: zone_checks(connection, now))


def _guarded(what: str, checks: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks; one that breaks is a finding of its own, named by the kind of error."""
    try:
        yield from checks()
    except Exception as error:
        yield wrong(
            what, f"this could not be looked at ({type(error).__name__})", "see what is wrong above, or report it"
        )
