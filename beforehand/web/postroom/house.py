"""What the parts of one post room share: account, ledger, clock, pace, faults."""

from dataclasses import dataclass, field
from datetime import datetime

from beforehand.web.postroom.entries import Entry
from beforehand.web.postroom.errors import MAGIC_FROM, TwilioError
from beforehand.web.postroom.faults import Faults
from beforehand.web.postroom.ledger import Ledger
from beforehand.web.postroom.numbers import valid
from beforehand.wiring import Clock


@dataclass(frozen=True)
class Pace:
    """Seconds from one status to the next. All zero: as fast as the machine goes."""

    sent: float = 0.3
    delivered: float = 1.0
    ringing: float = 0.3
    answered: float = 1.0
    completed: float = 2.0
    callback_pauses: tuple[float, ...] = (0.5, 2.0)
    callback_timeout: float = 5.0


@dataclass
class House:
    """One post room's shared parts. ``numbers`` are the senders it owns; empty: any valid number may be the sender.

    ``inbound_url`` is where a customer's reply is posted, None: kept in the ledger only. ``fates`` says what becomes of
    messages to an address: ``undelivered``, ``failed``, ``busy``, ``no-answer``, ``machine`` (it answers); others
    arrive. ``keys`` says which key somebody presses as soon as a call asks for one.
    """

    account_sid: str
    auth_token: str
    ledger: Ledger
    clock: Clock
    pace: Pace = field(default_factory=Pace)
    numbers: frozenset[str] = frozenset()
    inbound_url: str | None = None
    faults: Faults = field(default_factory=Faults)
    fates: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def now(self) -> datetime:
        """The moment by the house's clock."""
        return self.clock()

    def owns(self, number: str) -> bool:
        """Whether messages may come from that number."""
        return not self.numbers or number in self.numbers

    def status(self, entry: Entry, status: str, error_code: int | None = None) -> Entry | None:
        """Move an entry to its next status, now."""
        return self.ledger.status(entry.sid, status, self.now(), error_code)

    def check_sender(self, number: str) -> None:
        """Raise Twilio's error for a sender that is no number or none of ours."""
        if number in MAGIC_FROM:
            code, text = MAGIC_FROM[number]
            raise TwilioError(code, text.format(number))
        if not valid(number):
            raise TwilioError(21212, f"The 'From' number {number} is not a valid phone number, shortcode or sender ID")
        if not self.owns(number):
            raise TwilioError(21606, f"The 'From' phone number {number} is not one of this account's numbers")
