"""Conditions as typed values: what ``if``, ``unless``, ``stop_if`` and ``where`` say, with every word looked up.

A condition is a :class:`Compare`, a :class:`Related` or a :class:`Group`. Parsing never stops at the first problem.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dateutil.relativedelta import relativedelta

from models.terms import Money
from rules.errors import closest, cut, listing
from rules.facts import Fact, Kind, Relation, Subject
from rules.reader import YAML11_BOOLEANS, Complaints, Node, Place
from rules.values import DURATION_FORM, MOMENT_FORM, MONEY_FORM, Moment, duration, moment, money

GROUPS = ("any_of", "all_of", "none_of")
AGGREGATES = ("any", "none", "count", "sum", "average", "min", "max", "latest", "change")
MODIFIERS = ("where", "within", "within_next", "since")
ORDERING = ("at_least", "at_most", "more_than", "less_than", "between")
MEMBERSHIP = ("is", "is_not", "in", "not_in")
TEXT_ONLY = ("contains", "starts_with")
TEMPORAL = ("before", "after", "within", "within_next", "since")
OPERATORS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: (*MEMBERSHIP, *TEXT_ONLY),
    Kind.NUMBER: (*MEMBERSHIP, *ORDERING),
    Kind.MONEY: (*MEMBERSHIP, *ORDERING),
    Kind.MOMENT: ("is", *TEMPORAL, "between"),
    Kind.DAY: (*MEMBERSHIP, *TEMPORAL, "between"),
    Kind.FLAG: ("is", "is_not"),
}


NOWHERE: Place = (1, 1)
LARGEST = 2**53
"""Beyond this a number is no longer exact on both databases (IEEE 754)."""


@dataclass(frozen=True)
class Path:
    """A walk along relations from where a condition stands (or from the rule's subject, if ``from_this``)."""

    relations: tuple[Relation, ...]
    fact: Fact | None
    subject: Subject
    start: Subject
    from_this: bool = False
    text: str = ""


@dataclass(frozen=True)
class Compare:
    """A fact and what it is compared with. ``operator`` is one of OPERATORS, ``missing`` or ``present``.

    ``value`` is a scalar, Money, Moment, Path, a relativedelta (within ...), a list of these, or a ListFile.
    """

    path: Path
    operator: str
    value: Any = None
    at: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class ListFile:
    """Values from a CSV file: the column named like the fact, or the first one."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Related:
    """A test over related rows: ``customer.orders: {count: {at_least: 2}, where: ..., within: ...}``.

    ``path.subject`` is what is tested. ``bounds`` are (operator, value) pairs that the aggregate must meet;
    ``holds`` is the condition of any, none and latest; ``of`` the fact that is summed, or None to count.
    """

    path: Path
    aggregate: str
    holds: "Condition | None" = None
    of: Fact | None = None
    bounds: tuple[tuple[str, Any], ...] = ()
    where: "Condition | None" = None
    within: relativedelta | None = None
    within_next: relativedelta | None = None
    since: Moment | Path | None = None
    at: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Group:
    """``all`` (and), ``any`` (or) or ``none`` (neither) of several conditions."""

    how: str
    members: "tuple[Condition, ...]"


Condition = Compare | Related | Group
ListReader = Callable[[str, str], "tuple[str, ...] | str"]


class Parser:
    """Turns nodes into conditions about one subject.

    ``read_list(name, fact)`` gives the values of a CSV file, or says what is wrong with it.
    """

    def __init__(self, subjects: dict[str, Subject], this: Subject, said: Complaints, read_list: ListReader) -> None:
        self.subjects = subjects
        self.this = this
        self.said = said
        self.read_list = read_list
        self.depth = 0

    def condition(self, node: Node, subject: Subject, *, empty_ok: bool = False) -> Group:
        """Read a mapping, all of whose entries must hold."""
        if not node.is_map or (not node.value and not empty_ok):
            self.said.add(node, "a condition is missing", expected="facts with what they must be, such as {tier: gold}")
            return Group("all", ())
        members = [self._entry(node.keys[key], key, value, subject) for key, value in node.items()]
        return Group("all", tuple(member for member in members if member is not None))

    def _entry(self, at: Node, key: str, value: Node, subject: Subject) -> Condition | None:
        if key in GROUPS:
            return self._group(key, value, subject)
        path = self.path(at, key, subject)
        if path is None:
            return None
        if path.fact is not None:
            return self._compare(path, path.fact, value)
        if any(relation.many for relation in path.relations):
            return self._related(at, path, value)
        return self._through_one(path, value)

    def _group(self, key: str, value: Node, subject: Subject) -> Condition | None:
        members = value.value if value.is_list else [value]
        if value.is_list and not members:
            self.said.add(value, f"{key} is empty", expected="a list of conditions")
            return None
        return Group(key.removesuffix("_of"), tuple(self.condition(member, subject) for member in members))

    def _through_one(self, path: Path, value: Node) -> Condition | None:
        if value.value in ("missing", "present"):
            key = Fact(path.relations[-1].name, Kind.NUMBER, "", column="id")
            return Compare(replace(path, fact=key), value.value, at=value.place)
        self.said.add(
            value,
            f"'{path.text}' is one {path.subject.name}, not a fact",
            expected=f"one of its facts, such as {path.text}.{next(iter(path.subject.facts))}",
        )
        return None

    def path(self, at: Node, text: str, subject: Subject) -> Path | None:
        """Look up a dotted path. ``this.`` starts at the rule's subject; so does the subject's own name."""
        words = text.split(".")
        from_this = words[0] == "this"
        here = start = self.this if from_this else subject
        if from_this and self.depth > 1:
            self.said.add(at, f"'{text}': 'this' can be used in a relation, not in a relation of a relation")
        if from_this or (len(words) > 1 and words[0] == here.name and words[0] not in here.relations):
            words = words[1:]
        walked: list[Relation] = []
        for position, word in enumerate(words):
            last = position == len(words) - 1
            if last and word in here.facts:
                if any(relation.many for relation in walked):
                    self._fact_of_many(at, text, word)
                    return None
                return Path(tuple(walked), here.facts[word], here, start, from_this, text)
            if word not in here.relations:
                self._unknown_word(at, text, word, here, last=last)
                return None
            walked.append(here.relations[word])
            here = self.subjects[here.relations[word].target]
        if not walked:
            self.said.add(at, f"'{text}' names no fact", expected=listing(here.facts))
            return None
        return Path(tuple(walked), None, here, start, from_this, text)

    def _fact_of_many(self, at: Node, text: str, word: str) -> None:
        several = text.removesuffix(f".{word}")
        said = f"'{several}' are many, so '{text}' is not one value"
        self.said.add(at, said, expected=f"a test of them, such as {several}: {{any: {{{word}: ...}}}}")

    def _unknown_word(self, at: Node, text: str, word: str, here: Subject, *, last: bool) -> None:
        if self.said.full:
            return
        known = [*(here.facts if last else ()), *here.relations, *(GROUPS if last and "." not in text else ())]
        prefix = text[: -len(word)] if last and text.endswith(word) else ""
        near = closest(word, known)
        self.said.add(
            at,
            f"'{cut(word)}' is not known of {'an' if here.name[0] in 'aeiou' else 'a'} {here.name}",
            expected=listing(known),
            meant=prefix + near if near else "",
        )

    # -- facts ---------------------------------------------------------------------------------------------

    def _compare(self, path: Path, fact: Fact, node: Node) -> Condition | None:
        if node.value in ("missing", "present"):
            return Compare(path, node.value, at=node.place)
        if node.value is None:
            self.said.add(node, f"'{path.text}' has no value", expected="a value, 'missing' or 'present'")
            return None
        if node.is_list:
            return self._operation(path, fact, "in", node, node)
        if not node.is_map:
            return self._operation(path, fact, "is", node, node)
        if not node.value:
            self.said.add(node, f"'{path.text}' says nothing", expected=listing(OPERATORS[fact.kind]))
            return None
        made = [self._operation(path, fact, op, node.keys[op], value) for op, value in node.items()]
        return Group("all", tuple(member for member in made if member is not None))

    def _operation(self, path: Path, fact: Fact, operator: str, at: Node, node: Node) -> Condition | None:
        if operator not in OPERATORS[fact.kind] and not (operator == "in" and fact.kind is Kind.MOMENT and at is node):
            self.said.unknown(at, f"test of a {fact.kind}", operator, [*OPERATORS[fact.kind]])
            return None
        if operator in ("in", "not_in"):
            value = self._several(fact, node)
        elif operator == "between":
            value = self._pair(path if fact.kind in (Kind.MOMENT, Kind.DAY) else None, fact, node)
        elif operator in ("within", "within_next"):
            value = duration(node.value)
            if value is None:
                self.said.add(node, f"'{node.value}' is not a duration", expected=DURATION_FORM)
        else:
            value = self.value(path, fact, node)
            if isinstance(value, Path) and operator in TEXT_ONLY:
                self.said.add(node, f"'{operator}' takes a text, not another fact", expected="a text")
        return None if value is None else Compare(path, operator, value, at=at.place)

    def _several(self, fact: Fact, node: Node) -> Any:
        if isinstance(node.value, str) and node.value.endswith(".csv"):
            if fact.kind is not Kind.TEXT:
                said = f"a list file holds texts, and '{fact.name}' is a {fact.kind}"
                self.said.add(node, said, expected="the values here, such as [one, two]")
                return None
            found = self.read_list(node.value, fact.name)
            if isinstance(found, str):
                self.said.add(node, found, expected="a CSV file beside the rules, such as lists/vip.csv")
                return None
            return ListFile(node.value, found)
        if not node.is_list or not node.value:
            self.said.add(node, "a list of values is due here", expected="[one, two] or a CSV file")
            return None
        values = [self.value(None, fact, member) for member in node.value]
        return None if any(value is None for value in values) else self._of_one_currency(node, values)

    def _of_one_currency(self, node: Node, values: list[Any]) -> list[Any]:
        """The values; money of several currencies side by side is noted."""
        named = sorted({value.currency for value in values if isinstance(value, Money)})
        if len(named) > 1:
            self.said.add(node, f"{' and '.join(named)} stand side by side", expected="amounts of one currency")
        return values

    def _pair(self, path: Path | None, fact: Fact, node: Node) -> Any:
        if not node.is_list or len(node.value) != 2:
            self.said.add(node, "between takes two values", expected="[lowest, highest]")
            return None
        values = [self.value(path, fact, member) for member in node.value]
        return None if any(value is None for value in values) else self._of_one_currency(node, values)

    def value(self, path: Path | None, fact: Fact, node: Node) -> Any:
        """Read one value of a fact's kind, or another fact of that kind; None (and a complaint) where it is neither."""
        told = len(self.said.problems)
        other = self._other_fact(path, fact, node)
        if other is not None or len(self.said.problems) > told:
            return other
        read, expected = _READERS[fact.kind]
        value = read(node)
        if value is None:
            self.said.add(
                node, f"'{_shown(node)}' cannot be compared with the {fact.kind} '{fact.name}'", expected=expected
            )
            return None
        if fact.values and value not in fact.values:
            self.said.unknown(node, fact.name, value, [*fact.values])
            return None
        return value

    def _other_fact(self, path: Path | None, fact: Fact, node: Node) -> Path | None:
        if path is None or not isinstance(node.value, str):
            return None
        said = node.value.strip()
        relative = said.startswith("this.") or (fact.kind is not Kind.TEXT and said.replace(".", "").isidentifier())
        if not relative or moment(said) is not None:
            return None
        start = self.this if path.from_this else path.start
        if not said.startswith("this.") and said.split(".")[0] not in {*start.facts, *start.relations, start.name}:
            return None
        found = self.path(node, said, start)
        if found is None or found.fact is None:
            return None
        if found.fact.kind is not fact.kind and not {found.fact.kind, fact.kind} <= {Kind.MOMENT, Kind.DAY}:
            self.said.add(
                node,
                f"the {fact.kind} '{fact.name}' cannot be compared with the {found.fact.kind} '{said}'",
                expected=f"a fact of kind {fact.kind}",
            )
        return replace(found, from_this=found.from_this or path.from_this)

    # -- relations -----------------------------------------------------------------------------------------

    def _related(self, at: Node, path: Path, node: Node) -> Condition | None:
        known = [*AGGREGATES, *MODIFIERS]
        if not node.is_map:
            self.said.add(node, f"'{path.text}' are many, so say which test", expected=listing(AGGREGATES))
            return None
        for key in node.value:
            if key not in known:
                self.said.unknown(node.keys[key], "test of a relation", key, known)
        tests = [key for key in node.value if key in AGGREGATES]
        if len(tests) != 1:
            self.said.add(node, f"{len(tests) or 'no'} tests where exactly one is due", expected=listing(AGGREGATES))
            return None
        test, body = tests[0], node.value[tests[0]]
        window = {word: self._lasts(node.value[word]) for word in ("within", "within_next") if word in node.value}
        if len(window) > 1:
            said = "'within' looks back and 'within_next' ahead"
            self.said.add(node.keys["within_next"], said, expected="one of them")
        if window and not path.subject.natural:
            self.said.add(node, f"a {path.subject.name} has no time of its own, so 'within' has nothing to count on")
        self.depth += 1
        where = self.condition(node.value["where"], path.subject) if "where" in node.value else None
        since = self._since(path, node.value["since"]) if "since" in node.value else None
        holds, of, bounds = self._test(test, body, path)
        self.depth -= 1
        if test == "latest" and not path.subject.natural:
            self.said.add(body, f"a {path.subject.name} has no time of its own, so none of them is the latest")
        if test == "change" and "within" not in node.value:
            self.said.add(body, "change compares two windows, so it needs 'within'", expected="within: 90 days")
        ahead = window.get("within_next")
        return Related(path, test, holds, of, bounds, where, window.get("within"), ahead, since, at.place)

    def _lasts(self, node: Node) -> relativedelta | None:
        lasts = duration(node.value)
        if lasts is None:
            self.said.add(node, f"'{_shown(node)}' is not a duration", expected=DURATION_FORM)
        return lasts

    def _since(self, path: Path, node: Node) -> Moment | Path | None:
        if not path.subject.natural:
            self.said.add(node, f"a {path.subject.name} has no time of its own, so 'since' has nothing to count on")
            return None
        found = self.value(path, path.subject.facts[path.subject.natural], node)
        if isinstance(found, Path) and not found.from_this:
            if self.depth > 1:
                said = f"'{found.text}' can be compared in a relation, not in a relation of a relation"
                self.said.add(node, said, expected=MOMENT_FORM)
                return None
            return replace(found, from_this=True)  # where the relation stands is the rule's own subject
        return found if isinstance(found, Moment | Path) else None

    def _test(self, test: str, body: Node, path: Path) -> tuple[Group | None, Fact | None, tuple[tuple[str, Any], ...]]:
        if test in ("any", "none", "latest"):
            return self.condition(body, path.subject, empty_ok=test != "latest"), None, ()
        if test == "count":
            return None, None, self._bounds(body, Fact("count", Kind.NUMBER, ""))
        if not body.is_map:
            self.said.add(
                body, f"'{test}' needs the fact it is taken of", expected=f"{test}: {{of: net_total, at_least: ...}}"
            )
            return None, None, ()
        of = self._of(test, body, path)
        as_fact = Fact("change", Kind.TEXT, "") if test == "change" else of
        return None, of, self._bounds(body, as_fact, skip="of") if as_fact else ()

    def _of(self, test: str, body: Node, path: Path) -> Fact | None:
        named = body.value.get("of")
        if test == "change" and (named is None or named.value == "count"):
            return None
        kinds = (Kind.NUMBER, Kind.MONEY, *((Kind.MOMENT, Kind.DAY) if test in ("min", "max") else ()))
        usable = [fact.name for fact in path.subject.facts.values() if fact.kind in kinds]
        if named is None:
            self.said.add(body, f"'{test}' needs 'of'", expected=listing(usable))
        elif named.value not in usable:
            self.said.unknown(named, f"fact to take the {test} of", str(named.value), usable)
        else:
            return path.subject.facts[named.value]
        return None

    def _bounds(self, body: Node, fact: Fact, skip: str = "") -> tuple[tuple[str, Any], ...]:
        if not body.is_map:
            value = self.value(None, fact, body)
            return (("is", value),) if value is not None else ()
        percent = fact.name == "change" and fact.kind is Kind.TEXT
        known = ORDERING if percent else tuple(op for op in OPERATORS[fact.kind] if op not in ("in", "not_in"))
        made: list[tuple[str, Any]] = []
        for operator, node in body.items():
            if operator == skip:
                continue
            if operator not in known:
                self.said.unknown(body.keys[operator], "bound", operator, [*known])
                continue
            value = self._bound(operator, fact, node, percent=percent)
            if value is not None:
                made.append((operator, value))
        self._of_one_currency(body, [each for _, v in made for each in (v if isinstance(v, list) else [v])])
        if not made and not self.said.errors:
            self.said.add(body, "a bound is missing", expected=listing(known))
        return tuple(made)

    def _bound(self, operator: str, fact: Fact, node: Node, *, percent: bool) -> Any:
        if operator == "between":
            nodes = node.value if node.is_list else []
            values = [self._percent(n) if percent else self.value(None, fact, n) for n in nodes]
            if len(values) != 2:
                self.said.add(node, "between takes two values", expected="[lowest, highest]")
            return values if len(values) == 2 and None not in values else None
        if operator in ("within", "within_next"):
            return self._lasts(node)
        return self._percent(node) if percent else self.value(None, fact, node)

    def _percent(self, node: Node) -> float | None:
        text = str(node.value).strip()
        try:
            percent = float(text.removesuffix("%")) if text.endswith("%") else float("x")
        except ValueError:
            percent = float("nan")
        if not abs(percent) <= LARGEST:
            self.said.add(node, f"'{_shown(node)}' is not a change in percent", expected="such as -50%")
            return None
        return percent


def _shown(node: Node) -> str:
    return str(node.plainly())[:60]


def _read_text(node: Node) -> str | None:
    if node.plain and isinstance(node.value, str) and node.value.lower() in YAML11_BOOLEANS:
        return None
    if isinstance(node.value, bool) or node.is_map or node.is_list or node.value is None:
        return None
    return str(node.value)


def _read_number(node: Node) -> float | int | None:
    number = node.value
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return number if abs(number) <= LARGEST else None


def _read_moment(node: Node) -> Moment | None:
    return moment(node.value)


def _read_day(node: Node) -> Moment | None:
    return moment(node.value)


def _read_money(node: Node) -> Money | None:
    return money(node.value)


def _read_flag(node: Node) -> bool | None:
    return node.value if isinstance(node.value, bool) else None


_READERS: dict[Kind, tuple[Callable[[Node], Any], str]] = {
    Kind.TEXT: (_read_text, "a text (in quotes where it is yes, no, on, off, true or false)"),
    Kind.NUMBER: (_read_number, "a number, at most 9 quadrillion"),
    Kind.MONEY: (_read_money, MONEY_FORM),
    Kind.MOMENT: (_read_moment, MOMENT_FORM),
    Kind.DAY: (_read_day, MOMENT_FORM),
    Kind.FLAG: (_read_flag, "true or false"),
}
