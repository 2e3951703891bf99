"""The parts around the flows that need no server: environment, names, slots, plain errors, process names."""

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from beforehand.passes.outcome import Outcome
from flows.boot import earlier_life, gone_here, new_boot
from flows.environment import (
    drop_proxies,
    existing_api,
    guest_environment,
    prefect_environment,
    put_in_place,
    ui_of,
    ui_url,
)
from flows.failure import FlowError, plainly
from flows.shown import Sent, late_name, pass_rows
from flows.slots import grace, slots
from models.vocabulary import REASON_TEXT, Reason


class Figures:
    matched = 1200
    customers = 1100
    planned = 1000
    withheld = {Reason.NO_CONSENT: 3, Reason.CAP: 7}  # noqa: RUF012 - a figure, not a default
    tasks = 2
    skipped = False
    sent = 900
    failed = 1
    unknown = 0


def test_prefect_gets_our_environment_and_nothing_of_the_users() -> None:
    theirs = {"PREFECT_API_URL": "https://cloud", "prefect_api_key": "k", "HOME": "/home/x", "NO_PROXY": "corp.example"}
    put_in_place(prefect_environment(Path("var/prefect"), 4201), theirs)
    assert theirs["PREFECT_API_URL"] == "http://127.0.0.1:4201/api"
    assert "prefect_api_key" not in theirs
    assert theirs["HOME"] == "/home/x"
    assert theirs["NO_PROXY"] == "corp.example,127.0.0.1,localhost,::1"
    assert "127.0.0.1" in theirs["no_proxy"]
    assert theirs["DO_NOT_TRACK"] == "1"
    assert theirs["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert Path(theirs["PREFECT_HOME"]).is_absolute()


def test_with_a_server_that_runs_already_only_what_opens_it_comes_through() -> None:
    theirs = {
        "PREFECT_API_URL": "http://prefect:4200/api/",
        "PREFECT_API_AUTH_STRING": "user:password",
        "PREFECT_API_KEY": "",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
    }
    api = existing_api("", theirs)
    assert api == "http://prefect:4200/api"
    put_in_place(guest_environment(Path("var/prefect-client"), api, theirs), theirs)
    assert theirs["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert theirs["PREFECT_API_AUTH_STRING"] == "user:password"
    assert "PREFECT_API_KEY" not in theirs, "an empty one is none"
    assert "PREFECT_LOGGING_LEVEL" not in theirs
    assert not [name for name in theirs if name.startswith("PREFECT_SERVER_")], "that server is not ours to set up"
    assert ui_of(api, "deployments") == "http://prefect:4200/v2/deployments"


def test_the_setting_goes_before_the_environment_and_without_both_the_server_is_ours() -> None:
    assert existing_api("http://a/api", {"PREFECT_API_URL": "http://b/api"}) == "http://a/api"
    assert existing_api("", {}) == ""


def test_proxies_of_every_spelling_are_dropped() -> None:
    theirs = {"HTTP_PROXY": "a", "https_proxy": "b", "ALL_PROXY": "socks5://c", "PATH": "/bin"}
    drop_proxies(theirs)
    assert theirs == {"PATH": "/bin"}


def test_links_open_the_ui_that_is_shown() -> None:
    assert ui_url(4200, "deployments") == "http://127.0.0.1:4200/v2/deployments"


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (timedelta(minutes=16), "late-order · skipped, 16 min late"),
        (timedelta(hours=2, minutes=59), "late-order · skipped, 2 h late"),
    ],
)
def test_a_late_run_says_how_late(late: timedelta, said: str) -> None:
    assert late_name("late-order", late) == said


def test_the_table_of_a_pass_names_every_reason() -> None:
    became = Outcome(sent=900, waiting=90, failed=1, unknown=2, withheld={Reason.QUIET_HOURS: 7})
    rows = pass_rows(Figures(), became)
    told = [(row["what"], row["how many"]) for row in rows]
    assert told == [
        ("matched", 1200),
        ("withheld", 7),
        ("withheld", 3),
        ("planned", 1000),
        ("tasks", 2),
        ("sent", 900),
        ("failed", 1),
        ("unknown", 2),
        ("waiting", 90),
        ("held back at the last look", 7),
    ]
    assert rows[1]["note"] == REASON_TEXT[Reason.CAP]


def test_dispatches_add_up() -> None:
    total = Sent()
    assert total.add(Figures()) == 901
    total.add(Figures())
    assert (total.sent, total.withheld[Reason.CAP]) == (1800, 14)


async def test_slots_follow_the_clock_on_the_wall() -> None:
    """Berlin's clocks went forward on 29 March 2026: nine o'clock is an hour earlier in UTC from then on."""
    found = await slots(
        ["0 9 * * *"],
        "Europe/Berlin",
        after=datetime(2026, 3, 28, 0, tzinfo=UTC),
        until=datetime(2026, 3, 29, 23, tzinfo=UTC),
    )
    assert found == [datetime(2026, 3, 28, 8, tzinfo=UTC), datetime(2026, 3, 29, 7, tzinfo=UTC)]
    assert {type(one) for one in found} == {datetime}


async def test_slots_of_several_lines_come_once_and_in_order() -> None:
    ten = datetime(2026, 3, 10, 10, 0, tzinfo=UTC)
    found = await slots(["0 * * * *", "*/30 * * * *"], "UTC", after=ten, until=ten + timedelta(hours=1))
    assert found == [ten + timedelta(minutes=30), ten + timedelta(hours=1)], "the start is not in it, the end is"


@pytest.mark.parametrize(
    ("crons", "minutes"), [(["*/15 * * * *"], 15), (["0 9 * * 1"], 60), (["0 * * * *", "20 * * * *"], 20)]
)
async def test_the_grace_ends_with_the_next_slot_or_after_an_hour(crons: list[str], minutes: int) -> None:
    monday_nine = datetime(2026, 3, 9, 9, 0, tzinfo=UTC)
    assert await grace(crons, "UTC", monday_nine) == timedelta(minutes=minutes)


async def test_an_error_keeps_its_kind_and_place_and_loses_its_data() -> None:
    async def work() -> None:
        raise KeyError("anna@example.com")

    with pytest.raises(FlowError) as caught:
        await plainly("late-order", work())
    assert str(caught.value).startswith("late-order: KeyError at tests/unit/test_flow_parts.py:")
    assert caught.value.__context__ is None, "Prefect would print it"


async def test_a_value_comes_through() -> None:
    async def work() -> int:
        return 7

    assert await plainly("late-order", work()) == 7


def test_a_process_knows_the_dead_by_their_names() -> None:
    boot = new_boot()
    assert not gone_here(boot)
    assert gone_here(f"{socket.gethostname()}-4194303-abcd1234")
    assert not gone_here("another-machine-4194303-abcd1234"), "only its heartbeat tells"
    assert not gone_here("odd")
    assert earlier_life(f"{socket.gethostname()}-{os.getpid()}-00000000", boot)
    assert not earlier_life(boot, boot)
