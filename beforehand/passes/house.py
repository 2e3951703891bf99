"""What the application hands to the decisions: the rules as they are now, the policy, the templates, the brand."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, select

from beforehand.settings import Settings
from beforehand.wiring import App
from messaging.context import Brand
from messaging.links import LinkKey, Links
from messaging.policy import Brakes, Policy, read_caps
from messaging.quiet import read_quiet_hours
from messaging.quiet_laws import NO_LAWS, laws_in
from messaging.rendering import Templates
from models.delivery import RuleVersion
from models.places import closest
from rules.endpoints import unknown_endpoints
from rules.errors import Problem, RuleErrors
from rules.loader import Rule, RuleSet, load_folder, load_text, read_folder
from rules.rates import Rates, load_rates

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
    seen = _signature(folder) + (_signature(facts) if facts else ())
    return _load(folder, facts, rates_of(app.settings), frozenset(app.settings.webhooks), seen)


def rates_of(settings: Settings) -> Rates | None:
    """The operator's rates between currencies, read again when their file has changed. Raises RuleErrors."""
    path = settings.rates
    return None if path is None else _rates(path, settings.currency, _signature(path))


@lru_cache(maxsize=4)
def _rates(path: Path, base: str, _as_of: tuple[tuple[str, int, int], ...]) -> Rates:
    return load_rates(path, base)


def vet(settings: Settings, loaded: RuleSet) -> RuleSet:
    """A loaded set as this house runs it. Raises RuleErrors, as :func:`rates_of` and :func:`vetted` do."""
    return vetted(loaded, rates_of(settings), frozenset(settings.webhooks))


def vetted(loaded: RuleSet, rates: Rates | None, endpoints: Collection[str]) -> RuleSet:
    """A loaded set with the house's rates. Raises RuleErrors where a rule calls an endpoint that no setting names."""
    problems = [problem for rule in loaded.rules.values() for problem in unknown_endpoints(rule, endpoints)]
    if problems:
        raise RuleErrors(problems)
    rules = {key: replace(rule, rates=rates) for key, rule in loaded.rules.items()} if rates else loaded.rules
    return replace(loaded, rules=rules)


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
        rules, wrong = read_each(app, app.settings.rules, app.settings.facts)
        own = [problem for problem in wrong if Path(problem.path).stem == rule_id]
        if own:
            raise RuleErrors(own) from None
        if rule_id not in rules:
            raise UnknownRule(rule_id, [*rules, *(Path(problem.path).stem for problem in wrong)]) from None
        return rules[rule_id], tuple(wrong)


def read_each(app: App, folder: Path, facts: Path | None) -> tuple[dict[str, Rule], list[Problem]]:
    """The rules of a folder that this house could run, each by itself, and what is wrong with the others.

    Only to be looked at, as with :func:`rules.loader.read_folder`. Raises RuleErrors where there is nothing to read.
    """
    rules, problems = read_folder(folder, facts)
    wrong = [problem for problem in problems if not problem.warning]
    rates = rates_of(app.settings) if rules else None
    found = {}
    for rule in rules.values():
        unknown = unknown_endpoints(rule, app.settings.webhooks)
        wrong += unknown
        if not unknown:
            found[rule.id] = replace(rule, rates=rates)
    return found, wrong


def _signature(path: Path) -> tuple[tuple[str, int, int], ...]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path, *sorted(path.parent.glob("lists/*"))]
    found = []
    for file in files:
        with suppress(FileNotFoundError):  # an editor that saves by renaming
            stat = file.stat()
            found.append((str(file), stat.st_mtime_ns, stat.st_size))
    return tuple(found)


@lru_cache(maxsize=4)
def _load(
    folder: Path,
    facts: Path | None,
    rates: Rates | None,
    endpoints: frozenset[str],
    _as_of: tuple[tuple[str, int, int], ...],
) -> RuleSet:
    return vetted(load_folder(folder, facts), rates, endpoints)


@lru_cache(maxsize=256)
def _load_version(text: str, rule_id: str, lists: Path, facts: Path | None, rates: Rates | None) -> Rule:
    return replace(load_text(text, rule_id, lists, facts, tests=False), rates=rates)


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
    return None if text is None else _load_version(text, rule_id, lists, app.settings.facts, rates_of(app.settings))


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
    # a live call must not offer keys that nobody answers
    keys = settings.delivery != "live" or bool(settings.status_callbacks)
    return _templates(_Said(settings.templates, settings.language, settings.time_zone, keys))


def brand_of(settings: Settings) -> Brand:
    """Who speaks, in every message."""
    said = settings.brand, settings.brand_phone, settings.brand_address, settings.public_url
    return Brand(*said, links=links_of(settings))


def links_of(settings: Settings) -> Links:
    """What signs the links in messages and opens them, with the keys that did so before."""
    own = settings.link_key.get_secret_value() or settings.secret_key.get_secret_value()
    before = [LinkKey(key.get_secret_value().encode(), day) for key, day in settings.link_keys_before.items()]
    return Links(settings.public_url, (LinkKey(own.encode()), *before))


def secret_of(settings: Settings) -> bytes:
    """The key behind hashes, codes and links."""
    return settings.secret_key.get_secret_value().encode()


def policy_of(app: App) -> Policy:
    """The house's rules of decency, from the settings. Raises ValueError for a cap or quiet hours nobody can read."""
    settings = app.settings
    trial = settings.delivery == "live" and settings.trial
    caps, channel_caps = read_caps(settings.caps)
    laws = settings.quiet_laws
    return Policy(
        secret=secret_of(settings),
        zone=settings.time_zone,
        consent_needed=frozenset(settings.consent_needed),
        caps=caps,
        channel_caps=channel_caps,
        quiet={purpose: read_quiet_hours(said) for purpose, said in settings.quiet_hours.items()},
        guests=frozenset(settings.guest_list) if trial else None,
        channels_of=templates_of(app).channels,
        laws=NO_LAWS if laws is None else laws_in(laws),
        holdout=settings.holdout,
        brakes=Brakes(settings.brake, settings.brake_times, settings.canary, settings.approval_hours),
        digest_of=templates_of(app).digest,
    )
