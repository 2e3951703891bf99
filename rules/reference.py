"""The words of ``rules.facts`` as Markdown, for the page ``docs/reference/rules.md``."""

from collections.abc import Mapping

from rules.facts import Fact, Relation, Subject


def facts_markdown(subjects: Mapping[str, Subject]) -> str:
    """A heading and a table for each subject: its facts, then its relations.

    The days ``x_on`` are left out, as each moment ``x_at`` has one.
    """
    return "\n\n".join(_subject(subject) for subject in subjects.values())


def _subject(subject: Subject) -> str:
    said = [f"{subject.help[0].upper()}{subject.help[1:]}."]
    if subject.natural:
        said.append(f"Its own time is `{subject.natural}`.")
    if subject.for_each:
        said.append(f"A rule may say `for_each: {subject.name}`.")
    if subject.events:
        said.append(f"Events: {_code(subject.events)}.")
    rows = [_fact(fact) for fact in subject.facts.values() if not fact.day_of]
    rows += [_relation(relation) for relation in subject.relations.values()]
    table = ["| word | kind | what it is |", "|---|---|---|", *rows]
    return "\n".join([f"### {subject.name}", "", " ".join(said), "", *table])


def _fact(fact: Fact) -> str:
    values = f": {_code(fact.values)}" if fact.values else ""
    kind = f"{fact.kind}, known ahead" if fact.planned else str(fact.kind)
    return f"| `{fact.name}` | {kind} | {fact.help}{values} |"


def _relation(relation: Relation) -> str:
    target = f"[{relation.target}](#{relation.target})"
    return f"| `{relation.name}` | {'many' if relation.many else 'one'} {target} | {relation.help} |"


def _code(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)
