"""Processes of `beforehand up` as an operator starts them, on ports and in folders of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import psutil

ROOT = Path(__file__).resolve().parents[2]
_direct = build_opener(ProxyHandler({}))


def free_ports(count: int) -> list[int]:
    """Ports that were free just now."""
    opened = [socket.socket() for _ in range(count)]
    try:
        for one in opened:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in opened]
    finally:
        for one in opened:
            one.close()


def settings_in(folder: Path, **more: str) -> dict[str, str]:
    """Settings for a machine of its own: every folder and port."""
    web, staff, prefect, room, smtp = free_ports(5)
    return {
        "BEFOREHAND_VAR": str(folder / "var"),
        "BEFOREHAND_JOURNAL": str(folder / "journal"),
        "BEFOREHAND_DATABASE_URL": f"sqlite:///{folder / 'ours.db'}",
        "BEFOREHAND_WEB_PORT": str(web),
        "BEFOREHAND_STAFF_PORT": str(staff),
        "BEFOREHAND_PREFECT_PORT": str(prefect),
        "BEFOREHAND_POST_ROOM_PORT": str(room),
        "BEFOREHAND_POST_ROOM_SMTP_PORT": str(smtp),
        **more,
    }


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these settings and no others of ours or Prefect's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BEFOREHAND_", "PREFECT_"))}
    return {**clean, "PYTHONPATH": str(ROOT), **settings}


def beforehand(settings: Mapping[str, str], *words: str, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "beforehand", *words],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def get(url: str) -> tuple[int, Any]:
    """Status and JSON of an answer; 0 where nobody answers."""
    try:
        with _direct.open(url, timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as refused:
        return refused.code, json.loads(refused.read() or b"null")
    except (URLError, OSError, ValueError):
        return 0, None


def until(wanted: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until it holds; how many seconds it took. Raises AssertionError after ``seconds``."""
    began = time.monotonic()
    while not wanted():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


@dataclass
class Up:
    """One `beforehand up`. ``close`` leaves nothing of it."""

    settings: dict[str, str]
    only: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        self.var = Path(self.settings["BEFOREHAND_VAR"])
        self.var.mkdir(parents=True, exist_ok=True)
        self.said = self.var / "said.txt"
        words = [word for part in self.only for word in ("--only", part)]
        with self.said.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "beforehand", "up", *words],
                cwd=ROOT,
                env=environment(self.settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def staff(self) -> str:
        """The address of its staff pages."""
        return f"http://127.0.0.1:{self.settings['BEFOREHAND_STAFF_PORT']}"

    def ready(self, seconds: float = 90) -> float:
        """Wait until every part is well."""
        return until(lambda: get(f"{self.staff}/readyz")[0] == 200, seconds, f"ready ({self.said.read_text()[-2000:]})")

    def children(self) -> list[psutil.Process]:
        """Its living children, of whatever depth."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def signal(self, which: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(which)

    def ended(self, seconds: float = 60) -> float:
        """Wait until it has ended; seconds."""
        began = time.monotonic()
        self.process.wait(seconds)
        return time.monotonic() - began

    def ports(self) -> list[int]:
        """Those of its ports on which somebody listens."""
        ports = [int(value) for name, value in self.settings.items() if name.endswith("_PORT")]
        return [port for port in ports if _answers(port)]

    def close(self) -> None:
        """End it and all that is left of it."""
        left = self.children() if self.process.poll() is None else []
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for one in left:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
