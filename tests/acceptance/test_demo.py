"""`make demo`: the main job in one command, among hostile surroundings, twice at once, and gone without a trace."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 300

HOSTILE = {
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
    "PREFECT_API_KEY": "somebody-elses",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "NO_PROXY": "",
    "BEFOREHAND_DELIVERY": "live",
    "BEFOREHAND_STATUS_CALLBACKS": "false",
    "BEFOREHAND_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/theirs",
    "BEFOREHAND_TWILIO_BASE_URL": "http://127.0.0.1:9",
    "BEFOREHAND_SMTP_HOST": "192.0.2.1",
}
"""What a user's shell may hold; a demo that listened to any of it would fail, or worse, send."""


@dataclass
class Demo:
    """One demo under way: its process, everything it started, and what it said."""

    process: "subprocess.Popen[str]"
    said: Path
    family: set[psutil.Process]

    def look(self) -> str:
        """What it has said so far; remembers its children."""
        try:
            me = psutil.Process(self.process.pid)
            self.family |= {me, *me.children(recursive=True)}
        except psutil.NoSuchProcess:
            pass
        return self.said.read_text()

    def until(self, words: str) -> str:
        """Wait for words in what it says."""
        for _ in range(PATIENCE * 5):
            if words in self.look():
                return self.look()
            assert self.process.poll() is None, self.look()
            time.sleep(0.2)
        raise AssertionError(f"{words!r} was not said:\n{self.look()}")

    def leftovers(self) -> list[str]:
        """Processes of it that are still there."""
        return [str(one) for one in self.family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def start(folder: Path, name: str, *options: str) -> Demo:
    said = folder / f"{name}.txt"
    with said.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "beforehand", "demo", *options],
            cwd=folder,
            env={**os.environ, **HOSTILE, "BEFOREHAND_VAR": str(folder / "var"), "PYTHONPATH": str(ROOT)},
            stdout=out if "--json" not in options else subprocess.PIPE,
            stderr=out,
            text=True,
            start_new_session=True,
        )
    return Demo(process, said, set())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Demo]:
    """A demo that goes on until somebody ends it."""
    demo = start(folder, "running")
    demo.until("Everything stays on this machine")
    yield demo
    if demo.process.poll() is None:
        os.killpg(demo.process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def figures(folder: Path, running: Demo) -> dict[str, Any]:
    """What a second demo, started while the first runs, prints with --once --json."""
    once = start(folder, "once", "--once", "--json")
    out, _ = once.process.communicate(timeout=PATIENCE)
    assert once.process.returncode == 0, once.look() + out
    assert once.leftovers() == []
    printed: dict[str, Any] = json.loads(out)
    return printed


def get(url: str, body: dict[str, Any] | None = None) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    with opener.open(urllib.request.Request(url, data, headers), timeout=20) as answer:
        read = answer.read().decode()
    return json.loads(read) if url.endswith("/filter") else read


def test_the_first_round_does_the_main_job(figures: dict[str, Any]) -> None:
    assert figures["problems"] == []
    assert figures["customers"] >= 2000
    assert figures["orders"] > figures["customers"]
    assert len(figures["rules"]) >= 8
    assert all(rule["matched"] > 0 for rule in figures["rules"].values())
    assert figures["sent"]["total"] > 50
    assert set(figures["sent"]["by_channel"]) == {"sms", "email", "voice"}
    spoken = {language.split("-")[0] for counts in figures["sent"]["by_channel"].values() for language in counts}
    assert {"en", "ar", "zh"} <= spoken
    assert sum(figures["withheld"].values()) > 0
    assert {"first message", "first round", "ready"} <= set(figures["seconds"])


def test_what_is_found_adds_up(figures: dict[str, Any]) -> None:
    for rule_id, rule in figures["rules"].items():
        told = rule["sent"] + rule["waiting"] + sum(rule["withheld"].values())
        assert told >= rule["matched"], f"{rule_id}: {rule} leaves somebody unaccounted for"


def test_two_demos_at_once_do_not_meet(figures: dict[str, Any], running: Demo) -> None:
    said = running.until("The heartbeat goes on")
    for address in figures["addresses"].values():
        assert address not in said.split()


def test_a_demo_that_runs_shows_its_work(running: Demo, figures: dict[str, Any]) -> None:
    said = running.until("The heartbeat goes on")
    words = said.split()
    prefect = next(word for word in words if word.endswith("/v2/dashboard")).removesuffix("/v2/dashboard")
    room = words[words.index("see") + 1]
    assert "<html" in get(room).lower()
    # a port that is taken is told as well: "the pages takes ..."
    pages = next(at for word, at in pairwise(words) if word == "pages" and at.startswith("http"))
    assert json.loads(get(f"{pages}/readyz"))["status"] == "ok"
    entries = json.loads(get(f"{room}/post-room/ledger.json"))["entries"]
    told = [entry for entry in entries if entry["kind"] in ("sms", "voice")]
    assert {entry["callbacks"][-1]["answer"] for entry in told if entry["callbacks"]} == {204}, "we took what was told"
    assert any("/key" in entry["body"] for entry in told if entry["kind"] == "voice"), "a call's words came from us"
    deployments = get(f"{prefect}/api/deployments/filter", {})
    assert {"late-order", "known-issue", "ingest", "dispatch"} <= {one["name"] for one in deployments}
    runs = get(f"{prefect}/api/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}})
    names = [run["name"] for run in runs]
    assert any(name.startswith("late-order · ") and name.endswith(" matched") for name in names), names
    tables = get(f"{prefect}/api/artifacts/filter", {})
    assert "late-order" in {table["key"] for table in tables}
    assert "@" not in str([table["data"] for table in tables]) + str([run["parameters"] for run in runs])


def test_ctrl_c_stops_all_of_it(running: Demo, figures: dict[str, Any]) -> None:
    running.until("The heartbeat goes on")
    assert len(running.family) >= 2
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0, running.look()
    assert "Traceback" not in running.look()
    assert running.leftovers() == []


def test_ctrl_c_while_it_starts_leaves_nothing(folder: Path) -> None:
    demo = start(folder, "interrupted")
    demo.until("Everything stays on this machine")
    time.sleep(3)
    demo.look()
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(60) == 0, demo.look()
    assert "Traceback" not in demo.look()
    assert demo.leftovers() == []


def test_a_killed_demo_takes_its_server_along(folder: Path) -> None:
    demo = start(folder, "killed")
    demo.until("Everything stays on this machine")
    time.sleep(3)
    demo.look()
    assert len(demo.family) >= 2
    demo.process.kill()
    demo.process.wait(10)
    for _ in range(60):
        if not demo.leftovers():
            return
        time.sleep(0.5)
    raise AssertionError(demo.leftovers())
