"""E-mail that comes back, from a pipe of the mail server or a Maildir: bounces, complaints, answers."""

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError

from beforehand.passes import policy_of, secret_of
from beforehand.wiring import App
from messaging.breaker import call_staff
from messaging.mail_events import happen
from messaging.mail_events.reports import LARGEST, event_of, read_returned
from messaging.replies import Heard, Said, hear
from models.database import in_one_go, writing
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
        told = [({"name": returned.name}, event)]
        in_one_go(app.engine, lambda connection: happen(connection, "mail", told, secret=secret, now=at))
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
    policy = policy_of(app)
    answer = in_one_go(app.engine, lambda connection: hear(connection, heard, at, policy))
    return Became.NOTHING if answer.known and answer.said is Said.OTHER else Became.REPLY


def read_maildir(app: App, folder: Path, *, most: int = MOST) -> Counter[Became]:
    """Take in what is new in a Maildir, oldest first; each is then marked as seen. Raises OSError where it is none.

    While the database is away they stay new, and the error is the caller's. One that cannot be taken in for another
    reason is flagged and shown to staff, and keeps nobody waiting.
    """
    done: Counter[Became] = Counter()
    for path in sorted((folder / "new").iterdir())[:most]:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST)
        try:
            became, mark = take_mail(app, raw), "S"
        except (OperationalError, InterfaceError):
            raise
        except Exception as wrong:
            became, mark = Became.NOTHING, "F"
            _tell(app, path.name, wrong)
        done[became] += 1
        path.rename(folder / "cur" / f"{path.name}:2,{mark}")
    if done:
        _log.info("mail that came back: %s", ", ".join(f"{count} {what}" for what, count in done.items()))
    return done


def _tell(app: App, name: str, wrong: Exception) -> None:
    """Call staff to a mail that could not be taken in; the text of the error may hold a customer's words."""
    said = (
        f"the mail {name} that came back could not be taken in ({type(wrong).__name__}); it is flagged, please read it"
    )
    with writing(app.engine) as connection:
        call_staff(connection, "mail:returned", said, app.clock())
