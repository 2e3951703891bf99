"""Generated stories of what a provider tells of one message, and what must come of each: written from the documents.

A story has two acts. In the first the message is tried once; words come in any order, doubled, late, before our own
answer, with questions of ours in between. Where a code lets it be sent again, the second act is that resend, with words
on it and late ones on the first try.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

CODES = ("", "30003", "30008", "30005", "30006")
GONE = {"30005", "30006"}
"""The address is bad: this ends it, whatever else was said."""
AGAIN = {"30003", "30008"}
"""It may be sent again (service: 30003 twice, 30008 once)."""

Word = tuple[str, str]
"""A status in Twilio's words, and its error code."""


@dataclass(frozen=True)
class Event:
    """One thing that happens: a word is ``told`` or ``polled`` of a try, or our own ``answer`` (``accepted``...) comes.

    ``mark`` tells apart two tellings that are not one and the same request.
    """

    kind: str
    tries: int
    word: Word = ("", "")
    mark: int = 0


@dataclass(frozen=True)
class Act:
    """The words that are told of the newest try, what our own answer was, and all events in order."""

    words: frozenset[Word]
    answer: str
    events: tuple[Event, ...]

    @property
    def before_us(self) -> bool:
        """Whether a word came before our own answer, or where none ever came."""
        kinds = [event.kind for event in self.events]
        return "told" in kinds and (self.answer != "accepted" or kinds.index("told") < kinds.index("answer"))


@dataclass(frozen=True)
class Story:
    """Both acts; ``late`` are words on the first try that come in the second act."""

    first: Act
    second: Act
    late: frozenset[Word] = field(default_factory=frozenset)


def story(dice: Random) -> Story:
    """A random story."""
    first = act(dice, 1, words(dice))
    late = words(dice) if dice.random() < 0.7 else frozenset()
    return Story(first, act(dice, 2, words(dice), late), late)


def words(dice: Random) -> frozenset[Word]:
    """Any subset of what may be said of a try."""
    plain = [("queued", ""), ("sent", ""), ("delivered", "")]
    chosen = {word for word in plain if dice.random() < 0.5}
    for status in ("undelivered", "failed"):
        if dice.random() < 0.35:
            chosen.add((status, dice.choice(CODES)))
    return frozenset(chosen)


def act(dice: Random, tries: int, said: frozenset[Word], late: Iterable[Word] = ()) -> Act:
    """The words on try ``tries`` and the late ones on the first, shuffled, doubled, with questions and our answer."""
    answer = dice.choice(["accepted"] * 6 + ["unknown", "unknown", "lost"])
    events = [Event("answer", tries, (answer, ""))]
    for number, word in [*((tries, word) for word in sorted(said)), *((1, word) for word in sorted(late))]:
        events.append(Event("told", number, word))
        events += [Event("told", number, word)] * (dice.random() < 0.3)
        events += [Event("told", number, word, mark=1)] * (dice.random() < 0.1)
        events += [Event("polled", number, word)] * (dice.random() < 0.2)
    dice.shuffle(events)
    return Act(said, answer, tuple(events))


def end(told: frozenset[Word], answer: str) -> str:
    """Where the first act must end, by docs/reference/delivery.md, for a message of service that never expires."""
    statuses = {status for status, _ in told}
    codes = {code for status, code in told if status in ("undelivered", "failed")}
    if "delivered" in statuses:
        return "delivered"
    if codes & GONE:
        return "undelivered"
    if codes & AGAIN:
        return "queued"
    if codes:
        return "undelivered"
    if "sent" in statuses:
        return "sent"
    return "accepted" if told or answer == "accepted" else "unknown"


def second_end(told: frozenset[Word], answer: str) -> str:
    """Where the second act must end: 30003 lets it be sent once more, 30008 does not."""
    codes = {code for status, code in told if status in ("undelivered", "failed")}
    first = end(told, answer)
    return "undelivered" if first == "queued" and "30008" in codes else first
