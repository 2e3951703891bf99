"""How fast a million orders come in, and how much memory that takes, beside a plain bulk insert of the same rows.

Run by ``make bench``. Each half runs in a process of its own, so that the peak memory is its own.
"""

import json
import random
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

ROWS = 1_000_000
CUSTOMERS = 100_000

MAPPING = """
defaults: {zone: Europe/Berlin, currency: EUR, times: "%Y-%m-%d %H:%M:%S"}
sources: {people: people.csv, orders: orders.csv}
load:
  - {into: customers, from: people, key: id, fields: {first_name: name}}
  - into: orders
    from: orders
    key: id
    fields:
      customer: customer
      placed_at: placed
      promised_on: promised
      shipped_at: shipped
      delivered_at: delivered
      net_total: total
"""

PLAIN = """
import csv, json, resource, sys, time
from datetime import date, datetime, UTC
from pathlib import Path
from models.database import connect, migrate, writing
folder = Path(sys.argv[1])
engine = connect(f"sqlite:///{folder / 'plain.db'}")
migrate(engine)
with writing(engine) as connection, (folder / "people.csv").open() as file:
    people = {row["id"]: n for n, row in enumerate(csv.DictReader(file), 1)}
    cursor = connection.connection.cursor()
    rows = [(n, key, 0, "x", 0) for key, n in people.items()]
    names = "id, external_id, changed_at, first_name, bucket"
    cursor.executemany(f"INSERT INTO customer ({names}) VALUES (?,?,?,?,?)", rows)
def micros(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000 if text else None
ready = []
with (folder / "orders.csv").open() as file:
    for row in csv.DictReader(file):
        total = round(float(row["total"]) * 100)
        ready.append((row["id"], 0, people[row["customer"]], row["id"], micros(row["placed"]), row["promised"],
                      micros(row["shipped"]), micros(row["delivered"]), "EUR", total))
began = time.perf_counter()
names = "external_id, changed_at, customer_id, number, placed_at, promised_on, shipped_at, delivered_at, currency,"
names += "net_total"
with writing(engine) as connection:
    cursor = connection.connection.cursor()
    cursor.executemany(f"INSERT INTO orders ({names}) VALUES (?,?,?,?,?,?,?,?,?,?)", ready)
print(json.dumps({"seconds": time.perf_counter() - began}))
"""

OURS = """
import json, resource, sys, time
from datetime import datetime, UTC
from pathlib import Path
from beforehand.ingest import run
from beforehand.settings import Settings
from models.database import connect, migrate
folder = Path(sys.argv[1])
engine = connect(f"sqlite:///{folder / 'ours.db'}")
migrate(engine)
def once():
    began = time.perf_counter()
    settings = Settings(_env_file=None, var=folder / "var")
    report = run(engine, folder / "sources.yaml", now=datetime(2026, 1, 1, tzinfo=UTC), settings=settings)
    return time.perf_counter() - began, report.as_dict()
seconds, report = once()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
again, second = once()
print(json.dumps({"seconds": seconds, "peak": peak, "new": report["tables"]["orders"]["new"], "again": again,
                  "same": second["tables"]["orders"]["same"]}))
"""


def write(folder: Path) -> None:
    chance = random.Random(7)
    start = datetime(2023, 1, 1)  # noqa: DTZ001 - local time, as shops write it
    with (folder / "people.csv").open("w") as file:
        file.write("id,name\n")
        file.writelines(f"c{n:06},Name {n}\n" for n in range(CUSTOMERS))
    with (folder / "orders.csv").open("w") as file:
        file.write("id,customer,placed,promised,shipped,delivered,total\n")
        for _ in range(ROWS):
            placed = start + timedelta(seconds=chance.randrange(60_000_000))
            shipped, delivered = placed + timedelta(hours=30), placed + timedelta(hours=90)
            promised = (placed + timedelta(days=5)).date()
            who, total = chance.randrange(CUSTOMERS), chance.randrange(100, 50_000) / 100
            key = f"{chance.getrandbits(64):016x}"
            file.write(f"{key},c{who:06},{placed},{promised},{shipped},{delivered},{total:.2f}\n")
    (folder / "sources.yaml").write_text(MAPPING)


def measured(script: str, folder: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.bench
def test_a_million_orders(tmp_path: Path) -> None:
    write(tmp_path)
    plain = measured(PLAIN, tmp_path)
    ours = measured(OURS, tmp_path)
    ratio = ours["seconds"] / plain["seconds"]
    print(
        f"\n1,000,000 orders of 100,000 customers into SQLite: {ours['seconds']:.1f} s ({ROWS / ours['seconds']:,.0f}"
        f" rows/s), peak memory {ours['peak']:.0f} MB; plain bulk insert {plain['seconds']:.1f} s; {ratio:.2f} times;"
        f" the same file again {ours['again']:.1f} s"
    )
    assert ours["new"] == ours["same"] == ROWS
    assert ours["peak"] < 1200
    assert ratio <= 3
