"""Turns the ``given`` of a rule's test into rows: a customer, the subject, and what belongs to them.

Shorthand: ``40 days ago``, ``yesterday``, ``120 EUR``, ``"10 x {placed_at: 30 days ago}"``. What is not given gets a
sensible value: a row's natural time is its earliest given time, else the test's now.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from sqlalchemy import Connection, insert

import models
from models.vocabulary import ConsentVerdict
from rules.errors import RuleErrors
from rules.facts import Fact, Kind, Subject
from rules.loader import Rule
from rules.reader import Complaints, Node, read
from rules.scope import BORN
from rules.values import MOMENT_FORM, MONEY_FORM, Moment, moment, money

LINKS = {"customer_id", "order_id", "issue_id", "product_id", "order_line_id", "ticket_id"}


@dataclass(frozen=True)
class Frame:
    """When and where a test stands: its ``now`` and the zone it was said in."""

    now: datetime
    zone: ZoneInfo


def frame(node: Node, said: Complaints) -> Frame:
    """Read ``2026-03-10 10:00 Europe/Berlin``; without a zone it is UTC."""
    words = str(node.value).split()
    try:
        zone = ZoneInfo(words[-1]) if "/" in words[-1] or words[-1] == "UTC" else ZoneInfo("UTC")
        text = " ".join(words[:-1] if "/" in words[-1] or words[-1] == "UTC" else words)
        read_at = datetime.fromisoformat(text)
    except (ValueError, KeyError, IndexError):
        said.add(node, f"'{node.value}' is not a moment", expected="such as 2026-03-10 10:00 Europe/Berlin")
        return Frame(datetime(2000, 1, 1, tzinfo=UTC), ZoneInfo("UTC"))
    local = read_at if read_at.tzinfo else read_at.replace(tzinfo=zone)
    return Frame(local.astimezone(UTC), zone)


@dataclass
class Given:
    """Builds the rows of one test. Everything that is wrong is raised together as RuleErrors."""

    connection: Connection
    rule: Rule
    at: Frame
    said: Complaints
    known: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def build(self, node: Node) -> None:
        """Insert all rows that the test gives."""
        bodies = dict(node.items())
        self.customer(bodies.pop("customer", Node({}, node.line, node.column)))
        order = [name for name in ("issue", "product", "order", "line") if name in bodies]
        for name in [*order, *(name for name in bodies if name not in order)]:
            subject = self.rule.parser.subjects.get(name)
            if subject is None:
                self.said.unknown(node.keys[name], "subject", name, [*self.rule.parser.subjects])
                continue
            self.known[f"{name}_id"] = self.row(subject, bodies[name], {})
        if self.said.errors:
            raise RuleErrors(self.said.problems)

    def customer(self, node: Node) -> None:
        """The customer whom everything belongs to."""
        subject = self.rule.parser.subjects["customer"]
        defaults = {
            "language": "en",
            "time_zone": self.at.zone.key,
            "created_at": self.at.now - timedelta(days=730),
            "first_name": "Ada",
        }
        later = {key: value for key, value in node.items() if key in subject.relations}
        plain = {key: value for key, value in node.items() if key not in subject.relations and key != "consents"}
        body = Node(plain, node.line, node.column, keys=node.keys)
        self.known["customer_id"] = self.row(subject, body, defaults)
        if "consents" in node.value:
            self._consents(node.value["consents"])
        for name, value in later.items():
            self._related(subject, name, value, self.known["customer_id"])

    def _consents(self, node: Node) -> None:
        for member in node.value:
            entry = {
                "customer_id": self.known["customer_id"],
                "verdict": ConsentVerdict.GRANTED,
                "given_at": self.at.now - timedelta(days=30),
                "recorded_at": self.at.now - timedelta(days=30),
                "source": "test",
                **member.plainly(),
            }
            self.connection.execute(insert(models.Consent), [entry])

    def row(self, subject: Subject, node: Node, values: dict[str, Any]) -> int:
        """Insert one row of a subject with what belongs to it; gives its key."""
        row = dict(values)
        later: dict[str, Node] = {}
        for key, value in node.items():
            if key in subject.relations and not subject.relations[key].many:
                relation = subject.relations[key]
                row[relation.here] = self.row(self.rule.parser.subjects[relation.target], value, {})
                self.known.setdefault(relation.here, row[relation.here])
            elif key in subject.relations:
                later[key] = value
            elif key in subject.facts:
                row.update(self.fact(subject.facts[key], value))
            else:
                self.said.unknown(node.keys.get(key, node), f"fact of a {subject.name}", key, [*subject.facts])
        made = self._insert(subject, row)
        for name, value in later.items():
            self._related(subject, name, value, made)
        return made

    def _insert(self, subject: Subject, row: dict[str, Any]) -> int:
        table = models.Base.metadata.tables[subject.table]
        self.count += 1
        times = [value for value in row.values() if isinstance(value, datetime) and value <= self.at.now]
        natural = BORN.get(subject.name) or subject.natural
        defaults: dict[str, Any] = {
            "external_id": f"{subject.name}-{self.count}",
            "number": f"{1000 + self.count}",
            "changed_at": self.at.now,
            "bucket": 9999,
            "name": "something",
            "title": "a fault",
            "severity": "high",
            "currency": "EUR",
            "worth": 0,
            "found_at": self.at.now,
            **({natural: min(times, default=self.at.now)} if natural else {}),
            **{key: value for key, value in self.known.items() if key in LINKS},
        }
        filled = {name: value for name, value in defaults.items() if name in table.c and name not in row}
        full = {**filled, **row}
        if subject.name == "exposure":
            full.setdefault("order_line_id", self._line(full["order_id"]))
        found = self.connection.execute(insert(table).values(**full).returning(table.c.id)).scalar_one()
        return int(found)

    def _line(self, order_id: int) -> int:
        product = self._insert(self.rule.parser.subjects["product"], {"name": "a kettle"})
        return self._insert(self.rule.parser.subjects["line"], {"order_id": order_id, "product_id": product})

    def _related(self, subject: Subject, name: str, node: Node, owner: int) -> None:
        relation = subject.relations[name]
        target = self.rule.parser.subjects[relation.target]
        for count, body in self._several(node):
            for _ in range(count):
                self.row(target, body, {relation.there: owner})

    def _several(self, node: Node) -> list[tuple[int, Node]]:
        if isinstance(node.value, str) and " x {" in node.value:
            count, _, body = node.value.partition(" x ")
            if count.strip().isdigit():
                return [(int(count), read(body, self.said.path))]
        if not node.is_list:
            self.said.add(node, "a list of rows is due here", expected='[{...}] or "10 x {...}"')
            return []
        return [
            each for member in node.value for each in (self._several(member) if not member.is_map else [(1, member)])
        ]

    def fact(self, fact: Fact, node: Node) -> dict[str, Any]:
        """The columns that a given fact fills."""
        if node.value in ("missing", None):
            return {fact.column: None}
        readers: dict[Kind, Callable[[Fact, Node], dict[str, Any]]] = {
            Kind.MONEY: self._money,
            Kind.MOMENT: self._moment,
            Kind.DAY: self._day,
        }
        if fact.attribute:
            return {fact.column: {fact.attribute: node.plainly()}}
        return readers[fact.kind](fact, node) if fact.kind in readers else {fact.column: node.plainly()}

    def _money(self, fact: Fact, node: Node) -> dict[str, Any]:
        amount = money(node.value)
        if amount is None:
            self.said.add(node, f"'{node.value}' is no amount", expected=MONEY_FORM)
            return {}
        return {fact.column: amount.minor, "currency": amount.currency}

    def _moment(self, fact: Fact, node: Node) -> dict[str, Any]:
        said = moment(node.value)
        if said is None:
            self.said.add(node, f"'{node.value}' is not a time", expected=MOMENT_FORM)
            return {}
        if said.is_day:
            noon = datetime.combine(self._on(said), datetime.min.time(), self.at.zone) + timedelta(hours=12)
            return {fact.column: noon.astimezone(UTC)}
        return {fact.column: said.at or self.at.now - (said.ago or relativedelta()) + (said.ahead or relativedelta())}

    def _day(self, fact: Fact, node: Node) -> dict[str, Any]:
        said = moment(node.value)
        if said is None:
            self.said.add(node, f"'{node.value}' is not a day", expected=MOMENT_FORM)
            return {}
        return {fact.column: self._on(said)}

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
