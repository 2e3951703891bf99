"""The stop file: what it stops, what is wrong with it, and that no change of it lets anything go by mistake."""

import os
import threading
from pathlib import Path

import pytest

from messaging.stop_file import StopFile, is_halted

ALL = {"all"}


@pytest.fixture
def file(tmp_path: Path) -> StopFile:
    return StopFile(tmp_path / "var" / "STOP")


def write(file: StopFile, text: str | bytes) -> StopFile:
    file.path.parent.mkdir(exist_ok=True)
    file.path.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


@pytest.mark.parametrize(
    ("text", "scopes"),
    [
        ("", ALL),
        ("\n  \n# why: the prices are wrong\n", ALL),
        ("all", ALL),
        ("rule:late-order\n", {"rule:late-order"}),
        ("\ufeffchannel:sms  # texts cost too much\r\n\r\nwebhook:crm_2\r\n", {"channel:sms", "webhook:crm_2"}),
    ],
)
def test_a_file_stops_what_it_names_and_without_a_name_everything(file: StopFile, text: str, scopes: set[str]) -> None:
    said = write(file, text).look()
    assert (said.scopes, said.problem) == (scopes, "")


@pytest.mark.parametrize(
    "text",
    ["late-order", "sms", "rule:late-order\nchanel:sms", "channel:fax", "rule:", "RULE:x", "rule:a b", b"\xff\xfe\x00",
     "rule:x\n" * 20_000],
)  # fmt: skip
def test_what_nobody_can_read_stops_everything_and_is_said(file: StopFile, text: str | bytes) -> None:
    said = write(file, text).look()
    assert said.scopes == ALL
    assert said.problem


def test_without_a_file_nothing_is_stopped(file: StopFile) -> None:
    assert file.halted() == set()  # not even its folder is there
    file.path.parent.mkdir()
    assert file.halted() == set()


def test_something_else_in_its_place_stops_everything(file: StopFile) -> None:
    file.path.mkdir(parents=True)
    assert file.look().scopes == ALL
    file.path.rmdir()
    file.path.symlink_to("nowhere")  # the disk it lay on is gone
    assert file.look().scopes == ALL
    file.path.unlink()
    os.mkfifo(file.path)  # reading it would wait for ever
    assert file.look().scopes == ALL


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_must_not_be_read_stops_everything(file: StopFile) -> None:
    write(file, "rule:x").path.chmod(0)
    assert file.look().scopes == ALL


def test_what_is_asked_for_is_looked_up_with_all(file: StopFile) -> None:
    assert not is_halted(file.halted, "rule:x", "channel:sms")
    file.add("channel:sms")
    assert is_halted(file.halted, "rule:x", "channel:sms")
    assert not is_halted(file.halted, "rule:x", "channel:email")
    file.add("all")
    assert is_halted(file.halted, "rule:x", "channel:email")


def test_a_line_more_never_lets_anything_go(file: StopFile) -> None:
    write(file, "# everything\n").add("rule:x")
    assert file.halted() == {"all", "rule:x"}
    write(file, "nonsense\n").add("rule:x")
    assert file.halted() == ALL
    write(file, b"\xff").add("rule:x")
    assert file.halted() == {"all", "rule:x"}
    write(file, "rule:y").add("rule:x")  # a last line without an end
    assert file.halted() == {"rule:x", "rule:y"}


def test_the_last_line_taken_back_takes_the_file_away(file: StopFile) -> None:
    assert not file.take_back("rule:x")
    file.add("rule:x")
    file.add("rule:x")
    file.add("channel:sms")
    assert file.take_back("rule:x")
    assert file.halted() == {"channel:sms"}
    assert not file.take_back("rule:x")
    write(file, "# a comment\nchannel:sms")
    assert file.take_back("channel:sms")
    assert not file.path.exists()  # with a comment alone in it, it would stop everything


@pytest.mark.parametrize("text", ["", "# x", "all", "oops", b"\xff\xfe"])
def test_all_taken_back_takes_what_nobody_can_read_with_it(file: StopFile, text: str | bytes) -> None:
    write(file, text)
    assert not file.take_back("rule:x")
    assert file.halted() == ALL
    assert file.take_back("all")
    assert not file.path.exists()


def test_all_taken_back_leaves_what_else_is_named(file: StopFile) -> None:
    write(file, "rule:x\nall\nchanel:sms")
    assert file.take_back("all")
    assert file.halted() == {"rule:x"}


def test_stops_at_the_same_moment_are_all_in_it(file: StopFile) -> None:
    scopes = {f"rule:r{n}" for n in range(20)}
    threads = [threading.Thread(target=file.add, args=[scope]) for scope in scopes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.halted() == scopes
