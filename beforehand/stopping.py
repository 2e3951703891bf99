"""Stop and resume, as whoever is on duty asks for them: the file on this machine first, then the row for all."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from beforehand.settings import Settings
from beforehand.wiring import App, bootstrap
from messaging import audit, breaker, events_out, switches
from messaging.stop_file import SCOPE, StopFile
from messaging.switches import switch
from messaging.waiting import Held, held_by
from models.database import DatabaseError, reading, writing
from models.delivery import RuleVersion
from models.trouble import plainly
from models.vocabulary import Channel

rule_version: Any = RuleVersion.__table__  # type: ignore[attr-defined]

PATIENCE_SECONDS = 5
"""How long a stop waits for a PostgreSQL that does not answer: its file has stopped this machine by then."""


def impatient(settings: Settings) -> Settings:
    """The settings with a database address that gives up soon."""
    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        return settings
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(PATIENCE_SECONDS)})
    return settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)})


def scope_of(settings: Settings, word: str) -> str | None:
    """The scope that a word of the command line means: a scope itself, or the bare name of a channel or a rule.

    None where there is no such channel or endpoint, and no file of such a rule, nor has one ever been in force. The
    files are looked at by their names only: a broken one must not keep anybody from stopping a rule.
    """
    if word in tuple(Channel):
        return f"channel:{word}"
    scope = word if word == "all" or ":" in word else f"rule:{word}"
    if not SCOPE.fullmatch(scope):
        return None
    kind, _, name = scope.partition(":")
    known = {"webhook": name in settings.webhooks, "rule": kind == "rule" and _is_rule(settings, name)}
    return scope if known.get(kind, True) else None


def _is_rule(settings: Settings, name: str) -> bool:
    place = settings.rules
    if place.stem == name or any((place / f"{name}{ending}").is_file() for ending in (".yaml", ".yml")):
        return True
    try:
        with reading(bootstrap(settings, migrated=False).engine) as connection:
            kept = select(rule_version.c.id).where(rule_version.c.rule_id == name).limit(1)
            return connection.execute(kept).first() is not None
    except (SQLAlchemyError, DatabaseError, OSError):
        return False


@dataclass(frozen=True)
class Stopped:
    """What a stop did to the rows. ``new``: it was not set before. ``row`` says what went wrong with the database.

    ``standing`` are all stops that are set by now, with who set them; None where the database does not tell.
    """

    scope: str
    new: bool = False
    standing: dict[str, str] | None = None
    row: str = ""


def stop_by_file(file: StopFile, scope: str) -> str:
    """Stop ``scope`` on this machine, whatever else is down. Returns what went wrong, or an empty text."""
    try:
        file.add(scope)
    except OSError as wrong:
        return f"the file {file.path} could not be written: {wrong.strerror}"
    return ""


def stop_by_row(settings: Settings, scope: str, by: str, now: datetime) -> Stopped:
    """Stop ``scope`` on every machine, and write down who did. What goes wrong with the database is in the answer.

    The switch is committed before the entry in the audit log is begun: that may have to wait for another one.
    """
    try:
        app = bootstrap(settings, migrated=False, new=False)
        with writing(app.engine) as connection:
            new = switches.stop(connection, scope, by, now)
            if new:
                events_out.happened(connection, events_out.STOPPED, scope, now)
            standing = standing_of(connection, app)
    except (DatabaseError, OSError) as wrong:
        return Stopped(scope, row=str(wrong))
    except SQLAlchemyError as wrong:
        return Stopped(scope, row=plainly(wrong, settings.database_url))
    try:
        with writing(app.engine) as connection:
            audit.write(connection, by=by, action="stop", about=scope, now=now, details={"new": new})
    except SQLAlchemyError as wrong:
        said = f"it is stopped, but the audit log could not be written: {plainly(wrong, settings.database_url)}"
        return Stopped(scope, new, standing, row=said)
    return Stopped(scope, new, standing)


@dataclass(frozen=True)
class Resuming:
    """What taking back the stop of ``scope`` would do. ``is_set``: it is stopped, by row or file.

    ``left`` are the stops that stay, with who set them.
    """

    scope: str
    is_set: bool
    held: Held
    left: dict[str, str]


def standing_of(connection: Connection, app: App) -> dict[str, str]:
    """All stops that are set, with who set them: those of the rows, and those that the stop file alone has."""
    said = app.stop_file.look()
    where = f"the file {app.stop_file.path}" + (f": {said.problem}" if said.problem else "")
    return dict.fromkeys(sorted(said.scopes), where) | switches.set_now(connection)


def resuming(app: App, scope: str, now: datetime) -> Resuming:
    """Look at what taking back the stop of ``scope`` would let go. Writes nothing."""
    in_file = app.stop_file.halted()
    with reading(app.engine) as connection:
        rows = switches.scopes_set(connection)
        standing = standing_of(connection, app)
        since = connection.execute(select(switch.c.stopped_at).where(switch.c.scope == scope)).scalar_one_or_none()
        before, after = rows | in_file, (rows - {scope}) | _left_in_file(app, scope, in_file)
        held = held_by(connection, before, after, now, since or app.stop_file.since() or now)
    return Resuming(scope, scope in before, held, {key: by for key, by in standing.items() if key in after})


def _left_in_file(app: App, scope: str, in_file: frozenset[str]) -> frozenset[str]:
    if scope == "all" and app.stop_file.look().problem:
        return frozenset()  # lines that nobody can read stop all, and go with it
    return in_file - {scope}


def resume(app: App, scope: str, by: str, now: datetime, held: Held) -> str:
    """Take the stop of ``scope`` back, row and file. Returns what is wrong with the file, or an empty text."""
    with writing(app.engine) as connection:
        switches.resume(connection, scope)
        breaker.dismiss(connection, scope)
        events_out.happened(connection, events_out.RESUMED, scope, now, {"at_once": held.at_once})
        audit.write(connection, by=by, action="resume", about=scope, now=now, details={"at_once": held.at_once})
    try:
        app.stop_file.take_back(scope)
    except OSError as wrong:
        return f"the file {app.stop_file.path} still stops it on this machine: {wrong.strerror}"
    return ""
