"""How problems are shown: to people with the line they stand in, to machines as JSON, to GitHub as annotations."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

    from models.places import Problem

TAB = 4
LONGEST = 100
"""Cells of a file's line that are shown; of a longer one the part around the place."""


def as_dict(problem: "Problem") -> dict[str, Any]:
    """A problem for machines."""
    return {
        "file": problem.path,
        "line": problem.line,
        "column": problem.column,
        "severity": "warning" if problem.warning else "error",
        "message": problem.said,
        "expected": problem.expected or None,
        "did_you_mean": problem.meant or None,
    }


def shown(problem: "Problem") -> "Text":
    """A problem as people read it: its sentence, and below it the line with a caret under the place."""
    from rich.text import Text

    colour = "yellow" if problem.warning else "red"
    head, _, rest = str(problem).partition(f"{problem.line}:{problem.column}: ")
    text = Text.assemble((f"{head}{problem.line}:{problem.column}: ", "bold"))
    if problem.warning:
        rest = rest.removeprefix("warning: ")
        text.append("warning: ", colour)
    text.append(clean(rest))
    marked_line = marked(problem)
    if marked_line:
        line, caret = marked_line
        number = f"{problem.line:>5} | "
        text.append(f"\n{number}", "dim").append(line)
        text.append("\n" + " " * (len(number) - 2) + "| ", "dim").append(caret, colour)
    return text


def marked(problem: "Problem") -> tuple[str, str] | None:
    """The line of a problem and, to be put below it, the caret; None where there is no such line.

    Tabs are shown as spaces, control characters as a mark, wide characters count two cells. A long line is cut.
    """
    from rich.cells import cell_len, set_cell_size

    lines = _lines(problem.path)
    if not 0 < problem.line <= len(lines):
        return None
    line = lines[problem.line - 1]
    if not line.strip():
        return None
    before, after = _plain(line[: problem.column - 1]), _plain(line[problem.column - 1 :])
    if cell_len(before) + cell_len(after) > LONGEST:
        while cell_len(before) > LONGEST // 2:
            before = before[max(1, (cell_len(before) - LONGEST // 2) // 2) :]
        before = "…" + before if len(before) < len(_plain(line[: problem.column - 1])) else before
        room = LONGEST - cell_len(before)
        after = set_cell_size(after, room).rstrip() + "…" if cell_len(after) > room else after
    return before + after, " " * cell_len(before) + "^"


def clean(text: str) -> str:
    """Text on one line that cannot move a terminal's cursor or turn the direction of what follows."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _moves(char) else char for char in text)


def _plain(part: str) -> str:
    return clean(part.replace("\t", " " * TAB))


def _moves(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs") or "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"


def _lines(path: str) -> list[str]:
    """The lines of a file, as YAML counts them; none where it cannot be shown."""
    from models.yaml_files import MAX_BYTES

    try:
        stat = Path(path).stat()
        return _read(path, stat.st_mtime_ns) if Path(path).is_file() and stat.st_size <= MAX_BYTES else []
    except (OSError, UnicodeDecodeError):
        return []


@lru_cache(maxsize=8)
def _read(path: str, _as_of: int) -> list[str]:
    text = Path(path).read_text(encoding="utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def github(problems: Iterable["Problem"], here: Path) -> Iterator[str]:
    """Workflow commands that put each problem beside its line in a pull request; paths are those below ``here``.

    The form and its escapes: ``::error file=..,line=..,col=..::message``, where ``%``, CR and LF are escaped in a
    message and ``:`` and ``,`` in a property too. Source: github.com/actions/toolkit, packages/core/src/command.ts,
    and docs.github.com, "Workflow commands for GitHub Actions".
    """
    for problem in problems:
        path = Path(problem.path)
        if path.is_absolute() and path.is_relative_to(here):
            path = path.relative_to(here)
        level = "warning" if problem.warning else "error"
        place = f"file={_property(path.as_posix())},line={problem.line},col={problem.column}"
        _, _, said = str(problem).partition(f"{problem.line}:{problem.column}: ")
        yield f"::{level} {place}::{_message(said.removeprefix('warning: '))}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def show(problems: Iterable["Problem"], echo: Callable[..., Any]) -> None:
    """Print each problem with its line, in colour where ``echo`` is a rich console's print on a terminal."""
    for problem in problems:
        echo(shown(problem), soft_wrap=True, highlight=False)
