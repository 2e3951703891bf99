"""The operator's own facts: ``facts.yaml`` names attributes that lie in the JSON columns of customers and events.

::

    customer:
      member_since: {type: day, help: when the customer joined the club}
    event:
      page: {type: text, help: the page that was looked at}
"""

from dataclasses import replace
from pathlib import Path

from rules.errors import RuleErrors
from rules.facts import Fact, Kind, Subject
from rules.reader import Complaints, Node, read_file

COLUMNS = {"customer": "attributes", "event": "properties"}
KINDS = (Kind.TEXT, Kind.NUMBER, Kind.DAY, Kind.FLAG)


def with_attributes(known: dict[str, Subject], path: Path | None) -> dict[str, Subject]:
    """The subjects with the facts of ``facts.yaml`` added. Raises RuleErrors for a file that is not right."""
    if path is None:
        return known
    _, root = read_file(path)
    said = Complaints(str(path))
    added = dict(known)
    if not root.is_map:
        said.add(root, "facts.yaml is a mapping", expected="customer or event, then the names of facts")
    for name, body in root.items():
        if name not in COLUMNS:
            said.unknown(root.keys[name], "subject with facts of your own", name, [*COLUMNS])
            continue
        facts = {key: fact for key, value in body.items() if (fact := _fact(name, key, value, body, known[name], said))}
        added[name] = replace(known[name], facts={**known[name].facts, **facts})
    if said.problems:
        raise RuleErrors(said.problems)
    return added


def _fact(subject: str, key: str, value: Node, body: Node, known: Subject, said: Complaints) -> Fact | None:
    if key in known.facts or key in known.relations:
        said.add(body.keys[key], f"'{key}' is a word of ours already", expected="another name")
        return None
    if not key.isidentifier():
        said.add(body.keys[key], f"'{key}' cannot be a fact's name", expected="letters, digits and underscores")
        return None
    for word in value.value if value.is_map else ():
        if word not in ("type", "help"):
            said.unknown(value.keys[word], "key of a fact", word, ["type", "help"])
    kind = value.value.get("type") if value.is_map else value
    if kind is None or kind.value not in [str(known_kind) for known_kind in KINDS]:
        shown = str(kind.value) if kind is not None else "nothing"
        said.unknown(kind or value, "type of fact", shown, [str(known_kind) for known_kind in KINDS])
        return None
    explained = value.value.get("help") if value.is_map else None
    return Fact(key, Kind(kind.value), str(explained.value) if explained else "", COLUMNS[subject], attribute=key)
