"""A thousand flow runs that fail in many ways, and no canary in Prefect, its files, its answers, or any log."""

import asyncio
import os
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom.server import PostRoom
from tests.delivery import canaries
from tests.delivery.canaries import World
from tests.integration.test_worker import server

pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ["server"]

RUNS = int(os.environ.get("CANARY_RUNS", "1000"))


@pytest.mark.prove
async def test_prove_canaries(
    server: str, sqlite_engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from flows.ending import flush

    log, began = tmp_path / "logs" / "house.log", time.monotonic()
    canaries.log_to(log)
    states: Counter[str] = Counter()
    with PostRoom(numbers=["+442079460000"]) as room:
        world = World(sqlite_engine, tmp_path, room)
        for number, name in enumerate(islice(cycle(world.wrongs()), RUNS)):
            states[await world.run(name)] += 1
            if number % 50 == 0:
                await world.beats()
        kinds = len(world.wrongs())
    await flush(60)
    await asyncio.sleep(15)  # Prefect's server writes events in batches
    said = capfd.readouterr()
    home = Path(os.environ["PREFECT_HOME"])
    found = (
        canaries.files_in(home, log.parent) | canaries.answers(server) | {"terminal": (said.out + said.err).encode()}
    )
    assert canaries.slipped(found) == []
    assert states["FAILED"] > RUNS / 3
    size = sum(map(len, found.values())) / 1e6
    with capfd.disabled():
        print(
            f"\nPROOF canaries: {RUNS:,} flow runs of {kinds} kinds of trouble ({dict(states)}), "
            f"{len(canaries.CANARIES)} kinds of personal values, {size:,.0f} MB in {len(found):,} files and answers "
            f"searched: 0 hits; {time.monotonic() - began:,.0f} s"
        )
