"""The reference of the mapping file is true: its examples run, it names every word, its table is the code's."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand.ingest import grammar, mapping
from beforehand.ingest.targets import TARGETS
from tests.ingesting import ingest, rejects, rows

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sources.md"
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.S)
RUN = re.compile(r"<!-- run -->\n```yaml\n(.*?)```", re.S)


def examples() -> list[tuple[dict[str, str], str]]:
    found, files = [], {}
    for block in re.finditer(f"{FILE.pattern}|{RUN.pattern}", PAGE.read_text(encoding="utf-8"), re.S):
        if block[1]:
            files[block[1]] = block[2]
        else:
            found.append((dict(files), block[3]))
    return found


@pytest.mark.parametrize("number", range(len(examples())))
def test_every_example_takes_all_it_reads(sqlite_engine: Engine, tmp_path: Path, number: int) -> None:
    files, text = examples()[number]
    report = ingest(sqlite_engine, tmp_path, text, files)
    assert (report.problems, rejects(report)) == ([], [])
    again = ingest(sqlite_engine, tmp_path, text)
    assert again.new == again.changed == 0
    assert again.same > 0


def test_the_examples_mean_what_they_say(sqlite_engine: Engine, tmp_path: Path) -> None:
    for files, text in examples():
        ingest(sqlite_engine, tmp_path, text, files)
    found = rows(sqlite_engine, "SELECT first_name, last_name, phone FROM customer WHERE external_id = '7'")
    assert found == [("Ada", "Lane", "+442079460018")]
    found = rows(sqlite_engine, "SELECT external_id, amount FROM payment ORDER BY 1")
    assert found == [("00001 31.01.2025", 123450), ("00002 01.02.2025", None)]
    found = rows(sqlite_engine, "SELECT net_total, shipping_total, promised_on FROM orders WHERE external_id = '1001'")
    assert found == [(700, 400, "2025-03-06")]
    found = rows(sqlite_engine, "SELECT net_total FROM orders WHERE external_id = '1003'")
    assert found == [(1000,)]
    found = rows(sqlite_engine, "SELECT name, category, supplier FROM product ORDER BY external_id")
    assert found == [
        ("Mug", None, "Clay & Co"),
        ("Pot", None, "Clay & Co"),
        ("A mug", "12", None),
        ("A pot", "none", None),
    ]
    who = "SELECT c.external_id, x.external_id FROM call c LEFT JOIN customer x ON x.id = c.customer_id ORDER BY 1"
    assert rows(sqlite_engine, who) == [("1", "C1"), ("2", "C2"), ("3", None)]
    assert rows(sqlite_engine, "SELECT net_total, gross_total FROM orders WHERE external_id = '2'") == [(None, None)]
    assert rows(sqlite_engine, "SELECT count(*) FROM consent") == [(2,)]
    due = int(datetime(2013, 1, 1, 10, 6, tzinfo=UTC).timestamp()) * 1_000_000
    assert rows(sqlite_engine, "SELECT happened_at, properties FROM event") == [(due, '{"late":11,"hour":5}')]


def test_every_word_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    words = {
        *mapping.TOP, *mapping.SOURCE, *mapping.FORMATS, *mapping.LOAD, *grammar.HEADS, *grammar.MODIFIERS,
        *grammar.KINDS, *grammar.CASES, *grammar.OPERATORS, *grammar.GROUPS, *grammar.UNITS,
    }  # fmt: skip
    missing = sorted(word for word in words if not re.search(rf"\b{word}\b", text))
    assert missing == []


@pytest.mark.parametrize("name", TARGETS)
def test_every_table_with_its_fields_is_on_the_page(name: str) -> None:
    target = TARGETS[name]
    [line] = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    for field, about in target.fields.items():
        assert f"`{field}`" in line
        assert all(word in line for word in about.words)
    assert all(f"`{link}`" in line for link in target.links)
