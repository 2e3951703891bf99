"""``beforehand down``: ask every process of this VAR to stop, and wait until it is gone."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from beforehand.runtime.run_file import Running, lives, running

POLL = 0.1


@dataclass
class DownReport:
    """What is ``gone`` and what is ``left``; ``elsewhere`` are those that only their own machine can stop."""

    gone: list[Running] = field(default_factory=list)
    left: list[Running] = field(default_factory=list)
    elsewhere: list[Running] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def found(self) -> bool:
        """Whether any house runs with this VAR."""
        return bool(self.gone or self.left or self.elsewhere)

    @property
    def is_down(self) -> bool:
        """Whether one ran, and none does any more."""
        return bool(self.gone) and not (self.left or self.elsewhere)

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "down": self.is_down}


def stop_houses(var: Path, timeout: float, say: Callable[[str], None]) -> DownReport:
    """Send SIGTERM to each process that runs with ``var``; wait up to ``timeout`` seconds until all are gone."""
    began, report = time.monotonic(), DownReport()
    for one in running(var):
        (report.left if one.is_here else report.elsewhere).append(one)
    for one in report.elsewhere:
        say(f"Process {one.pid} runs on {one.host}: stop it there.")
    for one in report.left:
        say(f"Stopping process {one.pid} ({', '.join(one.parts)}) ...")
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGTERM)
    while report.left and time.monotonic() - began < timeout:
        time.sleep(POLL)
        for one in [one for one in report.left if not lives(var, one)]:
            report.left.remove(one)
            report.gone.append(one)
    report.seconds = round(time.monotonic() - began, 2)
    return report
