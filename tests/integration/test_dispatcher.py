"""The dispatcher: one cheap look a second, and the machinery only when something is due."""

import asyncio
import threading
import time
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, insert, update

from beforehand.dispatching import MESSAGES, WEBHOOKS, what_is_due
from beforehand.heartbeat.dispatcher import Dispatcher
from beforehand.settings import Settings
from beforehand.wiring import App
from messaging.claims import message
from models.database import writing
from models.webhook import Webhook
from tests.integration.out_world import NOW, plan_messages

WEBHOOK = Webhook.__table__  # type: ignore[attr-defined]


def app_on(engine: Engine) -> App:
    return App(Settings(_env_file=None, delivery="post_room"), engine, lambda: NOW)


def test_the_look_says_what_is_due_and_no_more(engine: Engine) -> None:
    app = app_on(engine)
    assert what_is_due(app, NOW) == set()
    plan_messages(engine, 1)
    assert what_is_due(app, NOW) == {MESSAGES}
    assert what_is_due(app, NOW - timedelta(seconds=1)) == set()
    with writing(engine) as connection:
        connection.execute(update(message).values(state="queued"))
    assert what_is_due(app, NOW) == {MESSAGES}
    with writing(engine) as connection:
        connection.execute(update(message).values(state="accepted"))
    assert what_is_due(app, NOW) == set()


def test_a_webhook_that_a_dead_process_was_calling_is_due_again(engine: Engine) -> None:
    app = app_on(engine)
    plan_messages(engine, 1)
    row: dict[str, Any] = {
        "match_id": 1,
        "rule_id": "r",
        "version": "v",
        "occasion": "o",
        "step": "0",
        "endpoint": "crm",
        "tries": 1,
    }
    row |= {"subject": "order", "subject_id": 1, "created_at": NOW, "due_at": NOW}
    row |= {"state": "calling", "lease": "x", "lease_until": NOW}
    with writing(engine) as connection:
        connection.execute(update(message).values(state="accepted"))
        connection.execute(insert(WEBHOOK).values(**row))
    assert what_is_due(app, NOW) == {WEBHOOKS}
    assert what_is_due(app, NOW - timedelta(seconds=1)) == set()


async def test_a_slow_way_holds_up_no_other_and_is_not_begun_twice() -> None:
    slow_begun, quick_done, release = 0, 0, threading.Event()

    def slow() -> None:
        nonlocal slow_begun
        slow_begun += 1
        release.wait(5)

    def quick() -> None:
        nonlocal quick_done
        quick_done += 1

    dispatcher = Dispatcher(lambda: {"slow", "quick"}, {"slow": slow, "quick": quick}, every=0.01)
    running = asyncio.create_task(dispatcher.run(lambda: None))
    async with asyncio.timeout(5):
        while quick_done < 5:
            await asyncio.sleep(0.01)
    assert slow_begun == 1
    release.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_nothing_is_begun_while_nothing_is_due_and_an_error_ends_nothing() -> None:
    looks, done = 0, 0

    def look() -> set[str]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise OSError("the database is away")
        return {"messages"} if looks == 3 else set()

    def send() -> None:
        nonlocal done
        done += 1
        raise ValueError("and this fails too")

    dispatcher = Dispatcher(look, {"messages": send}, every=0.01)
    running = asyncio.create_task(dispatcher.run(lambda: None))
    async with asyncio.timeout(5):
        while looks < 6:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert done == 1


async def test_the_end_waits_for_what_is_under_way() -> None:
    ended = threading.Event()

    def send() -> None:
        time.sleep(0.2)
        ended.set()

    dispatcher = Dispatcher(lambda: {"messages"}, {"messages": send}, every=10)
    running = asyncio.create_task(dispatcher.run(lambda: None))
    await asyncio.sleep(0.1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert ended.is_set()
