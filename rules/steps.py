"""Reads the ``then`` steps of a rule into the terms that messaging understands."""

import re
from typing import Any

from dateutil.relativedelta import relativedelta

from models.terms import Money, Send, Step, TaskStep, VoucherStep, Wait, WebhookStep
from models.vocabulary import Channel
from rules.conditions import Parser
from rules.errors import listing
from rules.facts import Kind, Subject
from rules.reader import Complaints, Node
from rules.schema import CHANNELS, STEP_KEYS, VOUCHER_TERMS
from rules.values import DURATION_FORM, MONEY_FORM, duration, money

ENDPOINT = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
MOST_SAID = 20
"""Values that one webhook takes along at most."""


class StepReader:
    """Reads steps; everything wrong is noted in ``said``."""

    def __init__(self, parser: Parser, subject: Subject, said: Complaints) -> None:
        self.parser = parser
        self.subject = subject
        self.said = said

    def steps(self, node: Node) -> tuple[Step, ...]:
        """Read the list under ``then``."""
        if not node.is_list or not node.value:
            self.said.add(node, "'then' is a list of steps", expected=listing(STEP_KEYS))
            return ()
        read = [self.step(member) for member in node.value]
        return tuple(step for step in read if step is not None)

    def step(self, node: Node) -> Step | None:
        """Read one step; its first known key says which it is."""
        kinds = [key for key in STEP_KEYS if node.is_map and key in node.value]
        if len(kinds) != 1:
            first = next(iter(node.value), "") if node.is_map else str(node.value)
            if not kinds and node.is_map and first:
                self.said.unknown(node.keys[first], "step", first, [*STEP_KEYS])
            else:
                self.said.add(node, "a step is one thing to do", expected=listing(STEP_KEYS))
            return None
        kind = kinds[0]
        for key in node.value:
            if key not in STEP_KEYS[kind]:
                self.said.unknown(node.keys[key], f"key of a {kind} step", key, [*STEP_KEYS[kind]])
        return getattr(self, f"_{kind}")(node)  # type: ignore[no-any-return]

    def _send(self, node: Node) -> Send | None:
        template, other = self.text(node, "send"), self._else(node)
        by, lasts = self._by(node), self.lasts(node, "valid_for")
        return Send(template, by, lasts, otherwise=other) if template else None

    def _survey(self, node: Node) -> Send | None:
        template, other = self.text(node, "survey"), self._else(node)
        by, lasts = self._by(node), self.lasts(node, "valid_for")
        return Send(template, by, lasts, survey=template, otherwise=other) if template else None

    def _else(self, node: Node) -> Send | None:
        otherwise = node.value.get("else")
        other = self.step(otherwise) if otherwise else None
        if other is not None and (not isinstance(other, Send) or other.survey or other.otherwise or other.tries > 1):
            self.said.add(otherwise or node, "'else' is one send or call step, without tries or an else of its own")
        return other if isinstance(other, Send) else None

    def _call(self, node: Node) -> Send | None:
        template = self.text(node, "call")
        tries = node.value.get("tries")
        count = tries.value if tries else 1
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 10:
            assert tries is not None
            self.said.add(tries, f"'{count}' tries cannot be made", expected="a number from 1 to 10")
            count = 1
        other = self._else(node)
        if not template:
            return None
        return Send(
            template,
            (Channel.VOICE,),
            self.lasts(node, "valid_for"),
            connect_to=self.text(node, "connect_to") if "connect_to" in node.value else None,
            tries=count,
            every=self.lasts(node, "every"),
            otherwise=other,
        )

    def _by(self, node: Node) -> tuple[Channel, ...]:
        by = node.value.get("by")
        if by is None or by.value == "preferred":
            return ()
        named = by.value if by.is_list else [by]
        for member in named:
            if member.value not in CHANNELS:
                self.said.unknown(member, "channel", str(member.value), [*CHANNELS, "preferred"])
        return tuple(Channel(member.value) for member in named if member.value in CHANNELS)

    def _wait(self, node: Node) -> Wait | None:
        waits = node.value["wait"]
        stop = node.value.get("stop_if")
        if stop is not None:
            self.parser.condition(stop, self.subject)
        stop_if = stop.plainly() if stop is not None else None
        if isinstance(waits.value, str) and waits.value.startswith("until "):
            return self._until(waits, stop_if)
        lasts = duration(waits.value)
        if lasts is None:
            expected = f"{DURATION_FORM}, or 'until' and a time of the {self.subject.name}"
            self.said.add(waits, f"'{waits.value}' cannot be waited for", expected=expected)
            return None
        return Wait(lasts=lasts, stop_if=stop_if)

    def _until(self, waits: Node, stop_if: Any) -> Wait | None:
        said, bounded, longest = (part.strip() for part in waits.value.removeprefix("until ").partition(", at most "))
        path = self.parser.path(waits, said, self.subject)
        at_most = duration(longest)
        if bounded and at_most is None:
            self.said.add(waits, f"'{longest}' is not a duration", expected=DURATION_FORM)
        if path is None:
            return None
        if path.fact is None or path.fact.kind is not Kind.MOMENT or any(relation.many for relation in path.relations):
            self.said.add(waits, f"'{said}' is not a time that comes", expected="such as until issue.closed_at")
            return None
        return Wait(until=said, at_most=at_most, stop_if=stop_if)

    def _task(self, node: Node) -> TaskStep | None:
        what = self.text(node, "task")
        desk = self.text(node, "to") if "to" in node.value else None
        if "to" not in node.value:
            self.said.add(node, "a task needs 'to'", expected="the desk that does it")
        return TaskStep(what, desk) if what and desk else None

    def _webhook(self, node: Node) -> WebhookStep | None:
        endpoint = self.text(node, "webhook")
        if endpoint and not ENDPOINT.fullmatch(endpoint):
            what = "a rule names no URL" if re.search("[:/.]", endpoint) else f"'{endpoint}' is no name of an endpoint"
            expected = "a name that BEFOREHAND_WEBHOOKS gives a URL, such as crm"
            self.said.add(node.value["webhook"], what, expected=expected)
            return None
        facts: list[tuple[str, str]] = []
        said: list[tuple[str, Any]] = []
        for name, value in self._with(node):
            if isinstance(value.value, str) and value.plain:
                if self._told(value):
                    facts.append((name, value.value))
            elif isinstance(value.value, str | int | float):
                said.append((name, value.value))
            else:
                self.said.add(
                    value, f"'{name}' has no single value", expected="a fact, or a text in quotes or a number"
                )
        return WebhookStep(endpoint, tuple(facts), tuple(said)) if endpoint else None

    def _with(self, node: Node) -> list[tuple[str, Node]]:
        told = node.value.get("with")
        if told is None:
            return []
        if not told.is_map or not told.value:
            self.said.add(told, "'with' is a mapping", expected="names with a fact or a value, {number: order.number}")
        elif len(told.value) > MOST_SAID:
            self.said.add(
                told, f"{len(told.value)} values are more than a webhook takes", expected=f"{MOST_SAID} at most"
            )
        return list(told.items())

    def _told(self, node: Node) -> bool:
        """Whether this is a fact of the subject; a plain word that is none may be a text in want of quotes."""
        before = len(self.said.errors)
        path = self.parser.path(node, node.value, self.subject)
        if path is None and len(self.said.errors) > before and "." not in node.value:
            self.said.add(node, f"if '{node.value}' is meant as a text", expected=f'quotes: "{node.value}"')
        if path is not None and (path.fact is None or any(relation.many for relation in path.relations)):
            self.said.add(node, f"'{node.value}' is not one fact", expected=listing(self.subject.facts))
            return False
        return path is not None

    def _voucher(self, node: Node) -> VoucherStep | None:
        terms = node.value["voucher"]
        if not terms.is_map:
            self.said.add(terms, "a voucher has terms", expected="{worth: 50 EUR, valid_for: 90 days}")
            return None
        for key in terms.value:
            if key not in VOUCHER_TERMS:
                self.said.unknown(terms.keys[key], "term of a voucher", key, [*VOUCHER_TERMS])
        worth = self._worth(terms)
        lasts = self.lasts(terms, "valid_for")
        for key in ("worth", "valid_for"):
            if key not in terms.value:
                self.said.add(terms, f"a voucher needs '{key}'", expected="{worth: 50 EUR, valid_for: 90 days}")
        budget, per = self._budget(terms)
        most, within = self._per_customer(terms)
        for key, amount in (("budget", budget), ("per_customer", most)):
            if worth and amount and (amount.currency != worth.currency or amount.minor < worth.minor):
                expected = f"an amount in {worth.currency}, the worth of one voucher or more"
                self.said.add(terms.value[key], f"this {key} does not pay for a single voucher", expected=expected)
        return VoucherStep(worth, lasts, budget, per, most, within) if worth and lasts else None

    def _worth(self, terms: Node) -> Money | None:
        if "worth" not in terms.value:
            return None
        worth = money(terms.value["worth"].value)
        if worth is None or worth.minor <= 0:
            self.said.add(terms.value["worth"], f"'{terms.value['worth'].value}' is no worth", expected=MONEY_FORM)
            return None
        return worth

    def _budget(self, terms: Node) -> tuple[Money | None, str | None]:
        node = terms.value.get("budget")
        if node is None:
            return None, None
        said = str(node.value).split(" per ")
        amount = money(said[0])
        per = said[1].strip() if len(said) == 2 else None
        if amount is None or per not in ("day", "week", "month"):
            self.said.add(node, f"'{node.value}' is no budget", expected="such as 5000 EUR per month")
            return None, None
        return amount, per

    def _per_customer(self, terms: Node) -> tuple[Money | None, relativedelta | None]:
        node = terms.value.get("per_customer")
        if node is None:
            return None, None
        said, _, window = str(node.value).partition(" per ")
        amount, within = money(said), duration(window)
        if amount is None or within is None:
            self.said.add(node, f"'{node.value}' is no amount per time", expected="such as 100 EUR per 12 months")
            return None, None
        return amount, within

    def lasts(self, node: Node, key: str) -> relativedelta | None:
        """Read a duration under ``key``; None where it is absent or wrong (noted)."""
        if key not in node.value:
            return None
        lasts = duration(node.value[key].value)
        if lasts is None:
            self.said.add(node.value[key], f"'{node.value[key].value}' is not a duration", expected=DURATION_FORM)
        return lasts

    def text(self, node: Node, key: str) -> str:
        """Read a text under ``key``; an empty one is noted."""
        value = node.value[key].value
        if not isinstance(value, str) or not value.strip():
            self.said.add(node.value[key], f"'{key}' needs a text")
            return ""
        return value.strip()
