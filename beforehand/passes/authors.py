"""Who wrote the text of a rule, as far as git or the file can tell. Never a failure: an author may be unknown."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from beforehand.git import PATIENCE, NoSuchCommit, git, in_work_tree, user_of


def authors_of(paths: Iterable[Path]) -> dict[Path, str]:
    """The author of each file that has a known one, such as ``Eva Muster <eva@example.com>``.

    Who committed it last, where it is as committed; else the user of the git work tree it was edited in; outside of
    git the login that owns the file. A few questions to git for each folder, however many files there are.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        if path.is_file():
            folders[path.resolve().parent].append(path)
    found: dict[Path, str] = {}
    for folder, files in folders.items():
        found.update(_in_folder(folder, files))
    return found


def _in_folder(folder: Path, files: list[Path]) -> dict[Path, str]:
    if not in_work_tree(folder):
        return {path: owner for path in files if (owner := _owner(path))}
    committed, editor = _committed(folder, {path.name for path in files}), user_of(folder)
    authors = {path: committed.get(path.name) or editor for path in files}
    return {path: author for path, author in authors.items() if author}


def _committed(folder: Path, names: set[str]) -> dict[str, str]:
    """Who committed each of these files last; those that are edited, new or ignored are left out."""
    try:
        edited = git(folder, "status", "--porcelain", "-z", "--untracked-files=no", "--", ".", timeout=PATIENCE)
        listed = ("log", "--no-renames", "--relative", "--name-only", "--format=%x01%an <%ae>", "--", ".")
        told = git(folder, "-c", "core.quotepath=off", *listed, timeout=PATIENCE).decode(errors="replace")
    except NoSuchCommit:
        return {}
    changed = {Path(entry[3:]).name for entry in edited.decode(errors="replace").split("\0")}
    found: dict[str, str] = {}
    author = ""
    for line in told.splitlines():
        if line.startswith("\x01"):
            author = line[1:]
        elif line in names - changed:
            found.setdefault(line, author)
    return found


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (OSError, KeyError, NotImplementedError):  # a number without a name, as in many containers
        return ""


def known_as(rules: Path) -> list[str]:
    """Who runs this, by all that they did not type: git's user where the rules lie, the login, who called ``sudo``."""
    said = [user_of(rules if rules.is_dir() else rules.parent), _login(), os.environ.get("SUDO_USER", "")]
    return list(dict.fromkeys(filter(None, said)))


def _login() -> str:
    """The name of the user id: unlike ``getpass``, it does not believe the environment."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return ""
