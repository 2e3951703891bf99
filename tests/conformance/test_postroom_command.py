"""``beforehand postroom``: it says where it is, and says kindly when it cannot be there."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from beforehand.cli import app


def _start(tmp_path: Path, **settings: str) -> "subprocess.Popen[str]":
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BEFOREHAND_")}
    env = {**kept, "BEFOREHAND_VAR": str(tmp_path), **{f"BEFOREHAND_{key}": value for key, value in settings.items()}}
    command = [sys.executable, "-m", "beforehand", "postroom"]
    root = Path(__file__).resolve().parents[2]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=root, env=env, stdout=pipe, stderr=pipe, text=True)


def test_it_says_its_addresses_and_closes_on_ctrl_c(tmp_path: Path) -> None:
    process = _start(tmp_path, POST_ROOM_PORT="0", POST_ROOM_SMTP_PORT="0")
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    assert "Look at the messages: http://127.0.0.1:" in first
    process.send_signal(signal.SIGINT)
    with process.stdout as said, process.stderr as complained:
        assert "e-mail (SMTP): 127.0.0.1 port " in said.read()
        assert complained.read() == ""
    assert process.wait(60) == 0


@pytest.mark.parametrize("which", ["POST_ROOM_PORT", "POST_ROOM_SMTP_PORT"])
def test_a_taken_port_is_said_in_a_sentence(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"BEFOREHAND_POST_ROOM_PORT": "0", "BEFOREHAND_POST_ROOM_SMTP_PORT": "0", f"BEFOREHAND_{which}": port}
        run = CliRunner().invoke(app, ["postroom"], env={"BEFOREHAND_VAR": str(tmp_path), **ports})
    assert run.exit_code == 2
    assert f"BEFOREHAND_{which}" in run.stderr
    assert port in run.stderr
    assert "Traceback" not in run.output
