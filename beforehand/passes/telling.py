"""Gives planned webhooks the facts that their rule asks for, in the transaction that planned them."""

from datetime import datetime

from sqlalchemy import Connection, select, update

from messaging.candidates import TABLES
from models.terms import WebhookStep
from models.vocabulary import WebhookState
from rules.loader import Rule
from rules.telling import telling

webhook = TABLES["webhook"]


def tell_webhooks(connection: Connection, rule: Rule, now: datetime, zone: str) -> None:
    """Write the asked facts, as they are at ``now``, into the webhooks that were planned at ``now`` for ``rule``.

    Each webhook so keeps one body, whatever changes between its tries.
    """
    for place, step in enumerate(rule.terms.steps):
        if not isinstance(step, WebhookStep) or not step.facts:
            continue
        here = (
            webhook.c.rule_id == rule.id,
            webhook.c.version == rule.terms.version,
            webhook.c.step == str(place),
            webhook.c.state == WebhookState.PLANNED,
            webhook.c.tries == 0,
            webhook.c.created_at == now,
        )
        ids = select(webhook.c.subject_id).where(*here)
        told = telling(rule, step, now=now, zone=zone, ids=ids).subquery("told")
        values = {"facts": told.c.facts}
        connection.execute(update(webhook).where(*here, webhook.c.subject_id == told.c.subject_id).values(values))
