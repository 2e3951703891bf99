"""The budgets of DESIGN section 2: lines a module, lines a function, and no clock where decisions are made."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("beforehand", "flows", "rules", "models", "messaging")

MAY_LOOK_AT_THE_CLOCK = (
    "beforehand/wiring.py",  # hands the clock out
    "beforehand/web/postroom/",  # plays the providers, which have clocks of their own
    "flows/",  # Prefect's own times: when a run was due, how long it took
)
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time")}


def modules() -> Iterator[Path]:
    """Every module of ours but the migrations, which a tool writes."""
    for package in PACKAGES:
        yield from (path for path in (ROOT / package).rglob("*.py") if "migrations/versions" not in path.as_posix())


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's name and length in lines, signature and docstring included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_is_over_600_lines_and_the_median_is_at_most_130() -> None:
    sizes = {str(path.relative_to(ROOT)): lines(path) for path in modules() if path.stat().st_size}
    assert {name: size for name, size in sizes.items() if size > 600} == {}
    assert median(sizes.values()) <= 130


def test_no_function_is_over_60_lines_and_the_median_is_at_most_10() -> None:
    sizes = dict(found for path in modules() for found in functions(path))
    assert {name: size for name, size in sizes.items() if size > 60} == {}
    assert median(sizes.values()) <= 10


def test_no_test_module_is_over_600_lines() -> None:
    assert [str(path) for path in (ROOT / "tests").rglob("*.py") if lines(path) > 600] == []


def clock_calls(tree: ast.AST) -> Iterator[int]:
    """The lines on which the wall clock is asked."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if (name, node.func.attr) in CLOCKS:
                yield node.lineno


def test_nothing_but_wiring_asks_the_wall_clock() -> None:
    asked = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules()
        if not str(path.relative_to(ROOT)).startswith(MAY_LOOK_AT_THE_CLOCK)
        for line in clock_calls(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert asked == []


def test_the_clock_test_sees_every_way_to_ask() -> None:
    seen = "datetime.now(UTC)\ndatetime.datetime.now()\ntime.time()\ndate.today()\ndatetime.utcnow()\nclock.now()"
    assert sorted(clock_calls(ast.parse(seen))) == [1, 2, 3, 4, 5]
