"""Reads the folder in which staff declare known issues; everything that is wrong is said at once, with its place."""

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from beforehand.ingest.tree import Complaints, MappingErrors, Node, Problem, read
from models.vocabulary import Severity

KEYS = ("id", "title", "severity", "advice", "texts", "affects", "declared_at", "closed_at")
GOODS = ("products", "category", "supplier")
WINDOWS = ("ordered_between", "delivered_between")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

Window = tuple[datetime | None, datetime | None]


@dataclass(frozen=True)
class Scope:
    """What an issue affects: order lines for which everything that is given holds.

    ``goods`` maps ``products`` (external ids), ``category`` and ``supplier`` to the values that count. A window is
    [from, before); a side that is None is open.
    """

    goods: dict[str, tuple[str, ...]] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)

    def plainly(self) -> dict[str, Any]:
        """For the record: the scope as JSON."""
        windows = {name: [side and side.isoformat() for side in window] for name, window in self.windows.items()}
        return {**{name: list(values) for name, values in self.goods.items()}, **windows}


@dataclass(frozen=True)
class Declared:
    """One issue as its file says it."""

    external_id: str
    title: str
    severity: str
    advice: str | None
    texts: dict[str, dict[str, str]]
    scope: Scope
    declared_at: datetime | None
    closed_at: datetime | None
    place: str


def read_issues(folder: Path) -> list[Declared]:
    """Every ``*.yaml`` of the folder, by name. Raises MappingErrors with all that is wrong in all of them."""
    if not folder.is_dir():
        raise MappingErrors([Problem(str(folder), 1, 1, "there is no such folder; expected one with *.yaml files")])
    found: list[Declared] = []
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.yaml")):
        if not path.read_bytes().strip():
            problems.append(
                Problem(str(path), 1, 1, "the file is empty; expected an issue: id, title, severity, affects")
            )
            continue
        try:
            root, complaints = read(path)
        except MappingErrors as wrong:
            problems.extend(wrong.problems)
            continue
        found.append(_issue(path, root, complaints))
        problems.extend(complaints.problems)
    if problems:
        raise MappingErrors(problems)
    return found


def _issue(path: Path, root: Node, complaints: Complaints) -> Declared:
    if not complaints.only(root, "an issue", KEYS):
        root = Node({}, root.line, root.column)
    for key in ("id", "title", "severity", "affects"):
        if root.get(key) is None:
            complaints.add(root, f"'{key}' is missing")
    name = complaints.text(root.get("id"), "id", path.stem)
    if name != path.stem:
        complaints.add(root.value["id"], f"the id is '{name}', but the file is called '{path.stem}'; they must agree")
    declared, closed = (_moment(root.get(key), key, complaints) for key in ("declared_at", "closed_at"))
    if declared and closed and closed < declared:
        complaints.add(root.value["closed_at"], "closed_at lies before declared_at")
    return Declared(
        external_id=name,
        title=complaints.text(root.get("title"), "title"),
        severity=complaints.choice(root.get("severity"), "severity", tuple(Severity), Severity.LOW),
        advice=complaints.text(root.get("advice"), "advice") or None,
        texts=_texts(root.get("texts"), complaints),
        scope=_scope(root.get("affects"), complaints),
        declared_at=declared,
        closed_at=closed,
        place=f"{path}:{root.get('affects').line if root.get('affects') else 1}",  # type: ignore[union-attr]
    )


def _texts(node: Node | None, complaints: Complaints) -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = {}
    if node is not None and not node.is_map:
        complaints.add(node, "texts is a mapping of languages, for example {ar: {title: ..., advice: ...}}")
    for language, entry in node.items() if node else ():
        if not LANGUAGE.fullmatch(language):
            complaints.add(entry, f"'{language}' is not a language tag; expected for example ar or zh-Hant")
        if complaints.only(entry, f"the texts in {language}", ("title", "advice")):
            texts[language] = {key: complaints.text(value, key) for key, value in entry.items()}
            if "title" not in texts[language]:
                complaints.add(entry, f"the texts in {language} need a title")
    return texts


def _scope(node: Node | None, complaints: Complaints) -> Scope:
    if node is None or not complaints.only(node, "affects", (*GOODS, *WINDOWS)):
        return Scope()
    goods = {key: complaints.texts(node.get(key), key) or () for key in GOODS if key in node.value}
    if not any(goods.values()):
        complaints.add(node, f"affects names nothing; expected one of {', '.join(GOODS)}")
    return Scope(goods, {key: _window(node.value[key], key, complaints) for key in WINDOWS if key in node.value})


def _window(node: Node, kind: str, complaints: Complaints) -> Window:
    if not node.is_list or len(node.value) != 2:
        complaints.add(node, f"{kind} takes two days or moments, for example [2026-03-01, 2026-03-14]")
        return None, None
    begin = _moment(node.value[0], kind, complaints)
    end = _moment(node.value[1], kind, complaints, whole_day=True)
    if begin and end and end <= begin:
        complaints.add(node, f"{kind} ends before it begins")
    return begin, end


def _moment(node: Node | None, kind: str, complaints: Complaints, *, whole_day: bool = False) -> datetime | None:
    # a day alone is a day in UTC; as the end of a window it counts whole
    if node is None or node.value is None:
        return None
    text = complaints.text(node, kind)
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=int(whole_day))
        moment = datetime.fromisoformat(text)
    except ValueError:
        complaints.add(node, f"{kind} '{text}' is no day and no moment; expected 2026-03-01 or 2026-03-01T09:30:00Z")
        return None
    if moment.tzinfo is None:
        complaints.add(node, f"{kind} '{text}' has no zone, so it names no moment; expected for example {text}Z")
        return None
    return moment.astimezone(UTC)
