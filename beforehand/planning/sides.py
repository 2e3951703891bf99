"""The two sides of a plan: the rules as their files are now, and what they are compared with."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, Select, func, select

from beforehand.git import NoSuchCommit, top_of
from beforehand.passes.house import read_each, version_of
from beforehand.passes.in_force import GONE, IN_FORCE, RULE_PASS
from beforehand.planning.git import commit_of, unpack
from beforehand.wiring import App
from models.database import reading
from rules.errors import Problem, RuleErrors
from rules.loader import Rule

HEAD = "HEAD"


class NothingToCompare(LookupError):
    """What the plan should be compared with is not there; the text says what was looked for."""


@dataclass(frozen=True)
class Side:
    """A set of rules by id, what it is called, and the problems of those that could not be read, by rule."""

    label: str
    rules: dict[str, Rule] = field(default_factory=dict)
    problems: dict[str, tuple[Problem, ...]] = field(default_factory=dict)


def files_side(app: App, label: str, folder: Path, facts: Path | None) -> Side:
    """The rules of a folder or a file, each by itself. Raises RuleErrors where there is nothing to read."""
    rules, problems = read_each(app, folder, facts)
    return Side(label, rules, _by_rule(problems))


def _by_rule(problems: list[Problem]) -> dict[str, tuple[Problem, ...]]:
    found: dict[str, tuple[Problem, ...]] = {}
    for problem in problems:
        name = Path(problem.path).stem
        found[name] = (*found.get(name, ()), problem)
    return found


@contextmanager
def other_side(app: App, rules: Path, against: str | None) -> Iterator[Side]:
    """What ``rules`` is compared with: a path, a git commit, else what is in force, else git's HEAD, else nothing.

    The files of a commit are there while the context is open. Raises NothingToCompare, and RuleErrors for facts that
    cannot be read.
    """
    with ExitStack() as stack:
        if against is None:
            yield _in_force(app) or _head(app, rules, stack) or Side("nothing (no rule has run yet)")
        elif Path(against).exists():
            yield files_side(app, against, Path(against), app.settings.facts)
        else:
            yield _at_commit(app, rules, against, stack)


def _in_force(app: App) -> Side | None:
    """What is in force by the database; where nobody wrote that down, the versions of the last passes."""
    with reading(app.engine) as connection:
        versions: dict[str, str] = {row.rule_id: row.version for row in connection.execute(_last_passes())}
        for row in connection.execute(select(IN_FORCE)).all():
            versions[row.rule_id] = row.version
            if row.status == GONE:
                del versions[row.rule_id]
        return _kept(app, connection, versions) if versions else None


def _last_passes() -> Select[Any]:
    newest = select(func.max(RULE_PASS.c.id)).where(RULE_PASS.c.finished_at.is_not(None)).group_by(RULE_PASS.c.rule_id)
    return select(RULE_PASS.c.rule_id, RULE_PASS.c.version).where(RULE_PASS.c.id.in_(newest))


def _kept(app: App, connection: Connection, versions: dict[str, str]) -> Side:
    side = Side("what is in force")
    for rule_id, version in sorted(versions.items()):
        try:
            rule = version_of(app, connection, rule_id, version)
        except RuleErrors as wrong:
            side.problems[rule_id] = tuple(wrong.problems)
            continue
        if rule is None:
            side.problems[rule_id] = (Problem(rule_id, 1, 1, f"the text of version {version} is not kept"),)
        else:
            side.rules[rule_id] = rule
    return side


def _head(app: App, rules: Path, stack: ExitStack) -> Side | None:
    try:
        return _at_commit(app, rules, HEAD, stack)
    except NothingToCompare:
        return None


def _at_commit(app: App, rules: Path, ref: str, stack: ExitStack) -> Side:
    here = rules.resolve()
    top = top_of(here)
    if top is None:
        said = f"'{ref}' is no file or folder, and {rules} lies in no git work tree with a commit"
        raise NothingToCompare(f"{said}; expected a path, a branch, a tag or a commit")
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="beforehand-plan-")))
    try:
        commit = commit_of(top, ref)
        there = unpack(top, commit, here, folder)
        facts = _facts(app, top, commit, folder)
    except NoSuchCommit as wrong:
        raise NothingToCompare(f"{wrong}; expected a path, a branch, a tag or a commit") from wrong
    label = f"git {ref} ({commit[:10]})" if ref != commit else f"git {commit[:10]}"
    return files_side(app, label, there, facts) if there.exists() else Side(label)


def _facts(app: App, top: Path, commit: str, folder: Path) -> Path | None:
    """The ``facts.yaml`` of that time, where it is kept beside the rules in git; else as it is now."""
    now = app.settings.facts
    if now is None or not now.resolve().is_relative_to(top):
        return now
    there = unpack(top, commit, now.resolve(), folder)
    return there if there.exists() else None
