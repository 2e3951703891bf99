"""What flows call: the application's plain functions, handed in once at the start of a process.

Flows get ids only, so the application itself cannot come in as a parameter; it is kept here. A process that was not
given one (the fall-back process worker) wires its own from the environment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from beforehand.wiring import App, bootstrap
from models.terms import Terms
from models.vocabulary import Reason


class PassFigures(Protocol):
    """What one pass of a rule came to (``beforehand.passes.PassReport``)."""

    @property
    def matched(self) -> int:
        """Subjects that matched."""
        ...

    @property
    def customers(self) -> int:
        """Customers behind them."""
        ...

    @property
    def planned(self) -> int:
        """Messages planned."""
        ...

    @property
    def withheld(self) -> Mapping[Reason, int]:
        """Matches withheld, by reason."""
        ...

    @property
    def tasks(self) -> int:
        """Tasks for a person."""
        ...

    @property
    def skipped(self) -> bool:
        """Whether this slot was done already."""
        ...


class SendFigures(Protocol):
    """What one dispatch came to (``messaging.dispatch.DispatchReport``)."""

    @property
    def sent(self) -> int:
        """Accepted by a provider."""
        ...

    @property
    def failed(self) -> int:
        """Refused or given up."""
        ...

    @property
    def unknown(self) -> int:
        """No clear answer."""
        ...

    @property
    def withheld(self) -> Mapping[Reason, int]:
        """Withheld at the last look, by reason."""
        ...


@dataclass(frozen=True)
class Hands:
    """The functions behind the flows and the heartbeat.

    ``rules`` gives the terms of the rules in force by id; ``run_rule(rule_id, now, slot)`` is one pass;
    ``dispatch()`` sends one batch of what may go now; ``ingest(mapping_file)`` reads sources and counts by source.
    """

    clock: Callable[[], datetime]
    time_zone: str
    rules_folder: Path
    post_room: str
    rules: Callable[[], Mapping[str, Terms]]
    run_rule: Callable[[str, datetime, datetime | None], PassFigures]
    dispatch: Callable[[], SendFigures]
    ingest: Callable[[Path], Mapping[str, Mapping[str, Any]]]


def of_app(app: App, rules: Callable[[], Mapping[str, Terms]] | None = None, *, post_room: str = "") -> Hands:
    """The hands of a wired application; ``rules`` gives the rules in force, read from the folder where left out."""
    from beforehand import dispatching, passes

    return Hands(
        clock=app.clock,
        time_zone=app.settings.time_zone,
        rules_folder=app.settings.rules,
        post_room=post_room,
        rules=rules or (lambda: rules_in_folder(app)),
        run_rule=lambda rule_id, now, slot: passes.run_rule(app, rule_id, now, slot=slot),
        dispatch=lambda: dispatching.dispatch_due(app),
        ingest=lambda mapping: ingest_counts(app, mapping),
    )


def rules_in_folder(app: App) -> Mapping[str, Terms]:
    """The terms of the rules in the folder, by id. Raises ``rules.errors.RuleErrors``."""
    from rules.loader import load_folder

    return {rule_id: rule.terms for rule_id, rule in load_folder(app.settings.rules, app.settings.facts).rules.items()}


def ingest_counts(app: App, mapping: Path) -> Mapping[str, Mapping[str, Any]]:
    """Read the sources of ``mapping`` and give the counts by source."""
    from beforehand import ingest

    report = ingest.run(app.engine, mapping, now=app.clock())
    return {source.name: source.counts for source in report.sources}


_held: list[Hands] = []


def hold(hands: Hands) -> None:
    """Let the flows of this process use these hands."""
    _held[:] = [hands]


def held() -> Hands:
    """The hands of this process; wired from the environment where none were handed in."""
    if not _held:
        hold(of_app(bootstrap()))
    return _held[0]
