"""Two passes at the very same time cap each other: decisions are taken one after the other, by whatever process."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import Engine

import models
from beforehand import ROOT
from tests.deciding import House

PASS = """
import sys
from pathlib import Path
from models.database import connect
from tests.deciding import NOON, House
from beforehand.passes import run_rule

url, folder, rule = sys.argv[1:]
house = House(connect(url), Path(folder), {"caps": {"marketing": "1 per 7 days"}})
print("ready", flush=True)
sys.stdin.readline()
print(run_rule(house.app, rule, NOON).planned)
"""


def test_two_processes_never_pass_the_cap_together(engine: Engine, tmp_path: Path) -> None:
    house = House(engine, tmp_path)
    house.template()
    for _ in range(30):
        house.consent(house.customer(), "sms", "marketing", "granted")
    rules = ("one", "two")
    for name in rules:
        house.rule(name, purpose="marketing", steps="  - {send: hello, by: [sms]}")
    url = engine.url.render_as_string(hide_password=False)
    passes = [
        subprocess.Popen(
            [sys.executable, "-c", PASS, url, str(tmp_path), rule],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for rule in rules
    ]
    try:
        for each in passes:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in passes:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        planned = [int(each.communicate(timeout=120)[0]) for each in passes]
    finally:
        for each in passes:
            each.kill()
    assert sum(planned) == 30
    customers = house.rows(models.Message, "customer_id")
    assert len(customers) == len(set(customers)) == 30
