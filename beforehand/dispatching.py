"""Delivery for the flows, the heartbeat and the command line: dispatch what is due, reap, ask for receipts."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, or_, select, text

from beforehand.passes import brand_of, policy_of, secret_of, stops_of, templates_of
from beforehand.passes.retiring import retired_of
from beforehand.settings import Settings
from beforehand.sight import tracing
from beforehand.wiring import App, wires
from messaging import elsewhere, onlookers, outbox, receipts, taken_back, told, unknown
from messaging.channels.base import Envelope
from messaging.channels.callbacks import attempt_token
from messaging.claims import Claim
from messaging.context import contexts
from messaging.dispatch import DispatchReport, EnvelopeOf, Plan, dispatch
from messaging.journal.reconciling import pay
from messaging.links import unsubscribe_headers
from messaging.mail_events import token_headers
from messaging.pace import Rate, Rates
from messaging.rendering import RenderingError, Templates
from messaging.sweeper import sweep
from messaging.switches import is_held
from messaging.webhooks import WebhookReport, call_due
from models.database import reading, writing
from models.delivery import Message
from models.trouble import damaged, quick_check
from models.vocabulary import Channel, Purpose, Reason, WebhookState
from models.webhook import Webhook

_log = logging.getLogger(__name__)

MESSAGE: Any = Message.__table__  # type: ignore[attr-defined]
WEBHOOK: Any = Webhook.__table__  # type: ignore[attr-defined]

BATCHES = 10
"""Batches a channel in one go of flow or heartbeat, so that other work gets its turn."""


@dataclass(frozen=True)
class ReapReport:
    """What was put right: claims returned, outcomes that are unknown, and what became of older unknown ones."""

    returned: int
    unknown: int
    found: int
    resent: int
    given_up: int


def dispatch_due(
    app: App,
    now: datetime | None = None,
    *,
    limit: int | None = None,
    everything: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> DispatchReport:
    """Send what is due: at most ``limit`` messages a channel (ten batches where left out), or ``everything``.

    ``now`` stands still for the whole dispatch; without it the clock goes on. ``stopping`` is asked every few messages.
    """
    settings = app.settings
    tracing.begin(app)
    most = None if everything else limit or BATCHES * settings.batch
    plan = Plan(
        policy=policy_of(app),
        batch=settings.batch,
        lease_seconds=max(settings.lease_seconds, 4 * settings.send_timeout_seconds),
        send_timeout=settings.send_timeout_seconds,
        limit=most,
        stops=stops_of(app),
        rates=rates_of(settings),
        jitter=random.random,
        stopping=stopping,
        halted=app.stop_file.halted,
        journal=app.journal,
    )
    clock = app.clock if now is None else lambda: now
    report = dispatch(app.engine, clock, app.channels, envelope_of(app), plan)
    if report.sent:
        told.match_if_any(app.engine, clock())
    return report


MESSAGES, WEBHOOKS = "messages", "webhooks"
"""What may be due, by its way."""


def what_is_due(app: App, now: datetime) -> set[str]:
    """For which of the ways something may be due at ``now``: one look along two indexes, in place of a whole dispatch.

    It may say too much (what is due may rest or be stopped, which only the claim knows), never too little.
    """
    m, w = MESSAGE.c, WEBHOOK.c
    messages = exists().where(text("message.state IN ('planned', 'queued')"), m.due_at <= now)
    planned = and_(w.state == WebhookState.PLANNED, w.due_at <= now)
    broken_off = and_(w.state == WebhookState.CALLING, w.lease_until <= now)
    webhooks = exists().where(text("webhook.state IN ('planned', 'calling')"), or_(planned, broken_off))
    with reading(app.engine) as connection:
        row = connection.execute(select(messages, webhooks)).one()
    return {way for way, due in zip((MESSAGES, WEBHOOKS), row, strict=True) if due}


def rates_of(settings: Settings) -> Rates:
    """How fast each sender may go; the post room takes everything at once."""
    if settings.delivery != "live":
        return {}
    said = {
        Channel.SMS: settings.sms_per_second,
        Channel.VOICE: settings.calls_per_second,
        Channel.EMAIL: settings.emails_per_second,
    }
    return {channel: Rate(rate) for channel, rate in said.items() if rate is not None}


def make_sure(app: App) -> str:
    """Look at the database before anything is sent from it; what is wrong with it, or an empty text.

    A file that was found damaged is read whole; where it is whole again, sending may go on.
    """
    if app.journal.damage():
        found = quick_check(app.engine)
        app.journal.note_damage(damaged(app.engine.url, found) if found else "")
    return app.journal.damage()


def is_held_now(app: App) -> bool:
    """Whether everything is held, because the database knows less than what was sent from it."""
    with reading(app.engine) as connection:
        return is_held(connection)


def call_webhooks(
    app: App, now: datetime | None = None, *, stopping: Callable[[], bool] = lambda: False
) -> WebhookReport:
    """Call the operator's own systems that are due: signed, at least once; those of retired rules are cancelled.

    ``now`` stands still for the whole go.
    """
    where = replace(
        wires(app.settings, stopping), retired=lambda: retired_of(app), journal=app.journal, halted=app.stop_file.halted
    )
    report = call_due(app.engine, app.clock if now is None else lambda: now, where)
    if report.states:
        onlookers.tell(onlookers.Called(report.states))
    return report


def reap(app: App, now: datetime) -> ReapReport:
    """Put right what dead processes left, settle older unknown outcomes, and end what waited until it was too late.

    While everything is held after a restore nothing is settled.
    """
    report = _put_right(app, now)
    onlookers.tell(onlookers.Reaped(*astuple(report)))
    return report


def _put_right(app: App, now: datetime) -> ReapReport:
    pay(app.engine, app.journal, now)
    reaped = outbox.reap(app.engine, now)
    with reading(app.engine) as connection:
        if is_held(connection):  # what is unknown may be in the journal: nothing is resent or given up before
            return ReapReport(reaped.returned, reaped.unknown, 0, 0, 0)
    told.match_if_any(app.engine, now)
    settled = unknown.settle(
        app.engine,
        app.channels,
        now,
        send_timeout=app.settings.send_timeout_seconds,
        settle_after=timedelta(minutes=app.settings.unknown_settle_minutes),
    )
    sweep(app.engine, now)
    with writing(app.engine) as connection:
        taken_back.confirm(connection, now)
        elsewhere.give_up(connection, now)
    return ReapReport(reaped.returned, reaped.unknown, settled.found, settled.resent, settled.given_up)


def poll_receipts(app: App, now: datetime) -> receipts.PollReport:
    """Ask the providers what became of what they accepted."""
    tracing.begin(app)
    return receipts.poll(app.engine, app.channels, now)


def envelope_of(app: App) -> EnvelopeOf:
    """How claims become envelopes: contexts for the whole batch in a few queries, then each template."""
    templates, brand, secret = templates_of(app), brand_of(app.settings), secret_of(app.settings)

    def envelopes(claims: Sequence[Claim]) -> Mapping[int, Envelope | Reason]:
        with reading(app.engine) as connection:
            found = contexts(connection, [c.message_id for c in claims], brand=brand, secret=secret)
        return {c.message_id: _envelope(templates, c, found[c.message_id], app.settings) for c in claims}

    return envelopes


def _envelope(templates: Templates, claim: Claim, context: Mapping[str, Any], settings: Settings) -> Envelope | Reason:
    try:
        rendered = templates.render(claim.template, claim.channel, claim.language, context)
    except RenderingError as wrong:
        _log.warning("message %s was not sent: %s", claim.message_id, wrong.problem)
        return Reason.TEMPLATE_FAILED
    desk = settings.desks.get(str(claim.details.get("connect_to", "")))
    ends = claim.channel is Channel.EMAIL and claim.purpose is not Purpose.SERVICE
    return Envelope(
        attempt_id=claim.attempt_id,
        reference=claim.reference,
        to=claim.address,
        text=rendered.text,
        subject=rendered.subject,
        html=rendered.html,
        language=rendered.language,
        headers=(unsubscribe_headers(context["links"]["unsubscribe"], settings.unsubscribe_mailbox) if ends else {})
        | token_headers(settings.mail_provider, attempt_token(secret_of(settings), claim.attempt_id)),
        options={"connect_to": desk} if desk else {},
    )
