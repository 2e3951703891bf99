"""Voice calls by Twilio's Calls API. The script (TwiML) is fetched from us by URL, or passed inline without callbacks.

A call that a machine answers is ended without a word: what we have to say is for one person, and a voicemail box may
have others who listen. The rule's ``else`` says it elsewhere. That needs no more than ``hang_up`` where the script is
fetched; an inline script is spoken to the machine, since nobody asks us in between, but it counts as not heard, too.
"""

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
    by_machine,
    client_for,
    listed,
    look_up,
    sighting,
)
from messaging.outcomes import MACHINE, TWILIO_CALL_STATUSES
from models.vocabulary import Channel, MessageState

RING_SECONDS = 25
KEY_SECONDS = 6
DETECTION_SECONDS = 8
"""How long Twilio listens for a machine before it takes whoever answered for a person, who waits in silence."""

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


def hang_up() -> str:
    """TwiML that ends a call without a word: for a machine, and for a second call of one attempt."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def of_call(status: str, answered_by: str | None = None) -> tuple[MessageState, str] | None:
    """What a call's status means: state and code, None for a status we do not know.

    ``status`` and ``answered_by`` are ``CallStatus`` and ``AnsweredBy`` of Twilio's status callback. Its request for
    the script carries ``AnsweredBy`` as well: where that is a machine, ``of_call("in-progress", answered_by)`` is
    ``(UNDELIVERED, "machine")``, which is told as a callback, and the answer is ``hang_up()``. A later ``completed``
    of that call carries ``AnsweredBy`` again and so says the same: no order of them ends in another state.
    """
    state = TWILIO_CALL_STATUSES.get(status)
    if state is None:
        return None
    if by_machine(state, answered_by):
        return MessageState.UNDELIVERED, MACHINE
    return state, status if state is MessageState.UNDELIVERED else ""


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
        said = self._said(envelope)
        create: Callable[..., Any] = self.client.calls.create
        return attempt(
            self.client,
            lambda: create(
                to=envelope.to,
                from_=self.account.sender,
                timeout=RING_SECONDS,
                machine_detection="Enable",
                machine_detection_timeout=DETECTION_SECONDS,
                **said,
            ),
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

    def _said(self, envelope: Envelope) -> dict[str, Any]:
        """The script, by URL or inline, and where the status is told."""
        account, key = self.account, envelope.attempt_id
        told: dict[str, Any] = {}
        if account.callback:
            told = {"status_callback": account.callback(key), "status_callback_method": "POST"}
        if account.voice:
            return told | {"url": account.voice(key), "method": "POST"}
        return told | {"twiml": script(envelope)}
