"""The morning brief in words: short markdown for somebody who has never seen the code."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from beforehand.counting import CHANNELS, some
from models.vocabulary import HELD_TEXT, REASON_TEXT, HeldState

if TYPE_CHECKING:
    from beforehand.briefing import Brief, Withheld

Row = list[str | int]
MOST_RULES = 12
MOST_REASONS = 12

DECIDED = {
    "stop": "stopped something",
    "resume": "let something go on",
    "approve": "approved a held run",
    "refuse": "refused a held run",
    "cancel": "cancelled messages",
}


def markdown(brief: "Brief") -> str:
    """The whole brief: the sum, what needs somebody, then the tables."""
    parts = [_head(brief), _needs(brief), _sent(brief), _withheld(brief), _unclear(brief), _failed(brief)]
    parts += [_today(brief), _decided(brief)]
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(brief: "Brief") -> str:
    """The brief in one line: what went, and how much needs somebody."""
    waits = len(list(_waiting(brief)))
    needs = f"{some(waits, 'thing')} for a person" if waits else "nothing needs a person"
    return f"{some(brief.total, 'message')} sent, {needs}"


def _head(brief: "Brief") -> str:
    zone = ZoneInfo(brief.zone)
    since, until = brief.since.astimezone(zone), brief.until.astimezone(zone)
    parts = ", ".join(_of_channel(count, channel) for channel, count in brief.sent.items())
    said = f"**{some(brief.total, 'message')}** went out since {_when(since, until)}" + (
        f": {parts}." if parts else "."
    )
    if brief.delivered:
        said += f" Of {brief.delivered:,} we know that they arrived."
    return f"# {until:%A %-d %B, %H:%M}\n\n{said} {_compared(brief)}".rstrip()


def _of_channel(count: int, channel: str) -> str:
    return some(count, *CHANNELS.get(channel, (channel, channel)))


def _when(moment: datetime, now: datetime) -> str:
    """A moment as one says it at ``now``: with the weekday in the last days, else with the date."""
    days = (now.date() - moment.date()).days
    if days <= 1:
        return f"{('today', 'yesterday')[days]} {moment:%H:%M}"
    return f"{moment:%A %H:%M}" if days < 7 else f"{moment:%-d %B %H:%M}"


def _compared(brief: "Brief") -> str:
    usual = brief.usual
    if usual is None:
        return "There is nothing before it to compare with."
    length = (brief.until - brief.since).total_seconds() / 3600
    if length < 1:
        return ""
    spans = "days" if 23 <= length <= 25 else f"spans of {length:.0f} h"
    before = f"the {len(brief.before)} {spans} before" if len(brief.before) > 1 else "the one before"
    least, most = min(brief.before), max(brief.before)
    rest = f"{before}: {least:,}" if least == most else f"{before}: between {least:,} and {most:,}, mostly {usual:,}"
    if usual and brief.total > 2 * usual and brief.total > most:
        return f"**That is far more than usual** ({rest})."
    if usual and brief.total * 2 < usual and brief.total < least:
        return f"**That is far less than usual** ({rest})."
    return f"That is within what is usual ({rest})." if least <= brief.total <= most else f"For comparison, {rest}."


def _needs(brief: "Brief") -> str:
    lines = [f"- {line}" for line in _waiting(brief)]
    return "## Needs somebody\n\n" + ("\n".join(lines) or "Nothing. All that is due goes by itself.")


def _waiting(brief: "Brief") -> Iterator[str]:
    """What only a person can do or undo, the worst first, each with what to do."""
    zone = ZoneInfo(brief.zone)
    now = brief.until.astimezone(zone)
    if brief.held_since:
        since = _when(brief.held_since.astimezone(zone), now)
        yield f"**Everything is held** since {since}: a backup was put back. Run `beforehand reconcile`."
    for scope in brief.stopped:
        what = "all sending" if scope == "all" else f"`{scope}`"
        yield f"**Stopped by a person**: {what}. `beforehand resume {scope}` says what would go, `--yes` lets it go."
    told = {call.topic for call in brief.calls}
    for rest in brief.resting:
        if f"provider:{rest.name}" not in told:
            yield f"**{rest.name} rests**, because it says {rest.code}; it is tried again by itself."
    for call in (call for call in brief.calls if not call.topic.startswith("brake:")):  # told with the held runs
        yield f"**{call.topic}** since {_when(call.since.astimezone(zone), now)}: {_one_line(call.said)}."
    for run in brief.held:
        until = _when_ahead(run.expires_at.astimezone(zone), now)
        yield (
            f"**Held run {run.number}** of `{run.rule}`, {some(run.customers, 'customer')}: "
            f"{HELD_TEXT[run.state]}{f' until {until}' if run.state in OPEN else ''}. `beforehand approve` shows it."
        )
    if brief.rules_refused:
        since = _when(brief.rules_refused.since.astimezone(zone), now)
        yield f"**The rule files are refused** since {since}; the old ones are in force. `beforehand check` says why."
    if brief.replies:
        oldest = f", the oldest since {_when(brief.replies_since.astimezone(zone), now)}" if brief.replies_since else ""
        answers = some(brief.replies, "reply may mean STOP", "replies may mean STOP")
        them = "it" if brief.replies == 1 else "them"
        yield f"**{answers}** and nobody has read {them}{oldest}. `beforehand replies` shows {them}."
    if brief.overdue:
        late = some(brief.overdue, "message")
        yield f"**{late} should have gone** over an hour ago. `beforehand status` says what is in the way."


OPEN = (HeldState.WAITING, HeldState.STOPPED)
"""Held runs that a person must answer."""


def _when_ahead(moment: datetime, now: datetime) -> str:
    days = (moment.date() - now.date()).days
    return f"{('today', 'tomorrow')[days]} {moment:%H:%M}" if days in (0, 1) else f"{moment:%-d %B %H:%M}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300].removesuffix(".")


def _sent(brief: "Brief") -> str:
    shown = [rule for rule in brief.rules if rule.found or rule.sent or rule.withheld]
    if not shown:
        passes = sum(rule.passes for rule in brief.rules)
        return f"## Rules\n\n{some(passes, 'pass', 'passes')} found nobody new." if passes else ""
    channels = [channel for channel in CHANNELS if any(channel in rule.sent for rule in shown)]
    head = ["rule", "found", *(CHANNELS[channel][1] for channel in channels), "withheld"]
    rows: list[Row] = [
        [f"`{rule.rule}`", rule.found, *(rule.sent.get(channel, 0) for channel in channels), rule.withheld]
        for rule in shown[:MOST_RULES]
    ]
    more = len(shown) - len(rows)
    rest = f"\n\nAnd {some(more, 'rule')} more with less." if more else ""
    return "## Rules\n\n" + table(head, rows) + rest


def _withheld(brief: "Brief") -> str:
    if not brief.withheld:
        return ""
    total = sum(one.count for one in brief.withheld)
    rows: list[Row] = [[REASON_TEXT[one.reason], one.count, _rules_of(one)] for one in brief.withheld[:MOST_REASONS]]
    more = len(brief.withheld) - len(rows)
    rest = f"\n\nAnd {some(more, 'reason')} more." if more else ""
    return f"## Not sent, and why\n\n{total:,} in all.\n\n" + table(["because", "how many", "rules"], rows) + rest


def _rules_of(one: "Withheld") -> str:
    names = [f"`{rule}`" for rule in list(one.rules)[:3]]
    return ", ".join(names) + (f" and {len(one.rules) - 3} more" if len(one.rules) > 3 else "")


def _unclear(brief: "Brief") -> str:
    seen = brief.unclear
    if not seen.new and not seen.open_now:
        return ""
    lines = []
    if seen.new:
        became = [
            (seen.went, "turned out to have gone"),
            (seen.again, "had not gone, and go once more"),
            (seen.given_up, "were given up"),
            (seen.looked_into, "are still looked into"),
        ]
        told = ", ".join(f"{count:,} {words}" for count, words in became if count)
        lines.append(f"Of {some(seen.new, 'message')} the provider gave no clear answer: {told}.")
    if seen.open_now:
        channels = ", ".join(_of_channel(count, channel) for channel, count in seen.open_now.items())
        zone = ZoneInfo(brief.zone)
        since = (
            f", the oldest since {_when(seen.oldest.astimezone(zone), brief.until.astimezone(zone))}"
            if seen.oldest
            else ""
        )
        lines.append(f"Looked into now: {channels}{since}. Nothing is sent twice meanwhile.")
    return "## Unclear\n\n" + " ".join(lines)


def _failed(brief: "Brief") -> str:
    if not brief.failed:
        return ""
    rows: list[Row] = [
        [
            CHANNELS.get(one.channel, ("", one.channel))[1],
            REASON_TEXT[one.reason] if one.reason else "taken by the provider, and could not be delivered",
            one.count,
        ]
        for one in brief.failed
    ]
    return "## Failed\n\n" + table(["by", "because", "how many"], rows)


def _today(brief: "Brief") -> str:
    if not brief.hours:
        return "## Due today\n\nNothing yet; the rules' own schedules are under *Deployments*."
    rows: list[Row] = [[f"{hour.hour:02}:00", hour.messages, hour.steps] for hour in brief.hours]
    return "## Due today\n\n" + table(["from", "messages", "next steps of rules"], rows)


def _decided(brief: "Brief") -> str:
    parts = [f"{words} ({brief.decided[action]:,})" for action, words in DECIDED.items() if action in brief.decided]
    tasks = (
        f"{some(brief.tasks, 'task')} {'is' if brief.tasks == 1 else 'are'} open at the desks." if brief.tasks else ""
    )
    people = f"People {', '.join(parts)}; who and why is in the audit log." if parts else ""
    return f"## People\n\n{people} {tasks}".strip() if parts or tasks else ""


def table(head: Sequence[str], rows: Sequence[Row]) -> str:
    """A markdown table: numbers to the right and with commas, a nought left empty."""
    right = [bool(rows) and all(isinstance(row[place], int) for row in rows) for place in range(len(head))]
    lines = [list(head), ["---:" if is_right else "---" for is_right in right]]
    lines += [[_cell(value) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: str | int) -> str:
    if isinstance(value, int):
        return f"{value:,}" if value else ""
    return value.replace("|", "\\|").replace("\n", " ")
