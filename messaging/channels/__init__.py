"""The ways out. A new channel is its module, one line in ``KINDS``, its templates, a conformance test, a docs page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from messaging.channels.base import Channel
from messaging.channels.mail import Mail, MailServer
from messaging.channels.sms import Sms
from messaging.channels.twilio_client import Account
from messaging.channels.voice import Voice
from models.vocabulary import Channel as ChannelName


@dataclass(frozen=True)
class Providers:
    """Where messages go: a Twilio account, a mail server, and the clock for the Date header."""

    twilio: Account
    mail: MailServer
    clock: Callable[[], datetime]


KINDS: Mapping[ChannelName, Callable[[Providers], Channel]] = {
    ChannelName.SMS: lambda providers: Sms(providers.twilio),
    ChannelName.VOICE: lambda providers: Voice(providers.twilio),
    ChannelName.EMAIL: lambda providers: Mail(providers.mail, providers.clock),
}


def build(providers: Providers) -> dict[ChannelName, Channel]:
    """Every channel, ready to send; no connection is opened yet."""
    return {name: make(providers) for name, make in KINDS.items()}


__all__ = ["KINDS", "Account", "Channel", "MailServer", "Providers", "build"]
