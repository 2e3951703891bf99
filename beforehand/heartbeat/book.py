"""The rules in force: loaded as a whole or not at all, and looked at again when a file changes."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from models.terms import Terms
from rules.errors import RuleErrors
from rules.loader import RuleSet, load_folder

log = logging.getLogger("beforehand.rules")

Vet = Callable[[RuleSet], RuleSet]
"""What the house says to a loaded set: its rates come with it, and an unknown endpoint is refused (RuleErrors)."""

Footprint = tuple[tuple[str, int, int], ...]


def footprint(folder: Path, facts: Path | None) -> Footprint:
    """Name, time and size of every file that the rules are made of, lists included."""
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else [folder]
    found = []
    for path in [*files, *([facts] if facts else [])]:
        try:
            told = path.stat()
        except FileNotFoundError:  # taken away while we look
            continue
        found.append((str(path), told.st_mtime_ns, told.st_size))
    return tuple(sorted(found))


class RuleBook:
    """The rules of ``folder`` in force in this process. Raises RuleErrors at the first load only.

    ``vet`` has a look at each loaded set before it comes into force.
    """

    def __init__(self, folder: Path, facts: Path | None = None, *, vet: Vet = lambda loaded: loaded) -> None:
        self._folder, self._facts, self._vet = folder, facts, vet
        self._seen = footprint(folder, facts)
        self.rules: RuleSet = vet(load_folder(folder, facts))
        self.problems: str = ""

    def terms(self) -> Mapping[str, Terms]:
        """The terms of the rules in force, by id."""
        return {rule_id: rule.terms for rule_id, rule in self.rules.rules.items()}

    @property
    def digest(self) -> str:
        """A short digest of the ids and versions in force here: two processes with the same rules have the same."""
        versions = sorted((rule_id, rule.terms.version) for rule_id, rule in self.rules.rules.items())
        return hashlib.sha256(repr(versions).encode()).hexdigest()[:16]

    def look(self) -> bool:
        """Look whether a file changed; True when a new set came into force.

        A set with any error is refused as a whole: the old one stays in force, and the log says why, once.
        """
        now = footprint(self._folder, self._facts)
        if now == self._seen:
            return False
        self._seen = now
        try:
            loaded = self._vet(load_folder(self._folder, self._facts))
        except RuleErrors as wrong:
            self.problems = str(wrong)
            log.error("the rules were changed, but not rightly; the set from before stays in force:\n%s", wrong)
            return False
        before, self.rules, self.problems = self.rules, loaded, ""
        self._say(before)
        return True

    def _say(self, before: RuleSet) -> None:
        old = {rule_id: rule.terms.version for rule_id, rule in before.rules.items()}
        new = {rule_id: rule.terms.version for rule_id, rule in self.rules.rules.items()}
        parts = {
            "new": new.keys() - old.keys(),
            "changed": {rule_id for rule_id in new.keys() & old.keys() if new[rule_id] != old[rule_id]},
            "gone": old.keys() - new.keys(),
        }
        told = "; ".join(f"{word}: {', '.join(sorted(ids))}" for word, ids in parts.items() if ids)
        log.info("rules reloaded, %s in force (%s)", len(new), told or "the same")
