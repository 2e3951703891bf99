"""Nothing that a customer, a template or a brand name holds becomes a header, a recipient or a second mail.

On the real wire: our channel, the post room's mail server, and what its ledger has.
"""

from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from beforehand.web.postroom import PostRoom
from messaging.channels.base import Envelope
from messaging.channels.mail import Mail, MailServer
from messaging.channels.mail_text import OURS, clean
from models.vocabulary import OutcomeClass
from tests.integration.out_world import NOW

PIECES = st.sampled_from(
    [
        "\r", "\n", "\r\n", "\x00", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\u200b", "\ufeff", "\t", " ",
        "=?utf-8?q?", "=?utf-8?b?", "=?us-ascii?Q?", "=?", "?=", "?", "=", "=0A", "=0D=0A", "=0ABcc:", "_", "Cg==",
        "CkJjYzogZXZpbEB4LmV4YW1wbGU=", "Bcc: evil@x.example", "Bcc:", "To: evil@x.example", "evil@x.example", ".",
        "..", "\r\n.\r\n", "\n.\n", "\r.\r", "\r\n.\r\nMAIL FROM:<evil@x.example>\r\n", "\r\n\r\n",
        "Content-Type: text/html", "<", ">", ",", ";", ":", '"', "\\", "(", ")", "a" * 80, "é" * 60, "您的订单",
        "طلبك متأخر", "😀", "order",
    ]
)  # fmt: skip
TEXT = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=12).map("".join)
TRICK = "=?utf-8?q?hi=0ABcc:_evil@x.example?="
"""CPython 3.11.7 decodes this in a Subject and writes the line break out: a real Bcc."""


@pytest.fixture(scope="module")
def room() -> Iterator[PostRoom]:
    with PostRoom() as opened:
        yield opened


@pytest.fixture(scope="module")
def sent_by(room: PostRoom) -> Iterator[Mail]:
    brand = MailServer("127.0.0.1", room.smtp_port, "care@shop.example", "Shop", starttls=False, timeout=20)
    sender = Mail(brand, lambda: NOW)
    yield sender
    sender.close()


@given(subject=TEXT, name=TEXT, header=TEXT, text=TEXT, html=TEXT)
@example(subject=TRICK, name=TRICK, header=TRICK, text=TRICK, html=TRICK)
@example(subject=f"=?utf-8?q?hi{'=0A' * 3}?=", name="\r\nBcc: evil@x.example", header="=" + TRICK, text=".", html=".")
@settings(max_examples=40, deadline=None)
def test_one_mail_with_our_headers_for_one_recipient(
    room: PostRoom, sent_by: Mail, subject: str, name: str, header: str, text: str, html: str
) -> None:
    object.__setattr__(sent_by.server, "sender_name", name)
    letter = Envelope(
        attempt_id=7, reference="7K2M9QXC", to="a@kunde.example", subject=subject, text=text, html=html,
        headers={"X-Care": header, "Bcc: evil@x.example\r\nX-More": "1"},
    )  # fmt: skip
    before = len(room.ledger)
    got = sent_by.send(letter)
    assert (got.kind, len(room.ledger) - before) == (OutcomeClass.ACCEPTED, 1)
    entry = room.entries[-1]
    assert (entry.to, entry.options["mail_from"]) == ("a@kunde.example", "care@shop.example")
    assert {key.lower() for key in entry.headers} <= OURS | {"x-care"}
    assert not any(set(value) & set("\r\n\x00") for value in entry.headers.values())
    assert "".join(entry.header("Subject").split()) == "".join(clean(subject).split())
    assert entry.body.split() == "\n".join(text.splitlines()).split(), "the text came whole, its dots too"


def test_half_a_letter_is_refused_and_not_unknown(room: PostRoom, sent_by: Mail) -> None:
    got = sent_by.send(Envelope(7, "7K2M9QXC", "a@kunde.example", "half: \ud83d"))
    assert (got.kind, got.code) == (OutcomeClass.REFUSED, "bad_mail")
