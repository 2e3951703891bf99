"""The ledger: each accepted message is one entry, through restarts, torn lines, threads and a killed process."""

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from beforehand.web.postroom import Entry, Ledger, PostRoom
from models.vocabulary import Channel
from tests.conformance.postroom_tools import ANNA, OURS, QUICK, SARA, listening, official

NOW = datetime(2026, 3, 10, 10, tzinfo=UTC)


def _add(ledger: Ledger, sid: str, body: str = "x", direction: str = "outbound-api") -> Entry:
    ours, theirs = (ANNA, OURS) if direction == "inbound" else (OURS, ANNA)
    return ledger.add(
        kind=Channel.SMS, direction=direction, sid=sid, to=theirs, from_=ours, body=body, at=NOW, status="queued"
    )


def test_a_new_ledger_on_the_same_file_knows_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "var" / "post-room.jsonl"
    first = Ledger(path)
    _add(first, "SM1", "مرحبا\n\u2028\x85 end")
    _add(first, "SM2")
    first.status("SM1", "sent", NOW)
    first.note("SM2", "a note")
    _add(first, "SM3", "STOP", "inbound")
    first.close()
    second = Ledger(path)
    assert second.entries == first.entries
    assert second.stopped(OURS, ANNA)
    assert _add(second, "SM4").n == 4


def test_the_file_has_one_entry_line_for_each_message_before_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    _add(ledger, "SM1")
    [line] = path.read_text(encoding="utf-8").splitlines()
    assert Entry.from_json({k: v for k, v in json.loads(line).items() if k != "record"}) == ledger.get("SM1")


def test_a_line_torn_by_a_kill_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path)
    _add(first, "SM1")
    _add(first, "SM2")
    first.close()
    path.write_bytes(path.read_bytes()[:-20])
    second = Ledger(path)
    _add(second, "SM3")
    second.close()
    assert [entry.sid for entry in Ledger(path)] == ["SM1", "SM3"]


def test_emptied_means_emptied_after_a_restart_too(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path)
    _add(first, "SM1")
    _add(first, "SM2", "STOP", "inbound")
    first.clear(NOW)
    assert (len(first), first.stopped(OURS, ANNA), _add(first, "SM3").n) == (0, False, 3)
    first.close()
    second = Ledger(path)
    assert [(entry.sid, entry.n) for entry in second] == [("SM3", 3)]
    assert second.by_number(1) is None
    assert second.by_number(3) == second.get("SM3")


def test_what_is_after_a_number_comes_in_order(tmp_path: Path) -> None:
    ledger = Ledger()
    for n in range(5):
        _add(ledger, f"SM{n}")
    assert [entry.n for entry in ledger.after(2)] == [3, 4, 5]
    assert [entry.n for entry in ledger.after(0, 2)] == [1, 2]
    assert ledger.after(5) == []
    assert ledger.after(99) == []
    assert ledger.entries == ledger.entries


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")

    def work(name: int) -> None:
        for n in range(200):
            _add(ledger, f"SM{name}-{n}")
            ledger.status(f"SM{name}-{n}", "sent", NOW)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.n for entry in ledger] == list(range(1, 1001))
    ledger.close()
    assert Ledger(tmp_path / "ledger.jsonl").entries == ledger.entries


def test_waiting_in_vain_says_how_many_came() -> None:
    ledger = Ledger()
    _add(ledger, "SM1")
    with pytest.raises(TimeoutError, match="1 of 2 messages"):
        ledger.wait_for(2, timeout=0.05)


def test_what_was_half_way_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with listening() as ear:
        ledger = Ledger(path)
        ledger.add(
            kind=Channel.SMS, direction="outbound-api", sid="SM1", to=ANNA, from_=OURS, body="x", at=NOW,
            status="queued", options={"StatusCallback": ear.url},
        )  # fmt: skip
        ledger.status("SM1", "sent", NOW)
        ledger.close()
        with PostRoom(path=path, pace=QUICK) as room:
            assert [entry.status for entry in room.wait_final(1)] == ["delivered"]
            assert [one.form["MessageStatus"] for one in ear.wait_for(2)] == ["sent", "delivered"]


def test_the_ledger_is_read_and_emptied_over_http() -> None:
    with PostRoom(pace=QUICK) as room:
        for body in ("one", "two", "three"):
            official(room).messages.create(to=ANNA, from_=OURS, body=body)
        url = room.http_url + "/post-room/ledger"
        read = httpx.get(url + ".json", params={"after": 1, "limit": 1}).json()
        assert [entry["body"] for entry in read["entries"]] == ["two"]
        assert (read["last"], read["count"]) == (3, 3)
        again = [httpx.get(url + ".json").json()["entries"] for _ in range(2)]
        assert [len(entries) for entries in again] == [3, 3]
        assert httpx.get(room.http_url + "/health").json() == {"status": "ok", "messages": 3}
        assert httpx.delete(url).json() == {"removed": 3}
        assert httpx.get(url + ".json").json()["entries"] == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_process_stops_cleanly_and_what_it_accepted_is_on_record(tmp_path: Path, how: signal.Signals) -> None:
    code = (
        "import sys; from beforehand.settings import Settings; from beforehand.web.postroom import run;"
        "run(Settings(_env_file=None, var=sys.argv[1], post_room_port=0, post_room_smtp_port=0),"
        "started=lambda room: print(room.http_url, flush=True))"
    )
    env = {**os.environ, "BEFOREHAND_TWILIO_AUTH_TOKEN": "t0ken"}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    url, account = process.stdout.readline().strip(), "AC" + "0" * 32
    form = {"To": SARA, "From": OURS, "Body": "x"}
    path = f"{url}/2010-04-01/Accounts/{account}/Messages.json"
    made = httpx.post(path, data=form, auth=(account, "t0ken"), timeout=30)
    process.send_signal(how)
    code_out = process.wait(60)
    process.stdout.close()
    assert code_out == (0 if how is not signal.SIGKILL else -signal.SIGKILL)
    assert [entry.sid for entry in Ledger(tmp_path / "post-room.jsonl")] == [made.json()["sid"]]
