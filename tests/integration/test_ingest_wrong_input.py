"""Every wrong input that the issue names: its message says what to do, and nothing good is lost."""

import gzip
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.ingesting import NOW, ORDERS, figures, ingest, rejects, rows

HEADER = "id,placed,total,promised\n"
GOOD = [f"{n},2026-01-0{n} 10:00:00,{n}.50,2026-01-1{n}\n" for n in range(1, 6)]


def numbers(engine: Engine) -> list[str]:
    return [row[0] for row in rows(engine, "SELECT external_id FROM orders ORDER BY external_id")]


def test_a_file_cut_off_inside_a_quote_keeps_what_stands_before(engine: Engine, tmp_path: Path) -> None:
    content = HEADER + "".join(GOOD) + '6,"2026-01-06 10:00'
    report = ingest(engine, tmp_path, ORDERS, {"orders.csv": content})
    assert numbers(engine) == ["1", "2", "3", "4", "5"]
    [entry] = rejects(report)
    assert entry["line"] == "7"
    assert entry["value"] == '6,"2026-01-06 10:00'
    assert "cut off here, or a quote is missing" in entry["reason"]
    assert report.rejected == 1


def test_a_quote_that_is_never_closed_loses_one_line_not_the_rest(engine: Engine, tmp_path: Path) -> None:
    content = HEADER + GOOD[0] + '2,"2026-01-02 10:00:00,2.50,2026-01-12\n' + "".join(GOOD[2:])
    report = ingest(engine, tmp_path, ORDERS, {"orders.csv": content})
    assert numbers(engine) == ["1", "3", "4", "5"]
    assert [entry["line"] for entry in rejects(report)] == ["3"]


def test_a_packed_file_cut_in_the_middle(engine: Engine, tmp_path: Path) -> None:
    lines = [f"{n},2026-01-01 10:00:00,{n * 7919 % 1000}.50,2026-01-12\n" for n in range(5000)]
    packed = gzip.compress((HEADER + "".join(lines)).encode())
    report = ingest(engine, tmp_path, ORDERS, {"orders.csv": packed[: len(packed) // 2]})
    [(count,)] = rows(engine, "SELECT count(*) FROM orders")
    assert 1000 < count < 4999
    [entry] = rejects(report)
    assert entry["line"] == str(count + 2)
    assert "the packed file ends in the middle; fetch it again" in entry["reason"]


def test_a_wrong_encoding_rejects_only_the_lines_with_such_bytes(engine: Engine, tmp_path: Path) -> None:
    mapping = "sources: {p: p.csv}\nload: [{into: products, from: p, key: id, fields: {name: name}}]"
    content = "id,name\n1,Tea\n2,Café\n3,Cup\n".encode("windows-1252")
    report = ingest(engine, tmp_path, mapping, {"p.csv": content})
    assert rows(engine, "SELECT external_id, name FROM product ORDER BY 1") == [("1", "Tea"), ("3", "Cup")]
    [entry] = rejects(report)
    assert (entry["line"], entry["column"], entry["value"]) == ("3", "name", "Caf\\xe9")
    assert any("try 'encoding: windows-1252'" in note for note in report.sources["p"].notes)
    again = ingest(engine, tmp_path, mapping.replace("p.csv", "{file: p.csv, encoding: windows-1252}"))
    assert rejects(again) == []
    assert rows(engine, "SELECT name FROM product WHERE external_id = '2'") == [("Café",)]


def test_a_header_that_changed_leaves_that_source_and_loads_the_others(engine: Engine, tmp_path: Path) -> None:
    mapping = ORDERS.replace("sources:", "sources:\n  p: p.csv") + "  - {into: products, from: p, key: id}\n"
    report = ingest(
        engine, tmp_path, mapping, {"orders.csv": HEADER.replace("placed", "placed_on") + GOOD[0], "p.csv": "id\n1\n"}
    )
    first, second = report.problems
    assert "sources.yaml:4:11: source 'orders': " in first
    assert "has no column 'placed' (did you mean 'placed_on'?). Its header is" in first
    assert "Its header is: id, placed_on, total, promised" in first
    assert "the load into orders is left out" in second
    assert rows(engine, "SELECT external_id FROM product") == [("1",)]
    assert numbers(engine) == []


def test_the_same_key_twice_the_last_one_wins_and_is_counted(engine: Engine, tmp_path: Path) -> None:
    again = "1,2026-01-01 10:00:00,99.00,2026-01-11\n"
    files = {"orders.csv": HEADER + GOOD[0] + GOOD[1] + GOOD[1] + again}
    report = ingest(engine, tmp_path, ORDERS, files)
    assert rows(engine, "SELECT external_id, net_total FROM orders ORDER BY 1") == [("1", 9900), ("2", 250)]
    assert figures(report, "orders") == (2, 0, 0, 1)
    assert report.tables["orders"].notes == {"rows repeated with the same key and content": 1}
    [entry] = rejects(report)
    assert (entry["line"], entry["value"]) == ("2", "1")
    assert "the last one counts" in entry["reason"]
    assert figures(ingest(engine, tmp_path, ORDERS), "orders") == (0, 0, 2, 1)


@pytest.mark.parametrize("wrong", ["2026-02-30 10:00:00", "yesterday", "0001-01-01 00:00:00", "31/01/2026 10:00"])
def test_an_impossible_date_rejects_the_row_with_its_place(engine: Engine, tmp_path: Path, wrong: str) -> None:
    report = ingest(engine, tmp_path, ORDERS, {"orders.csv": f"{HEADER}{GOOD[0]}2,{wrong},1.00,\n{GOOD[2]}"})
    assert numbers(engine) == ["1", "3"]
    [entry] = rejects(report)
    assert (entry["source"], entry["line"], entry["column"], entry["value"]) == ("orders", "3", "placed", wrong)
    assert "placed_at is not a time of the form yyyy-mm-dd hh:mm:ss; say 'times: ...'" in entry["reason"]


def test_a_bad_phone_does_not_cost_the_customer(engine: Engine, tmp_path: Path) -> None:
    mapping = """
defaults: {region: GB}
sources: {people: people.csv}
load: [{into: customers, from: people, key: id, fields: {phone: phone, email: mail, first_name: name}}]
"""
    content = "id,name,phone,mail\n1,Ann,020 7946 0000,ann@example.com\n2,Bob,call me,bob@\n3,Cy,020 7946 0000 0,\n"
    content += "4,Di,010 0000 0000,\n"
    report = ingest(engine, tmp_path, mapping, {"people.csv": content})
    found = rows(engine, "SELECT external_id, phone, email FROM customer ORDER BY 1")
    assert found == [("1", "+442079460000", "ann@example.com"), ("2", None, None), ("3", None, None), ("4", None, None)]
    said = {(entry["line"], entry["column"]): (entry["reason"], entry["lost"]) for entry in rejects(report)}
    assert said[("3", "phone")] == ("phone: this is not a phone number", "value")
    assert said[("4", "phone")] == ("phone: the phone number is too short or too long", "value")
    assert said[("5", "phone")] == ("phone: no such phone number can exist; is the region right?", "value")
    assert said[("3", "mail")] == ("email: this is not an e-mail address", "value")
    assert report.rejected == 0
    assert report.tables["customers"].emptied.total() == 4


def test_lines_with_too_few_or_too_many_values(engine: Engine, tmp_path: Path) -> None:
    content = HEADER + GOOD[0] + "2,2026-01-02\n" + "3,2026-01-03 10:00:00,1,2,3,4\n" + GOOD[3]
    report = ingest(engine, tmp_path, ORDERS, {"orders.csv": content})
    assert numbers(engine) == ["1", "4"]
    assert [(entry["line"], entry["reason"]) for entry in rejects(report)] == [
        ("3", "the line has 2 values, the header has 4"),
        ("4", "the line has 6 values, the header has 4"),
    ]


def test_lines_are_counted_where_records_span_several(engine: Engine, tmp_path: Path) -> None:
    mapping = "sources: {p: p.csv}\nload: [{into: surveys, from: p, key: id, fields: {comment: text, score: n}}]"
    content = 'id,text,n\r\n1,"two\r\nlines",5\r\n\r\n2,"a ""quote""",x\r\n3,fine,4\r\n'
    report = ingest(engine, tmp_path, mapping, {"p.csv": content})
    assert rows(engine, "SELECT external_id, comment FROM survey ORDER BY 1") == [("1", "two\r\nlines"), ("3", "fine")]
    [entry] = rejects(report)
    assert (entry["line"], entry["column"], entry["value"]) == ("5", "n", "x")


def test_a_missing_file_says_where_it_was_looked_for(engine: Engine, tmp_path: Path) -> None:
    report = ingest(engine, tmp_path, ORDERS)
    assert f"there is no file {tmp_path / 'orders.csv'}" in report.problems[0]
    assert "--data FOLDER" in report.problems[0]


def test_a_line_of_an_unknown_order_is_rejected_and_an_unknown_customer_is_told(engine: Engine, tmp_path: Path) -> None:
    mapping = """
sources: {orders: orders.csv, lines: lines.csv}
load:
  - {into: orders, from: orders, key: id, fields: {customer: who}}
  - {into: lines, from: lines, key: id, fields: {order: order}}
"""
    files = {"orders.csv": "id,who\n1,nobody\n", "lines.csv": "id,order\n1,1\n2,77\n"}
    report = ingest(engine, tmp_path, mapping, files)
    assert rows(engine, "SELECT external_id, customer_id FROM orders") == [("1", None)]
    assert rows(engine, "SELECT external_id FROM order_line") == [("1",)]
    lost = {(entry["source"], entry["value"]): entry["lost"] for entry in rejects(report)}
    assert lost == {("orders", "nobody"): "value", ("lines", "77"): "row"}


def test_the_reject_file_is_for_its_owner_only(engine: Engine, tmp_path: Path) -> None:
    report = ingest(engine, tmp_path, ORDERS, {"orders.csv": HEADER + "1,x,1,\n"})
    assert report.reject_file is not None
    assert report.reject_file.stat().st_mode & 0o077 == 0
    assert report.reject_file.name.startswith(f"{NOW:%Y%m%dT%H%M%S}Z")


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "is empty, it has not even a header"),
        (b"id;placed;total;promised\n", "Is the 'delimiter' right?"),
        ((HEADER + GOOD[0]).encode("utf-16"), "The file looks like utf-16: try 'encoding: utf-16'"),
    ],
)
def test_a_file_of_another_kind_gets_a_hint(sqlite_engine: Engine, tmp_path: Path, content: bytes, hint: str) -> None:
    report = ingest(sqlite_engine, tmp_path, ORDERS, {"orders.csv": content})
    assert hint in report.problems[0]


def test_json_lines_with_a_misspelt_name_are_told(sqlite_engine: Engine, tmp_path: Path) -> None:
    mapping = "sources: {p: p.jsonl}\nload: [{into: products, from: p, key: id, fields: {name: nmae}}]"
    report = ingest(sqlite_engine, tmp_path, mapping, {"p.jsonl": '{"id": 1, "name": "Tea"}\n'})
    assert "no object has a value for 'nmae'; is it spelt so?" in report.sources["p"].notes


def test_names_that_stand_twice_in_a_header_get_their_position(sqlite_engine: Engine, tmp_path: Path) -> None:
    mapping = "sources: {p: p.csv}\nload: [{into: products, from: p, key: id, fields: {name: n_3, category: column_4}}]"
    ingest(sqlite_engine, tmp_path, mapping, {"p.csv": "id,n,n,\n1,a,b,c\n"})
    assert rows(sqlite_engine, "SELECT name, category FROM product") == [("b", "c")]


def test_an_expression_that_fits_no_data_leaves_its_load_and_carries_out_the_others(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    mapping = """
sources: {p: p.csv}
load:
  - {into: customers, from: p, key: id}
  - {into: products, from: p, key: {expr: CAST(id AS INT) + 1}}
"""
    report = ingest(sqlite_engine, tmp_path, mapping, {"p.csv": "id\none\n"})
    [said] = report.problems
    assert "sources.yaml:5:28: the load into products cannot be carried out; look at its expressions" in said
    assert rows(sqlite_engine, "SELECT external_id FROM customer") == [("one",)]


def test_an_impossible_day_rejects_the_order(sqlite_engine: Engine, tmp_path: Path) -> None:
    report = ingest(sqlite_engine, tmp_path, ORDERS, {"orders.csv": f"{HEADER}1,,1.00,2026-02-30\n{GOOD[1]}"})
    assert numbers(sqlite_engine) == ["2"]
    assert rejects(report)[0]["reason"] == "promised_on is not a day of the form yyyy-mm-dd; say 'dates: ...'"
