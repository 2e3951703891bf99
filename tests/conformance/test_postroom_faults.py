"""Faults on purpose: how each looks to a client, and whether the message is on record behind it."""

import smtplib
import time
from collections.abc import Callable

import httpx
import pytest

from beforehand.web.postroom import Fault, PostRoom
from tests.conformance.postroom_tools import ANNA, OURS, QUICK, SARA


def _post(room: PostRoom, to: str = ANNA, timeout: float = 5) -> httpx.Response:
    url = f"{room.http_url}/2010-04-01/Accounts/{room.account_sid}/Messages.json"
    form = {"To": to, "From": OURS, "Body": "x"}
    return httpx.post(url, data=form, auth=(room.account_sid, room.auth_token), timeout=timeout)


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize(("what", "status"), [("error", 500), ("busy", 429)])
def test_an_error_answer_may_hide_an_accepted_message(what: str, status: int, accepted: bool) -> None:
    with PostRoom(pace=QUICK, faults=[Fault("messages", what, accepted=accepted)]) as room:
        answer = _post(room)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers.get("Retry-After") == ("1" if status == 429 else None)
        assert len(room.ledger) == accepted
        assert _post(room).status_code == 201


@pytest.mark.parametrize("what", ["truncate", "drop"])
@pytest.mark.parametrize("accepted", [False, True])
def test_an_answer_can_be_lost_on_its_way(what: str, accepted: bool) -> None:
    with PostRoom(pace=QUICK, faults=[Fault("messages", what, accepted=accepted)]) as room:
        with pytest.raises(httpx.RemoteProtocolError):
            _post(room)
        assert len(room.ledger) == accepted


def test_a_hang_is_a_hang_and_others_are_served_meanwhile() -> None:
    with PostRoom(pace=QUICK, faults=[Fault("messages", "hang", to=ANNA, accepted=True)]) as room:
        with pytest.raises(httpx.ReadTimeout):
            _post(room, timeout=0.3)
        assert _post(room, SARA).status_code == 201
        assert [entry.to for entry in room.entries] == [ANNA, SARA]


def test_a_fault_happens_as_often_as_planned_and_to_whom() -> None:
    with PostRoom(pace=QUICK, faults=[Fault("messages", "error", times=2, to=ANNA)]) as room:
        assert [_post(room, to).status_code for to in (SARA, ANNA, ANNA, ANNA)] == [201, 500, 500, 201]
        room.faults.add(Fault("messages", "busy"))
        assert [_post(room).status_code for _ in range(2)] == [429, 201]


def _send(room: PostRoom, timeout: float = 5) -> None:
    with smtplib.SMTP("127.0.0.1", room.smtp_port, timeout=timeout) as smtp:
        smtp.sendmail("a@example.com", ["b@example.com"], "Subject: x\r\n\r\nx")


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize(
    ("what", "sees", "check"),
    [
        ("error", smtplib.SMTPDataError, lambda wrong: wrong.smtp_code == 554),
        ("busy", smtplib.SMTPDataError, lambda wrong: wrong.smtp_code == 451),
        ("drop", smtplib.SMTPServerDisconnected, bool),
        ("hang", OSError, bool),
    ],
)
def test_mail_fails_after_its_dot(
    what: str, sees: type[Exception], check: Callable[[Exception], bool], accepted: bool
) -> None:
    with PostRoom(pace=QUICK, faults=[Fault("mail", what, accepted=accepted, seconds=30)]) as room:
        begun = time.monotonic()
        with pytest.raises(sees) as wrong:
            _send(room, timeout=0.3)
        assert check(wrong.value)
        assert time.monotonic() - begun < 15
        assert len(room.ledger) == accepted
        _send(room)
        assert len(room.wait_for(1 + accepted)) == 1 + accepted
