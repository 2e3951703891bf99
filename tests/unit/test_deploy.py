"""The files in deploy/ hold together: no container engine is here to run them, so their structure is looked at."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from beforehand.cli import app
from beforehand.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMMANDS = typer.main.get_group(app)
SETTINGS = {f"BEFOREHAND_{name.upper()}" for name in Settings.model_fields}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
INSTRUCTIONS = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "CMD"}
SAMPLE = {
    "BEFOREHAND_SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "BEFOREHAND_PUBLIC_URL": "https://care.shop.example",
    "BEFOREHAND_TWILIO_ACCOUNT_SID": "AC" + "1" * 32,
}


def parses(words: list[str]) -> None:
    """Raises where our command line does not understand these words after ``beforehand``."""
    COMMANDS.commands[words[0]].make_context(words[0], words[1:])


def compose() -> Any:
    return YAML(typ="safe").load(DEPLOY / "compose.yaml")


def services() -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"]
    return found


def filled(text: str) -> str:
    """A value of the compose file with its variables filled in: what stands in it, or a sample's."""
    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", lambda m: SAMPLE.get(m[1]) or (m[3] if m[2] == "-" else "x"), text)


def ours() -> dict[str, Any]:
    return {name: one for name, one in services().items() if one.get("command", [""])[0] == "beforehand"}


def test_the_compose_file_has_what_it_promises() -> None:
    assert set(services()) == {"database", "prefect-database", "prefect", "worker-1", "worker-2", "web"}
    assert services()["worker-1"]["command"] == services()["worker-2"]["command"]


def test_what_services_refer_to_is_there() -> None:
    volumes = set(compose()["volumes"])
    for name, one in services().items():
        assert set(one.get("depends_on", {})) <= services().keys(), name
        assert {told.partition(":")[0] for told in one.get("volumes", ())} <= volumes, name
        for waited in one.get("depends_on", {}):
            assert "healthcheck" in services()[waited], f"{name} waits until {waited} is healthy"
        if build := one.get("build"):
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    used = {told.partition(":")[0] for one in services().values() for told in one.get("volumes", ())}
    assert used == volumes


@pytest.mark.parametrize("name", sorted(ours()))
def test_our_services_run_commands_and_settings_that_are_ours(name: str) -> None:
    one = ours()[name]
    parses(one["command"][1:])
    given = {key: filled(str(value)) for key, value in one["environment"].items()}
    assert {key for key in given if key.startswith("BEFOREHAND_")} <= SETTINGS
    assert {key for key in given if key.startswith("PREFECT_")} <= {"PREFECT_API_AUTH_STRING"}, (
        "others would be dropped"
    )


@pytest.mark.parametrize("name", sorted(ours()))
def test_the_settings_of_our_services_are_valid_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith("BEFOREHAND_")]:
        monkeypatch.delenv(key)
    for key, value in ours()[name]["environment"].items():
        monkeypatch.setenv(key, filled(str(value)))
    settings = Settings(_env_file=None)
    assert (settings.delivery, settings.trial) == ("live", True), "nobody but the guest list, until somebody says so"
    assert settings.database_url.startswith("postgresql://")


def test_only_the_pages_are_opened_and_only_to_this_machine() -> None:
    opened = {name: one["ports"] for name, one in services().items() if "ports" in one}
    assert opened == {"prefect": ["127.0.0.1:4200:4200"], "web": ["127.0.0.1:8000:8000"]}


def test_every_variable_that_the_compose_file_asks_for_is_known() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    assert {name for name in asked if name.startswith("BEFOREHAND_")} <= SETTINGS
    assert asked - SETTINGS == {"DATABASE_PASSWORD", "PREFECT_DATABASE_PASSWORD", "PREFECT_AUTH"}


def instructions() -> Iterator[tuple[str, str]]:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    for line in filter(str.strip, lines.splitlines()):
        word, _, rest = line.partition(" ")
        yield word, rest.strip()


def test_the_container_file_is_understood_and_copies_what_is_there() -> None:
    found = list(instructions())
    assert found[0][0] == "FROM"
    assert {word for word, _ in found} <= INSTRUCTIONS
    copied = {source for word, rest in found if word == "COPY" for source in rest.split()[:-1]}
    assert [source for source in copied if not (ROOT / source).exists()] == []
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(packages["packages"]) <= copied, "every package of ours is in the image"
    commands = [YAML(typ="safe").load(rest) for word, rest in found if word == "CMD"]
    assert [command[0] for command in commands] == ["beforehand"]
    parses(commands[0][1:])
    environment = {key for word, rest in found if word == "ENV" for key in re.findall(r"(BEFOREHAND_\w+)=", rest)}
    assert environment <= SETTINGS
    assert "USER" in {word for word, _ in found}, "not as root"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_run_commands_and_settings_that_are_ours(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    assert set(re.findall(r"(BEFOREHAND_\w+)", text)) <= SETTINGS
    (command,) = re.findall(r"^ExecStart=(.*)$", text, flags=re.M)
    words = shlex.split(command)
    if words[0].endswith("/beforehand"):
        parses(words[1:])
    else:
        assert words[1:] == ["-m", "flows.server"]
    for page in re.findall(r"Documentation=file:/opt/beforehand/(\S+)", text):
        assert (ROOT / page).is_file()


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_the_units(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = re.sub(r"/opt/beforehand/.venv/bin/\w+", str(program), unit.read_text(encoding="utf-8"))
    copy = tmp_path / unit.name.replace("@", "@1" if "@" in unit.name else "")
    copy.write_text(text, encoding="utf-8")
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    about_ours = [line for line in said.stderr.splitlines() if unit.name.partition(".")[0].rstrip("@") in line]
    assert (said.returncode, about_ours) == (0, []), said.stderr
