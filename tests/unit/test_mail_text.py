"""E-mails as they go on the wire: nothing smuggled in, readable by any parser, a Message-ID that never changes."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import cast

import pytest

from messaging.channels.base import Envelope
from messaging.channels.mail_text import BadMail, ascii_address, clean, compose

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def mail(**more: object) -> Envelope:
    said = {"attempt_id": 1, "reference": "7K2M9QXC", "to": "a@kunde.example", "text": "Hello", "subject": "Hi"}
    return Envelope(**(said | more))  # type: ignore[arg-type]


def read(envelope: Envelope) -> EmailMessage:
    raw = compose(envelope, "care@shop.example", "Beforehand Shop", NOW)
    return cast(EmailMessage, message_from_bytes(raw, policy=default))


SMUGGLING = [
    "Hi\r\nBcc: evil@x.example",
    "Hi\nBcc: evil@x.example",
    "=?utf-8?q?hi=0ABcc:_evil@x.example?=",
    "=?utf-8?q?hi=0D=0ABcc:_evil@x.example=0D=0A=0D=0Abody?=",
    "=?utf-8?b?aGkKQmNjOiBldmlsQHguZXhhbXBsZQ==?=",
    "=\x00?utf-8?q?hi=0ABcc:_evil@x.example?=",
    "==??utf-8?q?hi=0ABcc:_evil@x.example?=",
    "Hi\x85Bcc: evil@x.example",
    "Hi\u2028Bcc: evil@x.example",
    "Hi\x0b\x0cBcc: evil@x.example",
]


@pytest.mark.parametrize("value", SMUGGLING)
def test_nothing_is_smuggled_in_by_a_subject(value: str) -> None:
    raw = compose(mail(subject=value), "care@shop.example", value, NOW)
    block = raw.split(b"\r\n\r\n", 1)[0].lower()
    assert b"\r\nbcc:" not in block
    assert message_from_bytes(raw, policy=default)["Bcc"] is None
    assert b"\n" not in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize("value", SMUGGLING)
def test_nothing_is_smuggled_in_by_a_further_header(value: str) -> None:
    made = read(mail(headers={"List-Id": value, "Bcc: evil@x.example\r\nX": "y", "Subject": "other"}))
    assert made["Bcc"] is None
    assert made["Subject"] == "Hi"


def test_a_clean_value_stays_as_it_is() -> None:
    for value in ("Your order 17 is late", "طلبك متأخر", "您的订单延误了", "50 % = half, right?"):
        assert clean(value) == value


def test_both_parts_survive_in_three_scripts() -> None:
    made = read(mail(text="مرحبا\n\n您好", html="<p dir='rtl'>مرحبا</p>", subject="您的订单 طلبك", language="ar"))
    assert made.get_content_type() == "multipart/alternative"
    plain, html = made.get_body(("plain",)), made.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().splitlines() == ["مرحبا", "", "您好"]
    assert "مرحبا" in html.get_content()
    assert made["Subject"] == "您的订单 طلبك"
    assert made["Content-Language"] == "ar"


def test_what_goes_out_is_seven_bit_and_its_lines_are_short() -> None:
    raw = compose(mail(text="ä" * 5000, html="<p>" + "您" * 5000, subject="您" * 300), "care@shop.example", "Shop", NOW)
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def test_the_message_id_is_of_the_message_and_not_of_the_attempt() -> None:
    first, second = read(mail(attempt_id=1)), read(mail(attempt_id=2))
    assert first["Message-ID"] == second["Message-ID"] == "<7K2M9QXC@shop.example>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Date"].datetime == NOW


def test_domains_beyond_ascii_go_out_in_their_ascii_form() -> None:
    assert ascii_address("a@bücher.de") == "a@xn--bcher-kva.de"
    assert read(mail(to="a@bücher.de"))["To"] == "a@xn--bcher-kva.de"


@pytest.mark.parametrize("address", ["", "nobody", "a@", "a@b@c.example", "a b@c.example", "a@c.example\r\nBcc: x@y.z"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadMail):
        compose(mail(to=address), "care@shop.example", "Shop", NOW)


def test_a_mailbox_beyond_ascii_is_refused_with_its_reason() -> None:
    with pytest.raises(BadMail, match="before the @"):
        ascii_address("jürgen@kunde.example")


def test_a_long_unsubscribe_link_is_written_as_it_is() -> None:
    """The library makes encoded-words of what has no blank in 78 letters, and no mail program reads those as a link."""
    link = f"https://{'care.' * 20}example.com/s/abcdefghijklmnopqr7K2M9QXC"
    both = f"<{link}>, <mailto:unsubscribe@shop.example?subject=unsubscribe%20abc>"
    raw = compose(mail(headers={"List-Unsubscribe": both}), "care@shop.example", "Shop", NOW)
    assert f"List-Unsubscribe: <{link}>,\r\n <mailto:".encode() in raw
    assert read(mail(headers={"List-Unsubscribe": both}))["List-Unsubscribe"] == both
    with pytest.raises(BadMail, match="no header can carry"):
        compose(mail(headers={"List-Unsubscribe": f"<https://{'x' * 1000}>"}), "care@shop.example", "Shop", NOW)
