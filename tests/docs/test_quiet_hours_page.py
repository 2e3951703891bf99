"""The page about quiet hours shows the rows that hold, and names only settings and columns that there are."""

import re

from beforehand.settings import Settings
from messaging.quiet_laws import COLUMNS, OURS, rows_in
from tests.docs.pages import REFERENCE, renewed

PAGE = REFERENCE / "quiet-hours.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_table_is_that_of_the_file() -> None:
    assert renewed(PAGE) == TEXT, "run `make fix`"


def test_every_row_of_the_file_is_told_with_its_source() -> None:
    for row in rows_in(OURS):
        place = f"{row.country}-{row.region}" if row.region else row.country
        assert re.search(rf"^\| {place} \| .*{re.escape(row.source)} \|$", TEXT, re.M), row


def test_it_names_the_columns_and_the_settings() -> None:
    assert all(f"`{column}`" in TEXT for column in COLUMNS)
    named = set(re.findall(r"BEFOREHAND_(\w+)", TEXT))
    assert {name.lower() for name in named} <= set(Settings.model_fields)
