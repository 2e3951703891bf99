"""Runs the tests of rule files: as if each rule were live, with the house's own policy and templates."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from beforehand.passes import run_rule, secret_of
from beforehand.proving.happened import Happening, differences, expected, got, happened
from beforehand.proving.later import go_on
from beforehand.proving.small import Small
from beforehand.proving.why import reason_differs, reasons, what_conditions_say, what_gates_say
from beforehand.settings import Settings
from beforehand.wiring import App
from messaging.addresses import address_hash
from models.database import reading, writing
from models.places import Problem
from models.vocabulary import Reason, RuleStatus
from rules.errors import RuleErrors
from rules.given import Given
from rules.loader import Rule, RuleSet, load_folder
from rules.reader import Complaints
from rules.rule_tests import RuleTest, Stage

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Since when a rule counts as live in its tests, so that nothing in them is a backlog."""


@dataclass(frozen=True)
class Outcome:
    """What became of one test. ``differences`` and ``because`` are empty where it passed; ``seconds`` it took."""

    rule_id: str
    test: str
    path: str
    line: int
    expected: str
    got: str
    differences: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.differences

    def as_json(self) -> dict[str, object]:
        """The outcome as JSON values."""
        return {
            "rule": self.rule_id,
            "test": self.test,
            "file": self.path,
            "line": self.line,
            "passed": self.passed,
            "expected": self.expected,
            "got": self.got,
            "differences": list(self.differences),
            "because": list(self.because),
            "seconds": round(self.seconds, 4),
        }


@dataclass(frozen=True)
class Unread:
    """A rule file that does not load, and why."""

    path: str
    problems: tuple[Problem, ...]


@dataclass
class Report:
    """All that was tested: outcomes by rule id (a rule without tests has none), and the files that do not load."""

    rules: dict[str, list[Outcome]] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    unread: list[Unread] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Take what another report holds."""
        self.rules |= other.rules
        self.paths |= other.paths
        self.unread += other.unread

    @property
    def outcomes(self) -> list[Outcome]:
        """Every outcome, in the order of the rules."""
        return [outcome for outcomes in self.rules.values() for outcome in outcomes]

    @property
    def failed(self) -> list[Outcome]:
        """The tests that did not pass."""
        return [outcome for outcome in self.outcomes if not outcome.passed]

    @property
    def fine(self) -> bool:
        """Whether every file loads and every test passes."""
        return not (self.unread or self.failed)


class Prover:
    """Runs tests one after the other in one small database. ``engine``: another, empty database to run one test in."""

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        # Nothing is sent, so trial mode and its guest list have no say.
        self.settings = settings.model_copy(update={"delivery": "post_room", "live_from": LONG_AGO})
        self._small = Small() if engine is None else None
        self.engine = engine or self._small.engine  # type: ignore[union-attr]

    def close(self) -> None:
        """Give the memory back."""
        if self._small is not None:
            self._small.close()

    def prove(self, rule: Rule, test: RuleTest) -> Outcome:
        """Run one test of a rule. What cannot be run at all counts as failed, with what is wrong in its differences."""
        try:
            return self._prove(rule, test)
        except (RuleErrors, RuntimeError, SQLAlchemyError) as wrong:
            said = [problem.said for problem in wrong.problems] if isinstance(wrong, RuleErrors) else []
            first = f"it cannot be run: {(said or str(wrong).splitlines() or [type(wrong).__name__])[0]}"
            words = (expected(test.stages[0]), "nothing", (first, *said[1:]))
            return Outcome(rule.id, test.name, rule.path, test.place[0], *words)

    def _prove(self, rule: Rule, test: RuleTest) -> Outcome:
        begun = perf_counter()
        live = as_live(rule)
        app = self._app(live)
        given = self._begin(live, test)
        done: list[Happening] = []
        now = test.at.now
        first = run_rule(app, live.id, now).withheld
        for stage in test.stages:
            now = go_on(app, test, now, stage.after)
            new, said, because = self._look(app, live, stage, done, now, first)
            if said:
                because += self._conditions(live, test, given, stage, new)
                break
            done += new
        place = (stage if said else test).place
        took = perf_counter() - begun
        words = (expected(stage), got(new), tuple(said), tuple(because))
        return Outcome(rule.id, test.name, rule.path, place[0], *words, took)

    def _look(
        self, app: App, rule: Rule, stage: Stage, done: list[Happening], now: datetime, first: Collection[Reason]
    ) -> tuple[list[Happening], list[str], list[str]]:
        """What has happened since the stage before, how it differs, and what the gates say about it."""
        known = {each.key for each in done}
        with reading(self.engine) as connection:
            new = [each for each in happened(connection, app, rule) if each.key not in known]
            said = differences(stage, new)
            if not said and stage.withheld is not None:
                said = reason_differs(reasons(connection, rule, first), stage.withheld)
            if not said:
                return new, [], []
            return new, said, what_gates_say(connection, rule, reasons(connection, rule, first), stage, new, now)

    def _begin(self, rule: Rule, test: RuleTest) -> Given:
        if self._small is not None:
            self._small.renew()
        secret = secret_of(self.settings)
        with writing(self.engine) as connection:
            hashed = partial(address_hash, secret)
            given = Given(connection, rule, test.at, Complaints(rule.path), hashed)
            given.tell(test.story)
        return given

    def _conditions(self, rule: Rule, test: RuleTest, given: Given, stage: Stage, new: list[Happening]) -> list[str]:
        """What the named conditions say of the test's subject, as the rows were given."""
        if self._small is not None:
            given = self._begin(rule, test)
        with reading(self.engine) as connection:
            subject_id = given.known.get(f"{rule.subject.name}_id")
            return what_conditions_say(connection, rule, test, subject_id, self.settings.time_zone, came=bool(new))

    def _app(self, rule: Rule) -> App:
        folder = Path(rule.path).parent
        settings = self.settings.model_copy(update={"rules": folder})
        return App(settings, self.engine, _no_clock, rules_in_force=lambda: RuleSet({rule.id: rule}))


def _no_clock() -> datetime:
    raise AssertionError("a decision looked at the clock")


def as_live(rule: Rule) -> Rule:
    """The rule as if it were live, rolled out to everybody, and had been so for ever."""
    terms = replace(rule.terms, status=RuleStatus.LIVE, live_from=LONG_AGO, from_now=False, percent=None)
    return replace(rule, terms=terms)


def prove_files(
    prover: Prover,
    files: Iterable[Path],
    *,
    facts: Path | None = None,
    told: Callable[[str, Sequence[Outcome]], None] = lambda _rule, _outcomes: None,
) -> Report:
    """Run all tests of rule files. A file that does not load is reported; the others are tested all the same.

    ``told`` hears of each rule as soon as its tests are done.
    """
    report = Report()
    for file in files:
        for rule in _loaded(file, facts, report):
            outcomes = [prover.prove(rule, test) for test in rule.tests]
            report.rules[rule.id], report.paths[rule.id] = outcomes, rule.path
            told(rule.id, outcomes)
    return report


def _loaded(file: Path, facts: Path | None, report: Report) -> Iterator[Rule]:
    try:
        yield from load_folder(file, facts).rules.values()
    except RuleErrors as wrong:
        report.unread.append(Unread(str(file), tuple(wrong.problems)))
