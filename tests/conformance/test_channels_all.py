"""Every channel against the cases of ``channel_cases``. A new channel adds its class here."""

from datetime import UTC, datetime

from beforehand.web.postroom import PostRoom
from messaging.channels import KINDS, Account, MailServer
from messaging.channels.base import Channel as Way
from messaging.channels.mail import Mail
from messaging.channels.sms import Sms
from messaging.channels.voice import Voice
from models.vocabulary import Channel
from tests.conformance.channel_cases import ChannelCases
from tests.integration.out_world import SENDER, phone

SID = "AC" + "1" * 32


class TestSms(ChannelCases):
    name, place, lists, address = Channel.SMS, "messages", True, phone(1)

    def channel(self, host: str, port: int, timeout: float) -> Way:
        return Sms(Account(SID, "token", SENDER, f"http://{host}:{port}", timeout))

    def of_room(self, room: PostRoom, timeout: float = 5) -> Way:
        return Sms(Account(room.account_sid, room.auth_token, SENDER, room.http_url, timeout))


class TestVoice(ChannelCases):
    name, place, lists, address = Channel.VOICE, "calls", True, phone(1)

    def channel(self, host: str, port: int, timeout: float) -> Way:
        return Voice(Account(SID, "token", SENDER, f"http://{host}:{port}", timeout))

    def of_room(self, room: PostRoom, timeout: float = 5) -> Way:
        return Voice(Account(room.account_sid, room.auth_token, SENDER, room.http_url, timeout))


class TestMail(ChannelCases):
    name, place, lists, address = Channel.EMAIL, "mail", False, "a@kunde.example"

    def channel(self, host: str, port: int, timeout: float) -> Way:
        server = MailServer(host, port, "care@shop.example", starttls=False, timeout=timeout)
        return Mail(server, lambda: datetime(2026, 3, 10, 12, tzinfo=UTC))

    def of_room(self, room: PostRoom, timeout: float = 5) -> Way:
        return self.channel("127.0.0.1", room.smtp_port, timeout)


def test_no_channel_is_left_out() -> None:
    assert {case.name for case in (TestSms, TestVoice, TestMail)} == set(KINDS)
