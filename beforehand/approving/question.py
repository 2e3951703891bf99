"""What a second person is asked: how many, who wrote it, what it costs, and what customers would read. Writes nothing.

Nobody can be told from it: it is shown in windows outside our database, too.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from beforehand.approving.answering import canary_of, held_run
from beforehand.approving.masked import masked, scrubbed
from beforehand.approving.texts import rule_of_run, shown_by, text_authors_of, texts_of
from beforehand.passes.house import brand_of, policy_of, templates_of
from beforehand.passes.previewing import cost_of_candidates, item_of
from beforehand.wiring import App
from messaging import guards
from messaging.candidates import candidate, customer, fill_from_matches, match, open_for_decision, table_of
from messaging.context import Brand, contexts_for
from messaging.costs import Cost
from messaging.guards.brake import rule_pass, usual
from messaging.held import HeldRunView, going
from messaging.rendering import RenderingError
from messaging.steps import first_speaking
from models.database import reading
from models.vocabulary import Channel, MatchState, Reason
from rules.loader import Rule

SAMPLES = 3
"""So many texts are shown, where so many differ."""

KINDS, LOOKED_AT = 9, 5
"""They are looked for among so many kinds of messages, and so many messages of each."""


@dataclass(frozen=True)
class Kind:
    """Messages by one channel in one language (``en``, whatever its country); None: the house's own language."""

    channel: str
    language: str | None
    count: int


@dataclass(frozen=True)
class SampleText:
    """One text as a customer would get it, but for who they are; ``problem`` says why it cannot be filled."""

    channel: str
    language: str | None
    headline: str = ""
    text: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Question:
    """All that whoever answers should know of a held run, as of the moment of asking.

    ``held`` matches wait to be let go, and ``waiting_messages`` that were planned already; ``going`` of the first would
    go by the gates as they are now, the others are ``withheld`` for these reasons. ``cost`` is None where the rule's
    text cannot be read any more. ``found`` is what the pass matched that was held, ``left_out`` whom its gates withheld
    then, ``usual`` what the rule's runs usually reach. ``shown`` is a word for what is asked and the
    texts that are shown: a yes names it.
    """

    run: HeldRunView
    now: datetime
    text_authors: tuple[str, ...] = ()
    title: str = ""
    rule_why: str = ""
    held: int = 0
    customers: int = 0
    going: int = 0
    waiting_messages: int = 0
    kinds: tuple[Kind, ...] = ()
    tasks: int = 0
    vouchers: int = 0
    webhooks: int = 0
    withheld: tuple[tuple[Reason, int], ...] = ()
    cost: Cost | None = None
    samples: tuple[SampleText, ...] = ()
    first: int = 0
    found: int = 0
    left_out: tuple[tuple[Reason, int], ...] = ()
    usual: float | None = None
    shown: str = ""

    @property
    def messages(self) -> int:
        """How many messages would go."""
        return sum(kind.count for kind in self.kinds) + self.waiting_messages

    def as_json(self) -> dict[str, Any]:
        """The question as JSON values."""
        return {
            "run": self.run.as_json(),
            "now": self.now.isoformat(),
            "text_authors": list(self.text_authors),
            "title": self.title,
            "rule_why": self.rule_why,
            "held": self.held,
            "customers": self.customers,
            "going": self.going,
            "waiting_messages": self.waiting_messages,
            "messages": self.messages,
            "kinds": [vars(kind) for kind in self.kinds],
            "tasks": self.tasks,
            "vouchers": self.vouchers,
            "webhooks": self.webhooks,
            "withheld": {reason.value: count for reason, count in self.withheld},
            "cost": self.cost and self.cost.as_json(),
            "samples": [vars(sample) for sample in self.samples],
            "first": self.first,
            "found": self.found,
            "left_out": {reason.value: count for reason, count in self.left_out},
            "usual": self.usual,
            "shown": self.shown,
        }

    def as_markdown(self) -> str:
        """The question as a page of markdown, for Prefect's form and artifacts."""
        from beforehand.approving.shown import markdown

        return markdown(self)


def _in_language(column: ColumnElement[Any], base: str) -> ColumnElement[bool]:
    return or_(column == base, column.like(f"{base}-%"))


def question_of(app: App, held_run_id: int, now: datetime) -> Question:
    """What approving this run would do now. Writes nothing. Raises NotAllowed where there is no such run."""
    run = held_run(app, held_run_id)
    authors = tuple(text_authors_of(app, run))
    with reading(app.engine) as connection:
        rule = rule_of_run(app, connection, run)
        if rule is None:
            return Question(run, now, authors)
        return replace(_Asking(app, connection, run, rule, now).question(), text_authors=authors)


@dataclass(frozen=True)
class _Asking:
    """One question, on one transaction that is rolled back: the gates decide on the held matches as they would now."""

    app: App
    connection: Connection
    run: HeldRunView
    rule: Rule
    now: datetime

    def question(self) -> Question:
        policy, terms, key = policy_of(self.app), self.rule.terms, self.run.id
        shown = shown_by(self.run, texts_of(self.app, self.rule))  # before the samples: never newer than they are
        held = and_(going.of_run(key), match.c.state == MatchState.HELD)
        count = fill_from_matches(self.connection, held, now=self.now, zone=policy.zone)
        case = guards.Case(terms, first_speaking(terms.steps), policy, self.now, first=False)
        guards.decide(self.connection, case)
        going_now = self._count(open_for_decision())
        return Question(
            run=self.run,
            now=self.now,
            title=terms.title,
            rule_why=terms.why,
            held=count,
            customers=self._customers(),
            going=going_now,
            waiting_messages=going.count_held_messages(self.connection, key),
            kinds=tuple(self._kinds()),
            tasks=going_now * len(case.run.tasks),
            vouchers=going_now if case.run.voucher is not None else 0,
            webhooks=going_now * len(case.run.webhooks),
            withheld=tuple(guards.withheld(self.connection).items()),
            cost=cost_of_candidates(self.connection, self.app, case, going_now),
            samples=tuple(self._samples(case)),
            **self._of_the_pass(),
            shown=shown,
            first=min(max(canary_of(self.app, self.run) - self.run.canary, 0), count),
        )

    def _of_the_pass(self) -> dict[str, Any]:
        """What the pass found that was held, and whom its gates left out: an inverted test finds far too many."""
        c = rule_pass.c
        mine = (c.rule_id == self.run.rule_id, c.version == self.run.version, c.started_at == self.run.held_at)
        counts = self.connection.execute(select(c.counts).where(*mine)).scalar() or {}
        gates = {Reason(word): count for word, count in counts.get("withheld", {}).items()}
        return {
            "found": counts.get("matched", 0),
            "left_out": tuple((reason, count) for reason, count in gates.items() if reason is not Reason.BRAKE),
            "usual": usual(self.connection, self.run.rule_id),
        }

    def _count(self, *where: Any) -> int:
        return int(self.connection.execute(select(func.count()).select_from(candidate).where(*where)).scalar_one())

    def _customers(self) -> int:
        return int(self.connection.execute(select(func.count(candidate.c.customer_id.distinct()))).scalar_one())

    def _kinds(self) -> list[Kind]:
        alike = (candidate.c.channel, candidate.c.language)
        counted = select(*alike, func.count()).where(open_for_decision(), candidate.c.channel.is_not(None))
        found: Counter[tuple[str, str | None]] = Counter()
        for channel, language, count in self.connection.execute(counted.group_by(*alike)):
            found[channel, language and language.partition("-")[0]] += count
        kinds = [Kind(channel, language, count) for (channel, language), count in found.items()]
        return sorted(kinds, key=lambda kind: (-kind.count, kind.channel, kind.language or ""))

    def _samples(self, case: guards.Case) -> list[SampleText]:
        """Different texts, where there are: one of each of the most frequent kinds, then more of the same kinds."""
        found = [self._some_of(kind) for kind in self._kinds()[:KINDS]]
        rows = [row for turn in zip_longest(*found) for row in turn if row is not None]
        brand = brand_of(self.app.settings)
        contexts = contexts_for(self.connection, [item_of(case, row) for row in rows], brand=brand) if rows else []
        shown: dict[tuple[str, str, str, str], SampleText] = {}
        for row, context in zip(rows, contexts, strict=True):
            one = self._text(row, context, brand)
            shown.setdefault((one.channel, one.headline, one.text, one.problem), one)
            if len(shown) == SAMPLES:
                break
        return list(shown.values())

    def _some_of(self, kind: Kind) -> Sequence[Row[Any]]:
        language = candidate.c.language
        same = language.is_(None) if kind.language is None else _in_language(language, kind.language)
        alike = (candidate.c.channel == kind.channel, same)
        table = table_of(self.rule.terms.subject)
        number = table.c.number if "number" in table.c else customer.c.external_id
        asked = (
            select(candidate, customer.c.first_name, customer.c.last_name, customer.c.external_id)
            .add_columns(number.label("number"))
            .join(customer, customer.c.id == candidate.c.customer_id)
        )
        if table is not customer:
            asked = asked.outerjoin(table, table.c.id == candidate.c.subject_id)
        asked = asked.where(open_for_decision(), *alike).order_by(candidate.c.id).limit(LOOKED_AT)
        return self.connection.execute(asked).all()

    def _text(self, row: Row[Any], context: dict[str, Any], brand: Brand) -> SampleText:
        try:
            made = templates_of(self.app).render(row.template, Channel(row.channel), row.language, masked(context))
        except RenderingError as wrong:
            return SampleText(row.channel, row.language, problem=wrong.problem.message)
        own = (row.first_name, row.last_name, row.external_id, row.number, row.phone, row.email, row.address)
        public = (brand.phone, brand.name, brand.address, brand.url)
        return SampleText(
            row.channel, made.language, scrubbed(made.subject, own, public), scrubbed(made.text, own, public)
        )
