"""The demo's own folder, settings and stop watch. Light imports only."""

import fcntl
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pydantic import SecretStr

from beforehand import ROOT
from beforehand.settings import Settings
from models.terms import THE_BEGINNING

MOST_DEMOS = 9
KEY = "the key of the sample shop, in which nobody is real"


@dataclass
class Watch:
    """Seconds since the start, kept by name: how long the demo took to get where."""

    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    def mark(self, name: str) -> None:
        """Keep how long it took to get here; the first time counts."""
        self.seconds.setdefault(name, round(time.monotonic() - self.started, 1))


class DemoFolder:
    """``var/demo``, or ``var/demo-2`` and so on while another demo runs in the one before. Locked until closed."""

    def __init__(self, var: Path, *, keep: bool) -> None:
        self.path, self._lock = self._locked(var)
        self.is_new = not (keep and (self.path / "beforehand.db").exists())
        if self.is_new:
            for entry in self.path.iterdir():
                if entry.name != ".lock":
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _locked(self, var: Path) -> tuple[Path, IO[str]]:
        for number in range(1, MOST_DEMOS + 1):
            path = var / ("demo" if number == 1 else f"demo-{number}")
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / ".lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            return path, lock
        raise RuntimeError(f"{MOST_DEMOS} demos are running already; end one with Ctrl-C")

    def close(self) -> None:
        """Let the next demo have the folder."""
        self._lock.close()


def demo_settings(folder: Path) -> Settings:
    """Settings under which nothing leaves this machine, whatever the user's environment and ``.env`` say."""
    return Settings(
        _env_file=None,
        database_url=f"sqlite:///{folder / 'beforehand.db'}",
        var=folder,
        delivery="post_room",
        twilio_base_url=None,
        twilio_account_sid="AC" + "0" * 32,
        twilio_auth_token=SecretStr("change-me"),
        twilio_auth_token_before=SecretStr(""),
        status_callbacks=None,
        smtp_host="127.0.0.1",
        smtp_user="",
        smtp_password=SecretStr(""),
        secret_key=SecretStr(KEY),
        host="127.0.0.1",
        public_url="http://127.0.0.1:8000",
        desks={"voice-desk": "+442079460001"},
        live_from=THE_BEGINNING,  # a made-up shop has a past, and the demo is there to show messages
    )


def from_anywhere() -> None:
    """Work in the checkout, whose rules, templates and mappings the demo uses; a folder the user names stays theirs."""
    for name in ("BEFOREHAND_RULES", "BEFOREHAND_TEMPLATES", "BEFOREHAND_ISSUES", "BEFOREHAND_FACTS"):
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).resolve())
    os.chdir(ROOT)
