"""Another secret key would silently lift every STOP: a database knows its own."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from messaging.consents import suppress
from messaging.journal.secret import check_secret
from models.database import DatabaseError, writing

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
OURS, OTHER = b"s" * 32, b"t" * 32


def test_another_key_is_refused_once_a_stop_hangs_on_the_first(engine: Engine) -> None:
    check_secret(engine, OTHER)
    check_secret(engine, OURS)  # nothing hangs on the other one yet
    with writing(engine) as connection:
        suppress(connection, channel="sms", cause="stop", secret=OURS, address="+4915112345678", at=NOW)
    check_secret(engine, OURS)
    for _ in range(2):
        with pytest.raises(DatabaseError, match="BEFOREHAND_SECRET_KEY is not the one"):
            check_secret(engine, OTHER)
    check_secret(engine, OTHER, allow_another=True)
    check_secret(engine, OTHER)
    with pytest.raises(DatabaseError):
        check_secret(engine, OURS)
