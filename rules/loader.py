"""Loads rule files: strictly, all or nothing, and says all that is wrong at once."""

import csv
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from dateutil.relativedelta import relativedelta

from models.terms import OncePer, Terms
from models.vocabulary import Purpose, RuleStatus, WhenCapped
from rules.attributes import with_attributes
from rules.conditions import Group, Parser
from rules.errors import Problem, RuleErrors, closest, listing
from rules.facts import Subject, subjects
from rules.rates import Rates
from rules.reader import Complaints, Node, read, read_file
from rules.rule_tests import RuleTest, read_tests
from rules.schema import LIMIT_KEYS, PURPOSES, REQUIRED, RULE_KEYS, STATUSES, WHEN_KEYS
from rules.steps import StepReader
from rules.values import DURATION_FORM, FROM_FORM, WHEN_FORM, at_cron, duration, every_cron, is_cron, point

ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PERCENT = re.compile(r"(\d+(?:\.\d+)?)%(?: of customers)?( also for service)?")
ALSO = "also for service"
UNPROVEN = "a live rule should have a test that sends and one that does not"
TAKEN = ("dispatch", "ingest")
AT_MOST = re.compile(r"(\d+) messages? per (hour|day|week|month)")


@dataclass(frozen=True)
class Rule:
    """A loaded rule: its terms, its named conditions with every word looked up, and its text as in the file.

    ``root`` is the file's tree, in which each word has its place. ``rates``: by which money of several currencies is
    compared; None: it is not.
    """

    terms: Terms
    subject: Subject
    conditions: dict[str, Group]
    exceptions: dict[str, Group]
    text: str
    path: str
    parser: Parser
    tests: tuple[RuleTest, ...] = ()
    root: Node = field(default_factory=lambda: Node({}, 1, 1), repr=False)
    rates: Rates | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The rule's name."""
        return self.terms.rule_id


@dataclass(frozen=True)
class RuleSet:
    """All rules of a folder, by id, and what was noticed without being wrong."""

    rules: dict[str, Rule]
    warnings: tuple[Problem, ...] = ()


def version_of(text: str) -> str:
    """A rule's version: the hash of its content (line endings aside)."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()[:16]


def load_folder(folder: Path, facts: Path | None = None) -> RuleSet:
    """Load every ``*.yaml`` of a folder (or one file). Raises RuleErrors with all that is wrong in all of them."""
    rules, problems = read_folder(folder, facts)
    if any(not problem.warning for problem in problems):
        raise RuleErrors(problems)
    return RuleSet(rules, tuple(problems))


def rule_files(path: Path) -> list[Path]:
    """The rule files of a folder, or the one file."""
    return sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]


def read_folder(folder: Path, facts: Path | None = None) -> tuple[dict[str, Rule], list[Problem]]:
    """Read every ``*.yaml`` of a folder (or one file): the rules that are right, and what is wrong with the others.

    Only to be looked at: a set with a problem in it is not to be run. Raises RuleErrors where there is nothing to read.
    """
    known = with_attributes(subjects(), facts)
    if not (folder.is_dir() or folder.is_file()):
        raise RuleErrors([Problem(str(folder), 1, 1, "there is no such folder or file", "a folder with rule files")])
    problems: list[Problem] = []
    rules: dict[str, Rule] = {}
    for file in rule_files(folder):
        try:
            text, root = read_file(file)
        except RuleErrors as refused:
            problems.extend(refused.problems)
            continue
        rule = _Loader(known, Complaints(str(file)), file.parent).rule(root, text, file.stem, problems)
        if rule is not None and rule.id in rules:
            problems.append(Problem(str(file), 1, 1, f"the rule '{rule.id}' stands in {rules[rule.id].path} too"))
        elif rule is not None:
            rules[rule.id] = rule
    return rules, problems


def load_text(
    text: str, name: str, folder: Path | None = None, facts: Path | None = None, *, tests: bool = True
) -> Rule:
    """Load one rule from its text (a stored version, say). ``folder`` is where its lists are. Raises RuleErrors.

    ``tests`` False leaves its tests unread: what is wrong in them does not keep a version that runs from going on.
    """
    problems: list[Problem] = []
    said = Complaints(f"{name}.yaml")
    loader = _Loader(with_attributes(subjects(), facts), said, folder or Path(), tests=tests)
    rule = loader.rule(read(text, said.path), text, name, problems)
    if rule is None:
        raise RuleErrors(problems)
    return rule


class _Loader:
    def __init__(self, known: dict[str, Subject], said: Complaints, folder: Path, *, tests: bool = True) -> None:
        self.known = known
        self.said = said
        self.folder = folder
        self.tests = tests

    def rule(self, root: Node, text: str, stem: str, problems: list[Problem]) -> Rule | None:
        """Read a rule; adds to ``problems`` and gives None where it cannot be loaded."""
        rule = self._rule(root, text, stem) if root.is_map else None
        if not root.is_map:
            self.said.add(root, "a rule file is a mapping", expected=listing(REQUIRED))
        problems.extend(self.said.problems)
        return None if self.said.errors else rule

    def _rule(self, root: Node, text: str, stem: str) -> Rule | None:
        self._keys(root, RULE_KEYS, "key of a rule")
        for key in REQUIRED:
            if key not in root.value:
                self.said.add(root, f"'{key}' is missing", expected=RULE_KEYS[key])
        subject = self._subject(root)
        rule_id = self._id(root, stem)
        if subject is None:
            return None
        parser = Parser(self.known, subject, self.said, self._list)
        conditions = self._named(root, "if", parser, subject)
        exceptions = self._named(root, "unless", parser, subject)
        terms = self._terms(root, rule_id, subject, parser, text)
        tests = read_tests(root.value["tests"], self.known, self.said) if "tests" in root.value and self.tests else ()
        self._hints(root, terms, tests)
        return Rule(terms, subject, conditions, exceptions, text, self.said.path, parser, tests, root)

    def _terms(self, root: Node, rule_id: str, subject: Subject, parser: Parser, text: str) -> Terms:
        reader = StepReader(parser, subject, self.said)
        limits = root.value.get("limits", Node({}, root.line, root.column))
        self._keys(limits, LIMIT_KEYS, "limit")
        crons, events = self._when(root)
        status = self._word(root, "status", STATUSES, "draft")
        purpose = self._word(root, "purpose", PURPOSES, "service")
        return Terms(
            rule_id=rule_id,
            version=version_of(text),
            title=self._text(root, "title"),
            status=RuleStatus(status),
            purpose=Purpose(purpose),
            priority=self._priority(root),
            subject=subject.name,
            steps=reader.steps(root.value["then"]) if "then" in root.value else (),
            once=self._once(limits, subject),
            valid_for=reader.lasts(limits, "valid_for") if limits.is_map else None,
            at_most=self._at_most(limits),
            brake_percent=self._percent(limits, "brake"),
            holdout_percent=self._holdout(limits, purpose),
            live_from=self._live_from(root),
            from_now="from" in root.value and str(root.value["from"].value).strip() == "now",
            percent=self._rollout(root),
            owner=self._text(root, "owner"),
            why=self._text(root, "why"),
            events=events,
            cron=crons,
            when_capped=self._when_capped(limits),
        )

    def _keys(self, node: Node, known: dict[str, str], kind: str) -> None:
        if not node.is_map:
            self.said.add(node, f"a mapping is due here, with a {kind} a line", expected=listing(known))
        for key, _ in node.items():
            if key not in known:
                self.said.unknown(node.keys[key], kind, key, [*known])

    def _text(self, root: Node, key: str) -> str:
        node = root.value.get(key)
        if node is None:
            return ""
        if not isinstance(node.value, str) or not node.value.strip():
            self.said.add(node, f"'{key}' needs a text", expected=RULE_KEYS[key])
            return ""
        return node.value.strip()

    def _word(self, root: Node, key: str, known: tuple[str, ...], default: str) -> str:
        node = root.value.get(key)
        if node is None:
            return default
        if node.value not in known:
            self.said.unknown(node, key, str(node.value), [*known])
            return default
        return str(node.value)

    def _id(self, root: Node, stem: str) -> str:
        node = root.value.get("id")
        if node is None:
            return stem
        if not isinstance(node.value, str) or not ID.fullmatch(node.value):
            self.said.add(node, f"'{node.value}' cannot be a rule's id", expected="small letters, digits and hyphens")
        elif node.value in TAKEN:
            said = f"'{node.value}' is the name of something of ours in Prefect"
            self.said.add(node, said, expected="another id")
        elif node.value != stem:
            self.said.add(node, f"the id '{node.value}' differs from the file's name", expected=f"'{stem}'")
        return str(node.value)

    def _subject(self, root: Node) -> Subject | None:
        node = root.value.get("for_each")
        usable = [name for name, subject in self.known.items() if subject.for_each]
        if node is None:
            return None
        if node.value not in usable:
            self.said.unknown(node, "subject", str(node.value), usable)
            return None
        return self.known[node.value]

    def _priority(self, root: Node) -> int:
        node = root.value.get("priority")
        if node is None:
            return 50
        if not isinstance(node.value, int) or isinstance(node.value, bool) or not 0 <= node.value <= 100:
            self.said.add(node, f"'{node.value}' is no priority", expected="a number from 0 to 100")
            return 50
        return node.value

    def _named(self, root: Node, key: str, parser: Parser, subject: Subject) -> dict[str, Group]:
        node = root.value.get(key)
        if node is None:
            return {}
        if not node.is_map or not node.value:
            self.said.add(node, f"'{key}' is a mapping of named conditions", expected="a name, then what must hold")
            return {}
        named: dict[str, Group] = {}
        for name, body in node.items():
            if not body.is_map and (name in subject.facts or "." in name):
                said = f"'{name}' stands where the name of a condition is due"
                self.said.add(node.keys[name], said, expected=f"a name first, such as 'this_holds: {{{name}: ...}}'")
                continue
            named[name] = parser.condition(body, subject)
        return named

    def _when(self, root: Node) -> tuple[tuple[str, ...], tuple[str, ...]]:
        node = root.value.get("when")
        if node is None:
            return (), ()
        self._keys(node, WHEN_KEYS, "clock")
        if not node.is_map or not node.value:
            return (), ()
        crons: list[str] = []
        readers = {
            "every": (every_cron, "a duration that divides the hour or the day; for a time of day use 'at'"),
            "at": (at_cron, WHEN_FORM),
            "cron": (lambda text: text if is_cron(text) else None, "five cron fields, such as '0 9 * * 1-5'"),
        }
        for key, (reads, expected) in readers.items():
            if key not in node.value:
                continue
            several = node.value[key].value if node.value[key].is_list else [node.value[key]]
            for member in several:
                cron = reads(member.value)
                if cron is None:
                    self.said.add(member, f"'{member.value}' is not a time for '{key}'", expected=expected)
                else:
                    crons.append(cron)
        return tuple(crons), self._events(node.value.get("event"))

    def _events(self, node: Node | None) -> tuple[str, ...]:
        if node is None:
            return ()
        known = sorted({event for subject in self.known.values() for event in subject.events})
        several = node.value if node.is_list else [node]
        for member in several:
            if member.value not in known:
                self.said.add(
                    member,
                    f"unknown event '{member.value}'",
                    expected=listing(known, 40),
                    meant=closest(str(member.value), known),
                )
        return tuple(str(member.value) for member in several)

    def _once(self, limits: Node, subject: Subject) -> OncePer:
        node = limits.value.get("once_per") if limits.is_map else None
        if node is None:
            return OncePer(subject.name)
        words = str(node.value).split(" every ")
        every = duration(words[1]) if len(words) == 2 else None
        if words[0].strip() not in (subject.name, "customer"):
            known = list(dict.fromkeys([subject.name, "customer", "customer every 180 days"]))
            self.said.unknown(node, "occasion", str(node.value), known)
        elif len(words) == 2 and every is None:
            self.said.add(node, f"'{words[1]}' is not a duration", expected=DURATION_FORM)
        return OncePer(words[0].strip(), every)

    def _percent(self, limits: Node, key: str) -> float | None:
        node = limits.value.get(key) if limits.is_map else None
        if node is None:
            return None
        found = PERCENT.fullmatch(str(node.value).strip())
        if not found or not 0 <= float(found[1]) <= 100 or (found[2] and key != "holdout"):
            self.said.add(node, f"'{node.value}' is no share", expected="such as 5% of customers")
            return None
        return float(found[1])

    def _holdout(self, limits: Node, purpose: str) -> float | None:
        share = self._percent(limits, "holdout")
        if share and purpose == Purpose.SERVICE and not str(limits.value["holdout"].value).strip().endswith(ALSO):
            said = "a service message is owed, so nobody is held out from it unless the file says so"
            expected = f"'holdout: {share:g}% {ALSO}', or no holdout"
            self.said.add(limits.value["holdout"], said, expected=expected)
        return share

    def _when_capped(self, limits: Node) -> WhenCapped:
        node = limits.value.get("when_capped") if limits.is_map else None
        if node is not None and node.value not in tuple(WhenCapped):
            said = node.value if isinstance(node.value, str) else "a value that is no text"
            self.said.unknown(node, "fate", said, [*WhenCapped])
            return WhenCapped.SKIP
        return WhenCapped.SKIP if node is None else WhenCapped(node.value)

    def _live_from(self, root: Node) -> datetime | None:
        node = root.value.get("from")
        if node is None or str(node.value).strip() == "now":
            return None
        found = point(node.value)
        if found is None:
            self.said.add(node, f"'{node.value}' is no time to go live from", expected=FROM_FORM)
        return found

    def _rollout(self, root: Node) -> float | None:
        node = root.value.get("percent")
        if node is None:
            return None
        share = node.value
        if isinstance(share, str) and share.endswith("%") and share[:-1].replace(".", "", 1).isdigit():
            share = float(share[:-1])
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 100:
            self.said.add(node, f"'{node.value}' is no share of the customers", expected="a number from 0 to 100")
            return None
        return float(share)

    def _at_most(self, limits: Node) -> tuple[int, relativedelta] | None:
        node = limits.value.get("at_most") if limits.is_map else None
        if node is None:
            return None
        found = AT_MOST.fullmatch(str(node.value).strip())
        if not found:
            self.said.add(node, f"'{node.value}' is no limit", expected="such as 500 messages per day")
            return None
        return int(found[1]), relativedelta(**{found[2] + "s": 1})  # type: ignore[arg-type]

    def _hints(self, root: Node, terms: Terms, tests: tuple[RuleTest, ...]) -> None:
        if not self.tests or terms.status not in (RuleStatus.LIVE, RuleStatus.SHADOW):
            return
        if not terms.cron and not terms.events:
            self.said.add(root, f"a {terms.status} rule needs 'when'", expected=RULE_KEYS["when"])
        if terms.status is RuleStatus.SHADOW:
            return
        if all(test.sends for test in tests) or not any(test.sends for test in tests):
            self.said.add(root.get("status") or root, UNPROVEN, warning=True)

    def _list(self, name: str, fact: str) -> tuple[str, ...] | str:
        base = self.folder.resolve()
        for start in (base, base.parent):
            path = (start / name).resolve()
            if start not in path.parents:
                return f"the list '{name}' lies outside the rules folder"
            if path.is_file():
                break
        else:
            return f"there is no list '{name}'"
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
        if not rows:
            return f"the list '{name}' is empty"
        column = rows[0].index(fact) if fact in rows[0] else 0
        body = rows[1:] if fact in rows[0] else rows  # a header of another name is one more value, and does no harm
        return tuple(row[column].strip() for row in body if len(row) > column and row[column].strip())
