"""What ingest writes: new, changed and same are told apart truly, links are found, change rows are touched."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, create_engine, select, text

from beforehand.ingest import bucket_of
from beforehand.settings import Settings
from models import Change, Customer, Order
from models.database import reading
from tests.ingesting import NOW, ORDERS, figures, ingest, rejects, rows

PEOPLE = """
defaults: {zone: Europe/Berlin, region: DE, currency: EUR}
sources: {people: people.csv}
load:
  - into: customers
    from: people
    key: id
    fields: {first_name: name, phone: phone, created_at: since, birthday: born, time_zone: zone, country: land}
    attributes: {points: {from: points, as: number}, vip: {from: vip, as: boolean}, tag: tag}
"""
HEADER = "id,name,phone,since,born,zone,land,points,vip,tag\n"
ANN = "1,Ann,030 901820,2025-03-30 02:30:00,1990-05-04,Europe/Berlin,Germany,12.5,yes,a\n"
BOB = "2,Bob,,2025-10-26 02:30:00,1890-05-04,Mars/Phobos,XX,,no,\n"


def test_values_are_read_as_what_they_are(engine: Engine, tmp_path: Path) -> None:
    report = ingest(engine, tmp_path, PEOPLE, {"people.csv": HEADER + ANN + BOB})
    with reading(engine) as connection:
        ann, bob = connection.execute(select(Customer).order_by(Customer.external_id)).all()
    assert (ann.phone, ann.country, ann.time_zone) == ("+4930901820", "DE", "Europe/Berlin")
    assert ann.attributes == {"points": 12.5, "vip": True, "tag": "a"}
    assert bob.attributes == {"vip": False}
    assert ann.created_at == datetime(2025, 3, 30, 1, 30, tzinfo=UTC)  # 02:30 never happened: 03:30 summer time
    assert bob.created_at == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)  # 02:30 happened twice: the earlier
    assert (bob.birthday, bob.time_zone, bob.country) == (None, None, None)
    assert ann.bucket == bucket_of(Settings(_env_file=None).secret_key.get_secret_value().encode(), "1")
    notes = report.tables["customers"].notes
    assert notes["local times that happened twice (clocks went back), read as the earlier"] == 1
    assert notes["local times that never happened (clocks went forward), read one hour later"] == 1
    assert {entry["column"] for entry in rejects(report)} == {"born", "zone", "land"}


def test_only_what_differs_is_touched(engine: Engine, tmp_path: Path) -> None:
    ingest(engine, tmp_path, PEOPLE, {"people.csv": HEADER + ANN + BOB})
    later = NOW + timedelta(days=1)
    report = ingest(engine, tmp_path, PEOPLE, now=later)
    assert figures(report, "customers") == (0, 0, 2, 0)
    report = ingest(engine, tmp_path, PEOPLE, {"people.csv": HEADER + ANN.replace("12.5", "13") + BOB}, now=later)
    assert figures(report, "customers") == (0, 1, 1, 0)
    with reading(engine) as connection:
        found = connection.execute(
            select(Customer.changed_at, Customer.attributes).order_by(Customer.external_id)
        ).all()
        touched = dict(connection.execute(select(Change.event, Change.changed_at)).tuples().all())
    assert [row.changed_at for row in found] == [later, NOW]
    assert found[0].attributes["points"] == 13
    assert touched == {"customer.updated": later}


def test_what_a_mapping_does_not_name_stays(engine: Engine, tmp_path: Path) -> None:
    ingest(engine, tmp_path, PEOPLE, {"people.csv": HEADER + ANN})
    other = "sources: {p: p.csv}\nload: [{into: customers, from: p, key: id, attributes: {city: city}}]"
    ingest(engine, tmp_path, other, {"p.csv": "id,city\n1,Ulm\n"})
    with reading(engine) as connection:
        ann = connection.execute(select(Customer)).one()
    assert (ann.first_name, ann.attributes) == ("Ann", {"points": 12.5, "vip": True, "tag": "a", "city": "Ulm"})


def test_orders_touch_their_events_and_nothing_is_touched_twice(engine: Engine, tmp_path: Path) -> None:
    files = {"orders.csv": "id,placed,total,promised\n1,2026-01-01 10:00:00,1.50,2026-01-05\n"}
    ingest(engine, tmp_path, ORDERS, files)
    ingest(engine, tmp_path, ORDERS, now=NOW + timedelta(hours=1))
    with reading(engine) as connection:
        touched = dict(connection.execute(select(Change.event, Change.changed_at)).tuples().all())
        order = connection.execute(select(Order)).one()
    assert set(touched) >= {"order.updated", "order.placed"}
    assert set(touched.values()) == {NOW}
    assert (order.number, order.currency, order.net_total) == ("1", "EUR", 150)


@pytest.mark.parametrize(("currency", "minor"), [("EUR", 123), ("JPY", 1), ("KWD", 1230)])
def test_money_is_whole_minor_units_of_its_currency(engine: Engine, tmp_path: Path, currency: str, minor: int) -> None:
    mapping = ORDERS.replace("net_total: total", "net_total: total, currency: cur")
    ingest(engine, tmp_path, mapping, {"orders.csv": f"id,placed,total,promised,cur\n1,,1.23,,{currency}\n"})
    assert rows(engine, "SELECT net_total, currency FROM orders") == [(minor, currency)]


def test_a_phone_that_several_share_chooses_nobody(engine: Engine, tmp_path: Path) -> None:
    mapping = """
defaults: {region: GB}
sources: {people: p.csv, calls: c.csv}
load:
  - {into: calls, from: calls, key: id, fields: {customer: {phone: tel}, phone: tel}}
  - {into: customers, from: people, key: id, fields: {phone: tel}}
"""
    files = {
        "p.csv": "id,tel\n1,020 7946 0001\n2,020 7946 0002\n3,+442079460002\n",
        "c.csv": "id,tel\na,02079460001\nb,020 7946 0002\nc,020 7946 0003\n",
    }
    report = ingest(engine, tmp_path, mapping, files)
    asked = "SELECT c.external_id, x.external_id FROM call c LEFT JOIN customer x ON x.id = c.customer_id ORDER BY 1"
    assert rows(engine, asked) == [("a", "1"), ("b", None), ("c", None)]
    assert report.tables["calls"].notes == {
        "nobody known behind the phone; the rows are kept": 1,
        "several customers share the phone or e-mail; none was chosen": 1,
    }


def test_consents_are_a_ledger(engine: Engine, tmp_path: Path) -> None:
    mapping = """
sources: {people: p.csv, yes: c.csv}
load:
  - {into: customers, from: people, key: id}
  - into: consents
    from: "yes"
    fields:
      {customer: who, channel: {value: sms}, purpose: {value: survey}, verdict: v, given_at: at, source: {value: form}}
"""
    files = {"p.csv": "id\n1\n", "c.csv": "who,v,at\n1,granted,2026-01-01T00:00:00Z\n9,granted,2026-01-01T00:00:00Z\n"}
    assert figures(ingest(engine, tmp_path, mapping, files), "consents") == (1, 0, 0, 1)
    assert figures(ingest(engine, tmp_path, mapping), "consents") == (0, 0, 1, 1)
    ingest(engine, tmp_path, mapping, {"c.csv": "who,v,at\n1,withdrawn,2026-02-01T00:00:00Z\n"})
    assert rows(engine, "SELECT verdict FROM consent ORDER BY given_at") == [("granted",), ("withdrawn",)]


def test_parquet_query_and_json_lines_say_the_same(sqlite_engine: Engine, tmp_path: Path) -> None:
    at = datetime(2026, 1, 1, 10, tzinfo=UTC)
    frame = pl.DataFrame({"id": [1], "placed": [at], "total": [12.5], "promised": [at.date()]})
    frame.write_parquet(tmp_path / "o.parquet")
    line = {"id": 1, "placed": "2026-01-01T10:00:00Z", "total": 12.5, "promised": "2026-01-01"}
    (tmp_path / "o.jsonl").write_text(json.dumps(line) + "\n{broken\n")
    shop = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with shop.begin() as connection:
        connection.execute(text("CREATE TABLE o (id INTEGER, placed TEXT, total REAL, promised TEXT)"))
        connection.execute(text("INSERT INTO o VALUES (1, '2026-01-01 10:00:00', 12.5, '2026-01-01')"))
    first = ingest(sqlite_engine, tmp_path, ORDERS.replace("orders.csv", "o.parquet"))
    assert figures(first, "orders") == (1, 0, 0, 0)
    second = ingest(sqlite_engine, tmp_path, ORDERS.replace("orders.csv", "o.jsonl"))
    assert figures(second, "orders") == (0, 0, 1, 0)
    assert [entry["line"] for entry in rejects(second)] == ["2"]
    query = f"{{database: 'sqlite:///{tmp_path / 'shop.db'}', query: SELECT * FROM o}}"
    third = ingest(sqlite_engine, tmp_path, ORDERS.replace("orders.csv", query))
    assert figures(third, "orders") == (0, 0, 1, 0)
    wrong = ingest(sqlite_engine, tmp_path, ORDERS.replace("orders.csv", query.replace("FROM o", "FROM nowhere")))
    assert "the database refuses the query: no such table: nowhere" in wrong.problems[0]
