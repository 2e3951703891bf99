"""What a network does after it took a message: its status moves on over time, and our side is told of each step."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx

from beforehand.web.postroom.callbacks import Teller, call_form
from beforehand.web.postroom.entries import Entry
from beforehand.web.postroom.house import House
from beforehand.web.postroom.twiml import ScriptError, heard
from models.vocabulary import Channel

_ERRORS = {"undelivered": 30003, "failed": 30008}


class Carrier:
    """Moves entries on, in tasks of the running loop: nothing here keeps a request waiting."""

    def __init__(self, house: House, teller: Teller) -> None:
        self._house = house
        self._teller = teller
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, entry: Entry) -> None:
        """Carry one accepted message or call."""
        self._start(self._carry(entry))

    def resume(self) -> None:
        """Go on with what an earlier process left half-way."""
        for entry in self._house.ledger.entries:
            if entry.kind != Channel.EMAIL and (not entry.final or _untold(entry)):
                self.take(entry)

    async def close(self) -> None:
        """Stop; what is half-way stays so in the ledger and goes on at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _steps(self, entry: Entry) -> list[tuple[str, float]]:
        pace, fate = self._house.pace, self._house.fates.get(entry.to, "")
        if entry.kind == Channel.SMS:
            last = fate if fate in _ERRORS else "delivered"
            steps = [("queued", 0.0), ("sent", pace.sent), (last, pace.delivered)]
        elif fate in ("busy", "no-answer", "failed"):
            steps = [("queued", 0.0), ("ringing", pace.ringing), (fate, pace.answered)]
        else:
            answered = [("in-progress", pace.answered), ("completed", pace.completed)]
            steps = [("queued", 0.0), ("ringing", pace.ringing), *answered]
        done = len(entry.history)
        return steps[done:]

    async def _carry(self, entry: Entry) -> None:
        told: asyncio.Task[None] | None = None
        if _untold(entry):
            # An earlier process ended before it could tell.
            told = self._start(self._tell(entry, entry.status, None))
        for status, seconds in self._steps(entry):
            await asyncio.sleep(seconds)
            moved = self._house.status(entry, status, _ERRORS.get(status))
            if moved is None:
                return
            if status == "in-progress":
                await self._fetch_script(moved)
            told = self._start(self._tell(moved, status, told))

    async def _tell(self, entry: Entry, status: str, earlier: asyncio.Task[None] | None) -> None:
        # In order: a status is told when the one before it was, or was given up.
        if earlier is not None:
            await asyncio.wait([earlier])
        await self._teller.tell(entry, status, len(entry.history) - 1)

    async def _fetch_script(self, entry: Entry) -> None:
        if url := entry.options.get("Url"):
            await self.fetch(entry, url, entry.options.get("Method", "POST"))

    async def fetch(self, entry: Entry, url: str, method: str = "POST", digits: str = "") -> Entry | None:
        """Ask our side what to say next on a call, keep it, and give the entry as it is then."""
        form = call_form(self._house, entry, "in-progress") | ({"Digits": digits} if digits else {})
        try:
            answer = await self._teller.post(url, form, method)
            answer.raise_for_status()
            heard(answer.text)
        except (httpx.HTTPError, httpx.InvalidURL) as wrong:
            return self._house.ledger.note(entry.sid, f"11200: {url} gave no script: {wrong or type(wrong).__name__}")
        except ScriptError as wrong:
            self._house.ledger.note(entry.sid, f"12100: {wrong}")
        return self._house.ledger.script(entry.sid, answer.text, digits or None)


def _untold(entry: Entry) -> bool:
    """Whether our side asked to be told of the status it has, and no try to do so is on record."""
    asked = len(entry.history) > 1 and "StatusCallback" in entry.options
    return asked and entry.status not in {callback.status for callback in entry.callbacks}
