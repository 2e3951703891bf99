"""Files as they stood at a git commit, read by git itself; the work tree and the index are left alone."""

import io
import tarfile
from pathlib import Path

from beforehand.git import NoSuchCommit, git


def commit_of(top: Path, ref: str) -> str:
    """The commit that a name (a branch, a tag, ``HEAD~1``) stands for. Raises NoSuchCommit."""
    try:
        return git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").decode().strip()
    except NoSuchCommit:
        raise NoSuchCommit(f"there is no commit '{ref}' in the git work tree {top}") from None


def unpack(top: Path, commit: str, rules: Path, into: Path) -> Path:
    """Write the rules (a folder or a file in ``top``) as they stood at ``commit`` below the folder ``into``.

    The lists that they may name come with them: the CSV files beside and below. Returns where the rules are now; what
    was not there then is not there either. Raises NoSuchCommit where git cannot read it.
    """
    inside = rules.relative_to(top)
    base = (inside if rules.is_dir() else inside.parent).parent
    found = git(top, "ls-tree", "-r", "-z", "--name-only", commit, "--", f"{base.as_posix()}/").decode().split("\0")
    wanted = [name for name in found if Path(name).is_relative_to(inside) or name.lower().endswith(".csv")]
    if wanted:
        packed = git(top, "archive", "--format=tar", commit, "--", *(f":(literal){name}" for name in wanted))
        try:
            with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
                tar.extractall(into, filter="data")
        except tarfile.FilterError as wrong:
            said = f"the rules at {commit[:10]} cannot be read: a link in it leads out of the work tree"
            raise NoSuchCommit(f"{said} ({wrong.tarinfo.name})") from wrong
    return into / inside
