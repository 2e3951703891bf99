"""The post room's mail server, driven by smtplib and by our own mail channel."""

import smtplib
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from beforehand.web.postroom import PostRoom
from messaging.channels.base import Envelope
from messaging.channels.mail import Mail, MailServer
from models.vocabulary import OutcomeClass
from tests.conformance.certificates import certificate_in, serving
from tests.conformance.postroom_tools import QUICK

HTML = '<p lang="zh">您好</p>'


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom(pace=QUICK) as room:
        yield room


def _mail(to: str = "li.wei@example.com") -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "关于您的订单", "Beforehand Shop <care@beforehand.example>", to
    mail["Message-ID"], mail["Content-Language"] = "<7@beforehand.example>", "zh-CN"
    mail.set_content("您好\n.\n这一行以点开头\n")
    mail.add_alternative(HTML, subtype="html")
    return mail


def test_a_mail_is_one_entry_with_both_parts_and_its_headers(room: PostRoom) -> None:
    with smtplib.SMTP("127.0.0.1", room.smtp_port) as smtp:
        smtp.send_message(_mail())
    [entry] = room.wait_for(1, "email")
    assert (entry.subject, entry.to, entry.from_) == ("关于您的订单", "li.wei@example.com", "care@beforehand.example")
    assert entry.body.splitlines() == ["您好", ".", "这一行以点开头"]
    assert (entry.html.strip(), entry.language, entry.status) == (HTML, "zh", "accepted")
    assert entry.header("message-id") == "<7@beforehand.example>"
    assert entry.options == {"mail_from": "care@beforehand.example"}


def test_each_envelope_recipient_is_one_entry(room: PostRoom) -> None:
    with smtplib.SMTP("127.0.0.1", room.smtp_port) as smtp:
        smtp.send_message(_mail(), to_addrs=["a@example.com", "b@example.com"])
        smtp.send_message(_mail(), to_addrs=["c@example.com"])
    assert [entry.to for entry in room.entries] == ["a@example.com", "b@example.com", "c@example.com"]


def test_no_mail_is_on_record_before_the_final_dot(room: PostRoom) -> None:
    smtp = smtplib.SMTP("127.0.0.1", room.smtp_port)
    smtp.ehlo()
    smtp.mail("care@beforehand.example")
    smtp.rcpt("a@example.com")
    assert smtp.docmd("DATA")[0] == 354
    smtp.send(b"Subject: half a mail\r\n\r\nthe rest never")
    smtp.close()
    with smtplib.SMTP("127.0.0.1", room.smtp_port) as other:
        other.send_message(_mail())
    assert [entry.subject for entry in room.wait_for(1)] == ["关于您的订单"]


@pytest.mark.parametrize("to", ["nobody", "gone@example.com"])
def test_a_recipient_that_cannot_be_is_refused(room: PostRoom, to: str) -> None:
    room.house.fates["gone@example.com"] = "failed"
    with smtplib.SMTP("127.0.0.1", room.smtp_port) as smtp, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        smtp.send_message(_mail(), to_addrs=[to])
    assert refused.value.recipients[to][0] in (550, 553)
    assert room.entries == []


ODD = [
    b"",
    b"no header at all",
    b"Subject: =?utf-8?b?broken\r\nContent-Type: text/html; charset=no-such\r\n\r\n<p>x</p>",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--y\r\n",
    b"From: @@,,<<\r\nTo: \xff\xfe\r\nSubject: \xe4\r\n\r\n\xff\x00\x01",
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!",
]


@pytest.mark.parametrize("raw", ODD)
def test_odd_mail_is_kept_all_the_same(room: PostRoom, raw: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", room.smtp_port) as smtp:
        smtp.sendmail("a@example.com", ["b@example.com"], raw)
    [entry] = room.wait_for(1)
    assert entry.to == "b@example.com"
    assert entry.as_json()["kind"] == "email"


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_login_after_starttls_is_asked_and_checked(tmp_path: Path) -> None:
    door = {
        "smtp_user": "shop",
        "smtp_password": "s3cret",
        "login_needed": True,
        "tls": serving(certificate_in(tmp_path)),
    }
    with PostRoom(pace=QUICK, **door) as room:
        with smtplib.SMTP("127.0.0.1", room.smtp_port) as smtp:
            smtp.ehlo()
            assert smtp.has_extn("starttls")
            assert not smtp.has_extn("auth")  # never over a line that can be read
            smtp.starttls(context=_trusting())
            with pytest.raises(smtplib.SMTPResponseException, match="530"):
                smtp.send_message(_mail())
            with pytest.raises(smtplib.SMTPAuthenticationError):
                smtp.login("shop", "wrong")
            smtp.login("shop", "s3cret")
            smtp.send_message(_mail())
        assert len(room.wait_for(1, "email")) == 1


@pytest.mark.parametrize("secure", [False, True])
def test_our_mail_channel_gets_through(tmp_path: Path, secure: bool) -> None:
    door = {"smtp_user": "shop", "smtp_password": "s3cret", "login_needed": secure}
    with PostRoom(pace=QUICK, tls=serving(certificate_in(tmp_path)) if secure else None, **door) as room:
        login = {"user": "shop", "password": "s3cret"} if secure else {}
        sender = "care@beforehand.example"
        server = MailServer(
            "127.0.0.1", room.smtp_port, sender, starttls=secure, context=_trusting() if secure else None, **login
        )
        channel = Mail(server, lambda: datetime.now(UTC))
        outcome = channel.send(Envelope(7, "7K", "li.wei@example.com", "您好", "关于", HTML, "zh"))
        channel.close()
        assert outcome.kind is OutcomeClass.ACCEPTED
        [entry] = room.wait_for(1, "email")
        assert (entry.to, entry.subject, entry.body.strip()) == ("li.wei@example.com", "关于", "您好")
