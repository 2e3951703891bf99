"""Trial mode: the guest list only, whatever the rules say. A run that looks live connects to nobody else.

What the run speaks to is noted twice: by Python's own audit events, and (where strace is installed) by the kernel.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from socket import gethostname
from typing import Any

import pytest

from beforehand import ROOT
from beforehand.web.postroom.server import PostRoom

STRACE = shutil.which("strace")
ADDRESS = re.compile(r'sin_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
HERE = re.compile(r"127\.|::1$|::ffff:127\.")


def off_this_machine(seen: list[list[str]]) -> list[list[str]]:
    """What led elsewhere: any name but this machine's (smtplib says who calls), any address but its own."""
    own = re.compile(rf"'(localhost|127\.[\d.]+|::1|/[^']*|{re.escape(gethostname())})'")
    return [one for one in seen if not own.search(one[1])]


@dataclass(frozen=True)
class Trial:
    """What the run noted, who was reached, and the addresses that the kernel saw (None: strace is not here)."""

    noted: dict[str, Any]
    reached: set[str]
    kernel: list[str] | None


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """One run, without a guest and then with some. The post room stands for the providers of the second part."""
    folder, kernel = tmp_path_factory.mktemp("trial"), None
    command, trace = [sys.executable, "-m", "tests.delivery.trial_run", str(folder)], folder / "trace"
    if STRACE:
        calls = "trace=connect,sendto,sendmsg,sendmmsg"
        command = [STRACE, "-f", "-qq", "--seccomp-bpf", "-e", calls, "-o", str(trace), *command]
    with PostRoom() as room:
        here = {"twilio_base_url": room.http_url, "smtp_host": room.host, "smtp_port": room.smtp_port}
        mine = {"twilio_account_sid": room.account_sid, "twilio_auth_token": room.auth_token, "smtp_user": ""}
        (folder / "more.json").write_text(json.dumps({**here, **mine, "smtp_starttls": False}))
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
        assert done.returncode == 0, done.stderr[-2000:]
        reached = {entry.to.lower() for entry in room.entries}
    if STRACE:
        kernel = [first or second for first, second in ADDRESS.findall(trace.read_text())]
    return Trial(json.loads((folder / "seen.json").read_text()), reached, kernel)


def test_a_run_that_looks_live_makes_no_connection_and_looks_up_no_name(trial: Trial) -> None:
    assert trial.noted["before"] > 20  # there was somebody to reach
    assert trial.noted["calls"] > 100
    found = trial.noted["nobody"]
    assert found["seen"] == []
    assert {state.split()[0] for state in found["states"]} <= {
        "suppressed",
        "expired",
        "cancelled",
        "planned",
        "queued",
    }
    assert found["states"]["suppressed not_on_guest_list"] > 15
    assert set(found["webhooks"]) == {"withheld"}


def test_only_the_guests_are_reached(trial: Trial) -> None:
    found, guests = trial.noted["some"], {address.lower() for address in trial.noted["guests"]}
    assert len(guests) == 4
    assert trial.reached  # the very same run does send, where it may
    assert trial.reached <= guests
    assert {"@" in address for address in trial.reached} == {True, False}
    assert found["seen"]
    assert off_this_machine(found["seen"]) == []
    assert set(found["webhooks"]) == {"withheld"}


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_the_kernel_saw_nothing_leave(trial: Trial) -> None:
    assert trial.kernel  # it did see what the guests got
    assert [address for address in trial.kernel if not HERE.match(address)] == []


def test_the_judge_knows_what_leads_elsewhere() -> None:
    elsewhere = [["socket.connect", "('93.184.215.14', 443)"], ["socket.getaddrinfo", "'api.twilio.com'"]]
    here = [["socket.connect", "('127.0.0.1', 8025)"], ["socket.connect", "'/run/x'"], ["socket.getaddrinfo", "'::1'"]]
    assert off_this_machine(elsewhere + here) == elsewhere
    line = 'connect(5, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.2")}, 16) = 0'
    assert ADDRESS.findall(line) == [("10.0.0.2", "")]
