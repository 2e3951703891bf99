"""What the application hands to the decisions: the rules as they are now, the policy, the templates, the brand."""

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, select

from beforehand.settings import Settings
from beforehand.wiring import App
from messaging.context import Brand
from messaging.policy import Policy, read_cap
from messaging.quiet import read_quiet_hours
from messaging.rendering import Templates
from models.delivery import RuleVersion
from models.places import closest
from rules.errors import Problem, RuleErrors
from rules.loader import Rule, RuleSet, load_folder, load_text, read_folder

rule_version = RuleVersion.__table__  # type: ignore[attr-defined]


class UnknownRule(LookupError):
    """No rule has that id; the text names one that is alike, if there is one."""

    def __init__(self, rule_id: str, known: list[str]) -> None:
        meant = closest(rule_id, known)
        hint = f"; did you mean {meant}?" if meant else f"; there are: {', '.join(sorted(known)) or 'none'}"
        super().__init__(f"there is no rule '{rule_id}'{hint}")


def rules_of(app: App) -> RuleSet:
    """The rules in force in this process, else the set as its files are now, read again only when one has changed.

    Raises RuleErrors where the files are read and are wrong.
    """
    if app.rules_in_force is not None:
        return app.rules_in_force()
    folder, facts = app.settings.rules, app.settings.facts
    return _load(folder, facts, _signature(folder) + (_signature(facts) if facts else ()))


def rule_of(app: App, rule_id: str) -> Rule:
    """One rule of the running set. Raises RuleErrors where the set does not load, UnknownRule where it is not in it."""
    rules = rules_of(app).rules
    if rule_id not in rules:
        raise UnknownRule(rule_id, list(rules))
    return rules[rule_id]


def rule_alone(app: App, rule_id: str) -> tuple[Rule, tuple[Problem, ...]]:
    """One rule of the running set; where the set does not load but this rule's own file does, that one alone.

    The problems of the other files come with it. Raises RuleErrors where its own file is refused, UnknownRule where
    there is none.
    """
    try:
        return rule_of(app, rule_id), ()
    except RuleErrors:
        rules, problems = read_folder(app.settings.rules, app.settings.facts)
        wrong = [problem for problem in problems if not problem.warning]
        own = [problem for problem in wrong if Path(problem.path).stem == rule_id]
        if own:
            raise RuleErrors(own) from None
        if rule_id not in rules:
            raise UnknownRule(rule_id, [*rules, *(Path(problem.path).stem for problem in wrong)]) from None
        return rules[rule_id], tuple(wrong)


def _signature(path: Path) -> tuple[tuple[str, int, int], ...]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path, *sorted(path.parent.glob("lists/*"))]
    found = []
    for file in files:
        with suppress(FileNotFoundError):  # an editor that saves by renaming
            stat = file.stat()
            found.append((str(file), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


@lru_cache(maxsize=4)
def _load(folder: Path, facts: Path | None, _as_of: tuple[tuple[str, int, int], ...]) -> RuleSet:
    return load_folder(folder, facts)


@lru_cache(maxsize=256)
def _load_version(text: str, rule_id: str, lists: Path, facts: Path | None) -> Rule:
    return load_text(text, rule_id, lists, facts, tests=False)


def version_of(app: App, connection: Connection, rule_id: str, version: str) -> Rule | None:
    """The rule as it was when a match started, from its kept text; None where that is not there. Raises RuleErrors.

    The version in force in this process is taken as it stands: the same text need not be read again.
    """
    if app.rules_in_force is not None:
        in_force = app.rules_in_force().rules.get(rule_id)
        if in_force is not None and in_force.terms.version == version:
            return in_force
    kept = select(rule_version.c.text).where(rule_version.c.rule_id == rule_id, rule_version.c.version == version)
    text = connection.execute(kept).scalar_one_or_none()
    folder = app.settings.rules
    lists = folder if folder.is_dir() else folder.parent
    return None if text is None else _load_version(text, rule_id, lists, app.settings.facts)


@dataclass(frozen=True)
class _Said:
    folder: Path
    language: str
    zone: str
    keys: bool


@lru_cache(maxsize=8)
def _templates(said: _Said) -> Templates:
    return Templates(said.folder, language=said.language, zone=said.zone, keys=said.keys)


def templates_of(app: App) -> Templates:
    """The message templates, compiled once in this process."""
    settings = app.settings
    # No page answers a pressed key yet, and a live call must not offer what nobody does.
    keys = settings.delivery != "live"
    return _templates(_Said(settings.templates, settings.language, settings.time_zone, keys))


def brand_of(settings: Settings) -> Brand:
    """Who speaks, in every message."""
    return Brand(settings.brand, settings.brand_phone, settings.brand_address, settings.public_url)


def secret_of(settings: Settings) -> bytes:
    """The key behind hashes, codes and links."""
    return settings.secret_key.get_secret_value().encode()


def policy_of(app: App) -> Policy:
    """The house's rules of decency, from the settings. Raises ValueError for a cap or quiet hours nobody can read."""
    settings = app.settings
    trial = settings.delivery == "live" and settings.trial
    return Policy(
        secret=secret_of(settings),
        zone=settings.time_zone,
        consent_needed=frozenset(settings.consent_needed),
        caps={purpose: read_cap(said) for purpose, said in settings.caps.items()},
        quiet={purpose: read_quiet_hours(said) for purpose, said in settings.quiet_hours.items()},
        guests=frozenset(settings.guest_list) if trial else None,
        channels_of=templates_of(app).channels,
    )
