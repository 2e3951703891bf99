"""SMS by Twilio's Messages API."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

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
from messaging.outcomes import TWILIO_MESSAGE_STATUSES
from models.vocabulary import Channel


class Sms:
    """Sends SMS. The listing is matched by To and the text's fingerprint; the text need not show our reference."""

    name = Channel.SMS
    provider = "twilio"
    parallel = THREADS

    def __init__(self, account: Account) -> None:
        self.account = account
        self.client = client_for(account)

    def send(self, envelope: Envelope) -> Outcome:
        """POST one message."""
        further: dict[str, str] = {}
        if self.account.callback:
            further["status_callback"] = self.account.callback(envelope.attempt_id)
        create: Callable[..., Any] = self.client.messages.create
        return attempt(
            self.client, lambda: create(to=envelope.to, from_=self.account.sender, body=envelope.text, **further)
        )

    def fingerprint(self, envelope: Envelope) -> str:
        """By number and text."""
        return fingerprint(envelope.to, envelope.text)

    def look(self, provider_ids: list[str]) -> list[Sighting]:
        """Fetch each message's status."""
        return look_up(lambda sid: self.client.messages(sid).fetch(), provider_ids, TWILIO_MESSAGE_STATUSES)

    def find(self, to: str, fingerprint: str, since: datetime, until: datetime) -> list[Sighting] | None:
        """List messages to ``to`` from our number, and keep those of this text and time."""
        # no DateSent filter: a message that Twilio took but has not sent yet has no such date
        found = listed(lambda: self.client.messages.list(to=to, from_=self.account.sender, limit=MOST_LISTED))
        if found is None:
            return None
        matching = [
            record
            for record in found
            if self._fingerprint_of(record) == fingerprint and between(record.date_created, since, until)
        ]
        return [seen for record in matching if (seen := sighting(record, TWILIO_MESSAGE_STATUSES))]

    def close(self) -> None:
        """Drop kept connections."""
        self.client.http_client.close()

    @staticmethod
    def _fingerprint_of(record: Any) -> str:
        return fingerprint(str(record.to), str(record.body or ""))
