"""Lists from CSV files: none of their values is lost, whatever stands in the first line."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from models.database import reading
from rules.given import Given, frame
from rules.loader import load_text
from rules.reader import Complaints, Node, read
from tests.rules.build import NOW, who

RULE = """\
id: case
title: A case
purpose: service
for_each: customer
if:
  a: {tier: {in: lists/tiers.csv}}
then: [{send: late-order}]
"""


@pytest.mark.parametrize(
    "content",
    [
        "gold\nsilver\n",
        "silver\ngold\n",
        "tier\ngold\n",
        "name\ngold\n",
        "id,tier\n1,gold\n",
        "gold,since 2020\n",
        "\ufeffgold\r\n",
        'tier\n" gold "\n',
    ],
)
def test_every_value_counts(database: Engine, tmp_path: Path, content: str) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "tiers.csv").write_text(content, encoding="utf-8")
    rule = load_text(RULE, "case", tmp_path)
    said = Complaints("given")
    at = frame(Node(NOW, 1, 1), said)
    with reading(database) as connection:
        Given(connection, rule, at, said).build(read("customer: {tier: gold}", "given"))
        assert len(who(connection, rule, at.now)) == 1
