"""Voice calls by Twilio's Calls API, with the script passed inline as TwiML."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from twilio.twiml.voice_response import Gather, VoiceResponse

from messaging.channels.base import Envelope, Outcome, Sighting, fingerprint
from messaging.channels.twilio_client import (
    MOST_LISTED,
    THREADS,
    Account,
    attempt,
    between,
    client_for,
    listed,
    look_up,
    sighting,
)
from messaging.outcomes import TWILIO_CALL_STATUSES
from models.vocabulary import Channel

RING_SECONDS = 25
KEY_SECONDS = 6
SPOKEN: dict[str, str] = {"en": "en-GB", "ar": "arb", "zh": "cmn-CN", "de": "de-DE", "fr": "fr-FR", "es": "es-ES"}
"""Twilio's names of the languages it speaks, by our language; another language goes out as it is written."""

KEYS: dict[str, str] = {"1": "connect", "2": "later", "9": "never"}
"""What a pressed key asks for, in every call."""


def spoken_language(language: str) -> str:
    """Twilio's ``language`` attribute for a BCP 47 language."""
    return SPOKEN.get(language, SPOKEN.get(language.split("-")[0], language))


def script(envelope: Envelope, keys_url: str | None = None) -> str:
    """TwiML: the words, a line at a time, while one key may be pressed; the key is told to ``keys_url``."""
    response = VoiceResponse()
    asking: dict[str, Any] = {"action": keys_url, "method": "POST"} if keys_url else {}
    gather = Gather(num_digits=1, timeout=KEY_SECONDS, **asking)
    language = spoken_language(envelope.language)
    for line in filter(None, map(str.strip, envelope.text.splitlines())):
        gather.say(line, language=language)
    response.append(gather)
    response.hangup()
    return str(response)


def answer_key(digit: str, words: str, language: str, connect_to: str | None) -> str:
    """TwiML for a pressed key: our ``words``, and for key 1 the line to ``connect_to`` (E.164)."""
    response = VoiceResponse()
    if words:
        response.say(words, language=spoken_language(language))
    if KEYS.get(digit) == "connect" and connect_to:
        response.dial(connect_to)
    else:
        response.hangup()
    return str(response)


class Voice:
    """Rings a customer. A call is never made twice because its outcome is unknown."""

    name = Channel.VOICE
    provider = "twilio"
    parallel = THREADS

    def __init__(self, account: Account) -> None:
        self.account = account
        self.client = client_for(account)

    def send(self, envelope: Envelope) -> Outcome:
        """POST one call."""
        callback = self.account.callback and self.account.callback(envelope.attempt_id)
        further: dict[str, Any] = {"status_callback": callback, "status_callback_method": "POST"} if callback else {}
        twiml = script(envelope, f"{callback}/key" if callback else None)
        create: Callable[..., Any] = self.client.calls.create
        return attempt(
            self.client,
            lambda: create(to=envelope.to, from_=self.account.sender, twiml=twiml, timeout=RING_SECONDS, **further),
        )

    def fingerprint(self, envelope: Envelope) -> str:
        """By number only: the calls listing does not show the script."""
        return fingerprint(envelope.to, "")

    def look(self, provider_ids: list[str]) -> list[Sighting]:
        """Fetch each call's status."""
        return look_up(lambda sid: self.client.calls(sid).fetch(), provider_ids, TWILIO_CALL_STATUSES)

    def find(self, to: str, fingerprint: str, since: datetime, until: datetime) -> list[Sighting] | None:
        """List calls to ``to`` from our number made between two moments."""
        found = listed(lambda: self.client.calls.list(to=to, from_=self.account.sender, limit=MOST_LISTED))
        if found is None:
            return None
        matching = [record for record in found if between(record.date_created, since, until)]
        return [seen for record in matching if (seen := sighting(record, TWILIO_CALL_STATUSES))]

    def close(self) -> None:
        """Drop kept connections."""
        self.client.http_client.close()
