"""The words a rule may use: subjects, facts, relations. One table, from which the loader, ``beforehand facts``,
the reference page and the editor schema are made.

A *happened* moment (``delivered_at``) is unknown before it comes, so a question as of a past moment gets the answer of
that time. A *planned* moment (``renews_at``) is known ahead. Each moment ``x_at`` can also be asked as a day, ``x_on``,
in the customer's own zone.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from models.vocabulary import CallDirection, CallOutcome, Channel, MessageState, Severity


class Kind(StrEnum):
    """What a fact is made of."""

    TEXT = "text"
    NUMBER = "number"
    MONEY = "money"
    MOMENT = "moment"
    DAY = "day"
    FLAG = "flag"


@dataclass(frozen=True)
class Fact:
    """One thing known about a subject. ``column`` is its place in the table; ``values`` are all it can be, if known.

    ``day_of`` names the moment whose local day this is; ``attribute`` the key in the JSON column; ``planned`` marks a
    moment that is known before it comes.
    """

    name: str
    kind: Kind
    help: str
    column: str = ""
    values: tuple[str, ...] = ()
    planned: bool = False
    day_of: str = ""
    attribute: str = ""


@dataclass(frozen=True)
class Relation:
    """A way from one subject to others, where column ``here`` equals column ``there``; ``many`` if several."""

    name: str
    target: str
    help: str
    here: str
    there: str
    many: bool


@dataclass(frozen=True)
class Subject:
    """A kind of row. ``natural`` is the moment that dates it; ``for_each`` says whether a rule may look at it."""

    name: str
    table: str
    help: str
    natural: str
    facts: dict[str, Fact]
    relations: dict[str, Relation] = field(default_factory=dict)
    for_each: bool = False
    events: tuple[str, ...] = ()


def _facts(*facts: Fact) -> dict[str, Fact]:
    known: dict[str, Fact] = {}
    for fact in facts:
        known[fact.name] = replace(fact, column=fact.column or fact.name)
        if fact.kind is Kind.MOMENT and fact.name.endswith("_at"):
            day = fact.name.removesuffix("_at") + "_on"
            said = f"the day of {fact.name} where the customer lives"
            known[day] = Fact(day, Kind.DAY, said, day_of=fact.name, planned=fact.planned)
    return known


def _relations(*relations: Relation) -> dict[str, Relation]:
    return {relation.name: relation for relation in relations}


def _text(name: str, help_line: str, values: type[StrEnum] | None = None) -> Fact:
    return Fact(name, Kind.TEXT, help_line, values=tuple(str(v) for v in values) if values else ())


def _number(name: str, help_line: str) -> Fact:
    return Fact(name, Kind.NUMBER, help_line)


def _money(name: str, help_line: str) -> Fact:
    return Fact(name, Kind.MONEY, help_line)


def _moment(name: str, help_line: str, *, planned: bool = False) -> Fact:
    return Fact(name, Kind.MOMENT, help_line, planned=planned)


def _day(name: str, help_line: str) -> Fact:
    return Fact(name, Kind.DAY, help_line)


EXTERNAL = _text("external_id", "its key in the source it came from")


def _one(name: str, target: str, help_line: str) -> Relation:
    return Relation(name, target, help_line, here=f"{name}_id", there="id", many=False)


def _many(name: str, target: str, help_line: str, there: str) -> Relation:
    return Relation(name, target, help_line, here="id", there=there, many=True)


CUSTOMER = _one("customer", "customer", "whose it is")
ORDER = _one("order", "order", "the order it belongs to")
PRODUCT = _one("product", "product", "the product")


def subjects() -> dict[str, Subject]:
    """All subjects by name, as shipped; ``rules.attributes`` adds the operator's own facts."""
    people, trade = (_customer,), (_order, _line, _product, _subscription, _payment, _voucher)
    contact, ours = (_call, _ticket, _survey, _event), (_issue, _exposure, _message)
    return {subject.name: subject for subject in (make() for make in (*people, *trade, *contact, *ours))}


def _customer() -> Subject:
    return Subject(
        "customer",
        "customer",
        "a person we may reach",
        "created_at",
        _facts(
            EXTERNAL,
            _text("first_name", "the given name"),
            _text("last_name", "the family name"),
            _text("email", "the e-mail address"),
            _text("phone", "the phone number, E.164"),
            _text("language", "the language, BCP 47, such as en or ar-EG"),
            _text("time_zone", "the zone, IANA, such as Europe/Berlin"),
            _text("country", "the country, two letters"),
            _text("tier", "the customer's standing, in your own words"),
            _text("preferred_channel", "how the customer likes to be reached", Channel),
            _day("birthday", "the day of birth"),
            _moment("created_at", "when the customer became one"),
        ),
        _relations(
            _many("orders", "order", "all orders", "customer_id"),
            _many("calls", "call", "all phone calls", "customer_id"),
            _many("tickets", "ticket", "all support contacts", "customer_id"),
            _many("subscriptions", "subscription", "all subscriptions", "customer_id"),
            _many("payments", "payment", "all payments", "customer_id"),
            _many("vouchers", "voucher", "all vouchers", "customer_id"),
            _many("surveys", "survey", "all surveys", "customer_id"),
            _many("events", "event", "all events", "customer_id"),
            _many("exposures", "exposure", "known issues that touch the customer", "customer_id"),
            _many("messages", "message", "all that we sent or mean to send", "customer_id"),
        ),
        for_each=True,
        events=("customer.updated",),
    )


def _order() -> Subject:
    return Subject(
        "order",
        "orders",
        "an order",
        "placed_at",
        _facts(
            EXTERNAL,
            _text("number", "the order number that the customer knows"),
            _moment("placed_at", "when it was placed"),
            _day("promised_on", "the day on which we promised to deliver"),
            _moment("shipped_at", "when it left us"),
            _moment("delivered_at", "when it arrived"),
            _moment("cancelled_at", "when it was cancelled"),
            _moment("returned_at", "when it came back"),
            _text("currency", "the currency of its totals, ISO 4217"),
            _money("net_total", "the goods, without shipping"),
            _money("shipping_total", "the shipping"),
            _money("gross_total", "all that the customer pays"),
            _text("sales_channel", "where it was placed"),
        ),
        _relations(
            CUSTOMER,
            _many("lines", "line", "its lines", "order_id"),
            _many("payments", "payment", "its payments", "order_id"),
            _many("tickets", "ticket", "support contacts about it", "order_id"),
            _many("surveys", "survey", "surveys about it", "order_id"),
            _many("exposures", "exposure", "known issues that touch it", "order_id"),
        ),
        for_each=True,
        events=("order.updated", "order.placed", "order.shipped", "order.delivered", "order.cancelled"),
    )


def _line() -> Subject:
    return Subject(
        "line",
        "order_line",
        "one line of an order",
        "",
        _facts(
            EXTERNAL,
            _number("quantity", "how many"),
            _text("currency", "the currency, ISO 4217"),
            _money("unit_price", "the price of one"),
            _money("net_total", "the price of the line"),
            _moment("returned_at", "when it came back"),
        ),
        _relations(ORDER, PRODUCT),
    )


def _product() -> Subject:
    return Subject(
        "product",
        "product",
        "something we sell",
        "",
        _facts(
            EXTERNAL,
            _text("name", "its name"),
            _text("category", "its category"),
            _text("supplier", "who makes or supplies it"),
        ),
    )


def _subscription() -> Subject:
    return Subject(
        "subscription",
        "subscription",
        "a running agreement",
        "started_at",
        _facts(
            EXTERNAL,
            _text("plan", "its plan"),
            _moment("started_at", "when it began"),
            _moment("renews_at", "when it renews next", planned=True),
            _moment("paused_at", "when it was paused"),
            _moment("cancelled_at", "when the customer gave notice"),
            _moment("ended_at", "when it ended"),
            _text("currency", "the currency of its price"),
            _money("price", "its price for one period"),
        ),
        _relations(CUSTOMER),
        for_each=True,
        events=("subscription.updated",),
    )


def _payment() -> Subject:
    return Subject(
        "payment",
        "payment",
        "money that came, or should have come",
        "paid_at",
        _facts(
            EXTERNAL,
            _text("method", "how it is paid"),
            _moment("due_at", "when it is due", planned=True),
            _moment("paid_at", "when it was paid"),
            _moment("failed_at", "when it failed"),
            _moment("refunded_at", "when it was paid back"),
            _text("currency", "the currency"),
            _money("amount", "how much"),
        ),
        _relations(CUSTOMER, ORDER),
    )


def _voucher() -> Subject:
    return Subject(
        "voucher",
        "voucher",
        "a voucher we gave",
        "issued_at",
        _facts(
            EXTERNAL,
            _text("rule_id", "the rule that gave it"),
            _text("currency", "the currency"),
            _money("worth", "how much it is worth"),
            _moment("issued_at", "when it was given"),
            _moment("valid_until", "until when it may be used", planned=True),
            _moment("redeemed_at", "when it was used"),
        ),
        _relations(CUSTOMER),
    )


def _call() -> Subject:
    return Subject(
        "call",
        "call",
        "a phone call, either way",
        "ended_at",
        _facts(
            EXTERNAL,
            _text("direction", "who dialled", CallDirection),
            _text("reason", "what it was for, such as callback"),
            _text("outcome", "how it ended", CallOutcome),
            _moment("started_at", "when it began"),
            _moment("ended_at", "when it ended"),
            _text("agent", "who spoke for us"),
            _text("phone", "the other side's number, E.164"),
            _text("queue", "the queue it waited in"),
            _text("priority", "its priority in the queue"),
        ),
        _relations(CUSTOMER),
        for_each=True,
        events=("call.ended", "call.updated"),
    )


def _ticket() -> Subject:
    return Subject(
        "ticket",
        "ticket",
        "a support contact",
        "opened_at",
        _facts(
            EXTERNAL,
            _text("topic", "what it is about"),
            _text("priority", "how much it presses"),
            _text("channel", "how it reached us"),
            _moment("opened_at", "when it was opened"),
            _moment("answered_at", "when we first answered"),
            _moment("resolved_at", "when it was solved"),
            _moment("closed_at", "when it was closed"),
            _moment("reopened_at", "when it was last opened again"),
            _number("reopen_count", "how often it was opened again"),
            _number("satisfaction", "how content the customer was, on your own scale"),
        ),
        _relations(CUSTOMER, ORDER, _many("surveys", "survey", "surveys about it", "ticket_id")),
        for_each=True,
        events=("ticket.opened", "ticket.closed", "ticket.updated"),
    )


def _survey() -> Subject:
    return Subject(
        "survey",
        "survey",
        "a question put to a customer, and the answer",
        "answered_at",
        _facts(
            EXTERNAL,
            _text("kind", "which survey"),
            _moment("asked_at", "when we asked"),
            _moment("answered_at", "when the customer answered"),
            _number("score", "the answer on the survey's scale, such as 1 to 5"),
            _text("comment", "the customer's own words"),
        ),
        _relations(CUSTOMER, ORDER, _one("ticket", "ticket", "the contact it is about")),
        events=("survey.answered", "survey.updated"),
    )


def _event() -> Subject:
    return Subject(
        "event",
        "event",
        "anything else that happened",
        "happened_at",
        _facts(EXTERNAL, _text("name", "what happened"), _moment("happened_at", "when it happened")),
        _relations(CUSTOMER),
        for_each=True,
        events=("event.happened", "event.updated"),
    )


def _issue() -> Subject:
    return Subject(
        "issue",
        "known_issue",
        "a fault that staff declared",
        "declared_at",
        _facts(
            EXTERNAL,
            _text("title", "what is wrong, in a few words"),
            _text("severity", "how bad it is", Severity),
            _moment("declared_at", "when staff declared it"),
            _moment("closed_at", "when it was fixed"),
        ),
        events=("issue.declared", "issue.changed"),
    )


def _exposure() -> Subject:
    return Subject(
        "exposure",
        "exposure",
        "a customer's order line touched by a known issue",
        "found_at",
        _facts(_moment("found_at", "when we found it")),
        _relations(
            CUSTOMER,
            _one("issue", "issue", "the known issue"),
            ORDER,
            Relation("line", "line", "the order line", here="order_line_id", there="id", many=False),
            PRODUCT,
        ),
        for_each=True,
        events=("exposure.updated",),
    )


def _message() -> Subject:
    return Subject(
        "message",
        "message",
        "something we sent or mean to send",
        "created_at",
        _facts(
            _text("rule_id", "the rule behind it"),
            _text("channel", "the channel", Channel),
            _text("purpose", "service, survey or marketing"),
            _text("template", "the template"),
            _text("state", "where it stands", MessageState),
            _moment("created_at", "when it was planned"),
            _moment("accepted_at", "when the provider took it"),
        ),
        _relations(CUSTOMER),
    )
