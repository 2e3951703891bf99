"""Who says so: the name that goes into the audit log where a command is given none."""

import getpass
import subprocess


def who(given: str | None) -> str:
    """The name as given, else git's ``user.email`` here, else the login."""
    if given and given.strip():
        return given.strip()
    try:
        words = ("git", "config", "user.email")
        found = subprocess.run(words, capture_output=True, text=True, timeout=2, check=False).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        found = ""
    if found:
        return found
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        return "unknown"
