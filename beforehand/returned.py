"""E-mail that comes back, from a pipe of the mail server or a Maildir: bounces, complaints, answers."""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from beforehand.passes import policy_of, secret_of
from beforehand.wiring import App
from messaging.mail_events import happen
from messaging.mail_events.reports import LARGEST, event_of, read_returned
from messaging.replies import Heard, Said, hear
from models.database import writing
from models.vocabulary import Channel

_log = logging.getLogger(__name__)

MOST = 200
"""Mails read in one go, so that other work gets its turn."""


class Became(StrEnum):
    """What became of a mail that came back."""

    REPORT = "report"  # it told something of a message of ours
    REPLY = "reply"  # a person wrote it, and it is kept as a reply
    NOTHING = "nothing"  # an absence note, a report that names none of ours, or nothing that can be read


def take_mail(app: App, raw: bytes, recipients: Sequence[str] = (), *, now: datetime | None = None) -> Became:
    """Take one mail in, committed when this returns; the same mail again has no effect. Raises what the database does.

    ``recipients`` are those of the envelope, where the mail server tells them.
    """
    secret, at = secret_of(app.settings), now or app.clock()
    returned = read_returned(raw, secret, recipients)
    event = event_of(returned, secret)
    if event is not None:
        with writing(app.engine) as connection:
            happen(connection, "mail", [({"name": returned.name}, event)], secret=secret, now=at)
        return Became.REPORT
    if not (returned.sender and returned.text):
        return Became.NOTHING
    heard = Heard(
        channel=Channel.EMAIL,
        provider_id=returned.name,
        address=returned.sender,
        received_at=at,
        to=returned.to,
        text=returned.text,
        attempt_id=returned.attempt_id,
    )
    with writing(app.engine) as connection:
        answer = hear(connection, heard, at, policy_of(app))
    return Became.NOTHING if answer.known and answer.said is Said.OTHER else Became.REPLY


def read_maildir(app: App, folder: Path, *, most: int = MOST) -> Counter[Became]:
    """Take in what is new in a Maildir, oldest first; each is then marked as seen. Raises OSError where it is none.

    One that cannot be taken in stays new, and the error is the caller's.
    """
    done: Counter[Became] = Counter()
    for path in sorted((folder / "new").iterdir())[:most]:
        with path.open("rb") as stream:
            done[take_mail(app, stream.read(LARGEST))] += 1
        path.rename(folder / "cur" / f"{path.name}:2,S")
    if done:
        _log.info("mail that came back: %s", ", ".join(f"{count} {what}" for what, count in done.items()))
    return done
