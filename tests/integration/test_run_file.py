"""Which houses run with a VAR: what holds a lock, and nothing else."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from beforehand.runtime.run_file import AlreadyRunning, RunFile, running, told_of
from beforehand.runtime.stopping import stop_houses

ROOT = Path(__file__).resolve().parents[2]

HOLDS = """
import signal, sys, time
from pathlib import Path
from beforehand.runtime.run_file import RunFile, told_of
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
told = told_of("host-1-" + sys.argv[2], ["worker"], own_server=False, started_at="", staff="")
file = RunFile(Path(sys.argv[1]), told)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    started: list[subprocess.Popen[str]] = []

    def go(name: str) -> "subprocess.Popen[str]":
        one = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(tmp_path), name], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        started.append(one)
        assert one.stdout
        assert one.stdout.readline() == "ready\n"
        return one

    yield go
    for one in started:
        one.kill()
        one.wait()
        assert one.stdout
        one.stdout.close()


def test_a_file_without_its_process_is_no_house(tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    one = start("a")
    assert [found.pid for found in running(tmp_path)] == [one.pid]
    one.send_signal(signal.SIGKILL)
    one.wait()
    assert list((tmp_path / "run").glob("*.json")), "it had no time to take its file away"
    assert running(tmp_path) == []
    assert list((tmp_path / "run").glob("*.json")) == []


def test_down_stops_all_of_them_and_says_who(tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    pids = {start(name).pid for name in ("a", "b")}
    said: list[str] = []
    report = stop_houses(tmp_path, 10, said.append)
    assert (report.is_down, {one.pid for one in report.gone}) == (True, pids)
    assert all(any(str(pid) in line for line in said) for pid in pids)
    assert not stop_houses(tmp_path, 10, said.append).found


def test_down_does_not_claim_what_did_not_happen(tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    deaf = start("deaf")
    report = stop_houses(tmp_path, 0.5, lambda _: None)
    assert (report.is_down, [one.pid for one in report.left]) == (False, [deaf.pid])


def test_a_process_of_another_machine_is_not_signalled(tmp_path: Path, start) -> None:  # type: ignore[no-untyped-def]
    one = start("a")
    path = tmp_path / "run" / "host-1-a.json"
    with path.open("r+", encoding="utf-8") as file:
        told = json.load(file) | {"machine": "another"}
        file.seek(0)
        file.truncate()
        json.dump(told, file)
    report = stop_houses(tmp_path, 0.3, lambda _: None)
    assert (report.is_down, [each.pid for each in report.elsewhere]) == (False, [one.pid])
    assert one.poll() is None


def test_two_servers_of_their_own_in_one_var_are_refused(tmp_path: Path) -> None:
    mine = told_of("host-1-a", ["prefect"], own_server=True, started_at="", staff="")
    file = RunFile(tmp_path, mine)
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()} on"):
        RunFile(tmp_path, replace(mine, boot="host-2-b"))
    RunFile(tmp_path, replace(mine, boot="host-3-c", own_server=False)).close()
    file.close()
    RunFile(tmp_path, replace(mine, boot="host-4-d")).close()
