"""Plan: what a change of the rules would do, before it does anything. Nothing is written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from beforehand.backtest.standins import replaying
from beforehand.planning.compare import Comparing, Pair, change_of, pairs_of
from beforehand.planning.report import Kind, Plan, RuleChange, Weekly
from beforehand.planning.sides import NothingToCompare, Side, files_side, other_side
from beforehand.planning.weekly import weekly
from beforehand.wiring import App
from rules.errors import RuleErrors
from rules.loader import Rule

WEEKS = 4
"""So many weeks are replayed with the old text and the new."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is over, and of how much."""


@dataclass(frozen=True)
class Present:
    """A plan of now, and the way from it to the weeks behind: a replay can take minutes, now takes moments."""

    app: App
    plan: Plan
    pairs: tuple[Pair, ...]
    weeks: int

    def replays(self) -> bool:
        """Whether the weeks would add anything."""
        return any(self._has_past(change) for change in self.plan.changes)

    def replayed(self, progress: Progress | None = None) -> Plan:
        """The same plan with the weeks of each change that decides anything."""
        replays = _Replays(self.app, self.plan.now, self.weeks, progress)
        changes = [
            replays.of(pair, change) if self._has_past(change) else change
            for pair, change in zip(self.pairs, self.plan.changes, strict=True)
        ]
        return replace(self.plan, weeks=self.weeks, changes=tuple(changes), notes=_in_all(changes))

    def _has_past(self, change: RuleChange) -> bool:
        return bool(self.weeks and change.kind is not Kind.REFUSED and not change.problems and change.decides)


@contextmanager
def present(
    app: App, now: datetime, *, against: str | None = None, rules: Path | None = None, weeks: int = WEEKS
) -> Iterator[Present]:
    """Compare the rules as their files are now with ``against`` on the real database, as of ``now``.

    ``against`` is a path or a git commit; None: what is in force, else git's HEAD. ``rules`` takes the place of the
    folder in the settings. ``weeks`` of the past can be replayed (0: none) until the block ends. Raises
    NothingToCompare, and RuleErrors where there is no folder or the facts cannot be read.
    """
    folder = rules or app.settings.rules
    new = files_side(app, str(folder), folder, app.settings.facts)
    with other_side(app, folder, against) as old:
        pairs = list(pairs_of(_alone(old, folder), new))
        found = [(pair, change_of(pair, now, app.settings.time_zone)) for pair in pairs]
        differing = [(pair, change) for pair, change in found if change is not None]
        changes: list[RuleChange] = []
        if differing:
            with replaying(app.engine) as connection:
                changes = Comparing(connection, app, now, new.rules).all_of(differing)
        plan = Plan(
            now=now,
            rules=new.label,
            against=old.label,
            weeks=0,
            changes=tuple(changes),
            unchanged=tuple(pair.rule_id for pair, change in found if change is None),
        )
        yield Present(app, plan, tuple(pair for pair, _ in differing), weeks)


def plan(
    app: App,
    now: datetime,
    *,
    against: str | None = None,
    rules: Path | None = None,
    weeks: int = WEEKS,
    progress: Progress | None = None,
) -> Plan:
    """The whole plan at once: now, and the weeks behind. Asks and raises what ``present`` does."""
    with present(app, now, against=against, rules=rules, weeks=weeks) as looked:
        return looked.replayed(progress)


def _alone(old: Side, folder: Path) -> Side:
    """Where the rules are one file, only its rule is compared."""
    if not folder.is_file():
        return old
    mine = folder.stem
    keep = {rule_id: rule for rule_id, rule in old.rules.items() if rule_id == mine}
    return replace(old, rules=keep, problems={name: said for name, said in old.problems.items() if name == mine})


def _in_all(changes: list[RuleChange]) -> tuple[str, ...]:
    """The notes that every replay has, in their order."""
    replays = [week.notes for change in changes for week in (change.old_week, change.new_week) if week and week.notes]
    return tuple(note for note in replays[0] if all(note in other for other in replays)) if replays else ()


class _Replays:
    """The replays of a plan, one after the other, each in a transaction of its own."""

    def __init__(self, app: App, now: datetime, weeks: int, progress: Progress | None) -> None:
        self.app = app
        self.now = now
        self.weeks = weeks
        self.progress = progress

    def of(self, pair: Pair, change: RuleChange) -> RuleChange:
        """The change with the weeks of its two texts."""
        try:
            old = self._week(pair.acting(pair.old), "old text")
            new = self._week(pair.acting(pair.new), "new text")
        except (ValueError, RuleErrors, SQLAlchemyError) as wrong:
            said = str(wrong).splitlines()[0]
            return replace(change, notes=(*change.notes, f"the past weeks cannot be replayed: {said}"))
        return replace(change, old_week=old, new_week=new)

    def _week(self, rule: Rule | None, which: str) -> Weekly:
        if rule is None:
            return Weekly(currency=self.app.settings.currency)
        label, tell = f"{rule.id}, {which}", self.progress
        told = (lambda done, of: tell(label, done, of)) if tell else None
        return weekly(self.app, rule, self.now, self.weeks, told)


__all__ = ["WEEKS", "Kind", "NothingToCompare", "Plan", "Present", "RuleChange", "plan", "present"]
