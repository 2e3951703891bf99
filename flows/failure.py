"""Errors in flows, said without data: Prefect stores an error's text and shows it, and ours may quote rows."""

import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent


class FlowError(Exception):
    """A stage of a flow failed; the text names the kind of error and its place, never a value."""


def place(error: BaseException) -> str:
    """Where in our own code an error came from: ``rules/evaluate.py:42``."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        if HOUSE in path.parents and ".venv" not in path.parts:
            return f"{path.relative_to(HOUSE)}:{frame.lineno}"
    return "outside of our code"


@asynccontextmanager
async def said_plainly(what: str) -> AsyncIterator[None]:
    """Turn any error inside into a FlowError that quotes no data; ``what`` is the rule or the work."""
    failed: str | None = None
    try:
        yield
    except Exception as error:
        failed = f"{what}: {type(error).__name__} at {place(error)}"
    if failed:
        raise FlowError(failed)
