"""What is left of a person outside the rows: lines in our own files, bytes in database files."""

import gzip
import mmap
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

LINES = {".log", ".jsonl", ".csv", ".txt"}
"""Files in which each line stands for itself, so that a line can go. Others are only looked at."""

JOURNAL = "journal"
"""The folder of the journals, which hold keyed hashes only and are never rewritten."""

SHORTEST = 6
"""A word shorter than this is found everywhere by chance, so it is not looked for."""


def words_of(addresses: Iterable[str], name: str, external_id: str) -> list[str]:
    """What to look for: addresses, a phone number also without its plus, a full name, an id that is no plain number."""
    found = [*addresses, *(address.removeprefix("+") for address in addresses if address.startswith("+"))]
    found += [name] if " " in name else []
    found += [external_id] if not external_id.isdigit() else []
    return sorted({word for word in found if len(word) >= SHORTEST})


def scrub(folder: Path, words: Sequence[str]) -> dict[Path, int]:
    """Take out each line that names one of ``words``, in every text file below ``folder``. Returns lines by file.

    The file stays the same one, so that a process that appends to it goes on.
    """
    gone = {}
    for path in _files(folder):
        if path.suffix in LINES and words:
            count = _without(path, _pattern(words))
            if count:
                gone[path] = count
    return gone


def remaining(paths: Iterable[Path], words: Sequence[str]) -> dict[Path, int]:
    """How often ``words`` still stand in these files (folders are walked), whatever kind of file each is."""
    pattern = _pattern(words) if words else None
    found: dict[Path, int] = {}
    for path in [one for given in paths for one in (_files(given) if given.is_dir() else [given])]:
        count = _count(path, pattern) if pattern else 0
        if count:
            found[path] = count
    return found


def _files(folder: Path) -> Iterator[Path]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return (path for path in found if path.parent.name != JOURNAL)


def _pattern(words: Sequence[str]) -> re.Pattern[bytes]:
    """Any of the words in whatever case. Addresses stand next to other letters in a database's pages; ids of ours
    could be the beginning of a longer one. JSON writes letters beyond ASCII as escapes.
    """
    spelled = {word for given in words for word in (given, given.encode("ascii", "backslashreplace").decode())}
    patterns = [re.escape(word.encode()) for word in sorted(spelled)]
    apart = [
        found if b"@" in found or found.lstrip(b"\\+").isdigit() else rb"(?<![0-9A-Za-z])" + found + rb"(?![0-9A-Za-z])"
        for found in patterns
    ]
    return re.compile(b"|".join(apart), re.IGNORECASE)


def _without(path: Path, pattern: re.Pattern[bytes]) -> int:
    with path.open("r+b") as stream:
        lines = stream.readlines()
        kept = [line for line in lines if not pattern.search(line)]
        if len(kept) < len(lines):
            kept += stream.readlines()  # what somebody has appended meanwhile
            stream.seek(0)
            stream.writelines(kept)
            stream.truncate()
    return sum(1 for line in lines if pattern.search(line))


def _count(path: Path, pattern: re.Pattern[bytes]) -> int:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                return sum(1 for line in packed for _ in pattern.finditer(line))
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return sum(1 for _ in pattern.finditer(content))
    except (OSError, ValueError, EOFError, zlib.error):  # gone meanwhile, empty, or no packed file at all
        return 0
