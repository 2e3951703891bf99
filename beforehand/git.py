"""Git, asked by its own command. Where it is absent or says no, callers get one error and go on without it."""

import subprocess
from pathlib import Path


class NoSuchCommit(LookupError):
    """There is no git work tree here, or no such commit in it; the text says which."""


def git(folder: Path, *words: str, timeout: float = 60) -> bytes:
    """What git says in ``folder``, within ``timeout`` seconds. Raises NoSuchCommit where it fails or is not there."""
    try:
        words = ("git", "-C", str(folder), *words)
        return subprocess.run(words, check=True, capture_output=True, timeout=timeout).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError) as wrong:
        said = getattr(wrong, "stderr", None) or b""
        raise NoSuchCommit(said.decode(errors="replace").strip() or str(wrong)) from wrong


def top_of(folder: Path) -> Path | None:
    """The top folder of the git work tree that ``folder`` lies in; None where it lies in none, or has no commit."""
    here = folder if folder.is_dir() else folder.parent
    try:
        git(here, "rev-parse", "--verify", "--quiet", "HEAD")
        return Path(git(here, "rev-parse", "--show-toplevel").decode().strip())
    except NoSuchCommit:
        return None
