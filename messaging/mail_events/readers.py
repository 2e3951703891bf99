"""Each provider's words, and what they mean to us: one literal table a provider, and a reader of one event.

Sources: the providers' pages on their event webhooks, and the tables of django-anymail (BSD-3-Clause), whose tests
are our vectors.
"""

from collections.abc import Callable, Mapping
from typing import Any

from messaging.mail_events.event import Kind, MailEvent, Reject, mapping, moment, text, token_in

Raw = Mapping[str, Any]

SENDGRID: Mapping[str, Kind] = {
    "processed": Kind.QUEUED,
    "delivered": Kind.DELIVERED,
    "deferred": Kind.DEFERRED,
    "bounce": Kind.BOUNCED,
    "dropped": Kind.REJECTED,
    "spamreport": Kind.COMPLAINED,
    "unsubscribe": Kind.UNSUBSCRIBED,
    "group_unsubscribe": Kind.UNSUBSCRIBED,
    "group_resubscribe": Kind.SUBSCRIBED,
    "open": Kind.OPENED,
    "click": Kind.CLICKED,
}
SENDGRID_DROPPED: Mapping[str, Reject] = {
    "invalid": Reject.INVALID,
    "bounced address": Reject.BOUNCED,
    "bounce": Reject.BOUNCED,
    "blocked": Reject.BLOCKED,
    "expired": Reject.TIMED_OUT,
    "unsubscribed address": Reject.UNSUBSCRIBED,
    "spam reporting address": Reject.SPAM,
}


def sendgrid(raw: Raw) -> MailEvent:
    """https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event"""
    word, reason = str(raw.get("event", "")), None
    dropped, blocked = word == "dropped", word == "bounce" and raw.get("type") == "blocked"
    if dropped:
        reason = SENDGRID_DROPPED.get(str(raw.get("type") or raw.get("reason") or "").lower(), Reject.OTHER)
    return MailEvent(
        kind=SENDGRID.get(word, Kind.UNKNOWN),
        recipient=text(raw.get("email")),
        happened_at=moment(raw.get("timestamp")),
        message_id=text(raw.get("sg_message_id")),
        event_id=text(raw.get("sg_event_id")),
        reason=reason,
        response=None if dropped else text(raw.get("response") or raw.get("reason")),
        status=str(raw.get("status") or ""),
        token=token_in(raw),
        smtp_id=str(raw.get("smtp-id") or ""),
        lasting=not blocked,
    )


POSTMARK: Mapping[str, Kind] = {
    "Bounce": Kind.BOUNCED,
    "Delivery": Kind.DELIVERED,
    "SpamComplaint": Kind.COMPLAINED,
    "SubscriptionChange": Kind.UNSUBSCRIBED,
    "Open": Kind.OPENED,
    "Click": Kind.CLICKED,
}
POSTMARK_TYPES: Mapping[str, tuple[Kind, Reject | None]] = {
    "HardBounce": (Kind.BOUNCED, Reject.BOUNCED),
    "SoftBounce": (Kind.BOUNCED, Reject.BOUNCED),
    "Transient": (Kind.DEFERRED, None),
    "DnsError": (Kind.DEFERRED, None),
    "OpenRelayTest": (Kind.DEFERRED, None),
    "Unsubscribe": (Kind.UNSUBSCRIBED, Reject.UNSUBSCRIBED),
    "ManualSuppression": (Kind.UNSUBSCRIBED, Reject.UNSUBSCRIBED),
    "Subscribe": (Kind.SUBSCRIBED, None),
    "AutoResponder": (Kind.AUTORESPONDED, None),
    "AddressChange": (Kind.AUTORESPONDED, None),
    "ChallengeVerification": (Kind.AUTORESPONDED, None),
    "SpamNotification": (Kind.COMPLAINED, Reject.SPAM),
    "SpamComplaint": (Kind.COMPLAINED, Reject.SPAM),
    "VirusNotification": (Kind.BOUNCED, Reject.OTHER),
    "BadEmailAddress": (Kind.REJECTED, Reject.INVALID),
    "ManuallyDeactivated": (Kind.REJECTED, Reject.BLOCKED),
    "Blocked": (Kind.REJECTED, Reject.BLOCKED),
    "DMARCPolicy": (Kind.REJECTED, Reject.BLOCKED),
    "Unconfirmed": (Kind.REJECTED, None),
    "SMTPApiError": (Kind.FAILED, None),
    "TemplateRenderingFailed": (Kind.FAILED, None),
    "Unknown": (Kind.UNKNOWN, None),
}


def postmark(raw: Raw) -> MailEvent:
    """https://postmarkapp.com/developer/webhooks/webhooks-overview"""
    kind, reason = POSTMARK.get(str(raw.get("RecordType")), Kind.UNKNOWN), None
    said = str(raw.get("Type") or "")
    if kind is Kind.UNSUBSCRIBED:
        said = str(raw.get("SuppressionReason")) if raw.get("SuppressSending", True) else "Subscribe"
    if kind in (Kind.BOUNCED, Kind.COMPLAINED, Kind.UNSUBSCRIBED):
        kind, reason = POSTMARK_TYPES.get(said, (kind, None))
    when = next((raw[name] for name in ("DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt") if name in raw), None)
    return MailEvent(
        kind=kind,
        recipient=text(raw.get("Email") or raw.get("Recipient")),
        happened_at=moment(when),
        message_id=text(raw.get("MessageID")),
        event_id=text(raw.get("ID")),
        reason=reason,
        description=raw.get("Description"),
        response=text(raw.get("Details")),
        token=token_in(raw.get("Metadata")),
        lasting=said != "SoftBounce",
    )


SPARKPOST: Mapping[str, Kind] = {
    "injection": Kind.QUEUED,
    "delivery": Kind.DELIVERED,
    "delay": Kind.DEFERRED,
    "bounce": Kind.BOUNCED,
    "out_of_band": Kind.BOUNCED,
    "policy_rejection": Kind.REJECTED,
    "generation_rejection": Kind.REJECTED,
    "generation_failure": Kind.FAILED,
    "spam_complaint": Kind.COMPLAINED,
    "list_unsubscribe": Kind.UNSUBSCRIBED,
    "link_unsubscribe": Kind.UNSUBSCRIBED,
    "open": Kind.OPENED,
    "amp_open": Kind.OPENED,
    "click": Kind.CLICKED,
    "amp_click": Kind.CLICKED,
}
SPARKPOST_CLASSES: Mapping[str, Reject] = {
    "1": Reject.OTHER,
    "10": Reject.INVALID,
    "20": Reject.BOUNCED,
    "21": Reject.BOUNCED,
    "22": Reject.BOUNCED,
    "23": Reject.BOUNCED,
    "24": Reject.TIMED_OUT,
    "25": Reject.BLOCKED,
    "30": Reject.BOUNCED,
    "40": Reject.BOUNCED,
    "50": Reject.BLOCKED,
    "51": Reject.SPAM,
    "52": Reject.SPAM,
    "53": Reject.OTHER,
    "54": Reject.BLOCKED,
    "60": Reject.OTHER,
    "70": Reject.BOUNCED,
    "80": Reject.OTHER,
    "90": Reject.UNSUBSCRIBED,
    "100": Reject.OTHER,
}
SPARKPOST_ODD: Mapping[str, Kind] = {
    "60": Kind.AUTORESPONDED,
    "80": Kind.SUBSCRIBED,
    "90": Kind.UNSUBSCRIBED,
    "100": Kind.AUTORESPONDED,
}
SPARKPOST_HARD = frozenset({"10", "30", "90"})
"""Bounce classes that last: https://support.sparkpost.com/docs/deliverability/bounce-classification-codes"""


def sparkpost(raw: Raw) -> MailEvent | None:
    """https://developers.sparkpost.com/api/webhooks/; None for the empty event by which it tries our address."""
    found = next(iter(mapping(raw.get("msys")).values()), None)
    if not isinstance(found, Mapping):
        return None
    bounce = str(found["bounce_class"]) if "bounce_class" in found else ""
    kind = SPARKPOST_ODD.get(bounce) or SPARKPOST.get(str(found.get("type")), Kind.UNKNOWN)
    return MailEvent(
        kind=kind,
        recipient=text(found.get("raw_rcpt_to") or found.get("rcpt_to")),
        happened_at=moment(found.get("timestamp")),
        message_id=text(found.get("transmission_id")),
        event_id=text(found.get("event_id")),
        reason=SPARKPOST_CLASSES.get(bounce, Reject.OTHER) if bounce else None,
        response=text(found.get("raw_reason")),
        token=token_in(found.get("rcpt_meta")),
        lasting=bounce in SPARKPOST_HARD,
    )


MANDRILL: Mapping[str, Kind] = {
    "send": Kind.SENT,
    "deferral": Kind.DEFERRED,
    "hard_bounce": Kind.BOUNCED,
    "soft_bounce": Kind.BOUNCED,
    "reject": Kind.REJECTED,
    "spam": Kind.COMPLAINED,
    "unsub": Kind.UNSUBSCRIBED,
    "open": Kind.OPENED,
    "click": Kind.CLICKED,
}


def mandrill(raw: Raw) -> MailEvent:
    """https://mailchimp.com/developer/transactional/docs/webhooks/"""
    word, message, reject = (
        str(raw.get("event") or raw.get("type")),
        mapping(raw.get("msg")),
        mapping(raw.get("reject")),
    )
    return MailEvent(
        kind=MANDRILL.get(word, Kind.UNKNOWN),
        recipient=text(message.get("email") or reject.get("email")),
        happened_at=moment(raw.get("ts")),
        message_id=text(raw.get("_id")),
        description=text(reject.get("detail") or reject.get("reason")),
        reason=Reject.BOUNCED if word == "hard_bounce" else None,
        response=text(message.get("diag")),
        token=token_in(message.get("metadata")),
        lasting=word != "soft_bounce",
    )


MAILTRAP: Mapping[str, tuple[Kind, Reject | None]] = {
    "delivery": (Kind.DELIVERED, None),
    "soft bounce": (Kind.DEFERRED, Reject.OTHER),
    "suspension": (Kind.DEFERRED, Reject.OTHER),
    "bounce": (Kind.BOUNCED, Reject.BOUNCED),
    "reject": (Kind.REJECTED, Reject.BLOCKED),
    "spam": (Kind.COMPLAINED, Reject.SPAM),
    "unsubscribe": (Kind.UNSUBSCRIBED, Reject.UNSUBSCRIBED),
    "open": (Kind.OPENED, None),
    "click": (Kind.CLICKED, None),
}


def mailtrap(raw: Raw) -> MailEvent:
    """https://docs.mailtrap.io/email-api-smtp/advanced/webhooks"""
    kind, reason = MAILTRAP.get(str(raw.get("event")), (Kind.UNKNOWN, None))
    return MailEvent(
        kind=kind,
        recipient=text(raw.get("email")),
        happened_at=moment(raw.get("timestamp")),
        message_id=text(raw.get("message_id")),
        event_id=text(raw.get("event_id")),
        reason=reason,
        response=text(raw.get("response")),
        token=token_in(raw.get("custom_variables")),
    )


POSTAL: Mapping[str, Kind] = {
    "Sent": Kind.DELIVERED,
    "SoftFail": Kind.DEFERRED,
    "HardFail": Kind.FAILED,
    "Held": Kind.QUEUED,
}


def postal(raw: Raw) -> MailEvent | None:
    """https://docs.postalserver.io/developer/webhooks; None for what is about mail that came in."""
    payload = mapping(raw.get("payload"))
    message = mapping(payload.get("message") or payload.get("original_message"))
    if message.get("direction") == "incoming":
        return None
    status = payload.get("status")
    kind = POSTAL.get(str(status), Kind.UNKNOWN)
    if status is None:
        kind = Kind.BOUNCED if "bounce" in payload else Kind.CLICKED if "url" in payload else Kind.UNKNOWN
    return MailEvent(
        kind=kind,
        recipient=text(message.get("to")),
        happened_at=moment(raw.get("timestamp")),
        message_id=text(message.get("id")),
        event_id=text(raw.get("uuid")),
        reason=Reject.BOUNCED if kind is Kind.BOUNCED else None,
        description=text(payload.get("details")),
        response=text(payload.get("output")),
        smtp_id=f"<{message['message_id']}>" if message.get("message_id") else "",
    )


def generic(raw: Raw) -> MailEvent:
    """Our own form, for any other provider: see docs/how-to/callbacks.md."""
    word, reason = str(raw.get("event")), str(raw.get("reason") or "")
    return MailEvent(
        kind=Kind(word) if word in {*Kind} else Kind.UNKNOWN,
        recipient=text(raw.get("recipient")),
        happened_at=moment(raw.get("at")),
        message_id=text(raw.get("id")),
        event_id=text(raw.get("event_id")),
        reason=Reject(reason) if reason in {*Reject} else None,
        response=text(raw.get("response")),
        status=str(raw.get("status") or ""),
        token=str(raw.get("attempt") or ""),
        smtp_id=str(raw.get("message_id") or ""),
    )


READERS: Mapping[str, Callable[[Raw], MailEvent | None]] = {
    "sendgrid": sendgrid,
    "postmark": postmark,
    "sparkpost": sparkpost,
    "mandrill": mandrill,
    "mailtrap": mailtrap,
    "postal": postal,
    "generic": generic,
}
"""A reader of one event by the provider's name."""


def read(provider: str, said: Any) -> tuple[list[tuple[Raw, MailEvent]], int]:
    """The events of one request's JSON, each beside what was said, and how many could not be read."""
    listed = said.get("events") if isinstance(said, Mapping) and "events" in said else said
    found: list[tuple[Raw, MailEvent]] = []
    odd = 0
    for raw in listed if isinstance(listed, list) else [listed]:
        if not isinstance(raw, Mapping):
            odd += 1
        elif (event := READERS[provider](raw)) is not None:
            found.append((raw, event))
    return found, odd
