"""What a network does after it took a message: its status moves on over time, and our side is told of each step."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urljoin

import httpx

from beforehand.web.postroom.callbacks import Teller, call_form
from beforehand.web.postroom.entries import Entry
from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.house import House
from beforehand.web.postroom.twiml import ScriptError, goes_on, heard, menu
from models.vocabulary import Channel

_ERRORS = {"undelivered": 30003, "failed": 30008}
_MACHINES = {"Enable": "machine_start", "DetectMessageEnd": "machine_end_beep"}
_MOST_REDIRECTS = 5


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
                moved = await self._picked_up(moved)
            told = self._tell_next(moved, status, told)

    def _tell_next(self, entry: Entry, status: str, earlier: asyncio.Task[None] | None) -> asyncio.Task[None] | None:
        """Tell of a status when the one before it was told; or out of turn, where the plan of faults says so."""
        take, asked = self._house.faults.take, self._teller.tells(entry, status)
        fault = take("callback", entry.to, among=("late", "double", "reorder")) if asked else None
        if fault is None:
            return self._start(self._tell(entry, status, earlier))
        if fault.what == "double":
            return self._start(self._tell(entry, status, self._start(self._tell(entry, status, earlier))))
        self._start(self._tell_late(entry, status, fault))
        return earlier

    async def _tell_late(self, entry: Entry, status: str, fault: Fault) -> None:
        if fault.what == "late":
            await asyncio.sleep(fault.seconds)
        else:
            for _ in range(int(fault.seconds / 0.01)):
                now = self._house.ledger.get(entry.sid)
                if now is None or (now.final and now.status != status and now.told):
                    break
                await asyncio.sleep(0.01)
        await self._tell(entry, status, None)

    async def _tell(self, entry: Entry, status: str, earlier: asyncio.Task[None] | None) -> None:
        # In order: a status is told when the one before it was, or was given up.
        if earlier is not None:
            await asyncio.wait([earlier])
        await self._teller.tell(entry, status, len(entry.history) - 1)

    async def _picked_up(self, entry: Entry) -> Entry:
        """Who answers, what is said to them, and which key they press."""
        asked = _MACHINES.get(entry.options.get("MachineDetection", ""))
        machine = self._house.fates.get(entry.to) == "machine"
        if asked:
            entry = self._house.ledger.answered(entry.sid, asked if machine else "human") or entry
        if url := entry.options.get("Url"):
            entry = await self.fetch(entry, url, entry.options.get("Method", "POST")) or entry
        if (key := self._house.keys.get(entry.to)) and not machine:
            entry = await self.press(entry, key) or entry
        return entry

    async def press(self, entry: Entry, digits: str) -> Entry | None:
        """Press keys on a call: asks the ``action`` of its menu and keeps what is said next. None: no menu waits."""
        asked = menu(entry.body)
        if asked is None:
            return None
        return await self.fetch(entry, urljoin(entry.options.get("Url", ""), asked.action), asked.method, digits)

    async def fetch(self, entry: Entry, url: str, method: str = "POST", digits: str = "") -> Entry | None:
        """Ask our side what to say next on a call, follow its redirects, and give the entry as it is then."""
        after: Entry | None = entry
        for _ in range(_MOST_REDIRECTS):
            script = await self._script(entry, url, method, digits)
            if script is None:
                return self._house.ledger.get(entry.sid)
            after = self._house.ledger.script(entry.sid, script, digits or None)
            onward = goes_on(script)
            if onward is None:
                return after
            url, method, digits = urljoin(url, onward.text), onward.method, ""
        return self._house.ledger.note(entry.sid, f"the script leads on and on: {url}")

    async def _script(self, entry: Entry, url: str, method: str, digits: str) -> str | None:
        form = call_form(self._house, entry, "in-progress") | ({"Digits": digits} if digits else {})
        try:
            answer = await self._teller.post(url, form, method)
            answer.raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as wrong:
            self._house.ledger.note(entry.sid, f"11200: {url} gave no script: {wrong or type(wrong).__name__}")
            return None
        try:
            heard(answer.text)
        except ScriptError as wrong:
            self._house.ledger.note(entry.sid, f"12100: {wrong}")
        return answer.text


def _untold(entry: Entry) -> bool:
    """Whether our side asked to be told of the status it has, and no try to do so is on record."""
    return len(entry.history) > 1 and "StatusCallback" in entry.options and not entry.told
