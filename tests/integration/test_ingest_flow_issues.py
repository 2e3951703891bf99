"""What the ingest flow calls: new rows, and then the known issues that touch them."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, func, select

from beforehand.settings import Settings
from beforehand.wiring import App
from flows.hands import ingest_and_declare
from models import Exposure
from models.database import reading

NOW = datetime(2026, 3, 10, 10, 0, tzinfo=UTC)
MAPPING = """\
sources: {products: p.csv, orders: o.csv, lines: l.csv}
load:
  - {into: products, from: products, key: sku, fields: {name: name}}
  - {into: orders, from: orders, key: id, fields: {placed_at: placed}}
  - {into: lines, from: lines, key: id, fields: {order: order, product: product}}
"""
ISSUE = "id: kettle\ntitle: The handle can come loose\nseverity: high\naffects: {products: K1}\n"


def exposed(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(Exposure)).scalar_one()


def test_an_order_that_comes_in_later_is_exposed_by_the_ingest_that_brings_it(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "issues").mkdir()
    (tmp_path / "issues/kettle.yaml").write_text(ISSUE)
    (tmp_path / "map.yaml").write_text(MAPPING)
    (tmp_path / "p.csv").write_text("sku,name\nK1,Kettle\n")
    settings = Settings(_env_file=None, issues=tmp_path / "issues", var=tmp_path / "var")
    app = App(settings=settings, engine=engine, clock=lambda: NOW)
    for orders in (1, 2):
        numbers = range(1, orders + 1)
        placed = "".join(f"{n},2026-03-0{n} 10:00:00\n" for n in numbers)
        (tmp_path / "o.csv").write_text("id,placed\n" + placed)
        (tmp_path / "l.csv").write_text("id,order,product\n" + "".join(f"{n}-1,{n},K1\n" for n in numbers))
        ingest_and_declare(app, tmp_path / "map.yaml")
        assert exposed(engine) == orders


def test_no_issues_folder_is_no_problem(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("sources: {p: p.csv}\nload: [{into: products, from: p, key: sku}]\n")
    (tmp_path / "p.csv").write_text("sku\nK1\n")
    settings = Settings(_env_file=None, issues=tmp_path / "nowhere", var=tmp_path / "var")
    counts = ingest_and_declare(App(settings=settings, engine=engine, clock=lambda: NOW), tmp_path / "map.yaml")
    assert counts["products"]["new"] == 1
