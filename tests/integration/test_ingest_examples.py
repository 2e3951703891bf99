"""The four example mappings on the real sets: the figures that the traps of those sets would spoil."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from beforehand.ingest import IngestReport, run
from beforehand.settings import Settings
from tests.ingesting import NOW, rows

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = {
    "olist": "olist-15k",
    "online-retail": "online-retail-even",
    "bank-crm": "bank-crm",
    "itsm": "itsm-incidents",
}


def load(engine: Engine, name: str, shared_data: Path, var: Path) -> IngestReport:
    settings = Settings(_env_file=None, var=var)
    mapping = EXAMPLES / name / "sources.yaml"
    return run(engine, mapping, now=NOW, settings=settings, data=shared_data / FOLDERS[name])


def micros(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000_000


def test_olist(sqlite_engine: Engine, shared_data: Path, tmp_path: Path) -> None:
    report = load(sqlite_engine, "olist", shared_data, tmp_path)
    assert report.fine
    assert {name: part.new for name, part in report.tables.items()} == {
        "customers": 14_904, "products": 32_951, "orders": 15_000, "lines": 17_071, "surveys": 14_944,
        "payments": 15_733,
    }  # fmt: skip
    late = "local_day(o.delivered_at, c.time_zone) > o.promised_on"
    joined = "FROM orders o JOIN customer c ON c.id = o.customer_id"
    assert rows(sqlite_engine, f"SELECT count(*), count(DISTINCT c.id) {joined} WHERE {late}") == [(957, 954)]
    assert rows(sqlite_engine, "SELECT count(*) FROM product WHERE category IS NULL") == [(610,)]
    assert rows(sqlite_engine, "SELECT count(*) FROM orders WHERE net_total IS NULL") == [(115,)]
    assert rows(sqlite_engine, "SELECT count(*), count(customer_id) FROM survey") == [(14_944, 14_944)]
    again = load(sqlite_engine, "olist", shared_data, tmp_path)
    assert (again.new, again.changed, again.same) == (0, 0, report.new)


def test_olist_on_postgresql(postgres_engine: Engine, shared_data: Path, tmp_path: Path) -> None:
    report = load(postgres_engine, "olist", shared_data, tmp_path)
    assert report.new == 110_603
    late = "CAST(o.delivered_at AT TIME ZONE c.time_zone AS DATE) > o.promised_on"
    joined = "FROM orders o JOIN customer c ON c.id = o.customer_id"
    assert rows(postgres_engine, f"SELECT count(*), count(DISTINCT c.id) {joined} WHERE {late}") == [(957, 954)]


def test_online_retail(sqlite_engine: Engine, shared_data: Path, tmp_path: Path) -> None:
    report = load(sqlite_engine, "online-retail", shared_data, tmp_path)
    assert report.tables["orders"].left_out == {"no customer on the line": 135_037}
    assert report.sources["lines"].left_out == {"exact duplicate of an earlier line": 2_816}
    year = f"placed_at >= {micros(2010, 12, 10)} AND placed_at < {micros(2011, 12, 10)}"
    kept = f"SELECT customer_id FROM orders WHERE cancelled_at IS NULL AND {year} GROUP BY 1"
    valuable = f"{kept} HAVING sum(net_total) >= 100000"
    for counted, customers in (("cancelled_at IS NULL", 168), ("1 = 1", 233)):
        often = f"SELECT customer_id FROM orders WHERE {counted} AND {year} GROUP BY 1 HAVING count(*) >= 10"
        found = rows(sqlite_engine, f"SELECT count(*) FROM ({often}) WHERE customer_id IN ({valuable})")
        assert found == [(customers,)]


def test_bank(sqlite_engine: Engine, shared_data: Path, tmp_path: Path) -> None:
    report = load(sqlite_engine, "bank-crm", shared_data, tmp_path)
    assert report.rejected == 0
    assert report.tables["calls"].left_out == {"phantom call": 19}
    dropped = "SELECT count(*), count(customer_id) FROM call WHERE direction = 'outbound' AND outcome = 'dropped'"
    assert rows(sqlite_engine, dropped) == [(2, 2)]
    hung_up = "SELECT count(*), count(customer_id) FROM call WHERE outcome = 'dropped'"
    [(count, known)] = rows(sqlite_engine, hung_up)
    assert count > 400
    assert 0.8 < known / count < 0.95  # 12 in 100 rang from another phone
    assert rows(sqlite_engine, "SELECT count(*), count(comment) FROM survey") == [(505, 69)]
    assert rows(sqlite_engine, "SELECT count(*), count(customer_id) FROM subscription") == [(4_500, 4_500)]


def test_itsm(sqlite_engine: Engine, shared_data: Path, tmp_path: Path) -> None:
    report = load(sqlite_engine, "itsm", shared_data, tmp_path)
    assert (report.rejected, report.tables["tickets"].new, report.tables["events"].new) == (0, 24_918, 141_712)
    # as of a day in the middle some tickets are open: the columns that know the future would say otherwise
    middle = micros(2016, 5, 1)
    as_of = f"SELECT sum(opened_at < {middle} AND (closed_at IS NULL OR closed_at >= {middle})) FROM ticket"
    [(still_open,)] = rows(sqlite_engine, as_of)
    assert 1_000 < still_open < 10_000
    in_order = "SELECT count(*) FROM ticket WHERE closed_at < opened_at OR answered_at < opened_at"
    assert rows(sqlite_engine, in_order)[0][0] < 100
