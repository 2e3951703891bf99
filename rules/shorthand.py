"""Reads the ``given`` of a rule's test into rows that are not in any database yet, and says all that is wrong in it.

Shorthand: ``40 days ago``, ``yesterday``, ``120 EUR``, ``"10 x {placed_at: 30 days ago}"`` or ``{10 x: {...}}``.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from models.vocabulary import Channel, ConsentVerdict, Purpose
from rules.errors import RuleErrors
from rules.facts import Fact, Kind, Relation, Subject
from rules.reader import Complaints, Node, read
from rules.values import MOMENT_FORM, MONEY_FORM, Moment, moment, money

NOW_FORM = "such as 2026-03-10 10:00 Europe/Berlin"
SEVERAL = re.compile(r"(\d{1,4}) x")
GIVEN_FORM = MOMENT_FORM.removesuffix(" or another fact")
MOST_ROWS = 2000
"""Rows of one test at most: a test is a small story."""

ALL = "all"
CHANNELS = (*map(str, Channel), ALL)
CONSENT_WORDS: dict[str, tuple[str, ...]] = {
    "channel": CHANNELS,
    "purpose": (*map(str, Purpose), ALL),
    "verdict": tuple(map(str, ConsentVerdict)),
}
STANDING = ("consents", "suppressed", "holdout")
"""What a test may say of a customer beside facts and relations."""


@dataclass(frozen=True)
class Frame:
    """When and where a test stands: its ``now`` (UTC) and the zone it was said in."""

    now: datetime
    zone: ZoneInfo


@dataclass
class Row:
    """A row to be: ``values`` by column; ``one`` and ``many`` are the rows that belong to it, by relation.

    None in ``one`` means that there is no such row.
    """

    subject: Subject
    values: dict[str, Any] = field(default_factory=dict)
    one: dict[str, "Row | None"] = field(default_factory=dict)
    many: dict[str, list["Row"]] = field(default_factory=dict)

    def all(self) -> Iterator["Row"]:
        """This row and all below it."""
        yield self
        for row in self.one.values():
            yield from row.all() if row is not None else ()
        for rows in self.many.values():
            for row in rows:
                yield from row.all()


@dataclass
class Story:
    """All that a test gives: rows by subject, the customer's ledger, the channels on which they must not be reached.

    ``customer`` None: nobody is known. ``holdout``: the customer is one of those kept out on purpose.
    """

    customer: Row | None
    rows: dict[str, Row] = field(default_factory=dict)
    consents: list[dict[str, Any]] = field(default_factory=list)
    suppressed: list[str] = field(default_factory=list)
    holdout: bool = False

    def moments(self) -> set[datetime]:
        """Every moment that the rows name."""
        top = [*self.rows.values(), *([self.customer] if self.customer else [])]
        values = (value for row in top for each in row.all() for value in each.values.values())
        return {value for value in values if isinstance(value, datetime)}


def frame(node: Node, said: Complaints) -> Frame:
    """Read ``2026-03-10 10:00 Europe/Berlin``; without a zone it is UTC. What is no moment is noted."""
    words = str(node.value).split()
    try:
        named = bool(words) and ("/" in words[-1] or words[-1] == "UTC")
        zone = ZoneInfo(words[-1]) if named else ZoneInfo("UTC")
        read_at = datetime.fromisoformat(" ".join(words[:-1] if named else words))
    except (ValueError, KeyError, OSError):
        said.add(node, f"'{node.value}' is not a moment", expected=NOW_FORM)
        return Frame(datetime(2000, 1, 1, tzinfo=UTC), ZoneInfo("UTC"))
    if not 1900 <= read_at.year <= 2200:
        said.add(node, f"'{node.value}' is too far from today to reckon with", expected=NOW_FORM)
        return Frame(datetime(2000, 1, 1, tzinfo=UTC), zone)
    local = read_at if read_at.tzinfo else read_at.replace(tzinfo=zone)
    return Frame(local.astimezone(UTC), zone)


class Shorthand:
    """Reads given rows, as of a frame; everything wrong is noted in ``said``."""

    def __init__(self, subjects: Mapping[str, Subject], at: Frame, said: Complaints) -> None:
        self.subjects = subjects
        self.at = at
        self.said = said
        self.count = 0

    def story(self, node: Node) -> Story:
        """Read a whole ``given``: the customer, and rows by the names of their subjects."""
        if not node.is_map:
            self.said.add(node, "'given' names the rows that are there", expected="customer: {...} and the subject")
            return Story(None)
        story = self._customer(node.get("customer") or Node({}, node.line, node.column))
        for name, body in node.items():
            if name not in self.subjects:
                self.said.unknown(node.keys[name], "subject", name, [*self.subjects])
            elif name != "customer":
                story.rows[name] = self.row(self.subjects[name], body)
        return story

    def _customer(self, node: Node) -> Story:
        if node.value == "missing":
            return Story(None)
        standing = {key: value for key, value in node.items() if key in STANDING}
        rest = {key: value for key, value in node.items() if key not in STANDING}
        body = Node(rest if node.is_map else node.value, node.line, node.column, keys=node.keys)
        story = Story(self.row(self.subjects["customer"], body))
        if "consents" in standing:
            story.consents = [self._consent(each) for each in self._listed(standing["consents"])]
        if "suppressed" in standing:
            story.suppressed = [self._word(each, "channel", CHANNELS) for each in self._listed(standing["suppressed"])]
        if "holdout" in standing:
            story.holdout = self._flag(standing["holdout"])
        return story

    def _listed(self, node: Node) -> list[Node]:
        return list(node.value) if node.is_list else [node]

    def _flag(self, node: Node) -> bool:
        if not isinstance(node.value, bool):
            self.said.add(node, f"'{node.value}' is neither true nor false", expected="true or false")
        return node.value is True

    def _word(self, node: Node, kind: str, known: tuple[str, ...]) -> str:
        if node.value not in known:
            self.said.unknown(node, kind, str(node.plainly()), known)
        return str(node.value)

    def _consent(self, node: Node) -> dict[str, Any]:
        entry: dict[str, Any] = {"channel": ALL, "purpose": ALL, "verdict": ConsentVerdict.GRANTED.value}
        entry["given_at"] = self.at.now - timedelta(days=30)
        if not node.is_map:
            self.said.add(node, "an entry of the ledger is due here", expected="{channel: email, purpose: marketing}")
        for key, value in node.items():
            if key == "given_at":
                entry[key] = self._moment(value)
            elif key in CONSENT_WORDS:
                entry[key] = self._word(value, key, CONSENT_WORDS[key])
            else:
                self.said.unknown(node.keys[key], "word of a consent", key, [*CONSENT_WORDS, "given_at"])
        return entry

    # -- rows ----------------------------------------------------------------------------------------------

    def row(self, subject: Subject, node: Node) -> Row:
        """Read one row of a subject with what belongs to it."""
        self.count += 1
        row = Row(subject)
        if not node.is_map:
            said = f"{_a(subject)} is a mapping of its facts"
            self.said.add(node, said, expected=f"{{{next(iter(subject.facts))}: ...}}")
        for key, value in node.items():
            if key in subject.relations:
                self._related(row, subject.relations[key], value)
            elif key in subject.facts:
                self._fact(row, subject.facts[key], value)
            else:
                known = [*subject.facts, *subject.relations, *(STANDING if subject.name == "customer" else ())]
                self.said.unknown(node.keys.get(key, node), f"fact of {_a(subject)}", key, known)
        return row

    def _related(self, row: Row, relation: Relation, node: Node) -> None:
        target = self.subjects[relation.target]
        if not relation.many:
            row.one[relation.name] = None if node.value == "missing" else self.row(target, node)
            return
        row.many[relation.name] = [self.row(target, body) for count, body in self._several(node) for _ in range(count)]

    def _several(self, node: Node) -> list[tuple[int, Node]]:
        """Bodies of rows, each with how many there are of it."""
        if node.is_list:
            return [each for member in node.value for each in self._several(member)]
        if isinstance(node.value, str):
            count, _, body = node.value.partition(" x ")
            if SEVERAL.fullmatch(f"{count} x") and body.lstrip().startswith("{"):
                return self._times(node, int(count), self._inner(body, node))
        if node.is_map:
            counted = [key for key in node.value if SEVERAL.fullmatch(key)]
            if len(counted) == len(node.value) and counted:
                each = [(int(SEVERAL.fullmatch(key)[1]), node.value[key]) for key in counted]  # type: ignore[index]
                return [part for count, body in each for part in self._times(node, count, body)]
            return [(1, node)]
        self.said.add(node, "a list of rows is due here", expected='[{...}] or "10 x {...}"')
        return []

    def _times(self, node: Node, count: int, body: Node) -> list[tuple[int, Node]]:
        if self.count + count > MOST_ROWS:
            self.said.add(node, f"a test gives {MOST_ROWS} rows at most", expected="a smaller story")
            return []
        return [(count, body)]

    def _inner(self, text: str, at: Node) -> Node:
        """What stands inside the quotes, read as YAML; its problems stand where the quotes begin."""
        try:
            return _moved(read(text, self.said.path), at)
        except RuleErrors as wrong:
            self.said.add(at, wrong.problems[0].said, expected='"10 x {placed_at: 30 days ago}"')
            return Node({}, at.line, at.column)

    # -- facts ---------------------------------------------------------------------------------------------

    def _fact(self, row: Row, fact: Fact, node: Node) -> None:
        if fact.attribute:
            known = row.values.setdefault(fact.column, {})
            known[fact.attribute] = None if node.value in ("missing", None) else self._own(fact, node)
        elif node.value in ("missing", None):
            row.values[fact.day_of or fact.column] = None
        elif fact.kind is Kind.MONEY:
            self._money(row, fact, node)
        elif fact.day_of:
            row.values[fact.day_of] = self._noon(self._day(node))
        else:
            readers: dict[Kind, Callable[[Node], Any]] = {Kind.MOMENT: self._moment, Kind.DAY: self._day}
            row.values[fact.column] = readers[fact.kind](node) if fact.kind in readers else self._plain(fact, node)

    def _own(self, fact: Fact, node: Node) -> Any:
        return self._day(node).isoformat() if fact.kind is Kind.DAY else self._plain(fact, node)

    def _plain(self, fact: Fact, node: Node) -> Any:
        value = node.plainly()
        fits = {
            Kind.TEXT: isinstance(value, str | int | float) and not isinstance(value, bool),
            Kind.NUMBER: isinstance(value, int | float) and not isinstance(value, bool),
            Kind.FLAG: isinstance(value, bool),
        }
        if not fits[fact.kind]:
            expected = {Kind.TEXT: "a text", Kind.NUMBER: "a number", Kind.FLAG: "true or false"}[fact.kind]
            self.said.add(node, f"'{str(value)[:60]}' is no {fact.kind}, and '{fact.name}' is one", expected=expected)
            return None
        if fact.values and value not in fact.values:
            self.said.unknown(node, fact.name, str(value), [*fact.values])
        return str(value) if fact.kind is Kind.TEXT else value

    def _money(self, row: Row, fact: Fact, node: Node) -> None:
        amount = money(node.value)
        if amount is None:
            self.said.add(node, f"'{node.value}' is no amount", expected=MONEY_FORM)
            return
        if row.values.get("currency", amount.currency) != amount.currency:
            self.said.add(node, f"one {row.subject.name} has one currency", expected=str(row.values["currency"]))
        row.values |= {fact.column: amount.minor, "currency": amount.currency}

    def _moment(self, node: Node) -> datetime:
        said = moment(node.value)
        if said is None:
            self.said.add(node, f"'{node.plainly()}' is not a time", expected=GIVEN_FORM)
            return self.at.now
        if said.is_day:
            return self._noon(self._on(said))
        return said.at or self.at.now - (said.ago or relativedelta()) + (said.ahead or relativedelta())

    def _day(self, node: Node) -> date:
        said = moment(node.value)
        if said is None:
            self.said.add(node, f"'{node.plainly()}' is not a day", expected=GIVEN_FORM)
            return self.at.now.date()
        return self._on(said)

    def _noon(self, day: date) -> datetime:
        """Noon of a day where the test stands, in UTC."""
        noon = datetime.combine(day, datetime.min.time(), self.at.zone) + timedelta(hours=12)
        return noon.astimezone(UTC)

    def _on(self, said: Moment) -> date:
        local = self.at.now.astimezone(self.at.zone)
        if said.on is not None:
            return said.on
        if said.day is not None:
            return local.date() + timedelta(days=said.day)
        if said.weekday is not None:
            return local.date() - timedelta(days=(local.weekday() - said.weekday) % 7)
        shifted = (said.at or self.at.now) - (said.ago or relativedelta()) + (said.ahead or relativedelta())
        return shifted.astimezone(self.at.zone).date()


def _a(subject: Subject) -> str:
    return f"{'an' if subject.name[0] in 'aeiou' else 'a'} {subject.name}"


def _moved(node: Node, to: Node) -> Node:
    """The same tree, all of it standing at another place."""
    if node.is_map:
        keys = {key: Node(key, to.line, to.column, plain=True) for key in node.value}
        return Node({key: _moved(value, to) for key, value in node.value.items()}, to.line, to.column, keys=keys)
    if node.is_list:
        return Node([_moved(value, to) for value in node.value], to.line, to.column)
    return Node(node.value, to.line, to.column, plain=node.plain)
