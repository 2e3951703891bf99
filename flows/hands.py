"""What flows call: the application's plain functions, handed in once at the start of a process.

Flows get ids only, so the application itself cannot come in as a parameter; it is kept here. A process that was not
given one (the fall-back process worker) wires its own from the environment.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from beforehand import ingest, passes
from beforehand.dispatching import dispatch_due
from beforehand.ingest.issues import declare
from beforehand.passes.households import form_households
from beforehand.passes.outcome import Outcome, what_became
from beforehand.staff_calls import console_url
from beforehand.wiring import App, bootstrap
from flows.asking import Asked, Taken, asked_of, take_answer
from flows.chores import Chores, Told, chores_of
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
    ``became(rule_id, since)`` tells what became of the messages that it planned since then;
    ``dispatch()`` sends one batch of what may go now; ``ingest(mapping_file, told)`` reads sources, counts by table.
    ``console`` is the address of the console, empty where there is none; ``brief_at`` is HH:MM in ``time_zone``.
    ``own`` are the chores of the house, which tests of the passes go without.
    ``question(held_run)`` is what a second person is asked, and ``answer(held_run, approve, by, because, shown)`` takes
    it, for what was shown.
    """

    clock: Callable[[], datetime]
    time_zone: str
    rules_folder: Path
    post_room: str
    rules: Callable[[], Mapping[str, Terms]]
    run_rule: Callable[[str, datetime, datetime | None], PassFigures]
    dispatch: Callable[[], SendFigures]
    became: Callable[[str, datetime], Outcome]
    ingest: Callable[[Path, Told], Mapping[str, Mapping[str, int]]]
    console: str = ""
    brief_at: str = "07:00"
    own: Chores | None = None
    question: Callable[[int], Asked | None] = lambda _: None
    answer: Callable[[int, bool, str, str, str], Taken] = lambda *_: Taken(counts=False, said="nothing is asked")

    @property
    def chores(self) -> Chores:
        """The chores of the house. Raises RuntimeError where none were handed in."""
        if self.own is None:
            raise RuntimeError("these hands do passes only")
        return self.own


def of_app(app: App, *, post_room: str = "", stopping: Callable[[], bool] = lambda: False) -> Hands:
    """The hands of a wired application; ``post_room`` is the address of its page, where there is one.

    A dispatch under way lets go when ``stopping`` says so.
    """
    return Hands(
        clock=app.clock,
        time_zone=app.settings.time_zone,
        rules_folder=app.settings.rules,
        post_room=post_room,
        rules=lambda: {rule_id: rule.terms for rule_id, rule in passes.rules_of(app).rules.items()},
        run_rule=lambda rule_id, now, slot: passes.run_rule(app, rule_id, now, slot=slot),
        dispatch=lambda: dispatch_due(app, stopping=stopping),
        became=lambda rule_id, since: what_became(app.engine, rule_id, since),
        ingest=lambda mapping, told: ingest_and_declare(app, mapping, told),
        console=console_url(app),
        brief_at=app.settings.brief_at,
        own=chores_of(app),
        question=lambda held_run: asked_of(app, held_run),
        answer=lambda held_run, approve, by, why, shown: take_answer(app, held_run, approve, by, why, shown),
    )


class SourcesUnusable(Exception):
    """Some sources could not be read; the text says which, where and why. What could be read was."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))


def _untold(_what: str, _done: int, _of: int) -> None:
    """Nobody looks on."""


def ingest_counts(
    app: App, mapping: Path, data: Path | None = None, told: Told = _untold
) -> Mapping[str, Mapping[str, int]]:
    """Read the sources of ``mapping``; gives by table how many rows were read, new, changed, same and rejected.

    Raises MappingErrors and SourcesUnusable.
    """
    report = ingest.run(app.engine, mapping, now=app.clock(), settings=app.settings, data=data, progress=told)
    form_households(app, report)
    if report.problems:
        raise SourcesUnusable(report.problems)
    return {
        name: {
            "read": table.rows,
            "new": table.new,
            "changed": table.changed,
            "same": table.same,
            "rejected": table.rejected.total(),
        }
        for name, table in report.tables.items()
    }


def ingest_and_declare(app: App, mapping: Path, told: Told = _untold) -> Mapping[str, Mapping[str, int]]:
    """``ingest_counts``, and then the known issues are looked for in what is new, so that nobody exposed is missed.

    Raises MappingErrors also where an issue file is wrong: what was read stays, and the issues in force stay.
    """
    counts = ingest_counts(app, mapping, told=told)
    if app.settings.issues.is_dir():
        declare(app.engine, app.settings.issues, app.clock())
    return counts


_held: list[Hands] = []


def hold(hands: Hands) -> None:
    """Let the flows of this process use these hands."""
    _held[:] = [hands]


def held() -> Hands:
    """The hands of this process; wired from the environment where none were handed in."""
    if not _held:
        hold(of_app(bootstrap()))
    return _held[0]
