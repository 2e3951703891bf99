"""The gates between match and message, in order: each one set-based statement or few, each with a named reason.

:data:`GATES` is the order that :func:`decide` keeps and that ``docs/reference/gates.md`` tells.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from messaging.candidates import candidate
from messaging.guards import amounts, backlog, brake, cap, channels, draw, occasion, standing, times
from messaging.guards.case import Backlog, Case
from models.vocabulary import Reason

Step = Callable[[Connection, Case], None]


@dataclass(frozen=True)
class Gate:
    """One check between match and message: its name, the reasons it gives, the setting that moves it."""

    name: str
    apply: Step
    reasons: tuple[Reason, ...]
    setting: str = ""


FIRST_GATES: tuple[Gate, ...] = (
    Gate("known occasion", occasion.known_occasion, (Reason.KNOWN_OCCASION, Reason.BRAKE), "limits.once_per"),
    Gate("backlog", backlog.left_alone, (Reason.BACKLOG,), "from"),
    Gate("house holdout", draw.held_out_of_all, (Reason.HOUSE_HOLDOUT,), "BEFOREHAND_HOLDOUT"),
    Gate("holdout", draw.held_out, (Reason.HOLDOUT,), "limits.holdout"),
    Gate("rollout", draw.not_rolled_out, (Reason.NOT_IN_ROLLOUT,), "percent"),
)
"""Gates that stand before all others for subjects that a rule has just found."""

STEP_GATES: tuple[Gate, ...] = (
    Gate("owner", occasion.owner_changed, (Reason.OWNER_CHANGED,)),
    Gate("no customer", occasion.no_customer, (Reason.NO_CUSTOMER,)),
    Gate("template", channels.list_choices, (Reason.TEMPLATE_FAILED,), "BEFOREHAND_TEMPLATES"),
    Gate("consent", channels.consented, (Reason.OPTED_OUT, Reason.NO_CONSENT), "BEFOREHAND_CONSENT_NEEDED"),
    Gate("suppression", channels.suppressed, (Reason.SUPPRESSED,)),
    Gate("reachable address", channels.reachable, (Reason.UNREACHABLE,), "then.by"),
    Gate("complaint open", standing.complaint_open, (Reason.COMPLAINT_OPEN,)),
    Gate("cap per person", cap.capped, (Reason.CAP,), "BEFOREHAND_CAPS"),
    Gate("rule live", occasion.rule_not_live, (Reason.RULE_NOT_LIVE,), "status"),
    Gate("guest list", channels.on_guest_list, (Reason.NOT_ON_GUEST_LIST,), "BEFOREHAND_GUEST_LIST"),
    Gate("cap per channel", cap.channel_capped, (Reason.CAP,), "BEFOREHAND_CAPS"),
    Gate("channel", channels.choose, ()),
    Gate("quiet hours", times.quiet_hours, (Reason.QUIET_HOURS, Reason.NO_COMMON_HOUR), "BEFOREHAND_QUIET_HOURS"),
    Gate("send-by", times.send_by, (Reason.TOO_LATE,), "limits.valid_for"),
    Gate("at most", amounts.at_most, (Reason.AT_MOST,), "limits.at_most"),
    Gate("vouchers per customer", amounts.budget_of_customer, (Reason.CUSTOMER_BUDGET,), "per_customer"),
    Gate("voucher budget", amounts.budget, (Reason.BUDGET,), "budget"),
    Gate("shadow", occasion.in_shadow, (Reason.SHADOW,), "status"),
)
"""Gates for the later steps of a match that has begun."""

BRAKE_GATES: tuple[Gate, ...] = (
    Gate("refused run", brake.refused, (Reason.BRAKE_REFUSED,)),
    Gate("held run", brake.held, (Reason.BRAKE,), "BEFOREHAND_BRAKE"),
)
"""Gates that stand behind all others for subjects that a rule has just found: the brake itself comes after them."""

GATES = (*FIRST_GATES, *STEP_GATES, *BRAKE_GATES)
"""Gates for subjects that a rule has just found."""


def decide(connection: Connection, case: Case, *, seen: Callable[[Gate], None] | None = None) -> None:
    """Decide on every candidate: afterwards each has a reason, or a channel, an address and a due moment.

    ``seen`` is called after each gate, for whoever explains them.
    """
    times.tell_local_times(connection, case)
    if case.first:
        occasion.name_occasions(connection, case)
    for gate in GATES if case.first else STEP_GATES:
        gate.apply(connection, case)
        if seen is not None:
            seen(gate)


def withheld(connection: Connection) -> dict[Reason, int]:
    """How many candidates were withheld, by reason; the most frequent first."""
    counted = select(candidate.c.reason, func.count().label("n")).where(candidate.c.reason.is_not(None))
    rows = connection.execute(counted.group_by(candidate.c.reason).order_by(func.count().desc(), candidate.c.reason))
    return {Reason(row.reason): row.n for row in rows}


__all__ = ["GATES", "STEP_GATES", "Backlog", "Case", "Gate", "backlog", "brake", "decide", "withheld"]
