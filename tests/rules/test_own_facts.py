"""Facts of one's own, whatever lies in the JSON: the same answer on both databases, and never a fault."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert

import models
from models.database import reading
from rules.evaluate import matching
from rules.loader import load_text

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
FACTS = "customer:\n  said: {type: TYPE}\n"
CASES: list[tuple[str, Any, str, bool]] = [
    ("number", 12, "{at_least: 10}", True),
    ("number", "12", "{at_least: 10}", True),
    ("number", "9", "{at_least: 10}", False),
    ("number", "-0.5", "{less_than: 0}", True),
    ("number", "abc", "{at_least: 10}", False),
    ("number", "abc", "missing", True),
    ("number", "", "missing", True),
    ("number", None, "missing", True),
    ("number", [1], "missing", True),
    ("number", True, "missing", True),
    ("number", 2.5, "2.5", True),
    ("number", "1e400", "missing", True),
    ("number", "9e308", "missing", True),
    ("number", "-1e-400", "missing", True),
    ("number", "1" + "0" * 400, "missing", True),
    ("number", 10**30, "{at_least: 10}", True),
    ("number", "1.5e+3", "1500", True),
    ("day", "2020-01-01", "{before: 2020-06-01}", True),
    ("day", "2020-07-01", "{before: 2020-06-01}", False),
    ("day", "2020-02-30", "missing", True),
    ("day", "soon", "missing", True),
    ("day", 20200101, "missing", True),
    ("day", "2026-03-10", "today", True),
    ("flag", True, "true", True),
    ("flag", False, "true", False),
    ("flag", False, "false", True),
    ("flag", "Yes", "true", True),
    ("flag", "n", "false", True),
    ("flag", 1, "true", True),
    ("flag", 0, "false", True),
    ("flag", "perhaps", "missing", True),
    ("text", 18, '"18"', True),
    ("text", "18", '"18"', True),
    ("text", 18, '["17", "18"]', True),
    ("text", 18, "{starts_with: '1'}", True),
    ("text", True, '"true"', True),
    ("text", None, "missing", True),
]


@pytest.mark.parametrize(("kind", "said", "test", "holds"), CASES)
def test_an_attribute_of_any_kind(
    database: Engine, tmp_path: Path, kind: str, said: Any, test: str, holds: bool
) -> None:
    facts = tmp_path / "facts.yaml"
    facts.write_text(FACTS.replace("TYPE", kind))
    text = f"id: case\ntitle: A case\npurpose: service\nfor_each: customer\nif: {{a: {{said: {test}}}}}\n"
    rule = load_text(text + "then: [{send: late-order, by: sms}]\n", "case", facts=facts)
    with reading(database) as connection:
        row = {"external_id": "c1", "changed_at": NOW, "bucket": 0, "attributes": {"said": said}}
        connection.execute(insert(models.Customer).values(**row))
        assert bool(connection.execute(matching(rule, now=NOW, zone="UTC")).all()) is holds
