"""Each rule that differs, on the real database: who comes and goes, what stops it, whom else it meets, what waits."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from beforehand.passes.backlog import backlog_of
from beforehand.planning.conflicts import conflicts_of
from beforehand.planning.edits import asks_the_same, decides_the_same, edits_between
from beforehand.planning.reach import NEW, OLD, look, make_room, moved
from beforehand.planning.report import FirstPass, Kind, Reach, RuleChange
from beforehand.planning.sides import Side
from beforehand.planning.waiting import waiting_on_others
from beforehand.wiring import App
from messaging import guards
from models.terms import THE_BEGINNING, Send
from models.vocabulary import RuleStatus
from rules.errors import RuleErrors
from rules.loader import Rule

OTHER_LISTS = "the text is the same, but a list or the facts that it names are not"
GOES_ON = "what has begun goes on to its end with the text that it began with"
ENDS = "what has begun is stopped: a retired rule takes no further step"


@dataclass(frozen=True)
class Pair:
    """One rule on both sides; None where a side has none. ``old_problems`` say why its old text is not here."""

    rule_id: str
    old: Rule | None
    new: Rule | None
    old_problems: tuple[str, ...] = ()
    new_problems: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether one of the texts is live."""
        return any(rule is not None and rule.terms.status is RuleStatus.LIVE for rule in (self.old, self.new))

    def acting(self, rule: Rule | None) -> Rule | None:
        """The rule where it does anything; where neither text is live, as if it were."""
        acts = rule is not None and (not self.is_live or rule.terms.status is RuleStatus.LIVE)
        return rule if acts else None


def pairs_of(old: Side, new: Side) -> Iterator[Pair]:
    """All rules of both sides, by id."""
    for rule_id in sorted({*old.rules, *old.problems, *new.rules, *new.problems}):
        yield Pair(
            rule_id,
            old.rules.get(rule_id),
            new.rules.get(rule_id),
            tuple(map(str, old.problems.get(rule_id, ()))),
            tuple(map(str, new.problems.get(rule_id, ()))),
        )


def change_of(pair: Pair, now: datetime, zone: str) -> RuleChange | None:
    """What differs in the files alone; None where nothing does."""
    old, new = pair.old, pair.new
    base = RuleChange(
        pair.rule_id,
        Kind.CHANGED,
        title=(new or old).terms.title if new or old else "",  # type: ignore[union-attr]
        old_version=old.terms.version if old else None,
        new_version=new.terms.version if new else None,
        old_status=old.terms.status if old else None,
        new_status=new.terms.status if new else None,
        subject=(new or old).terms.subject if new or old else "",  # type: ignore[union-attr]
        notes=tuple(f"the old text does not load: {problem}" for problem in pair.old_problems),
    )
    if pair.new_problems:
        return replace(base, kind=Kind.REFUSED, problems=pair.new_problems, notes=())
    if new is None:
        return replace(base, kind=Kind.GONE) if old else None
    if old is None:
        return base if pair.old_problems else replace(base, kind=Kind.NEW)
    if old.terms.version != new.terms.version:
        edits = edits_between(old, new)
        return replace(base, edits=edits, decides=not decides_the_same(edits))
    return None if asks_the_same(old, new, now, zone) else replace(base, notes=(OTHER_LISTS,))


@dataclass(frozen=True)
class Comparing:
    """A comparison on one open transaction; ``rules`` are all of the new side."""

    connection: Connection
    app: App
    now: datetime
    rules: dict[str, Rule]

    def all_of(self, found: list[tuple[Pair, RuleChange]]) -> list[RuleChange]:
        """Ask the database about each change, then about the rules they meet."""
        make_room(self.connection)
        seen = [self._seen(pair, change) for pair, change in found]
        asked = {
            pair.rule_id
            for (pair, _), change in zip(found, seen, strict=True)
            if change.new is not None and pair.acting(pair.new) is not None
        }
        others = self._speaking_others(asked) if asked else {}
        return [self._met(change, others) if change.rule_id in asked else change for change in seen]

    def _seen(self, pair: Pair, change: RuleChange) -> RuleChange:
        change = replace(change, **self._waits(pair, change))  # type: ignore[arg-type]
        if change.kind is Kind.REFUSED or not change.decides:
            return change
        try:
            return self._reached(pair, change)
        except RuleErrors as wrong:
            return replace(change, problems=tuple(map(str, wrong.problems)))
        except SQLAlchemyError as wrong:  # its text may quote a row
            return replace(change, problems=(f"it cannot be asked ({type(wrong).__name__})",))

    def _waits(self, pair: Pair, change: RuleChange) -> dict[str, object]:
        waiting = waiting_on_others(self.connection, pair.rule_id, change.new_version, pair.old)
        if not waiting:
            return {}
        ends = change.new_status is RuleStatus.RETIRED
        return {"waiting": waiting, "notes": (*change.notes, ENDS if ends else GOES_ON)}

    def _reached(self, pair: Pair, change: RuleChange) -> RuleChange:
        old, new = pair.acting(pair.old), pair.acting(pair.new)
        with self.connection.begin_nested():
            was = look(self.connection, self.app, old, OLD, self.now)[0] if old else Reach()
            found: dict[str, object] = {"old": was, "new": Reach()}
            if new:
                reached, case = look(self.connection, self.app, new, NEW, self.now)
                found["new"] = reached
                found["brake"] = guards.brake.over(self.connection, case)
                if new.terms.status is RuleStatus.LIVE:
                    found["first_pass"] = self._first_pass(new, case, reached.going)
            shown = new or old
            if shown is not None:
                other = pair.old is not None and pair.new is not None
                differ = other and pair.old.terms.subject != pair.new.terms.subject  # type: ignore[union-attr]
                for word in ("found", "going"):
                    found[word] = moved(self.connection, shown, going=word == "going", by_customer=differ)
        return replace(change, **found)  # type: ignore[arg-type]

    def _first_pass(self, rule: Rule, case: guards.Case, going: int) -> FirstPass:
        def goes(live_from: datetime) -> int:
            backlog = backlog_of(self.connection, self.app, rule, self.now, live_from=live_from)
            return going - guards.backlog.count(self.connection, replace(case, backlog=backlog))

        moment = rule.terms.live_from
        as_written = going - guards.backlog.count(self.connection, case)
        return FirstPass(as_written, goes(self.now), goes(moment or THE_BEGINNING), moment)

    def _speaking_others(self, asked: set[str]) -> dict[str, Rule]:
        """The live rules that speak; those that were not asked yet are asked whom their next pass would reach."""
        live = {
            rule.id: rule
            for rule in self.rules.values()
            if rule.terms.status is RuleStatus.LIVE and any(isinstance(step, Send) for step in rule.terms.steps)
        }
        for rule in live.values():
            if rule.id not in asked:
                try:
                    with self.connection.begin_nested():
                        look(self.connection, self.app, rule, NEW, self.now, as_live=False)
                except (RuleErrors, SQLAlchemyError):  # its own trouble, and told by its own passes
                    continue
        return live

    def _met(self, change: RuleChange, others: dict[str, Rule]) -> RuleChange:
        rule = self.rules[change.rule_id]
        if not any(isinstance(step, Send) for step in rule.terms.steps):
            return change
        return replace(change, conflicts=conflicts_of(self.connection, self.app, rule, others, self.now))
