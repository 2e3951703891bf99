"""`beforehand up`, `down`, `status` and `doctor` as whoever is on duty uses them."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.houses import Up, beforehand, get, settings_in, until

QUICK = ("web", "dispatcher", "heartbeat")
"""The parts that need no Prefect server: up within seconds."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Up]]:
    made: list[Up] = []
    yield made
    for one in made:
        one.close()


def test_up_status_doctor_and_down_without_a_server(tmp_path: Path, started: list[Up]) -> None:
    settings = settings_in(tmp_path, BEFOREHAND_LOG_FORMAT="json")
    up = Up(settings, QUICK)
    started.append(up)
    up.ready()
    (code, told) = get(f"{up.staff}/readyz")
    assert (code, sorted(told["parts"])) == (200, ["dispatcher", "heartbeat", "post_room", "staff", "web"])
    until(lambda: '"holds": true' in _status(settings), 15, "the row of the process")
    status = json.loads(beforehand(settings, "status", "--json").stdout)
    (process,) = status["around"]["processes"]
    assert (process["leads"], process["silent"], process["version"]) == (True, False, "0.1.0")
    assert {part["state"] for part in process["parts"].values()} == {"well"}
    assert [finding["what"] for finding in status["findings"]] == ["prefect"], "no server runs, and that is told"
    doctor = json.loads(beforehand(settings, "doctor", "--json").stdout)
    said = {check["what"]: check["verdict"] for check in doctor["checks"]}
    assert (said["public address"], said["rows"], said["Prefect"]) == ("ok", "ok", "wrong")
    down = beforehand(settings, "down", "--json")
    assert (down.returncode, json.loads(down.stdout)["down"]) == (0, True), down.stdout
    assert (up.process.wait(10), up.ports()) == (0, [])
    assert beforehand(settings, "down").returncode == 1, "none runs any more"
    after = json.loads(beforehand(settings, "status", "--json").stdout)
    assert (after["running"], after["around"]["processes"]) == (None, []), "it took its lease and its row with it"
    lines = [json.loads(line) for line in (up.var / "house.log").read_text(encoding="utf-8").splitlines()]
    assert {"time", "level", "logger", "process", "message"} <= lines[0].keys()
    assert all(line["message"] and line["process"] == process["boot"] for line in lines)


def _status(settings: dict[str, str]) -> str:
    told = json.loads(beforehand(settings, "status", "--json").stdout)
    return json.dumps({"holds": any(one["leads"] for one in told["around"]["processes"])})


def test_a_second_house_in_the_same_var_is_refused_in_a_sentence(tmp_path: Path) -> None:
    from beforehand.runtime.run_file import RunFile, told_of

    settings = settings_in(tmp_path)
    file = RunFile(
        Path(settings["BEFOREHAND_VAR"]), told_of("x-1-y", ["prefect"], own_server=True, started_at="", staff="")
    )
    second = beforehand(settings, "up")
    file.close()
    assert second.returncode == 1
    assert "A house runs here already" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_part_that_is_none_is_refused(tmp_path: Path) -> None:
    assert beforehand(settings_in(tmp_path), "up", "--only", "kitchen").returncode == 2
    assert beforehand(settings_in(tmp_path), "up", "--only", "staff").returncode == 2


@pytest.mark.prove
def test_a_killed_server_comes_back_and_takes_nothing_with_it(tmp_path: Path, started: list[Up]) -> None:
    settings = settings_in(tmp_path)
    up = Up(settings)
    started.append(up)
    up.ready(180)
    (server,) = [one for one in up.children() if "flows.server" in one.cmdline()]
    server.kill()
    until(lambda: get(f"{up.staff}/readyz")[0] == 503, 15, "the death shows")
    assert get(f"{up.staff}/healthz")[0] == 200
    until(lambda: "part:prefect" in beforehand(settings, "status").stdout, 30, "a word to staff")
    parts = get(f"{up.staff}/readyz")[1]["parts"]
    assert {name for name, part in parts.items() if part.get("deaths")} == {"prefect"}, "no other part died with it"
    up.ready(120)
    until(lambda: "part:prefect" not in beforehand(settings, "status").stdout, 30, "the word is taken back")
    assert get(f"{up.staff}/readyz")[1]["parts"]["prefect"]["deaths"] == 1
    _nothing_left(up, signal.SIGTERM)


@pytest.mark.prove
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(which: signal.Signals, tmp_path: Path, started: list[Up]) -> None:
    up = Up(settings_in(tmp_path))
    started.append(up)
    up.ready(180)
    _nothing_left(up, which)


@pytest.mark.prove
def test_a_second_signal_ends_it_at_once(tmp_path: Path, started: list[Up]) -> None:
    up = Up(settings_in(tmp_path))
    started.append(up)
    up.ready(180)
    family = up.children()
    up.signal(signal.SIGTERM)
    time.sleep(0.3)  # two of a kind that nobody has taken yet are one
    up.signal(signal.SIGTERM)
    assert up.ended(5) < 2
    until(lambda: not [one for one in family if _lives(one)], 5, "the server goes with it")


def _nothing_left(up: Up, which: signal.Signals) -> None:
    family = up.children()
    assert family
    up.signal(which)
    seconds = up.ended(30)
    print(f"{which.name}: the process ended in {seconds:.1f} s")
    until(lambda: not [one for one in family if _lives(one)], 12, "no child is left")
    assert up.ports() == []
    if which is not signal.SIGKILL:
        assert up.process.returncode == 0


def _lives(one: psutil.Process) -> bool:
    return bool(one.is_running()) and one.status() != psutil.STATUS_ZOMBIE
