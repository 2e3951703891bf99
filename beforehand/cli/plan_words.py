"""What a plan says about each rule, in sentences: the same for a terminal and for a pull request."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from beforehand.cli.words import some

if TYPE_CHECKING:
    from datetime import datetime

    from beforehand.planning import Plan, RuleChange
    from beforehand.planning.report import Conflict, Moved, Waiting, Weekly
    from models.terms import Money
    from models.vocabulary import Reason

SIGNS = {"new": "+", "changed": "~", "gone": "-", "refused": "!"}

COLUMNS = ("rule", "change", "found now", "would go", "messages/week", "sending/week", "vouchers/week")

LIFE = {
    "live": "it acts",
    "shadow": "it decides, and sends nothing",
    "draft": "it does nothing by its clock",
    "retired": "it has ended",
}

Line = tuple[str, str]
"""A word for what it is about, and the sentence."""


def row(change: "RuleChange") -> tuple[str, ...]:
    """The rule's line in the table, in the order of COLUMNS."""
    return (
        f"{SIGNS[change.kind]} {change.rule_id}",
        _what(change),
        _moves(change, change.found, going=False),
        _moves(change, change.going, going=True),
        *_weeks(change.old_week, change.new_week),
    )


def _what(change: "RuleChange") -> str:
    if change.problems:
        return "refused"
    if change.old_status and change.new_status and change.old_status != change.new_status:
        return f"{change.old_status} → {change.new_status}"
    if change.kind == "changed" and not change.decides:
        return "words only"
    status = change.new_status or change.old_status
    return f"{change.kind} ({status})" if status else change.kind.value


def _moves(change: "RuleChange", moved: "Moved | None", *, going: bool) -> str:
    if moved is None:
        return ""
    old, new = _counts(change, going=going)
    return f"{old:,} → {new:,} (+{moved.added:,} −{moved.dropped:,})"


def _counts(change: "RuleChange", *, going: bool) -> tuple[int, int]:
    old, new = ((side.going if going else side.found) if side else 0 for side in (change.old, change.new))
    return old, new


def _weeks(old: "Weekly | None", new: "Weekly | None") -> tuple[str, str, str]:
    if old is None or new is None:
        return ("", "", "")
    return (
        _arrow(_number(old.messages), _number(new.messages)),
        _arrow(_amount(old), _amount(new)),
        _arrow(_worth(old.worth), _worth(new.worth)),
    )


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} → {new}"


def _number(count: Decimal) -> str:
    return f"{count:,.0f}" if count == count.to_integral_value() or count >= 100 else f"{count:,.1f}"


def _amount(week: "Weekly") -> str:
    from messaging.costs import shown

    if week.amount is None or not week.currency:
        return "no price" if week.messages else "0"
    said = ("at least " if week.unpriced else "") + ("about " if week.estimate else "")
    return said + (shown(week.amount, week.currency) if week.amount else "0")


def _worth(sums: "tuple[Money, ...]") -> str:
    from messaging.costs import shown_money

    return " and ".join(map(shown_money, sums)) or "0"


def lines_of(change: "RuleChange", plan: "Plan") -> Iterator[Line]:
    """All that is to be said of a rule, the most important first."""
    weeks = plan.weeks
    for problem in change.problems:
        yield "refused", problem
    yield from _edits(change)
    if change.found is not None:
        yield from _reached(change)
    if change.first_pass is not None:
        yield "first pass", _first_pass(change)
    if change.old_week is not None and change.new_week is not None:
        yield "a week", _a_week(change.old_week, change.new_week, weeks)
    yield from _limits(change, weeks)
    for conflict in change.conflicts:
        yield "meets", _conflict(conflict)
    for waiting in change.waiting:
        yield "waiting", _waiting(waiting)
    for note in _notes(change):
        if note not in plan.notes:
            yield "note", f"{note}."


def _edits(change: "RuleChange") -> Iterator[Line]:
    old, new = change.old_status, change.new_status
    if old and new and old != new:
        yield "status", f"{old} → {new}: from then on {LIFE[new]}."
    elif new and not change.acts and change.kind != "refused":
        yield "status", f"{new}: {LIFE[new]}. The figures are as if it were live."
    for edit in change.edits:
        if edit.key != "status":
            yield "differs", f"{edit.key}: {edit.old or 'nothing'} → {edit.new or 'nothing'}"


def _reached(change: "RuleChange") -> Iterator[Line]:
    what = change.subject or "subject"
    assert change.found is not None
    assert change.going is not None
    yield "found", _difference(_counts(change, going=False), change.found, what)
    yield "would go", _difference(_counts(change, going=True), change.going, what)
    if change.new is not None and change.new.withheld:
        yield "withheld", "; ".join(_withheld(change.new.withheld)) + "."


def _difference(counts: tuple[int, int], moved: "Moved", what: str) -> str:
    said = f"{counts[0]:,} → {some(counts[1], what)} now: {moved.added:,} added, {moved.dropped:,} drop out."
    for word, ids, count in (("Added", moved.first_added, moved.added), ("Out", moved.first_dropped, moved.dropped)):
        if ids:
            more = f" and {count - len(ids):,} more" if count > len(ids) else ""
            said += f" {word}: {', '.join(ids)}{more}."
    return said


def _withheld(reasons: "dict[Reason, int]") -> Iterator[str]:
    from models.vocabulary import REASON_TEXT

    for reason, count in reasons.items():
        yield f"{count:,} because {REASON_TEXT[reason]} ({reason.value})"


def _first_pass(change: "RuleChange") -> str:
    first = change.first_pass
    assert first is not None
    since = "the beginning" if first.moment is None else f"{first.moment:%Y-%m-%d %H:%M} UTC"
    numbers = f"with from: now {first.from_now:,}, from {since} on {first.from_moment:,}"
    rest = " The rest is backlog." if change.new and first.as_written < change.new.going else ""
    return f"{first.as_written:,} go at the first pass, as the file is written; {numbers}.{rest}"


def _a_week(old: "Weekly", new: "Weekly", weeks: int) -> str:
    messages, cost, vouchers = _weeks(old, new)
    parts = [f"{messages} messages", f"sending {cost}"]
    if old.vouchers or new.vouchers:
        counts = _arrow(_number(old.vouchers), _number(new.vouchers))
        parts.append(f"{counts} vouchers worth {vouchers}")
    if old.tasks or new.tasks:
        parts.append(f"{_arrow(_number(old.tasks), _number(new.tasks))} tasks")
    if old.webhooks or new.webhooks:
        parts.append(f"{_arrow(_number(old.webhooks), _number(new.webhooks))} webhooks")
    return f"{'; '.join(parts)} (the mean of the last {some(weeks, 'week')}, replayed)."


def _limits(change: "RuleChange", weeks: int) -> Iterator[Line]:
    from models.vocabulary import Reason

    if change.brake is not None:
        yield "brake", f"a run would be held now. {change.brake.because}"
    now = change.new.withheld if change.new else {}
    then = change.new_week.withheld if change.new_week else {}
    named = {Reason.CAP: "the cap a person", Reason.AT_MOST: "at_most", Reason.BUDGET: "the voucher budget"}
    for reason, words in named.items():
        if now.get(reason) or then.get(reason):
            past = f", {then.get(reason, 0):,} in the {some(weeks, 'week')}" if change.new_week else ""
            yield "limit", f"{words} withholds {now.get(reason, 0):,} now{past}."


def _conflict(conflict: "Conflict") -> str:
    said = f"{conflict.rule_id} would reach {conflict.now:,} of the same customers now"
    if conflict.lately:
        said += f", and spoke to {conflict.lately:,} of them within the time of the cap"
    shares = "they share no cap"
    if conflict.shares_cap:
        which = "that one" if conflict.goes_first else "this one"
        shares = f"where the cap leaves room for one, {which} goes first"
        if conflict.goes_first is None:
            shares = "they share a cap, and neither goes first"
    return f"{said} ({conflict.purpose}, priority {conflict.priority}); {shares}."


def _waiting(waiting: "Waiting") -> str:
    what = f" ({waiting.what})" if waiting.what else ""
    due = f"; the next is due {_moment(waiting.next_due)}" if waiting.next_due else ""
    return f"{some(waiting.count, 'match', 'matches')} on version {waiting.version} at step {waiting.step}{what}{due}."


def _moment(moment: "datetime") -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _notes(change: "RuleChange") -> list[str]:
    weeks = [week for week in (change.old_week, change.new_week) if week is not None]
    return list(dict.fromkeys([*change.notes, *(note for week in weeks for note in week.notes)]))
