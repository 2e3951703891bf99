"""Rules generated from the whole grammar: every subject, fact, operator, relation test and nesting; as plain trees.

``Grammar.rule`` gives the rule as dicts, lists and scalars; ``as_yaml`` writes it down. ``Words`` are the values, so
that the same grammar can speak in plain or in hostile words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rules.conditions import OPERATORS, ORDERING
from rules.facts import Fact, Kind, Relation, Subject
from tests.rules.dice import Dice
from tests.rules.population import DURATIONS, WORDS

Tree = dict[str, Any]
SUBJECTS = ("customer", "order", "call", "ticket", "subscription", "exposure", "event")
TIMES = (Kind.MOMENT, Kind.DAY)


@dataclass
class Words:
    """The values that a rule may name, by kind; the first of each is the plainest."""

    texts: Sequence[str] = tuple(WORDS)
    parts: Sequence[str] = ("o", "%", "_", "\u0301", "\\", "g", "👩", "", "ol", "é", "'", "gold", "G", "ذ")
    numbers: Sequence[float] = (0, 1, 2, 3, 4, -1, 2.5, 100)
    counts: Sequence[float] = (0, 1, 2, 3, -1, 1.5)
    money: Sequence[str] = ("10 EUR", "0 EUR", "25.50 EUR", "-0.01 EUR", "1,000 EUR", "10000000000000 EUR", "9.99 EUR")
    percents: Sequence[str] = ("0%", "-50%", "100%", "-100%", "50%")
    lasts: Sequence[str] = tuple(DURATIONS)
    points: Sequence[str] = (
        *(
            "today",
            "yesterday",
            "tomorrow",
            "monday",
            "sunday",
            "thursday",
            "3 days ago",
            "in 1 day",
            "now",
            "1 month ago",
        ),
        *(
            "2026-03-28",
            "2026-03-29",
            "2026-11-01",
            "2026-03-29T01:30Z",
            "2026-03-29T03:30:00.000001+02:00",
            "9999-12-31",
        ),
        *("2026-03-08", "in 7 days", "30 days ago", "2 days ago", "1900-01-01", "2028-02-29"),
    )
    names: Sequence[str] = ("a", "b", "c", "d")
    lists: Sequence[str] = ("lists/several.csv", "lists/plain.csv")


@dataclass
class Grammar:
    """Generates one rule. ``wide`` is how many more facts and relations its condition may still name.

    ``dice`` choose the structure, ``voice`` (the same dice, if not given) the values. ``seen`` are values that rows
    have, by fact, so that many a condition holds.
    """

    dice: Dice
    subjects: dict[str, Subject]
    words: Words = field(default_factory=Words)
    voice: Dice | None = None
    root: str = "customer"
    wide: int = 9
    depth: int = 2
    seen: dict[str, list[Any]] = field(default_factory=dict)

    def word(self, several: Sequence[Any]) -> Any:
        """One of several values; mostly one of the plain ones."""
        return (self.voice or self.dice).near(several, 4)

    def name(self, names: list[str]) -> str:
        """A name for a condition, taken out of those that are left."""
        return names.pop((self.voice or self.dice).below(len(names)))

    def rule(self) -> Tree:
        """A rule: what it looks at, ``if``, perhaps ``unless``, and a wait with a ``stop_if``."""
        dice = self.dice
        self.root = dice.pick(SUBJECTS)
        names = list(self.words.names)
        tree: Tree = {"for_each": self.root, "if": {}}
        for _ in range(2 if dice.chance(4) else 1):
            self.wide = 6
            tree["if"][self.name(names)] = self.condition(self.subject, depth=self.depth)
        if dice.chance(4):
            tree["unless"] = {self.name(names): self.condition(self.subject, depth=self.depth)}
        if dice.chance(8):
            self.wide = 4
            tree["then"] = [self._wait(), {"send": "late-order", "by": "sms"}]
        return tree

    def _wait(self) -> Tree:
        """A wait for a while or until a moment of the subject, with a ``stop_if``."""
        walked, end = self.ones(self.subject, 2)
        comes = [fact.name for fact in end.facts.values() if fact.kind is Kind.MOMENT]
        until = f"until {'.'.join([*walked, self.dice.pick(comes)])}" if comes and self.dice.chance(2) else "1 day"
        return {"wait": until, "stop_if": self.condition(self.subject, depth=self.depth)}

    @property
    def subject(self) -> Subject:
        """What the rule looks at."""
        return self.subjects[self.root]

    def condition(self, subject: Subject, *, depth: int, deep: int = 0) -> Tree:
        """A mapping whose entries all hold; ``deep`` counts the relations around it."""
        tree: Tree = {}
        for _ in range(2 if self.dice.chance(4) else 1):
            key, value = self.entry(subject, depth, deep)
            tree.setdefault(key, value)
        return tree

    def entry(self, subject: Subject, depth: int, deep: int) -> tuple[str, Any]:
        self.wide -= 1
        turn = self.dice.below(10) if depth > 0 and self.wide > 0 else 0
        if turn < 4:
            return self.fact(subject, deep)
        if turn < 6:
            several = [self.condition(subject, depth=depth - 1, deep=deep) for _ in self.dice.times(3, 1)]
            bare = len(several) == 1 and self.dice.chance(2)
            return self.dice.pick(("any_of", "all_of", "none_of")), several[0] if bare else several
        return self.relation(subject, depth, deep)

    # -- paths --------------------------------------------------------------------------------------------

    def ones(self, subject: Subject, most: int) -> tuple[list[str], Subject]:
        """A walk along one-to-one relations."""
        walked: list[str] = []
        for _ in range(most):
            one = [relation for relation in subject.relations.values() if not relation.many]
            if not one or not self.dice.chance(3):
                break
            relation = self.dice.pick(one)
            walked.append(relation.name)
            subject = self.subjects[relation.target]
        return walked, subject

    def start(self, subject: Subject, deep: int) -> tuple[list[str], Subject]:
        """Where a path begins: here, here by its own name, or at ``this``."""
        if deep < 2 and self.dice.chance(7):
            return ["this"], self.subject
        if subject.name not in subject.relations and self.dice.chance(12):
            return [subject.name], subject
        return [], subject

    def fact(self, subject: Subject, deep: int) -> tuple[str, Any]:
        before, begin = self.start(subject, deep)
        walked, end = self.ones(begin, 2)
        if walked and self.dice.chance(9):
            return ".".join([*before, *walked]), self.dice.pick(("missing", "present"))
        fact = self.dice.pick([*end.facts.values()])
        return ".".join([*before, *walked, fact.name]), self.test(fact, begin if before else subject, deep)

    def many(self, subject: Subject, deep: int) -> tuple[str, Subject] | None:
        """A walk that goes through at least one relation to many."""
        before, subject = self.start(subject, deep)
        walked, here = self.ones(subject, 1)
        several = [relation for relation in here.relations.values() if relation.many]
        if not several:
            walked, here = [], subject
            several = [relation for relation in here.relations.values() if relation.many]
        if not several:
            return None
        walked.append(self._go(several))
        here = self.subjects[here.relations[walked[-1]].target]
        for _ in range(2):
            if here.relations and self.dice.chance(4):
                walked.append(self._go([*here.relations.values()]))
                here = self.subjects[here.relations[walked[-1]].target]
        return ".".join([*before, *walked]), here

    def _go(self, relations: list[Relation]) -> str:
        return self.dice.pick(relations).name

    # -- tests of facts -----------------------------------------------------------------------------------

    def test(self, fact: Fact, start: Subject, deep: int) -> Any:
        """What a fact must be."""
        dice, kind = self.dice, fact.kind
        if dice.chance(6):
            return dice.pick(("present", "missing"))
        if dice.chance(8):
            return self.value(fact, None, deep)
        if dice.chance(8) and (kind is not Kind.FLAG):
            return [self.value(fact, None, deep) for _ in dice.times(3, 1)]
        operators = OPERATORS[kind]
        if dice.chance(8) and len(operators) > 4:
            first, second = dice.pick(operators[:3]), dice.pick(operators[3:])
            return {op: self.operand(op, fact, start, deep) for op in (first, second)}
        op = dice.pick(operators)
        return {op: self.operand(op, fact, start, deep)}

    def operand(self, op: str, fact: Fact, start: Subject | None, deep: int) -> Any:
        dice = self.dice
        if op in ("in", "not_in"):
            if fact.kind is Kind.TEXT and not fact.values and dice.chance(4):
                return self.word(self.words.lists)
            return [self.value(fact, None, deep) for _ in dice.times(4, 1)]
        if op == "between":
            return [self.value(fact, start if fact.kind in TIMES else None, deep) for _ in range(2)]
        if op in ("within", "within_next"):
            return self.word(self.words.lasts)
        if op in ("contains", "starts_with"):
            return self.word(fact.values or self.words.parts)
        return self.value(fact, start, deep)

    def value(self, fact: Fact, start: Subject | None, deep: int) -> Any:
        """One value, or another fact where ``start`` says that one may stand here."""
        dice, kind = self.dice, fact.kind
        if start is not None and dice.chance(4):
            found = self.other(fact, start, deep)
            if found:
                return found
        if not fact.values and self.seen.get(fact.name) and dice.chance(2):
            return dice.pick(self.seen[fact.name])
        if kind is Kind.TEXT:
            return self.word(fact.values or self.words.texts)
        if kind is Kind.FLAG:
            return self.word((True, False))
        return self.word({Kind.NUMBER: self.words.numbers, Kind.MONEY: self.words.money}.get(kind, self.words.points))

    def other(self, fact: Fact, start: Subject, deep: int) -> str:
        """Another fact that this one can be compared with; empty where there is none."""
        this = deep == 1 or (deep == 0 and self.dice.chance(3)) or (fact.kind is Kind.TEXT and deep < 2)
        if not this and fact.kind is Kind.TEXT:
            return ""
        walked, end = self.ones(self.subject if this else start, 1)
        fit = [
            f
            for f in end.facts.values()
            if (f.kind in TIMES if fact.kind in TIMES else f.kind is fact.kind and not f.values)
        ]
        return ".".join([*(["this"] if this else []), *walked, self.dice.pick(fit).name]) if fit else ""

    # -- relations ----------------------------------------------------------------------------------------

    def relation(self, subject: Subject, depth: int, deep: int) -> tuple[str, Any]:
        found = self.many(subject, deep)
        if found is None:
            return self.fact(subject, deep)
        path, end = found
        dice = self.dice
        body: Tree = {}
        how = dice.pick(self._hows(end))
        body[how] = self._body(how, end, depth, deep)
        if dice.chance(4):
            body["where"] = self.condition(end, depth=depth - 1, deep=deep + 1)
        if end.natural and (how == "change" or dice.chance(4)):
            body["within" if how == "change" or not dice.chance(4) else "within_next"] = self.word(self.words.lasts)
        if end.natural and dice.chance(6):
            body["since"] = self._since(end, subject, deep)
        return path, body

    def _since(self, end: Subject, subject: Subject, deep: int) -> str:
        natural = end.facts[end.natural]
        return self.value(natural, subject if deep < 1 else None, deep)  # type: ignore[no-any-return]

    def _hows(self, end: Subject) -> list[str]:
        hows = ["any", "none", "count"]
        if any(fact.kind in (Kind.NUMBER, Kind.MONEY) for fact in end.facts.values()):
            hows += ["sum", "average"]
        if any(fact.kind in (Kind.NUMBER, Kind.MONEY, *TIMES) for fact in end.facts.values()):
            hows += ["min", "max"]
        return [*hows, "latest", "change"] if end.natural else hows

    def _body(self, how: str, end: Subject, depth: int, deep: int) -> Any:
        dice = self.dice
        if how in ("any", "none", "latest"):
            empty = how != "latest" and dice.chance(3)
            return {} if empty else self.condition(end, depth=depth - 1, deep=deep + 1)
        if how == "count":
            if dice.chance(4):
                return self.word(self.words.counts)
            return self._bounds(Kind.NUMBER, self.words.counts)
        kinds = (Kind.NUMBER, Kind.MONEY, *(TIMES if how in ("min", "max") else ()))
        usable = [fact for fact in end.facts.values() if fact.kind in kinds]
        if how == "change":
            of = dice.pick(["count", *(fact.name for fact in usable)])
            op = dice.pick(ORDERING)
            bound: Any = self.word(self.words.percents)
            return {"of": of, op: [bound, self.word(self.words.percents)] if op == "between" else bound}
        fact = dice.pick(usable)
        if fact.kind in TIMES:
            op = dice.pick([op for op in OPERATORS[fact.kind] if op not in ("in", "not_in")])
            return {"of": fact.name, op: self.operand(op, fact, None, deep)}
        return {
            "of": fact.name,
            **self._bounds(fact.kind, self.words.money if fact.kind is Kind.MONEY else self.words.numbers),
        }

    def _bounds(self, kind: Kind, several: Sequence[Any]) -> Tree:
        dice = self.dice
        op = dice.pick([op for op in OPERATORS[kind] if op not in ("in", "not_in")])
        value = [self.word(several), self.word(several)] if op == "between" else self.word(several)
        return {op: value} | ({"at_most": self.word(several)} if op == "at_least" and dice.chance(3) else {})


def as_yaml(value: Any) -> str:
    """A tree in YAML's flow style: texts in quotes with every unusual letter escaped."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)}: {as_yaml(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    return '"' + "".join(_letter(letter) for letter in text) + '"'


def _letter(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if " " <= letter <= "~" or (letter.isprintable() and letter.isalpha()):
        return letter
    return f"\\U{ord(letter):08x}"


def rule_text(tree: Tree) -> str:
    """A rule file around a generated rule."""
    then = tree.get("then", [{"send": "late-order", "by": "sms"}])
    parts = "\n".join(f"{key}: {as_yaml(value)}" for key, value in {**tree, "then": then}.items())
    return f"id: case\ntitle: A case\npurpose: service\n{parts}\n"
