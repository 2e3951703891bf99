"""A question in words: a page of markdown, and the sentences that the command line shows, too."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from messaging.costs import shown, shown_money
from models.vocabulary import REASON_TEXT

if TYPE_CHECKING:
    from beforehand.approving.question import Kind, Question
    from messaging.costs import Cost

CHANNELS = {"sms": ("SMS", "SMS"), "voice": ("call", "calls"), "email": ("e-mail", "e-mails")}


def markdown(asked: "Question") -> str:
    """The whole question; texts of customers' messages stand as quotes."""
    run = asked.run
    parts = [f"### {run.rule_id}: {asked.title}" if asked.title else f"### {run.rule_id}"]
    costs = [_cost(asked.cost)] if asked.run.asks and asked.cost is not None and asked.cost.messages else []
    parts.append("\n".join(f"- {line}" for line in sentences(asked, costs)))
    if asked.withheld:
        rows = "\n".join(f"| {count:,} | {REASON_TEXT[reason]} |" for reason, count in asked.withheld)
        parts.append(f"Withheld by now, and not sent:\n\n| matches | why |\n|---:|---|\n{rows}")
    for sample in asked.samples:
        said = [sample.headline, sample.text] if not sample.problem else [f"cannot be filled: {sample.problem}"]
        quoted = "\n".join(f"> {line}".rstrip() for line in "\n\n".join(filter(None, said)).splitlines())
        parts.append(f"**{CHANNELS[sample.channel][0]}, {sample.language or 'default language'}**\n\n{quoted}")
    return "\n\n".join(parts) + "\n"


def sentences(asked: "Question", costs: Iterable[str]) -> Iterator[str]:
    """What there is to know of a held run, a sentence each; ``costs`` say what it costs."""
    run = asked.run
    yield f"Run {run.id} of version {run.version[:12]}, held at {run.held_at:%Y-%m-%d %H:%M} UTC: {run.stands}."
    yield run.because
    if asked.found:
        yield _found(asked)
    if run.said:
        yield f"Said of it: {run.said}."
    if asked.rule_why:
        yield f"What the rule is for: {' '.join(asked.rule_why.split())}"
    yield _written(run.author, asked.text_authors)
    if not run.asks:
        return
    yield from _would(asked)
    yield from costs
    if run.canary:
        yield f"{run.canary:,} were let go before it was stopped."
    if asked.first and not run.rest_at:
        yield f"Once approved, {asked.first:,} go first, then we look at what comes back; the rest follows."
    yield f"Without an answer by {run.expires_at:%Y-%m-%d %H:%M} UTC it is refused."


def _found(asked: "Question") -> str:
    left = [f"{count:,} ({REASON_TEXT[reason]})" for reason, count in asked.left_out]
    usual = f" The rule's runs usually reach {asked.usual:,.0f}." if asked.usual else ""
    return f"The pass found {asked.found:,}{'; left out: ' + ', '.join(left) if left else ''}.{usual}"


def _written(author: str | None, text_authors: Sequence[str]) -> str:
    others = [one for one in text_authors if one != author]
    if author and others:
        return f"Written by {author}, its templates by {' and '.join(others)}: none of them can approve it."
    if author:
        return f"Written by {author}, who cannot approve it."
    if others:
        return f"Nobody knows who wrote the rule; its templates are by {' and '.join(others)}, who cannot approve it."
    return "Nobody knows who wrote this text of the rule, so anybody may approve it."


def _would(asked: "Question") -> Iterator[str]:
    held = f"{_some(asked.held, 'match', 'matches')} of {_some(asked.customers, 'customer')}"
    yield f"{held} wait; {asked.going:,} would go."
    if asked.waiting_messages:
        yield f"{_some(asked.waiting_messages, 'message')} that had been planned would go on."
    if asked.kinds:
        yield f"Messages: {', '.join(map(_kind, asked.kinds))}."
    also = ((asked.vouchers, "voucher"), (asked.tasks, "task"), (asked.webhooks, "webhook call"))
    if said := [_some(count, what) for count, what in also if count]:
        yield f"With them: {', '.join(said)}."


def _kind(kind: "Kind") -> str:
    return f"{_some(kind.count, *CHANNELS[kind.channel])} ({kind.language or 'default language'})"


def _cost(cost: "Cost") -> str:
    about = "about " if cost.is_estimate else ""
    said = f"Sending costs {about}{shown(cost.amount, cost.currency)}" if cost.amount is not None else "No price is set"
    vouchers = f"; vouchers are worth {' and '.join(map(shown_money, cost.vouchers))}" if cost.vouchers else ""
    return f"{said}{vouchers}."


def _some(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
