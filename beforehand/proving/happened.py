"""What happened in a test's database, in the words of ``expect``, and how it differs from what was expected."""

from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

import models
from beforehand.passes import brand_of, secret_of, templates_of
from beforehand.wiring import App
from messaging.candidates import UNTOLD
from messaging.context import contexts
from messaging.quiet import zones_in
from messaging.rendering import RenderingError
from messaging.steps import step_index
from models.terms import Money, VoucherStep
from models.vocabulary import REASON_TEXT, Channel
from rules.loader import Rule
from rules.rule_tests import Expected, Stage

message: Any = models.Message.__table__  # type: ignore[attr-defined]
voucher: Any = models.Voucher.__table__  # type: ignore[attr-defined]
task: Any = models.Task.__table__  # type: ignore[attr-defined]
webhook: Any = models.Webhook.__table__  # type: ignore[attr-defined]
customer: Any = models.Customer.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Happening:
    """One thing that happened. ``at`` is local to the customer; ``problem``: why the text could not be filled."""

    key: tuple[str, int]
    order: tuple[datetime, int, int, int]
    verb: str
    what: str
    by: Channel | None = None
    at: datetime | None = None
    now: bool = True
    text: str = ""
    language: str | None = None
    worth: Money | None = None
    desk: str | None = None
    problem: str | None = None


def happened(connection: Connection, app: App, rule: Rule) -> list[Happening]:
    """All that the rule did so far, in order. Every message is rendered."""
    found = [*_vouchers(connection, rule), *_messages(connection, app, rule), *_tasks(connection, rule)]
    found += _webhooks(connection, rule)
    return sorted(found, key=lambda each: each.order)


def _vouchers(connection: Connection, rule: Rule) -> list[Happening]:
    place = next((i for i, step in enumerate(rule.terms.steps) if isinstance(step, VoucherStep)), 0)
    ours = select(voucher).where(voucher.c.rule_id == rule.id, voucher.c.match_id.is_not(None))
    return [
        Happening(
            key=("voucher", row.id),
            order=(row.issued_at, row.match_id, place, 0),
            verb="voucher",
            what=in_words(Money(row.worth, row.currency)),
            worth=Money(row.worth, row.currency),
        )
        for row in connection.execute(ours)
    ]


def _tasks(connection: Connection, rule: Rule) -> list[Happening]:
    match: Any = models.Match.__table__  # type: ignore[attr-defined]
    ours = select(task).join(match, match.c.id == task.c.match_id).where(match.c.rule_id == rule.id)
    return [
        Happening(
            key=("task", row.id),
            order=(row.created_at, row.match_id, step_index(row.step), 2),
            verb="task",
            what=row.what,
            desk=row.desk,
        )
        for row in connection.execute(ours)
    ]


def _webhooks(connection: Connection, rule: Rule) -> list[Happening]:
    return [
        Happening(
            key=("webhook", row.id),
            order=(row.created_at, row.match_id, step_index(row.step), 2),
            verb="webhook",
            what=row.endpoint,
        )
        for row in connection.execute(select(webhook).where(webhook.c.rule_id == rule.id))
    ]


def _messages(connection: Connection, app: App, rule: Rule) -> list[Happening]:
    ours = [message.c.rule_id == rule.id, message.c.version == rule.terms.version, message.c.state.not_in(UNTOLD)]
    statement = select(message, customer.c.time_zone).join(customer, customer.c.id == message.c.customer_id)
    rows = connection.execute(statement.where(*ours).order_by(message.c.id)).all()
    if not rows:
        return []
    secret = secret_of(app.settings)
    filled = contexts(connection, [row.id for row in rows], brand=brand_of(app.settings), secret=secret)
    return [_message(app, row, filled[row.id]) for row in rows]


def _message(app: App, row: Any, context: dict[str, Any]) -> Happening:
    zone = zones_in(row.time_zone, app.settings.time_zone)[0] if row.time_zone else ZoneInfo(app.settings.time_zone)
    said: dict[str, Any] = {}
    try:
        written = templates_of(app).render(row.template, Channel(row.channel), row.language, context)
        said = {"text": f"{written.subject}\n{written.text}".strip(), "language": written.language}
    except RenderingError as wrong:
        said = {"problem": str(wrong)}
    survey = (row.details or {}).get("survey")
    return Happening(
        key=("message", row.id),
        order=(row.created_at, row.match_id, step_index(row.step), 1),
        verb="survey" if survey else "call" if row.channel == Channel.VOICE else "send",
        what=row.template,
        by=Channel(row.channel),
        at=row.due_at.astimezone(zone),
        now=row.due_at <= row.created_at,
        **said,
    )


# -- differences -------------------------------------------------------------------------------------------


def differences(stage: Stage, found: list[Happening]) -> list[str]:
    """How what happened differs from what a stage expects, in words; none where it is as expected."""
    said = [f"{_thing(each)} cannot be filled: {each.problem}" for each in found if each.problem]
    for wanted, got in zip_longest(stage.steps, found):
        if wanted is None and got is not None and not (stage.steps or stage.withheld):
            said.append(f"nothing was expected, but {told(got)}")
        elif wanted is None and got is not None:
            said.append(f"not expected: {told(got)}")
        elif wanted is not None and got is None:
            said.append(f"it did not come to: {expected_step(wanted)}")
        elif wanted is not None and got is not None:
            said += _differs(wanted, got)
    return said


def _differs(wanted: Expected, got: Happening) -> list[str]:
    if not _same_thing(wanted, got):
        return [f"expected {expected_step(wanted)}, got {told(got)}"]
    said = []
    if wanted.by is not None and wanted.by is not got.by:
        said.append(f"{_thing(got)} goes by {got.by}, not by {wanted.by}")
    if wanted.desk is not None and wanted.desk != got.desk:
        said.append(f"the task is for {got.desk}, not for {wanted.desk}")
    if wanted.language is not None and got.language and wanted.language.lower() != got.language.lower():
        said.append(f"{_thing(got)} is written in {got.language}, not in {wanted.language}")
    if wanted.at is not None and got.at is not None and not _at_that_time(wanted, got.at):
        said.append(f"{_thing(got)} goes at {got.at:%Y-%m-%d %H:%M} where the customer lives, not at {wanted.at.text}")
    missing = [text for text in wanted.says if " ".join(text.split()) not in " ".join(got.text.split())]
    if missing and not got.problem:
        said += [f"{_thing(got)} does not say '{text}'" for text in missing] + [f"it says: {got.text}"]
    return said


def _same_thing(wanted: Expected, got: Happening) -> bool:
    if wanted.verb in ("send", "call", "survey"):
        return got.by is not None and wanted.what == got.what
    if wanted.verb == "voucher":
        return got.worth is not None and got.worth == wanted.worth
    return (wanted.verb, wanted.what) == (got.verb, got.what)


def _at_that_time(wanted: Expected, at: datetime) -> bool:
    assert wanted.at is not None
    return (at.hour, at.minute) == (wanted.at.clock.hour, wanted.at.clock.minute) and wanted.at.day in (None, at.date())


def expected(stage: Stage) -> str:
    """What a stage expects, in words."""
    if stage.withheld is not None:
        return f"nothing, because {REASON_TEXT[stage.withheld]} ({stage.withheld})"
    return ", then ".join(expected_step(step) for step in stage.steps) or "nothing"


def expected_step(step: Expected) -> str:
    """One expected step in words: ``send late-order by sms at 07:00``."""
    parts = [step.verb, step.what]
    if step.by is not None and step.verb != "call":
        parts += ["by", step.by.value]
    if step.at is not None:
        parts += ["at", step.at.text]
    return " ".join([*parts, *(["for", step.desk] if step.desk else [])])


def got(found: list[Happening]) -> str:
    """What happened, in words."""
    return ", then ".join(told(each) for each in found) or "nothing"


def told(each: Happening) -> str:
    """One thing that happened in words; a message that does not go at once with its time."""
    parts = [each.verb, each.what]
    if each.by is not None and each.verb != "call":
        parts += ["by", each.by.value]
    if each.at is not None and not each.now:
        parts += ["at", f"{each.at:%Y-%m-%d %H:%M}"]
    return " ".join([*parts, *(["for", each.desk] if each.desk else [])])


def _thing(each: Happening) -> str:
    return f"{each.verb} {each.what}"


def in_words(amount: Money) -> str:
    """An amount as people write it: ``50 EUR``."""
    from babel.numbers import get_currency_precision

    return f"{amount.minor / 10 ** get_currency_precision(amount.currency):g} {amount.currency}"
