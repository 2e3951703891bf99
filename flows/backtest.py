"""The flow ``backtest``: what a rule would have done in the past, asked for by a person."""

from datetime import datetime
from typing import TYPE_CHECKING

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from beforehand.counting import some
from flows.hands import Hands, held
from flows.moving import moving
from flows.runs import link_to_console, rename, this_run
from models.vocabulary import REASON_TEXT

if TYPE_CHECKING:
    from beforehand.backtest import Backtest

MOST_DAYS = 400


@flow(name="backtest", flow_run_name="backtest {rule_id}", retries=0, persist_result=False)
async def backtest_rule(rule_id: str, begin: str, end: str) -> State:
    """Replay a rule from ``begin`` to ``end`` (days such as 2026-03-10, or moments). Writes and sends nothing."""
    hands = held()
    wrong = wrong_question(hands, rule_id, begin, end)
    if wrong:
        return Failed(message=wrong)
    start, until = hands.chores.moment(begin), hands.chores.moment(end)
    found = await moving(
        f"backtest of {rule_id}",
        lambda told: hands.chores.backtest(rule_id, start, until, told),
        key=f"backtest-{rule_id}-progress",
        stages=1,
    )
    said = f"{some(found.matches, 'occasion')}, {some(found.messages, 'message')}"
    await rename(this_run(), f"backtest {rule_id} · {said}")
    await acreate_markdown_artifact(
        words(found, hands), key=f"backtest-{rule_id}", description=f"Backtest of {rule_id}"
    )
    if found.days:
        rows = day_rows(found)
        await acreate_table_artifact(rows, key=f"backtest-{rule_id}-days", description=f"{rule_id}, day by day")
    await link_to_console(hands)
    return Completed(message=f"{rule_id} would have found {said}")


def wrong_question(hands: Hands, rule_id: str, begin: str, end: str) -> str:
    """What is wrong with what was asked, in a sentence; empty where nothing is."""
    if rule_id not in hands.rules():
        return f"There is no rule '{rule_id}' in force."
    read: list[datetime] = []
    for text in (begin, end):
        try:
            read.append(hands.chores.moment(text))
        except ValueError:
            return f"'{text[:40]}' is not a day or a moment; write it like 2026-03-10 or 2026-03-10T09:00."
    if read[0] >= read[1]:
        return "The period ends before it begins."
    return "The past only can be replayed." if read[0] > hands.clock() else ""


def words(found: "Backtest", hands: Hands) -> str:
    """The replay in markdown. Examples show people, so they are left to the command line."""
    zone = hands.chores.moment("2026-01-01").tzinfo
    begin, end = (f"{at.astimezone(zone):%-d %B %Y %H:%M}" for at in (found.start, found.end))
    beside = [(found.vouchers, "voucher"), (found.tasks, "task"), (found.webhooks, "webhook call")]
    more = [some(count, what) for count, what in beside if count]
    with_them = f" With them {' and '.join(more)}." if more else ""
    lines = [
        f"# {found.title or found.rule_id}",
        f"`{found.rule_id}`, version `{found.version[:12]}`, from {begin} to {end} ({hands.time_zone}).",
        f"It would have found **{some(found.matches, 'occasion')}**, and **{some(found.messages, 'message')}** would "
        f"have gone.{with_them} Nothing was written and nothing was sent.",
    ]
    if found.withheld:
        rows = [f"| {REASON_TEXT[reason]} | {count:,} |" for reason, count in found.withheld.items()]
        lines.append("## Not sent, and why\n\n" + "\n".join(["| because | how many |", "| --- | ---: |", *rows]))
    if found.notes:
        lines.append("## What cannot be known\n\n" + "\n".join(f"- {note}" for note in found.notes))
    asks = f"beforehand backtest {found.rule_id} --from {found.start:%Y-%m-%d} --to {found.end:%Y-%m-%d}"
    lines.append(f"Examples with their words, the cost and a chart: `{asks}`")
    return "\n\n".join(lines) + "\n"


def day_rows(found: "Backtest") -> list[dict[str, str | int]]:
    """A row a day that had anything, the latest last; of a very long replay the last ones."""
    return [
        {"day": f"{day.day:%a %-d %b %Y}", "found": day.matches, "messages": day.messages, "tasks": day.tasks}
        for day in found.days[-MOST_DAYS:]
    ]
