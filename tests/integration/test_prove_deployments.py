"""Two hundred rules on one real Prefect server: what is new, what is edited, and a restart of the server in between."""

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from beforehand.runtime.child import PrefectChild
from beforehand.runtime.ports import free_port
from flows.environment import prefect_environment, put_in_place
from models.terms import Terms
from tests.integration.prefect_world import LATE_ORDER, Application, hands_of

MANY = 200


def rules(*edited: Terms) -> dict[str, Terms]:
    made = [replace(LATE_ORDER, rule_id=f"rule-{number:03}", priority=number % 100) for number in range(MANY)]
    return {terms.rule_id: terms for terms in [*made, *edited]}


async def not_set(*_: object) -> bool:
    return False


@pytest.mark.prove
async def test_two_hundred_rules_are_created_once_and_then_only_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = prefect_environment(tmp_path, free_port("127.0.0.1", 5900 + os.getpid() % 500))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    put_in_place(environment, dict(os.environ))
    child = PrefectChild(environment, tmp_path / "server.log")
    await child.start()
    try:
        import prefect.context

        prefect.context.refresh_global_settings_context()
        assert await child.until_healthy(120)
        from prefect.client.orchestration import get_client
        from prefect.exceptions import PrefectHTTPStatusError

        from flows.deployments import bring_in_line, deployment_ids, wanted

        hands = hands_of(Application())
        began = time.monotonic()
        for _ in range(20):  # as the heartbeat does: what Prefect has refused is tried again
            with contextlib.suppress(PrefectHTTPStatusError):
                await bring_in_line(wanted(rules(), hands))
                break
        creating = time.monotonic() - began
        assert len(await deployment_ids()) == MANY + 8

        looks = []
        for _ in range(5):  # the server is busy at first: it makes the coming runs of two hundred schedules
            began = time.monotonic()
            same = await bring_in_line(wanted(rules(), hands))
            looks.append(time.monotonic() - began)
            assert (len(same.same), same.changed, same.created) == (MANY + 8, [], [])
            await asyncio.sleep(5)
        looking = min(looks)
        from flows import deployments

        with monkeypatch.context() as patch:  # where something was touched, each of them is read
            patch.setattr(deployments.mark, "is_set", not_set)
            began = time.monotonic()
            assert len((await bring_in_line(wanted(rules(), hands))).same) == MANY + 8
            reading = time.monotonic() - began

        async with get_client() as client:
            paused = (await deployment_ids(["rule-007"]))["rule-007"]
            (schedule,) = (await client.read_deployment(paused)).schedules
            await client.update_deployment_schedule(paused, schedule.id, active=False)
        await child.stop()
        await child.start()
        assert await child.until_healthy(120)

        edited = replace(LATE_ORDER, rule_id="rule-007", version="e" * 64, cron=("0 * * * *",))
        began = time.monotonic()
        changed = await bring_in_line(wanted(rules(edited), hands))
        editing = time.monotonic() - began
        assert (changed.changed, len(changed.same)) == (["rule-007"], MANY + 7)
        async with get_client() as client:
            (schedule,) = (await client.read_deployment(paused)).schedules
        assert not schedule.active, "staff's pause outlives both"
        assert "0 * * * *" in str(schedule.schedule)
        print(
            f"\ncreate {creating:.1f} s, look {looking:.2f} s, reading all {reading:.2f} s, "
            f"one edit {editing:.2f} s; load {os.getloadavg()[0]:.1f}"
        )
        assert looking < reading / 2 < creating / 10

        known = {wish.name: wish.version for wish in wanted(rules(edited), hands)}
        again = replace(edited, version="f" * 64)
        began = time.monotonic()
        changed = await bring_in_line(wanted(rules(again), hands), known=known)
        knowing = time.monotonic() - began
        assert (changed.changed, len(changed.same)) == (["rule-007"], MANY + 7)
        print(f"one edit in a running house {knowing:.2f} s")
        assert knowing < creating / 10
    finally:
        from flows.ending import flush

        await flush()
        await child.stop()
