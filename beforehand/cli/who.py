"""Who says so: the name that goes into the audit log where a command is given none."""

import getpass
from pathlib import Path

from beforehand.git import NoSuchCommit, git


def who(given: str | None) -> str:
    """The name as given, else git's ``user.email`` here, else the login."""
    if given and given.strip():
        return given.strip()
    try:
        found = git(Path(), "config", "user.email", timeout=2).decode(errors="replace").strip()
    except NoSuchCommit:
        found = ""
    if found:
        return found
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        return "unknown"
