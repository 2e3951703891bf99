"""The page on changing a rule safely shows what its commands print on the sample shop."""

import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from beforehand import sample
from beforehand.cli import app
from beforehand.ingest import run
from beforehand.settings import Settings
from beforehand.wiring import bootstrap

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/how-to/change-a-rule-safely.md").read_text(encoding="utf-8")
NOW = datetime(2026, 3, 10, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The sample shop, and beside it the rules before and after the page's change."""
    folder = tmp_path_factory.mktemp("shop")
    url = f"sqlite:///{folder}/shop.db"
    wired = bootstrap(Settings(_env_file=None, database_url=url))
    sample.write(folder / "export", now=NOW)
    mapping = ROOT / "examples/shop/sources.yaml"
    run(wired.engine, mapping, now=NOW, settings=wired.settings, data=folder / "export", var=folder)
    wired.engine.dispose()
    for name in ("before", "after"):
        shutil.copytree(ROOT / "rules/catalog", folder / name)
    rule = folder / "after" / "thank-you-voucher.yaml"
    rule.write_text(rule.read_text().replace("at_least: 1000 EUR", "at_least: 800 EUR"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEFOREHAND_DATABASE_URL", url)
        patch.setenv("BEFOREHAND_RULES", str(folder / "after"))
        patch.setenv("BEFOREHAND_SMS_PRICE", "0.075")
        patch.setenv("BEFOREHAND_EMAIL_PRICE", "0.001")
        patch.setenv("COLUMNS", "110")
        yield folder


def shown(command: str) -> list[str]:
    """The lines that the page shows below a command, but for those that name what differs from machine to machine."""
    block = re.search(rf"    beforehand {re.escape(command)}\n\n```text\n(.+?)```", PAGE, re.S)
    assert block, command
    return [line.strip() for line in block[1].splitlines() if line.strip() and not line.startswith("Plan ")]


def printed(command: str, *more: str) -> str:
    return CliRunner().invoke(app, [*command.split(), *more]).stdout


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("check", ()),
        ("test thank-you-voucher", ()),
        ("preview thank-you-voucher --now 2026-03-10T10:00:00+00:00 --limit 0", ()),
        ("plan --now 2026-03-10T10:00:00+00:00", ("--against", "before")),
        ("backtest thank-you-voucher --from 2026-02-10 --to 2026-03-10", ()),
    ],
)
def test_what_the_page_shows_is_what_is_printed(
    shop: Path, command: str, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    text = printed(command, *more)
    assert [line for line in shown(command) if line not in text] == []


def in_a_terminal(command: str) -> str:
    """What a person sees who types the command."""
    seen, shown_to = pty.openpty()
    words = [sys.executable, "-m", "beforehand", *command.split()]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=shown_to, stderr=shown_to) as running:
        os.close(shown_to)
        parts = []
        with contextlib.suppress(OSError):  # on Linux the end of a terminal is an error
            while part := os.read(seen, 65536):
                parts.append(part)
        os.close(seen)
    assert running.returncode == 0
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", b"".join(parts).decode())


def test_in_a_terminal_the_plan_of_now_comes_before_the_weeks(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    monkeypatch.setenv("TERM", "xterm")
    text = in_a_terminal("plan --now 2026-03-10T10:00:00+00:00 --against before")
    present, weeks = text.split("Ctrl-C leaves it at this.")
    assert "found now" in present
    assert "messages/week" not in present
    assert "messages/week" in weeks
    page = shown("plan --now 2026-03-10T10:00:00+00:00")
    first = next(line for line in page if line.startswith("differs"))
    assert first in present
    assert first not in weeks
    last = next(line for line in page if line.startswith("a week"))
    assert last.removeprefix("a week").split(";")[0].strip() in weeks
