"""What has begun on another version of a rule and waits: it goes on with the text it began with."""

from sqlalchemy import Connection, func, select

from beforehand.planning.report import Waiting
from messaging.candidates import match
from models.terms import Send, Step, TaskStep, VoucherStep, Wait
from models.vocabulary import MatchState
from rules.loader import Rule


def waiting_on_others(
    connection: Connection, rule_id: str, version: str | None, old: Rule | None
) -> tuple[Waiting, ...]:
    """The open matches of a rule that are on another ``version`` (None: all), by version and step.

    ``old`` tells the steps of its own version in words.
    """
    counted = (
        select(match.c.version, match.c.next_step, func.count(), func.min(match.c.due_at))
        .where(match.c.rule_id == rule_id, match.c.state == MatchState.OPEN)
        .where(match.c.version != version if version else match.c.version.is_not(None))
        .group_by(match.c.version, match.c.next_step)
        .order_by(match.c.version, match.c.next_step)
    )
    return tuple(
        Waiting(of, step + 1, _words(old, of, step), count, due)
        for of, step, count, due in connection.execute(counted).all()
    )


def _words(old: Rule | None, version: str, step: int) -> str:
    if old is None or old.terms.version != version or step >= len(old.terms.steps):
        return ""
    return step_in_words(old.terms.steps[step])


def step_in_words(step: Step) -> str:
    """A step in a word or two: ``wait``, ``send late-order``."""
    if isinstance(step, Wait):
        return f"wait until {step.until}" if step.until else "wait"
    if isinstance(step, Send):
        return f"send {step.template}"
    if isinstance(step, TaskStep):
        return f"task for {step.desk}"
    return "voucher" if isinstance(step, VoucherStep) else "webhook"
