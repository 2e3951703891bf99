"""The window of a held run on a real Prefect server: it opens, asks again, is opened anew when lost, and closes."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import Engine

from beforehand.approving import NotAllowed, answer, held_run
from beforehand.passes import run_rule
from models.vocabulary import HeldState
from tests.deciding import NOON, House
from tests.integration.test_worker import line_up, server, until, worker

__all__ = ["server", "worker"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOMENTS = (NOON + timedelta(seconds=n) for n in count())
"""When runs are held, each at another moment: all are number 1 of their database, and they share a Prefect server."""


@pytest_asyncio.fixture(loop_scope="module")
async def asked(server: str, worker: Any, sqlite_engine: Engine, tmp_path: Path) -> AsyncIterator[House]:
    """A house with one held run, in the hands of the flows, and its deployments in line."""
    from flows.hands import hold, of_app

    house = House(sqlite_engine, tmp_path, {"canary": 2, "quiet_hours": {}})
    house.template()
    house.rule(limits="{once_per: customer, brake: 20% of customers}")
    for _ in range(10):
        house.customer(first_name="Wilhelmina")
    run_rule(house.app, "hello", next(MOMENTS))
    hold(of_app(house.app))
    await line_up()
    yield house


async def windows(house: House) -> str:
    """Bring the windows in line, as the heartbeat does; gives the one of the only held run."""
    from flows.asking import keep_windows

    await keep_windows(house.app)
    return held_run(house.app, 1).asked_in or ""


async def suspended(window: str) -> Any:
    """The run once it waits for somebody, and its form is there: Prefect keeps it a moment after the state."""
    return await until(lambda: _asks(window), seconds=30)


async def _asks(window: str) -> Any:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    run = await _in_state(window, "Suspended")
    if run is None:
        return None
    try:
        async with get_client() as client:
            await client.read_flow_run_input(UUID(window), run.state.state_details.run_input_keyset["description"])
    except PrefectHTTPStatusError:
        return None
    return run


async def _in_state(window: str, name: str) -> Any:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        run = await client.read_flow_run(UUID(window))
    return run if run.state and run.state.name == name else None


async def form_of(window: str) -> str:
    """What the form of a suspended run shows, as its schema has it."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        state = (await suspended(window)).state
        found = await client.read_flow_run_input(UUID(window), state.state_details.run_input_keyset["description"])
    return str(found)


async def say(window: str, decision: str, name: str) -> None:
    """Fill in the form and press Resume."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        given = {"decision": decision, "your_name": name, "because": "I looked at it"}
        await client.resume_flow_run(UUID(window), run_input=given)


async def test_a_second_person_approves_in_the_window(asked: House) -> None:
    window = await windows(asked)
    shown = await form_of(window)
    for words in ("hello", "10 customers", "second"):
        assert words in shown
    assert "Wilhelmina" not in shown, "nobody can be told from what Prefect keeps"
    assert await windows(asked) == window, "one window a run"
    await say(window, "approve", "eva@example.com")
    run = await until(lambda: _in_state(window, "Answered"), seconds=30)
    assert "hello" in run.state.message
    assert (held_run(asked.app, 1).state, held_run(asked.app, 1).decided_by) == (HeldState.CANARY, "eva@example.com")
    assert await windows(asked) == "", "nobody is asked any more"


async def test_the_author_is_asked_again(asked: House) -> None:
    from sqlalchemy import text

    with asked.app.engine.begin() as connection:
        connection.execute(text("UPDATE held_run SET author = 'Mara <mara@example.com>'"))
    window = await windows(asked)
    await suspended(window)
    await say(window, "approve", "mara@example.com")
    shown = await until(lambda: _shown_again(window), seconds=30)
    assert "a second person must approve it" in shown
    assert held_run(asked.app, 1).state is HeldState.WAITING
    await say(window, "refuse", "eva")
    await until(lambda: _in_state(window, "Answered"), seconds=30)
    assert held_run(asked.app, 1).state is HeldState.REFUSED


async def _shown_again(window: str) -> str:
    shown = await form_of(window) if await _in_state(window, "Suspended") else ""
    return shown if "Not taken" in shown else ""


async def test_a_lost_window_is_opened_anew_and_one_answered_elsewhere_is_closed(asked: House) -> None:
    from prefect.client.orchestration import get_client

    first = await windows(asked)
    await suspended(first)
    async with get_client() as client:
        await client.delete_flow_run(UUID(first))
    second = await windows(asked)
    assert second not in ("", first)
    await suspended(second)
    answer(asked.app, 1, approve=False, by="eva", via="cli", now=NOON)
    assert await windows(asked) == ""
    assert await _in_state(second, "Answered elsewhere")


async def test_an_answer_that_did_not_count_is_not_read_again(asked: House) -> None:
    """Prefect runs the flow from the top after each answer: what was said first must not speak for others."""
    window = await windows(asked)
    await suspended(window)
    (asked.folder / "templates" / "hello" / "sms.en.txt").write_text("Something else.\n")
    await say(window, "approve", "eva@example.com")
    shown = await until(lambda: _shown_again(window), seconds=30)
    assert "look again" in shown
    assert "Something else." in shown
    await say(window, "refuse", "tom@example.com")
    await until(lambda: _in_state(window, "Answered"), seconds=30)
    run = held_run(asked.app, 1)
    assert (run.state, run.decided_by) == (HeldState.REFUSED, "tom@example.com")


async def test_a_form_that_shows_old_texts_approves_nothing(asked: House) -> None:
    """Somebody looked again elsewhere, and the row has the new texts; whoever has the form open has not seen them."""
    window = await windows(asked)
    await suspended(window)
    (asked.folder / "templates" / "hello" / "sms.en.txt").write_text("Something else.\n")
    with pytest.raises(NotAllowed, match="look again"):
        answer(asked.app, 1, approve=True, by="eva", via="cli", now=NOON)
    await say(window, "approve", "bob@example.com")
    shown = await until(lambda: _shown_again(window), seconds=30)
    assert "Something else." in shown
    assert held_run(asked.app, 1).state is HeldState.WAITING
    await say(window, "approve", "bob@example.com")
    await until(lambda: _in_state(window, "Answered"), seconds=30)
    assert held_run(asked.app, 1).decided_by == "bob@example.com"


async def test_a_flow_run_that_is_run_once_more_gives_no_answer_twice(
    asked: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """*Retry* in Prefect's UI runs the same flow run again, with all that was said to it."""

    def broken(*_: Any) -> None:
        raise ValueError("a row that cannot be")

    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled
    from sqlalchemy import text

    with asked.app.engine.begin() as connection:
        connection.execute(text("UPDATE held_run SET author = 'Mara <mara@example.com>'"))
    window = await windows(asked)
    await suspended(window)
    with monkeypatch.context() as failing:
        failing.setattr("beforehand.approving.question_of", broken)
        await say(window, "approve", "mara@example.com")
        await until(lambda: _in_state(window, "Failed"), seconds=30)
    with asked.app.engine.begin() as connection:
        connection.execute(text("UPDATE held_run SET author = NULL"))
    async with get_client() as client:
        await client.set_flow_run_state(UUID(window), Scheduled(), force=True)
    await until(lambda: _asked_anew(window), seconds=30)
    assert held_run(asked.app, 1).state is HeldState.WAITING


async def _asked_anew(window: str) -> bool:
    return "give it once more" in await _shown_again(window)


async def opened() -> int:
    """How many windows the server has seen."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    async with get_client() as client:
        return len(await client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["approve"]))))


async def test_a_window_that_cannot_be_closed_opens_no_others(asked: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client.orchestration import PrefectClient

    async def refused(*_: Any, **__: Any) -> None:
        raise OSError("the server said no")

    closing = await windows(asked)
    await suspended(closing)
    answer(asked.app, 1, approve=False, by="eva", via="cli", now=NOON)
    asked.rule("other", limits="{once_per: customer, brake: 20% of customers}")
    run_rule(asked.app, "other", NOON)
    before = await opened()
    with monkeypatch.context() as broken:
        broken.setattr(PrefectClient, "set_flow_run_state", refused)
        for _ in range(3):
            with pytest.raises(OSError, match="the server said no"):
                await windows(asked)
    assert await opened() == before + 1
    assert held_run(asked.app, 2).asked_in
    assert await windows(asked) == ""
    assert await _in_state(closing, "Answered elsewhere")


async def test_a_window_that_was_not_noted_is_found_again(asked: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is away for a moment, just as the window was opened."""

    def away(*_: Any) -> None:
        raise OSError("the database is away")

    before = await opened()
    with monkeypatch.context() as broken:
        broken.setattr("beforehand.approving.note_window", away)
        for _ in range(3):
            with pytest.raises(OSError, match="away"):
                await windows(asked)
    assert await windows(asked) != ""
    assert await opened() == before + 1


async def test_windows_that_fail_are_not_opened_beat_by_beat(
    asked: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flows import windows as opening

    def broken(*_: Any) -> None:
        raise ValueError("a row that cannot be")

    now = [100.0]
    monkeypatch.setattr(opening, "PATIENCE", opening.Patience(lambda: now[0]))
    monkeypatch.setattr("beforehand.approving.question_of", broken)
    before, window = await opened(), await windows(asked)
    await until(lambda: _in_state(window, "Failed"), seconds=30)
    assert [await windows(asked) for _ in range(3)] == [window] * 3
    assert await opened() == before + 1
    said = [record.message for record in caplog.records if record.name == "beforehand.prefect"]
    assert [line for line in said if "held run 1" in line and "Failed" in line] == said
    assert len(said) == 1, "said once"
    monkeypatch.undo()
    monkeypatch.setattr(opening, "PATIENCE", opening.Patience(lambda: now[0]))
    assert await windows(asked) == window, "a process that begins waits anew"
    now[0] += opening.AGAIN_AFTER
    second = await windows(asked)
    assert second != window
    await suspended(second)
