"""The supervisor of a part: started again with back-off, told once, and ended in peace."""

import asyncio
from collections.abc import Callable

import pytest

from beforehand.parts import Parts, PartState
from beforehand.runtime.keeper import WAITS, WELL_FOR, Died, Keeper, Part

NOTHING = (0.0,)


class Told:
    """What was said to staff."""

    def __init__(self) -> None:
        self.words: list[tuple[str, str]] = []

    def __call__(self, part: str, why: str) -> None:
        self.words.append((part, why))


async def until(wanted: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not wanted():
            await asyncio.sleep(0.005)


async def test_a_part_that_dies_is_started_again_and_both_are_told() -> None:
    parts, told, lives = Parts(), Told(), 0

    async def run(well: Callable[[], None]) -> None:
        nonlocal lives
        lives += 1
        well()
        if lives < 3:
            raise Died(f"life {lives} is over")
        await asyncio.sleep(60)

    keeper = Keeper(Part("worker", run), parts, told, waits=NOTHING)
    keeper.start()
    await until(lambda: lives == 3)
    assert told.words == [
        ("worker", "life 1 is over"),
        ("worker", ""),
        ("worker", "life 2 is over"),
        ("worker", ""),
    ]
    assert (parts.now()["worker"].state, parts.now()["worker"].deaths) == (PartState.WELL, 2)
    await keeper.stop()
    assert parts.now()["worker"].state is PartState.STOPPED


async def test_an_error_is_named_by_its_kind_alone() -> None:
    parts, told = Parts(), Told()

    async def run(_well: Callable[[], None]) -> None:
        raise ValueError("anna@example.com")

    keeper = Keeper(Part("web", run), parts, told, waits=(60.0,))
    keeper.start()
    await until(lambda: bool(told.words))
    assert told.words == [("web", "it failed (ValueError)")]
    assert parts.not_well() == ["web"]
    await keeper.stop()


async def test_a_part_that_returns_has_died() -> None:
    told = Told()

    async def run(_well: Callable[[], None]) -> None: ...

    keeper = Keeper(Part("web", run), Parts(), told, waits=(60.0,))
    keeper.start()
    assert await keeper.settled(5) is False
    assert told.words == [("web", "it ended")]
    await keeper.stop()


async def test_the_wait_grows_and_begins_anew_after_a_good_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now, waited, lives = 0.0, [], 0
    sleep = asyncio.sleep

    async def slept(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    async def run(well: Callable[[], None]) -> None:
        nonlocal now, lives
        lives += 1
        if lives == 9:
            well()
            now += WELL_FOR
        if lives == 11:
            await sleep(60)

    monkeypatch.setattr("beforehand.runtime.keeper.asyncio.sleep", slept)
    keeper = Keeper(Part("web", run), Parts(), Told(), ticks=lambda: now)
    keeper.start()
    while lives < 11:
        await sleep(0.005)
    await keeper.stop()
    assert waited == [*WAITS, WAITS[-1], WAITS[-1], WAITS[0], WAITS[1]]


async def test_to_stop_waits_until_the_part_has_closed_what_it_opened() -> None:
    closed = False

    async def run(well: Callable[[], None]) -> None:
        nonlocal closed
        well()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            closed = True

    keeper = Keeper(Part("worker", run), Parts(), Told())
    keeper.start()
    assert await keeper.settled(5)
    await keeper.stop()
    await keeper.stop()
    assert closed


async def test_one_part_that_dies_takes_no_other_with_it() -> None:
    parts, told = Parts(), Told()

    async def dies(_well: Callable[[], None]) -> None:
        raise Died("gone")

    async def lives(well: Callable[[], None]) -> None:
        well()
        await asyncio.sleep(60)

    keepers = [Keeper(Part(name, run), parts, told, waits=NOTHING) for name, run in (("a", dies), ("b", lives))]
    for keeper in keepers:
        keeper.start()
    await until(lambda: parts.now()["a"].deaths > 5)
    assert (parts.now()["b"].state, parts.now()["b"].deaths) == (PartState.WELL, 0)
    for keeper in keepers:
        await keeper.stop()
