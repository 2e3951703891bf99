"""Calls of the operator's own systems: signed by Standard Webhooks, delivered at least once, always under the same id.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (version 1.0.0).
"""

from messaging.webhooks.calling import WebhookReport, Wires, call_due
from messaging.webhooks.wire import Endpoint

__all__ = ["Endpoint", "WebhookReport", "Wires", "call_due"]
