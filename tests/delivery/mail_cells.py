"""The 36 ways in which a mail can fail, nine phases by four faults, and what is right in each, written down."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from beforehand.web.postroom import PostRoom
from beforehand.web.postroom.faults import Phase, What
from messaging.channels.mail import Mail, MailServer
from models.vocabulary import OutcomeClass
from tests.conformance.certificates import serving
from tests.integration.out_world import NOW

LONG = ("x" * 900 + "\n") * 12_000
"""More than socket buffers hold: the server has acted before the last byte has left us."""

PHASES: tuple[Phase, ...] = get_args(Phase)
FAULTS: dict[str, What] = {"4xx": "busy", "5xx": "error", "drop": "drop", "hang": "hang"}

CELLS = """
            4xx      5xx       drop     hang
connect     again    again     again    again
hello       again    again     again    again
starttls    again    again     again    again
login       again    again     again    again
mail        again    given-up  again    again
rcpt        again    given-up  again    again
data        again    given-up  again    again
body        again    given-up  again    again
dot         again    given-up  unknown  unknown
"""
"""``again``: not accepted, sent later, once. ``given-up``: refused for good, never sent. ``unknown``: the policy of
DESIGN section 6: service is sent once more under the same Message-ID, marketing is given up as unknown.
"""

CLASSES = {"again": OutcomeClass.NOT_ACCEPTED, "given-up": OutcomeClass.REFUSED, "unknown": OutcomeClass.UNKNOWN}


@dataclass(frozen=True)
class Cell:
    """One phase and one fault, with what is right there."""

    phase: Phase
    fault: str
    right: str

    @property
    def what(self) -> What:
        return FAULTS[self.fault]

    @property
    def kind(self) -> OutcomeClass:
        return CLASSES[self.right]

    @property
    def text(self) -> str:
        """Amid the text there must be a middle."""
        return LONG if self.phase == "body" else "Your order is late."

    @property
    def waits(self) -> tuple[float, float]:
        """Seconds up to the dot and after it: short only where they must run out."""
        hangs = self.fault == "hang"
        return (0.3 if hangs and self.phase != "dot" else 60, 0.3 if hangs else 60)

    @property
    def hidden(self) -> tuple[bool, ...]:
        """Whether the server may have taken the mail behind the fault: after the dot, either."""
        return (True, False) if self.right == "unknown" else (False,)


def cells() -> list[Cell]:
    """The table, cell by cell."""
    head, *rows = [line.split() for line in CELLS.strip().splitlines()]
    made = [Cell(phase, fault, right) for phase, *rights in rows for fault, right in zip(head, rights, strict=True)]  # type: ignore[arg-type]
    assert [cell.phase for cell in made[::4]] == list(PHASES)
    assert len(made) == 36
    return made


@contextmanager
def guarded_room(certificate: Path) -> Iterator[PostRoom]:
    """A post room whose mail server asks for TLS and a login, so that every phase is passed."""
    with PostRoom(tls=serving(certificate), smtp_user="shop", smtp_password="right", login_needed=True) as room:
        yield room


def sender_of(room: PostRoom, certificate: Path, timeout: float = 60, patience: float = 60) -> Mail:
    """Our channel, pointed at a guarded room."""
    server = MailServer(
        "localhost", room.smtp_port, "care@shop.example", "Our Shop", timeout=timeout, patience=patience,
        user="shop", password="right", context=ssl.create_default_context(cafile=str(certificate)),
    )  # fmt: skip
    return Mail(server, lambda: NOW)
