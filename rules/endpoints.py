"""Says which of a rule's webhook steps call an endpoint that the settings do not name."""

from collections.abc import Collection

from models.terms import WebhookStep
from rules.errors import Problem, closest, listing
from rules.loader import Rule


def unknown_endpoints(rule: Rule, known: Collection[str]) -> list[Problem]:
    """A problem for each webhook step whose endpoint is not among ``known``, at the place of its name."""
    found = []
    for place, step in enumerate(rule.terms.steps):
        if isinstance(step, WebhookStep) and step.endpoint not in known:
            at = rule.root.value["then"].value[place].value["webhook"]
            said = f"BEFOREHAND_WEBHOOKS names no endpoint '{step.endpoint}'"
            expected = listing(sorted(known)) or "a line in the settings for it"
            found.append(Problem(rule.path, at.line, at.column, said, expected, closest(step.endpoint, known)))
    return found
