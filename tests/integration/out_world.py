"""A small world for delivery tests: planned messages in a database, a post room, and dispatch between them."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, insert, select

from beforehand.web.postroom.server import PostRoom
from messaging.channels import Providers, build
from messaging.channels.base import Channel as Way
from messaging.channels.base import Envelope
from messaging.channels.mail import MailServer
from messaging.channels.twilio_client import Account
from messaging.claims import Claim, attempt, message
from messaging.dispatch import DispatchReport, Plan, dispatch
from messaging.policy import Policy
from models.commerce import Order
from models.customer import Customer
from models.database import reading, writing
from models.delivery import Match
from models.vocabulary import Channel

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SECRET = b"a secret for tests"
POLICY = Policy(secret=SECRET, consent_needed=frozenset())
SENDER = "+442079460000"


def phone(n: int) -> str:
    """A British mobile number."""
    return f"+4477009{n:05d}"


def plan_messages(engine: Engine, count: int, **columns: Any) -> list[int]:
    """Insert ``count`` customers, matches and planned messages; returns the message ids. ``columns`` override."""
    channel = columns.get("channel", "sms")
    with writing(engine) as connection:
        first = len(connection.execute(select(Customer.__table__.c.id)).all())
        numbers = range(first, first + count)
        people: list[dict[str, Any]] = [
            {
                "external_id": f"c{n}", "changed_at": NOW, "bucket": 0, "phone": phone(n), "time_zone": "Europe/London",
                "email": f"c{n}@kunde.example",
            }
            | ({"email" if channel == "email" else "phone": columns["address"]} if "address" in columns else {})
            for n in numbers
        ]  # fmt: skip
        customers = connection.execute(
            insert(Customer).returning(Customer.id, sort_by_parameter_order=True),
            people,  # type: ignore[call-overload]
        ).scalars()
        keys = list(customers)
        orders = [
            {
                "external_id": f"o{n}", "number": f"{1000 + n}", "changed_at": NOW, "customer_id": key,
                "placed_at": NOW - timedelta(days=9), "promised_on": (NOW - timedelta(days=1)).date(),
            }
            for n, key in zip(numbers, keys, strict=True)
        ]  # fmt: skip
        order_ids = list(
            connection.execute(insert(Order).returning(Order.id, sort_by_parameter_order=True), orders).scalars()  # type: ignore[call-overload]
        )
        rule = columns.get("rule_id", "late-order")
        matches = [
            {
                "rule_id": rule, "version": "v1", "occasion": f"order/{n}", "subject": "order", "subject_id": order,
                "customer_id": key, "matched_at": NOW, "seen_at": NOW, "state": "open", "next_step": 0,
            }
            for n, key, order in zip(numbers, keys, order_ids, strict=True)
        ]  # fmt: skip
        match_ids = list(
            connection.execute(
                insert(Match).returning(Match.id, sort_by_parameter_order=True),
                matches,  # type: ignore[call-overload]
            ).scalars()
        )
        rows = [
            {
                "match_id": match_id, "rule_id": rule, "version": "v1", "occasion": f"order/{n}", "step": "0",
                "customer_id": key, "purpose": "service", "priority": 0, "channel": channel,
                "address": f"c{n}@kunde.example" if channel == "email" else phone(n), "template": "late-order",
                "language": "en", "state": "planned", "created_at": NOW, "due_at": NOW, "reference": f"R{n:07d}",
                "tries": 0,
            }
            | columns
            for n, key, match_id in zip(numbers, keys, match_ids, strict=True)
        ]  # fmt: skip
        made = connection.execute(insert(message).returning(message.c.id, sort_by_parameter_order=True), rows)
        return list(made.scalars())


def rows_of(engine: Engine, ids: Sequence[int] | None = None) -> list[Row[Any]]:
    """The message rows, by id."""
    with reading(engine) as connection:
        chosen = select(message).order_by(message.c.id)
        return list(connection.execute(chosen if ids is None else chosen.where(message.c.id.in_(ids))))


def attempts_of(engine: Engine) -> list[Row[Any]]:
    """The attempt rows, by id."""
    with reading(engine) as connection:
        return list(connection.execute(select(attempt).order_by(attempt.c.id)))


def envelopes(claims: Sequence[Claim]) -> dict[int, Envelope]:
    """A plain rendering that says which message it is, so that the ledger can be compared."""
    return {
        c.message_id: Envelope(
            attempt_id=c.attempt_id,
            reference=c.reference,
            to=c.address,
            subject=f"About {c.occasion}",
            text=f"Your order is late. ({c.reference})",
            html=f"<p>Your order is late. ({c.reference})</p>" if c.channel is Channel.EMAIL else "",
        )
        for c in claims
    }


def ways(room: PostRoom, *, timeout: float = 10.0, clock: Callable[[], datetime] = lambda: NOW) -> dict[Channel, Way]:
    """Our channels, pointed at a post room."""
    account = Account(room.account_sid, room.auth_token, SENDER, room.http_url, timeout)
    mail = MailServer(room.host, room.smtp_port, "care@shop.example", "Our Shop", starttls=False, timeout=timeout)
    return build(Providers(account, mail, clock))


def send_due(engine: Engine, channels: dict[Channel, Way], now: datetime = NOW, **plan: Any) -> DispatchReport:
    """Dispatch all that is due at ``now``."""
    return dispatch(engine, lambda: now, channels, envelopes, Plan(**({"policy": POLICY} | plan)))


def references(entries: Iterable[Any]) -> list[str]:
    """The references that a ledger's entries show, sorted."""
    return sorted(part.split(")")[0] for entry in entries if (part := entry.body.partition("(")[2]))


def later(**delta: float) -> datetime:
    """NOW and some more."""
    return NOW + timedelta(**delta)
