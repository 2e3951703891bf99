"""Telling our side, as Twilio does: signed form posts in order, tried again a little, each try on record."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import urlsplit, urlunsplit

import httpx

from beforehand.web.postroom.entries import Callback, Entry
from beforehand.web.postroom.house import House
from beforehand.web.postroom.resources import API, duration, rfc2822
from models.vocabulary import Channel


def signature(token: str, url: str, form: Mapping[str, str]) -> str:
    """X-Twilio-Signature: https://www.twilio.com/docs/usage/security#validating-requests.

    A port counts for http and not for https, as Twilio has it.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.port:
        url = urlunsplit(parts._replace(netloc=parts.netloc.rsplit(":", 1)[0]))
    text = url + "".join(key + form[key] for key in sorted(form))
    # SHA-1 is what Twilio's scheme prescribes.
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def message_form(house: House, entry: Entry, status: str) -> dict[str, str]:
    """What a message's status callback carries."""
    form = {
        "AccountSid": house.account_sid,
        "ApiVersion": API,
        "From": entry.from_,
        "MessageSid": entry.sid,
        "MessageStatus": status,
        "SmsSid": entry.sid,
        "SmsStatus": status,
        "To": entry.to,
    }
    if "MessagingServiceSid" in entry.options:
        form["MessagingServiceSid"] = entry.options["MessagingServiceSid"]
    if entry.error_code:
        form["ErrorCode"] = str(entry.error_code)
    return form


def call_form(house: House, entry: Entry, status: str, sequence: int = 0) -> dict[str, str]:
    """What a call's webhooks and status callbacks carry."""
    form = {
        "AccountSid": house.account_sid,
        "ApiVersion": API,
        "CallSid": entry.sid,
        "CallStatus": status,
        "CallbackSource": "call-progress-events",
        "Called": entry.to,
        "Caller": entry.from_,
        "Direction": entry.direction,
        "From": entry.from_,
        "SequenceNumber": str(sequence),
        "Timestamp": rfc2822(house.now()) or "",
        "To": entry.to,
    }
    if entry.answered_by:
        form["AnsweredBy"] = entry.answered_by
    if (seconds := duration(entry)) is not None:
        form |= {"CallDuration": seconds, "Duration": str(-(-int(seconds) // 60))}
    return form


class Teller:
    """Posts to our side. ``post`` tries once and gives the answer; ``tell`` tries again and keeps every try."""

    def __init__(self, house: House) -> None:
        self._house = house
        # A burst of thousands must not open thousands of sockets.
        self._few = asyncio.Semaphore(20)

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        # Made when first needed: loading the certificates takes a tenth of a second.
        return httpx.AsyncClient(timeout=self._house.pace.callback_timeout, trust_env=False)

    async def post(self, url: str, form: Mapping[str, str], method: str = "POST") -> httpx.Response:
        """One signed request. Raises httpx.HTTPError or httpx.InvalidURL when there is no answer."""
        async with self._few:
            if method.upper() == "GET":
                url = str(httpx.URL(url).copy_merge_params(dict(form)))
                signed = {"X-Twilio-Signature": signature(self._house.auth_token, url, {})}
                return await self._client.get(url, headers=signed)
            signed = {"X-Twilio-Signature": signature(self._house.auth_token, url, form)}
            return await self._client.post(url, data=dict(form), headers=signed)

    def tells(self, entry: Entry, status: str) -> bool:
        """Whether our side asked to be told of this status."""
        return bool(entry.options.get("StatusCallback")) and _wanted(entry, status)

    async def tell(self, entry: Entry, status: str, sequence: int = 0) -> None:
        """Post one status to the entry's StatusCallback; give up after the last pause."""
        url = entry.options.get("StatusCallback", "")
        if not self.tells(entry, status):
            return
        if entry.kind == Channel.VOICE:
            form = call_form(self._house, entry, status, sequence)
        else:
            form = message_form(self._house, entry, status)
        method = entry.options.get("StatusCallbackMethod", "POST")
        for attempt, pause in enumerate((0.0, *self._house.pace.callback_pauses), start=1):
            await asyncio.sleep(pause)
            if await self._try(entry, status, url, form, method, attempt):
                return

    async def _try(self, entry: Entry, status: str, url: str, form: dict[str, str], method: str, attempt: int) -> bool:
        answer, error = None, ""
        if self._house.faults.take("callback", entry.to, among=("drop",)):
            error = "not posted: a planned fault"
        else:
            try:
                answer = (await self.post(url, form, method)).status_code
            except (httpx.HTTPError, httpx.InvalidURL) as wrong:
                error = f"{type(wrong).__name__}: {wrong}"
        self._house.ledger.callback(entry.sid, Callback(status, url, attempt, answer, error, self._house.now()))
        return answer is not None and answer < 400

    async def close(self) -> None:
        """Close the connections."""
        if "_client" in vars(self):
            await self._client.aclose()


def _wanted(entry: Entry, status: str) -> bool:
    """Twilio tells every status of a message; of a call only ``completed`` unless the request names others."""
    if entry.kind != Channel.VOICE:
        return True
    names = {"ringing": "ringing", "in-progress": "answered", "queued": "initiated"}
    return names.get(status, "completed") in entry.options.get("StatusCallbackEvent", "completed").split()
