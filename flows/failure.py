"""Errors in flows, said without data: Prefect stores an error's text and shows it, and ours may quote rows."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError

from messaging.journal import JournalError
from models.trouble import place, trouble_of
from models.trouble import plainly as trouble_plainly

T = TypeVar("T")

AWAY = "the database does not answer"
"""What a run says that failed because the database was away; it is run again (flows.again)."""


_NOT_OURS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


class FlowError(Exception):
    """A stage of a flow failed; the text names the kind of error and its place, never a value."""


def named(error: BaseException) -> str:
    """An error without data: its kind and its place, or what is wrong with the disk or the database in plain words."""
    if isinstance(error, JournalError):
        return str(error)
    if trouble_of(error):
        return trouble_plainly(error)
    if isinstance(error, OperationalError | InterfaceError):
        return f"{AWAY} ({type(error).__name__} at {place(error)})"
    return f"{type(error).__name__} at {place(error)}"


async def plainly(what: str, work: Awaitable[T]) -> T:
    """The value of ``work``; any error in it becomes a FlowError that quotes no data. ``what`` is the rule or the task.

    The new error is raised outside of the handler, so that it does not carry the old one in its traceback.
    """
    try:
        return await work
    except _NOT_OURS:
        raise
    except BaseException as error:  # a library in Rust panics with one that is no Exception, and quotes what it read
        if type(error).__module__.startswith("prefect"):  # how a run is suspended
            raise
        failed = f"{what}: {named(error)}"
    raise FlowError(failed)
