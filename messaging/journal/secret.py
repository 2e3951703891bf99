"""Whether the secret key is the one that a database was used with: by another key nobody who said STOP is known."""

import hashlib
import hmac
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, select

from messaging.journal.marks import SECRET, mark, marks_of
from models import Base
from models.database import DatabaseError, dialect_insert, reading, writing

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""No journal was written then."""

ANOTHER = (
    "BEFOREHAND_SECRET_KEY is not the one that this database was used with. By another key nobody who said STOP is "
    "known any more, and no voucher code is found. Set the old key again. If it is lost, set "
    "BEFOREHAND_ALLOW_ANOTHER_SECRET=true for one start, and bring all opt-outs in anew before anything is sent."
)


def check_secret(engine: Engine, secret: bytes, *, allow_another: bool = False) -> None:
    """Look whether this is the database's key, and note it where there is none yet, or nothing hangs on the old one.

    Raises DatabaseError for another key, unless ``allow_another``.
    """
    number = int.from_bytes(hmac.digest(secret, b"the key of this database", hashlib.sha256)[:7])
    with reading(engine) as connection:
        known = marks_of(connection).get(SECRET)
        if known == number:
            return
        if known is not None and not allow_another and _is_needed(connection):
            raise DatabaseError(ANOTHER)
    row = {"journal": SECRET, "number": number, "written_at": EPOCH}
    with writing(engine) as connection:
        put = dialect_insert(connection, mark).values(row)
        connection.execute(put.on_conflict_do_update(index_elements=["journal"], set_={"number": number}))


def _is_needed(connection: Connection) -> bool:
    """Whether something can be found again by the old key only."""
    suppression, voucher = Base.metadata.tables["suppression"], Base.metadata.tables["voucher"]
    asked = (select(suppression.c.id).limit(1), select(voucher.c.id).where(voucher.c.code_hash.is_not(None)).limit(1))
    return any(connection.execute(one).first() is not None for one in asked)
