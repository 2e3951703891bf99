"""Caps as people write them."""

from datetime import UTC, datetime

import pytest

from messaging.policy import read_cap

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "most", "since"),
    [
        ("2 per 7 days", 2, datetime(2026, 3, 24, 12, tzinfo=UTC)),
        ("1 per month", 1, datetime(2026, 2, 28, 12, tzinfo=UTC)),
        ("4 per 1 day", 4, datetime(2026, 3, 30, 12, tzinfo=UTC)),
        ("0 per day", 0, datetime(2026, 3, 30, 12, tzinfo=UTC)),
    ],
)
def test_a_cap_is_read(said: str, most: int, since: datetime) -> None:
    cap = read_cap(said)
    assert (cap.most, cap.since(NOW)) == (most, since)


@pytest.mark.parametrize("said", ["two per day", "2", "2 per fortnight", ""])
def test_a_cap_nobody_can_read_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="expected for example: 2 per 7 days"):
        read_cap(said)
