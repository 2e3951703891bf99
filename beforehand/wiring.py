"""The one place that puts the parts together: settings, database, clock, channels. Tests hand in fakes here."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine

from beforehand.settings import Settings
from models.database import connect, migrate
from rules.loader import RuleSet

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """The moment it is, in UTC. Only wiring hands this out; decisions take a moment as a parameter."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class App:
    """A wired application. ``clock`` gives an aware UTC datetime.

    ``rules_in_force`` gives the rule set of a long-lived process, in which a broken edit changes nothing; None: the
    rules are what the folder holds.
    """

    settings: Settings
    engine: Engine
    clock: Clock
    rules_in_force: Callable[[], RuleSet] | None = None


def bootstrap(settings: Settings | None = None, *, clock: Clock = wall_clock, migrated: bool = True) -> App:
    """Wire the application; brings the database schema up to date unless ``migrated`` is False."""
    settings = settings or Settings()
    engine = connect(settings.database_url, allow_unsafe_sqlite=settings.allow_unsafe_sqlite)
    if migrated:
        migrate(engine)
    return App(settings=settings, engine=engine, clock=clock)
