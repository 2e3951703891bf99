"""Each arrow between packages can fail: a planted import breaks the contract that forbids it."""

import configparser
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice, pairwise, permutations
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("beforehand", "flows", "rules", "models", "messaging")


@dataclass(frozen=True)
class Plant:
    """One forbidden import: where it is planted, and the contract that must break."""

    contract: str
    module: str
    imported: str


def file_of(module: str) -> str | None:
    """The file of a module, or None where there is none (yet)."""
    path = module.replace(".", "/")
    return next((name for name in (f"{path}.py", f"{path}/__init__.py") if (ROOT / name).is_file()), None)


def words(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def around(some: list[str], others: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs in which everyone of both stands at least once; every pair of all would take minutes to lint."""
    most = max(len(some), len(others))
    return islice(zip(cycle(some), cycle(others), strict=False), most)


def layer_plants(name: str, section: configparser.SectionProxy) -> list[Plant]:
    """Each module of a layer importing one of the layer above, each one above imported, and siblings in a ring."""
    prefix = f"{section['containers'].strip()}." if "containers" in section else ""
    levels = [
        [f"{prefix}{part.strip(' ()')}" for part in line.split("|") if file_of(f"{prefix}{part.strip(' ()')}")]
        for line in words(section["layers"])
    ]
    levels = [level for level in levels if level]
    upward = [Plant(name, lower, upper) for above, below in pairwise(levels) for lower, upper in around(below, above)]
    sideways = [
        Plant(name, one, other) for level in levels for one, other in pairwise([*level, level[0]]) if one != other
    ]
    return upward + sideways


def only_plants(name: str, section: configparser.SectionProxy) -> list[Plant]:
    """Every part of the house that may not import what only some may."""
    allowed = words(section["allowed_importers"])
    parts = ["beforehand.sample", "beforehand.ingest", "beforehand.wiring", "beforehand.cli", "beforehand.web"]
    parts += ["flows", "rules", "models", "messaging", "messaging.addresses"]
    return [Plant(name, part, section["protected_modules"].strip()) for part in parts if part not in allowed]


def sibling_plants(name: str, section: configparser.SectionProxy) -> list[Plant]:
    """Every pair of independent modules, both ways."""
    return [Plant(name, one, other) for one, other in permutations(words(section["modules"]), 2)]


def plants() -> list[Plant]:
    """All of them, derived from .importlinter itself, so that a new contract cannot be left out."""
    read = configparser.ConfigParser()
    read.read(ROOT / ".importlinter")
    found: list[Plant] = []
    for title in read.sections():
        if title.startswith("importlinter:contract:"):
            section = read[title]
            make = {"layers": layer_plants, "protected": only_plants, "independence": sibling_plants}[section["type"]]
            found += make(section["name"], section)
    return found


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[Plant | None, list[str]]:
    """What each plant breaks; ``None`` is the house as it is."""
    copy = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        for source in (ROOT / package).rglob("*.py"):
            target = copy / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    shutil.copy(ROOT / ".importlinter", copy)
    todo = plants()
    lines = [["", ""], *([file_of(plant.module), f"import {plant.imported}"] for plant in todo)]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("planted.py"))],
        cwd=copy,
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip([None, *todo], json.loads(done.stderr.splitlines()[-1]), strict=True))


def test_the_house_keeps_its_contracts(broken: dict[Plant | None, list[str]]) -> None:
    assert broken[None] == []


def test_every_planted_import_breaks_its_contract(broken: dict[Plant | None, list[str]]) -> None:
    unseen = [plant for plant, names in broken.items() if plant is not None and plant.contract not in names]
    assert unseen == []


def test_for_each_contract_some_plant_breaks_it_and_nothing_else(broken: dict[Plant | None, list[str]]) -> None:
    every = {plant.contract for plant in broken if plant is not None}
    alone = {plant.contract for plant, names in broken.items() if plant is not None and names == [plant.contract]}
    assert alone == every
    assert len(every) == len(re.findall(r"^\[importlinter:contract:", (ROOT / ".importlinter").read_text(), re.M))


def test_the_layers_name_every_package_and_part() -> None:
    named = re.findall(r"[a-z_.]+", (ROOT / ".importlinter").read_text().split("layers =\n")[1].split("[")[0])
    parts = {f"beforehand.{path.stem}" for path in (ROOT / "beforehand").iterdir() if not path.name.startswith("_")}
    assert parts - set(named) == set()
    assert set(PACKAGES) - {"beforehand"} <= set(named)
