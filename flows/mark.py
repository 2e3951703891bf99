"""A mark in Prefect that says that all deployments are in line, so that a start need not read each of them.

Reading two hundred takes Prefect's server two seconds, mark and count take it twenty milliseconds. It lies where the
deployments lie, and so is lost and restored with them; it is lifted before anything is touched.
"""

from collections.abc import Iterable
from hashlib import sha256
from uuid import uuid4

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

from flows.wishes import OURS, Wanted

NAME = "beforehand_deployments_in_line"


async def is_set(client: PrefectClient, wishes: Iterable[Wanted]) -> bool:
    """Whether the deployments are known to be in line with ``wishes``, and none of ours came or went since."""
    names = list(wishes)
    mark = await client.read_variable_by_name(NAME)
    if mark is None or mark.value != _digest(names):
        return False
    only = DeploymentFilter(tags=DeploymentFilterTags(all_=[OURS])).model_dump(mode="json")
    there = await client.request("POST", "/deployments/count", json={"deployments": only})
    return bool(there.json() == len(names))


async def lift(client: PrefectClient) -> str:
    """Take the mark away, as something will be touched; gives what :func:`set_down` wants back."""
    lifted = f"changing {uuid4().hex}"
    await _write(client, lifted)
    return lifted


async def set_down(client: PrefectClient, lifted: str, wishes: Iterable[Wanted]) -> None:
    """Say that the deployments are in line with ``wishes``, unless somebody else has lifted the mark since."""
    mark = await client.read_variable_by_name(NAME)
    if mark is not None and mark.value == lifted:
        await _write(client, _digest(wishes))


async def _write(client: PrefectClient, value: str) -> None:
    if await client.read_variable_by_name(NAME) is None:
        await client.create_variable(VariableCreate(name=NAME, value=value))
    else:
        await client.update_variable(VariableUpdate(name=NAME, value=value))


def _digest(wishes: Iterable[Wanted]) -> str:
    return sha256("\n".join(sorted(f"{wish.name} {wish.version}" for wish in wishes)).encode()).hexdigest()
