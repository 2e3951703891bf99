"""What of a status needs a person, and what does not."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from beforehand.status import CallToStaff, Due, Files, Status
from beforehand.surroundings import Disk, PrefectSeen, ProcessSeen, Surroundings
from messaging.held import HeldRunView
from models.vocabulary import BrakeLimit, HeldState

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
API = "http://127.0.0.1:4200/api"
LEADER = ProcessSeen("a-1-x", "a", "1.0", {"worker": {"state": "well"}}, "r", NOON, NOON, 3, silent=False, leads=True)
SECOND = replace(LEADER, boot="b-2-y", host="b", leads=False)
AROUND = Surroundings([LEADER, SECOND], [Disk("VAR", "var", 50 * 10**9, 100 * 10**9)], PrefectSeen(API, True, 0.2), 1)
WELL = Status(NOON, "a-1-x", [], Files(), None, {"queued": 3}, due=Due(3, NOON - timedelta(minutes=1)), around=AROUND)
NOTHING: dict[str, Any] = dict.fromkeys(field.name for field in fields(HeldRunView))
RUN = HeldRunView(
    **NOTHING
    | {"id": 7, "rule_id": "late-order", "why": BrakeLimit.RULE, "most": 100, "count": 900, "customers": 900}
    | {"state": HeldState.WAITING, "held_at": NOON, "expires_at": NOON + timedelta(days=1)}
)


def around(**changed: Any) -> Status:
    return replace(WELL, around=replace(AROUND, **changed))


def test_a_house_that_is_well_needs_nobody() -> None:
    assert WELL.findings == []
    assert WELL.as_json()["findings"] == []
    nobody = Status(NOON, None, [], Files(), None, {})
    assert nobody.findings == [], "that none runs is no fault by itself"


@pytest.mark.parametrize(
    ("status", "what", "said"),
    [
        (around(processes=[LEADER, replace(SECOND, silent=True)]), "process", "last seen"),
        (around(processes=[replace(LEADER, parts={"worker": {"state": "down"}})]), "process", "worker (down)"),
        (around(processes=[SECOND]), "heartbeat", "no process does"),
        (around(processes=[LEADER, replace(SECOND, version="1.1")]), "versions", "1.0, 1.1"),
        (around(processes=[replace(LEADER, ahead_ms=-4000)]), "clock", "-4.0 s off the database's"),
        (around(prefect=PrefectSeen(API, up=False)), "prefect", "does not answer"),
        (around(prefect=PrefectSeen(API, True, 9.0)), "clock", "+9.0 s off the Prefect server's"),
        (around(disks=[Disk("VAR", "var", 10**8, 10**12)]), "disk", "0.1 of 1000 GB"),
        (replace(WELL, due=Due(3, NOON - timedelta(minutes=11))), "due", "3 messages are due"),
        (replace(WELL, held_since=NOON), "restore", "everything is held"),
        (replace(WELL, held_runs=[RUN]), "held run 7", "900 where 100"),
        (replace(WELL, calls=[CallToStaff("part:web@a", "it died", NOON)]), "part:web@a", "it died"),
        (replace(WELL, files=Files(problems=["x"])), "rules", "refused"),
    ],
)
def test_each_thing_that_needs_a_person_is_said_with_what_to_do(status: Status, what: str, said: str) -> None:
    (finding,) = status.findings
    assert (finding.what, said in finding.said, bool(finding.do)) == (what, True, True), finding


def test_what_a_person_has_stopped_is_not_late() -> None:
    late = replace(WELL, due=Due(3, NOON - timedelta(hours=1)))
    (one,) = replace(late, stopped={"all": "anna"}).findings
    assert (one.what, "all is stopped, by anna" in one.said) == ("stopped", True), "but nobody shall forget it"


def test_a_run_that_is_approved_needs_nobody() -> None:
    assert replace(WELL, held_runs=[replace(RUN, state="going")]).findings == []
