"""Messages, calls and lists of them, in the shapes of Twilio's API of 2010-04-01."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from beforehand.web.postroom.entries import Entry
from beforehand.web.postroom.errors import TwilioError
from messaging.segments import count

API = "2010-04-01"
Pairs = Mapping[str, str]


def rfc2822(at: datetime | None) -> str | None:
    """A moment as Twilio writes it: ``Thu, 24 Aug 2023 05:01:45 +0000``."""
    return None if at is None else format_datetime(at.astimezone(UTC))


def _subresources(uri: str, *names: str) -> dict[str, str]:
    stem = uri.removesuffix(".json")
    return {name: f"{stem}/{''.join(part.title() for part in name.split('_'))}.json" for name in names}


def message_json(entry: Entry, account: str) -> dict[str, Any]:
    """A Message resource: https://www.twilio.com/docs/messaging/api/message-resource."""
    uri = f"/{API}/Accounts/{account}/Messages/{entry.sid}.json"
    sent = entry.when("sent", "received")
    return {
        "body": entry.body,
        "num_segments": str(count(entry.body).segments),
        "direction": entry.direction,
        "from": entry.from_,
        "to": entry.to,
        "date_updated": rfc2822(entry.history[-1][1]),
        "price": None,
        "error_message": ERROR_TEXT.get(entry.error_code or 0),
        "uri": uri,
        "account_sid": account,
        "num_media": "0",
        "status": entry.status,
        "messaging_service_sid": entry.options.get("MessagingServiceSid"),
        "sid": entry.sid,
        "date_sent": rfc2822(sent),
        "date_created": rfc2822(entry.at),
        "error_code": entry.error_code,
        "price_unit": "USD",
        "api_version": API,
        "subresource_uris": _subresources(uri, "media"),
    }


def call_json(entry: Entry, account: str) -> dict[str, Any]:
    """A Call resource: https://www.twilio.com/docs/voice/api/call-resource."""
    uri = f"/{API}/Accounts/{account}/Calls/{entry.sid}.json"
    start, end = call_times(entry)
    return {
        "sid": entry.sid,
        "date_created": rfc2822(entry.at),
        "date_updated": rfc2822(entry.history[-1][1]),
        "parent_call_sid": None,
        "account_sid": account,
        "to": entry.to,
        "to_formatted": entry.to,
        "from": entry.from_,
        "from_formatted": entry.from_,
        "phone_number_sid": None,
        "status": entry.status,
        "start_time": rfc2822(start),
        "end_time": rfc2822(end),
        "duration": duration(entry),
        "price": None,
        "price_unit": "USD",
        "direction": entry.direction,
        "answered_by": entry.answered_by,
        "api_version": API,
        "forwarded_from": None,
        "group_sid": None,
        "caller_name": None,
        "queue_time": "0",
        "trunk_sid": None,
        "uri": uri,
        "subresource_uris": _subresources(
            uri, "notifications", "recordings", "payments", "events", "siprec", "streams", "transcriptions",
            "user_defined_message_subscriptions", "user_defined_messages",
        ),
    }  # fmt: skip


def call_times(entry: Entry) -> tuple[datetime | None, datetime | None]:
    """When a call began to ring, and when it ended."""
    return entry.when("ringing"), entry.when("completed", "busy", "no-answer", "failed", "canceled")


def duration(entry: Entry) -> str | None:
    """Seconds spoken, as text; None before the end, "0" when nobody answered."""
    _, end = call_times(entry)
    answered = entry.when("in-progress")
    if end is None:
        return None
    return str(max(1, round((end - answered).total_seconds()))) if answered else "0"


ERROR_TEXT = {30003: "Unreachable destination handset", 30008: "Unknown error"}

Times = Callable[[Entry], datetime | None]


def picked(entries: list[Entry], query: Pairs, times: Mapping[str, Times]) -> list[Entry]:
    """The newest-first list that the query's filters leave: To, From, Status and the named times with < and >."""
    kept = reversed(entries)
    for name, value_of in _FIELDS.items():
        if name in query:
            kept = _where(kept, value_of, query[name])
    for name, time_of in times.items():
        for sign in ("", "<", ">"):
            if name + sign in query:
                kept = _during(kept, time_of, query[name + sign], sign)
    return list(kept)


_FIELDS: dict[str, Callable[[Entry], str]] = {
    "To": lambda entry: entry.to,
    "From": lambda entry: entry.from_,
    "Status": lambda entry: entry.status,
}


def _where(entries: Any, value_of: Callable[[Entry], str], value: str) -> Any:
    return (entry for entry in entries if value_of(entry) == value)


def _during(entries: Any, time_of: Times, text: str, sign: str) -> Any:
    first, last = _span(text, sign)
    return (entry for entry in entries if (at := time_of(entry)) is not None and first <= at <= last)


def _span(text: str, sign: str) -> tuple[datetime, datetime]:
    """What a date filter spans, ends included. A bare day without a sign is that whole day in UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise TwilioError(20001, f"'{text}' is not a valid date; expected YYYY-MM-DD or ISO 8601") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    if sign:
        return (first, at) if sign == "<" else (at, last)
    day = datetime.combine(at.date(), time(), UTC)
    return day, day + timedelta(days=1) - timedelta(microseconds=1)


def page_of(kept: list[Entry], query: Pairs, path: str, name: str, show: Callable[[Entry], Any]) -> dict[str, Any]:
    """One page of a list with the links to its neighbours. ``PageToken`` keeps pages steady while messages arrive."""
    size = _number(query, "PageSize", 50, least=1, most=1000)
    number = _number(query, "Page", 0, least=0, most=10_000_000)
    start = _start(kept, query.get("PageToken", ""), number * size)
    shown = kept[start : start + size]
    base = {key: value for key, value in query.items() if key not in ("Page", "PageToken", "PageSize")}

    def link(page: int, token: str = "") -> str:
        pairs = {**base, "PageSize": str(size), "Page": str(page), **({"PageToken": token} if token else {})}
        return f"{path}?{urlencode(pairs)}"

    more = start + size < len(kept)
    before = kept[max(0, start - size)] if start else None
    return {
        "first_page_uri": link(0),
        "next_page_uri": link(number + 1, "PA" + kept[start + size].sid) if more else None,
        "previous_page_uri": link(max(0, number - 1), "PA" + before.sid) if before else None,
        "page": number,
        "page_size": size,
        "start": start,
        "end": start + len(shown) - 1 if shown else start,
        "uri": f"{path}?{urlencode(dict(query))}" if query else link(0),
        name: [show(entry) for entry in shown],
    }


def _start(kept: list[Entry], token: str, otherwise: int) -> int:
    sid = token.removeprefix("PA")
    return next((at for at, entry in enumerate(kept) if entry.sid == sid), otherwise) if sid else otherwise


def _number(query: Pairs, name: str, default: int, *, least: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isdigit():
        raise TwilioError(20001, f"{name} must be a whole number, not '{text}'")
    return min(most, max(least, int(text)))
