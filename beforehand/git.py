"""Git, asked by its own command. Where it is absent or says no, callers get one error and go on without it."""

import getpass
import subprocess
from pathlib import Path

PATIENCE = 10.0
"""Seconds that git may take for one question; whose a text is, is not worth a longer wait."""


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


def in_work_tree(folder: Path) -> bool:
    """Whether ``folder`` lies in a git work tree."""
    try:
        return git(folder, "rev-parse", "--is-inside-work-tree", timeout=PATIENCE).strip() == b"true"
    except NoSuchCommit:
        return False


def user_of(folder: Path) -> str:
    """Who works in this git work tree, by git's settings; empty where they do not say."""
    said = {}
    for key in ("name", "email"):
        try:
            said[key] = git(folder, "config", f"user.{key}", timeout=PATIENCE).decode(errors="replace").strip()
        except NoSuchCommit:
            said[key] = ""
    return f"{said['name']} <{said['email']}>".strip() if said["email"] else said["name"]


def me(rules: Path) -> str:
    """Who works here: the user of the git work tree that the rules lie in, else the login; empty where nobody knows.

    By the same rule as an author (:mod:`beforehand.passes.authors`), so that whoever wrote a text is known again.
    """
    folder = rules if rules.is_dir() else rules.parent
    try:
        return (user_of(folder) if in_work_tree(folder) else "") or getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        return ""
