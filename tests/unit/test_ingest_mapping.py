"""A wrong mapping file is refused whole, with every mistake at its place."""

from pathlib import Path

import pytest

from beforehand.ingest import MappingErrors
from beforehand.ingest.mapping import load_mapping


def said(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MappingErrors) as refused:
        load_mapping(path)
    return [str(problem).replace(f"{path}:", "") for problem in refused.value.problems]


def test_everything_wrong_is_said_at_once_with_its_place(tmp_path: Path) -> None:
    text = """\
sources:
  orders: {file: o.csv, delimeter: ";", encoding: utf-88}
load:
  - into: order
    from: ordrs
    key: id
  - into: orders
    from: orders
    key: id
    fields: {plcaed_at: x, net_total: {sum: y}, promised_on: {form: z}}
"""
    found = said(tmp_path, text)
    places = ["2:25", "2:51", "4:11", "5:11", "10:14", "10:45", "10:62", "10:63"]
    assert [problem.partition(": ")[0] for problem in found] == places
    assert "did you mean delimiter?" in found[0]
    assert "unknown encoding 'utf-88'" in found[1]
    assert "did you mean orders?" in found[2]
    assert "unknown source 'ordrs'" in found[3]
    assert "did you mean placed_at?" in found[4]
    assert "'sum' needs 'group_by'" in found[5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("sources: [", "this is not YAML"),
        ("sources: {a: {file: x, file: y}}\nload: []", "the key 'file' stands twice"),
        ("sources: {a: '${NOT_SET_ANYWHERE}/x.csv'}\nload: []", "the environment variable NOT_SET_ANYWHERE is not set"),
        ("sources: {a: {file: x, zone: Europe/Berlim}}\nload: []", "zone 'Europe/Berlim' is not known"),
        ("sources: {a: {file: x, times: dd/mm}}\nload: []", "'dd/mm' is not a time format"),
        ("sources: {a: x}\nload: [{into: orders, from: a}]", "'key' is missing"),
        ("sources: {a: x}\nload: [{into: lines, from: a, key: k}]", "lines need 'order'"),
        ("sources: {a: x}\nload: [{into: orders, from: a, key: {expr: 'a +'}}]", "not an SQL expression"),
        ("sources: {a: x}\nload: [{into: orders, from: a, key: k, where: {q: {above: 3}}}]", "unknown test 'above'"),
        ("sources: {a: {query: SELECT 1}}\nload: []", "a query needs 'database'"),
        ("sources: {a: {file: x, columns: {id: 5-2}}}\nload: []", "expected first-last"),
    ],
)
def test_each_mistake_has_a_plain_sentence(tmp_path: Path, text: str, message: str) -> None:
    assert any(message in problem for problem in said(tmp_path, text))


def test_a_missing_file_is_a_sentence_too(tmp_path: Path) -> None:
    with pytest.raises(MappingErrors, match="cannot be read: No such file"):
        load_mapping(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["olist", "online-retail", "bank-crm", "itsm"])
def test_the_examples_are_right(name: str) -> None:
    path = Path(__file__).parents[2] / "examples" / name / "sources.yaml"
    assert load_mapping(path).loads
