"""Looks at files until one is saved: by their times and sizes, so that no helper of the system is needed."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

Footprint = dict[Path, tuple[int, int]]


def footprint(folders: Iterable[Path]) -> Footprint:
    """Time and size of every file in these folders (or of the files themselves)."""
    found: Footprint = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            with suppress(OSError):  # an editor that saves by renaming
                told = path.stat()
                if path.is_file() and not path.name.startswith(".") and not path.name.endswith("~"):
                    found[path] = (told.st_mtime_ns, told.st_size)
    return found


def changed(before: Footprint, after: Footprint) -> set[Path]:
    """The files that are new, gone or otherwise than before."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def affected(files: Iterable[Path], changes: set[Path]) -> list[Path]:
    """Which rule files must be tested again: those that changed; all of them where something else did."""
    known = list(files)
    others = {path for path in changes if path not in known and path.suffix not in (".yaml", ".yml")}
    gone = {path for path in changes if path not in known} - others
    return known if others or (gone and not changes & set(known)) else [path for path in known if path in changes]


def watch(
    folders: Sequence[Path],
    told: Callable[[set[Path]], None],
    *,
    rest: Callable[[], object],
    seen: Footprint | None = None,
    going: Callable[[], bool] = lambda: True,
) -> None:
    """Call ``told`` with what changed, whenever something did, for as long as ``going``; ``rest`` between the looks.

    ``seen`` is how the files were when they were last looked at (None: as they are now).
    A save that is still going on is waited for: only what has stayed as it is from one look to the next is told.
    """
    known = footprint(folders)
    seen = known if seen is None else seen
    while going():
        rest()
        now = footprint(folders)
        if now == known != seen:
            told(changed(seen, now))
            seen = now
        known = now
