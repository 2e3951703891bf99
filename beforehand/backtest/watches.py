"""Whom each pass of a replay decides on: everybody who matches, asked anew at each slot or kept up to date."""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Insert,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    and_,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
)

from beforehand.backtest import moments
from beforehand.backtest.hands import Hand
from beforehand.backtest.moments import Chain, Ground, Reading, moment
from beforehand.backtest.pairs import Pair, Way, pairs_of
from messaging import guards
from messaging.candidates import TABLES, match
from models.temporary import make_anew, temporary
from models.types import BigKey, Json
from models.vocabulary import MatchState, Reason
from rules.evaluate import matching
from rules.loader import Rule

_TEMP = MetaData()
OWN = ("message", "voucher", "survey")
"""Subjects whose rows a replay itself writes."""


def _subjects(name: str) -> Table:
    key = Column("subject_id", BigKey, primary_key=True, autoincrement=False)
    return temporary(name, _TEMP, key, Column("customer_id", BigKey, index=True), Column("facts", Json))


SUBJECT = ["subject_id", "customer_id", "facts"]

standing = _subjects("standing")
looked = _subjects("looked")
noted = temporary(
    "noted",
    _TEMP,
    Column("subject", String(20), primary_key=True),
    Column("id", BigKey, primary_key=True, autoincrement=False),
    Column("mark", String(60), nullable=False),
)
news = temporary("news", _TEMP, Column("id", BigKey, primary_key=True, autoincrement=False))

RESTLESS = (
    Reason.CAP,
    Reason.COMPLAINT_OPEN,
    Reason.BUDGET,
    Reason.AT_MOST,
    Reason.TOO_LATE,
    Reason.SHADOW,
)
"""Reasons that may pass, or give way to an earlier gate's, although nothing changed about the subject."""


def settled_reasons() -> set[Reason]:
    """Reasons of the gates before the first that looks at what may change by itself."""
    found: set[Reason] = set()
    for gate in guards.GATES:
        if Reason.COMPLAINT_OPEN in gate.reasons:
            break
        found.update(gate.reasons)
    return found - set(RESTLESS)


@dataclass
class Everybody:
    """Asks everybody at each slot: always right, and slow."""

    rule: Rule
    zone: str

    def found(self, number: int, now: datetime) -> Select[Any] | None:
        """All who match at ``now``."""
        return matching(self.rule, now=now, zone=self.zone)

    def written(self, number: int) -> None:
        """Nothing is kept, so nothing is to be put right."""


@dataclass
class Standing:
    """Keeps who matches in a table; looks again only at those whose verdict may have changed by a slot.

    A pass is due where somebody came or went, or where somebody was withheld for what may pass by itself.
    """

    connection: Connection
    rule: Rule
    ground: Ground
    pairs: set[Pair] = field(default_factory=set)
    wound: dict[Hand, Reading] = field(default_factory=dict)
    _busy: set[int] = field(default_factory=set)
    _decided: int | None = None
    _restless: bool = False
    _withheld: bool = False
    _ledger: list[datetime] = field(default_factory=list)
    _number: int = 0

    def begin(self) -> None:
        """Work out the slots at which anybody's verdict can change. Raises NotImplementedError where that cannot be."""
        self.pairs = pairs_of(self.rule)
        make_anew(self.connection, _TEMP.sorted_tables)
        self.wound = moments.make(self.ground, self.pairs)
        self._count()
        self._note()
        self._ledger = _ledger_times(self.connection, self.ground.slots)

    def found(self, number: int, now: datetime) -> Select[Any] | None:
        """Those who match at ``now``, where a pass could change anything."""
        changed = self._look(number, now)
        if not changed and not self._may_pass(number, now):
            return None
        self._decided = number
        return select(standing.c.subject_id, standing.c.customer_id, standing.c.facts)

    def written(self, number: int) -> None:
        """Look again at those who hang on rows that the replay wrote, at slot ``number`` and whenever these count."""
        self._see_reasons()
        touched = False
        for name in OWN:
            ways = sorted({way for pair in self.pairs if (way := _up_to(pair.way, name))}, key=repr)
            if ways and number < len(self.ground.slots) and self._news(name):
                touched = True
                self._spread(name, ways, number)
        if touched:
            self._note()
            self._count()

    def _look(self, number: int, now: datetime) -> bool:
        """Bring ``standing`` up to date; gives whether anybody came or went of whom a pass should know."""
        connection = self.connection
        if number == 0:
            self._fill(standing, matching(self.rule, now=now, zone=self.ground.zone))
            return True
        if number not in self._busy:
            return False
        asked = select(moment.c.subject_id).where(moment.c.slot == number)
        self._number = number
        self._empty(looked)
        connection.execute(self._asking)
        came = select(func.count()).where(looked.c.subject_id.not_in(select(standing.c.subject_id)))
        gone = and_(standing.c.subject_id.in_(asked), standing.c.subject_id.not_in(select(looked.c.subject_id)))
        changed = bool(connection.execute(came).scalar_one()) or self._withheld_among(gone)
        connection.execute(delete(standing).where(standing.c.subject_id.in_(asked)))
        self._fill(standing, select(looked.c.subject_id, looked.c.customer_id, looked.c.facts))
        return changed

    @cached_property
    def _asking(self) -> Insert:
        """Writes into ``looked`` who matches at the slot that it is now: built once, because that takes longest."""
        slot = bindparam(None, callable_=lambda: self._number, type_=Integer(), unique=True)
        asked = select(moment.c.subject_id).where(moment.c.slot == slot)
        found = matching(self.rule, now=lambda: self.ground.slots[self._number], zone=self.ground.zone, only=asked)
        return insert(looked).from_select(SUBJECT, found)

    def _empty(self, table: Table) -> None:
        """All rows out; PostgreSQL keeps what is deleted until the transaction is over, and would scan it each time."""
        pg = self.connection.dialect.name == "postgresql"
        self.connection.execute(text(f"TRUNCATE {table.name}") if pg else delete(table))

    def _fill(self, table: Table, rows: Select[Any]) -> None:
        self.connection.execute(insert(table).from_select(SUBJECT, rows))

    def _withheld_among(self, gone: Any) -> bool:
        """Whether one who went was withheld: should they come again, they are found anew, and a pass must know."""
        if not self._withheld:
            return False
        ids, people = (select(column).where(gone) for column in (standing.c.subject_id, standing.c.customer_id))
        about = or_(match.c.subject_id.in_(ids), match.c.customer_id.in_(people))
        row = select(match.c.id).where(match.c.rule_id == self.rule.id, match.c.state == MatchState.WITHHELD, about)
        return self.connection.execute(row.limit(1)).first() is not None

    def _may_pass(self, number: int, now: datetime) -> bool:
        if self._restless:
            return True
        since = self.ground.slots[self._decided or 0]
        if self._withheld and bisect_right(self._ledger, now) > bisect_right(self._ledger, since):
            return True
        every = self.rule.terms.once.every
        if every is None:
            return False
        over = and_(match.c.started_at > since - every, match.c.started_at <= now - every)
        here, theirs = select(standing.c.subject_id), select(standing.c.customer_id)
        about = or_(match.c.customer_id.in_(theirs), match.c.subject_id.in_(here))
        row = select(match.c.id).where(match.c.rule_id == self.rule.id, over, about).limit(1)
        return self.connection.execute(row).first() is not None

    def _see_reasons(self) -> None:
        if self._decided is None:
            return
        seen = match.c.seen_at >= self.ground.slots[self._decided]
        rows = select(match.c.reason).where(match.c.rule_id == self.rule.id, match.c.state == MatchState.WITHHELD, seen)
        reasons = set(self.connection.execute(rows.distinct()).scalars())
        settled = {reason.value for reason in settled_reasons()}
        self._withheld = bool(reasons)
        self._restless = bool(reasons - settled)

    def _count(self) -> None:
        self._busy = set(self.connection.execute(select(moment.c.slot).distinct()).scalars())

    def _news(self, name: str) -> bool:
        """Rows of ``name`` that are new or changed since they were noted; they go into ``news``."""
        row = TABLES[name]
        self._empty(news)
        same = and_(noted.c.subject == name, noted.c.id == row.c.id, noted.c.mark == _mark(name))
        fresh = select(row.c.id).where(~select(noted.c.id).where(same).exists())
        self.connection.execute(insert(news).from_select(["id"], fresh))
        return bool(self.connection.execute(select(func.count()).select_from(news)).scalar_one())

    def _spread(self, name: str, ways: list[Way], number: int) -> None:
        for way in ways:
            chain = Chain(self.ground.subject, self.ground.subjects)
            there = chain.walk(way)
            rows = chain.select(literal(number)).where(there.c.id.in_(select(news.c.id)))
            moments.keep(self.connection, rows)
        for pair in self.pairs:
            own = _up_to(pair.way, name)
            if own:
                among = _among_news(own)
                moments.add(self.ground, pair, self.wound[pair.hand], only=among)

    def _note(self) -> None:
        used = {name for pair in self.pairs for name in OWN if _up_to(pair.way, name)}
        if not used:
            return
        self.connection.execute(delete(noted))
        for name in sorted(used):
            rows = select(literal(name), TABLES[name].c.id, _mark(name))
            self.connection.execute(insert(noted).from_select(["subject", "id", "mark"], rows))


_until = TABLES["voucher"].c.valid_until


def _among_news(own: Way) -> moments.Only:
    return lambda chain: chain.walk(own).c.id.in_(select(news.c.id))


def _mark(name: str) -> Any:
    """What of a row may change when the replay goes on."""
    if name == "survey":
        return literal("")
    return TABLES["message"].c.state if name == "message" else func.coalesce(cast(_until, String(60)), "")


def _up_to(way: Way, name: str) -> Way:
    """The way up to and including its first table of ``name``; empty where it does not come by."""
    for place, relation in enumerate(way):
        if relation.target == name:
            return way[: place + 1]
    return ()


def _ledger_times(connection: Connection, slots: Any) -> list[datetime]:
    """When consent was given or taken back, or an address suppressed, in the period; oldest first."""
    found: set[datetime] = set()
    if not slots:
        return []
    for column in (TABLES["consent"].c.given_at, TABLES["suppression"].c.since):
        times = select(column).where(column >= slots[0], column <= slots[-1]).distinct()
        found.update(connection.execute(times).scalars())
    return sorted(found)
