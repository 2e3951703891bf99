"""Puts the ``given`` of a rule's test into a database: a customer, the subject, and what belongs to them.

What is not given gets a sensible value: a row's natural time is its earliest given time, else the test's now; the
customer is called Ada, speaks English, lives in the zone of the test and has been one for two years.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

import models
from models.customer import IN_EVERY_HOLDOUT, IN_NO_HOLDOUT
from models.vocabulary import MatchState, MessageState
from rules.errors import RuleErrors
from rules.facts import Subject
from rules.loader import Rule
from rules.reader import Complaints, Node
from rules.scope import born_at
from rules.shorthand import ALL, Frame, Row, Shorthand, Story, frame

LINKS = {"customer_id", "order_id", "issue_id", "product_id", "order_line_id", "ticket_id"}
FIRST = ("issue", "product", "order", "line")
"""Rows that others may hang on are built before them."""

IN_HOLDOUT, NOT_IN_HOLDOUT = IN_EVERY_HOLDOUT, IN_NO_HOLDOUT
"""Buckets of a customer: a small share keeps out the lowest ones."""

Hashing = Callable[[str, str], str]
"""``(channel, address) -> keyed hash``, as suppressions keep addresses."""


@dataclass
class Given:
    """Builds the rows of one test. Everything that is wrong is raised together as RuleErrors."""

    connection: Connection
    rule: Rule
    at: Frame
    said: Complaints
    hashed: Hashing | None = None
    known: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def build(self, node: Node) -> None:
        """Read a ``given`` and insert all its rows."""
        story = Shorthand(self.rule.parser.subjects, self.at, self.said).story(node)
        if self.said.errors:
            raise RuleErrors(self.said.problems)
        self.tell(story)

    def tell(self, story: Story) -> None:
        """Insert all rows of a story that was read without a complaint; ``known`` holds their keys afterwards."""
        if story.customer is not None:
            self._customer(story.customer, story)
        for name in sorted(story.rows, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)):
            self.known[f"{name}_id"] = self.row(story.rows[name], {})
        for message in story.customer.many.get("messages", []) if story.customer else []:
            self._message(message)

    def _customer(self, row: Row, story: Story) -> None:
        defaults = {
            "language": "en",
            "time_zone": self.at.zone.key,
            "created_at": self.at.now - timedelta(days=730),
            "first_name": "Ada",
            "bucket": IN_HOLDOUT if story.holdout else NOT_IN_HOLDOUT,
        }
        own = {name: rows for name, rows in row.many.items() if name != "messages"}
        found = self.row(Row(row.subject, row.values, row.one), defaults)
        self.known["customer_id"] = found
        for entry in story.consents:
            full = {**entry, "customer_id": found, "recorded_at": entry["given_at"], "source": "test"}
            self.connection.execute(insert(models.Consent), [full])
        self._suppress(row, story)
        self._owned(row.subject, own, found)

    def _suppress(self, row: Row, story: Story) -> None:
        if story.suppressed and self.hashed is None:
            raise ValueError("suppressions need a way to hash addresses")
        for channel in story.suppressed:
            for kind, column in (("sms", "phone"), ("email", "email")):
                address = row.values.get(column)
                if address and self.hashed is not None:
                    said = {"address_hash": self.hashed(kind, address), "channel": channel, "scope": ALL}
                    values = {**said, "cause": "test", "since": self.at.now - timedelta(days=30)}
                    self.connection.execute(insert(models.Suppression), [values])

    def row(self, row: Row, values: dict[str, Any]) -> int:
        """Insert one row with what belongs to it; gives its key. ``values`` are those that the row does not say."""
        full = {**values, **row.values}
        for name, other in row.one.items():
            relation = row.subject.relations[name]
            full[relation.here] = None if other is None else self.row(other, {})
            if other is not None:
                self.known.setdefault(relation.here, full[relation.here])
        made = self._insert(row.subject, full)
        self._owned(row.subject, row.many, made)
        return made

    def _owned(self, subject: Subject, many: dict[str, list[Row]], owner: int) -> None:
        for name, rows in many.items():
            for row in rows:
                self.row(row, {subject.relations[name].there: owner})

    def _insert(self, subject: Subject, row: dict[str, Any]) -> int:
        table = models.Base.metadata.tables[subject.table]
        self.count += 1
        defaults = {**self._defaults(subject, row), **{key: self.known[key] for key in LINKS & self.known.keys()}}
        filled = {name: value for name, value in defaults.items() if name in table.c and name not in row}
        full = {**filled, **row}
        for relation in subject.relations.values():
            column = table.c[relation.here]
            if not relation.many and not column.nullable and full.get(column.name) is None:
                full[column.name] = self._needed(relation.target, full)
        found = self.connection.execute(insert(table).values(**full).returning(table.c.id)).scalar_one()
        return int(found)

    def _needed(self, name: str, owner: dict[str, Any]) -> int:
        """A row that another cannot be without, with nothing but sensible values."""
        values: dict[str, Any] = {"order_id": owner["order_id"]} if name == "line" and owner.get("order_id") else {}
        subject = self.rule.parser.subjects[name]
        if name == "product":
            values["name"] = "a kettle"
        return self._insert(subject, values)

    def _defaults(self, subject: Subject, row: dict[str, Any]) -> dict[str, Any]:
        times = [value for value in row.values() if isinstance(value, datetime) and value <= self.at.now]
        natural = born_at(subject) or subject.natural
        return {
            "external_id": f"{subject.name}-{self.count}",
            "number": f"{1000 + self.count}",
            "changed_at": self.at.now,
            "bucket": NOT_IN_HOLDOUT,
            "name": "something",
            "title": "a fault",
            "severity": "high",
            "currency": "EUR",
            "worth": 0,
            "found_at": self.at.now,
            **({natural: min(times, default=self.at.now)} if natural else {}),
        }

    # -- what we sent before -------------------------------------------------------------------------------

    def _message(self, row: Row) -> None:
        """A message of ours with the match behind it; it was delivered, and of this rule's purpose, unless it says."""
        self.count += 1
        values = {**row.values}
        rule_id = values.setdefault("rule_id", "another-rule")
        created = values.setdefault("created_at", values.get("accepted_at") or self.at.now)
        customer = self.known["customer_id"]
        common = {"rule_id": rule_id, "version": "test", "occasion": self._occasion(rule_id), "customer_id": customer}
        match = models.Match.__table__  # type: ignore[attr-defined]
        behind = {
            "subject": self.rule.subject.name,
            "subject_id": self.known.get(f"{self.rule.subject.name}_id", 0) if rule_id == self.rule.id else 0,
            "matched_at": created,
            "seen_at": created,
            "started_at": created,
            "state": MatchState.DONE.value,
        }
        made = self.connection.execute(insert(match).values({**common, **behind}).returning(match.c.id)).scalar_one()
        defaults = {
            "match_id": made,
            "step": "0",
            "purpose": self.rule.terms.purpose.value,
            "channel": "sms",
            "address": "",
            "template": "before",
            "state": MessageState.DELIVERED.value,
            "accepted_at": created,
            "due_at": created,
            "reference": f"BEFORE{self.count}",
        }
        self.connection.execute(insert(models.Message), [{**defaults, **common, **values}])

    def _occasion(self, rule_id: str) -> str:
        """What it was about: the very occasion of the test where this rule has spoken before, else any other."""
        once = self.rule.terms.once
        key = self.known.get(f"{once.what}_id")
        if rule_id != self.rule.id or key is None:
            return f"before/{self.count}"
        if once.every is None:
            return f"{once.what}/{key}"
        self.known["spoken"] = self.known.get("spoken", -1) + 1
        return f"{once.what}/{key}/{self.known['spoken']}"


__all__ = ["Frame", "Given", "frame"]
