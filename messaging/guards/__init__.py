"""The gates between match and message, in order: each one set-based statement or few, each with a named reason.

:data:`GATES` is the order that :func:`decide` keeps and that ``docs/reference/gates.md`` tells.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from messaging.candidates import candidate
from messaging.guards import cap, channels, occasion, standing, times
from messaging.guards.case import Case
from models.vocabulary import Reason

Step = Callable[[Connection, Case], None]


@dataclass(frozen=True)
class Gate:
    """One check between match and message: its name, the reasons it gives, the setting that moves it."""

    name: str
    apply: Step
    reasons: tuple[Reason, ...]
    setting: str = ""


KNOWN_OCCASION = Gate("known occasion", occasion.known_occasion, (Reason.KNOWN_OCCASION,), "limits.once_per")

STEP_GATES: tuple[Gate, ...] = (
    Gate("no customer", occasion.no_customer, (Reason.NO_CUSTOMER,)),
    Gate("template", channels.list_choices, (Reason.TEMPLATE_FAILED,), "BEFOREHAND_TEMPLATES"),
    Gate("consent", channels.consented, (Reason.OPTED_OUT, Reason.NO_CONSENT), "BEFOREHAND_CONSENT_NEEDED"),
    Gate("suppression", channels.suppressed, (Reason.SUPPRESSED,)),
    Gate("reachable address", channels.reachable, (Reason.UNREACHABLE,), "then.by"),
    Gate("complaint open", standing.complaint_open, (Reason.COMPLAINT_OPEN,)),
    Gate("cap per person", cap.capped, (Reason.CAP,), "BEFOREHAND_CAPS"),
    Gate("rule live", occasion.rule_not_live, (Reason.RULE_NOT_LIVE,), "status"),
    Gate("guest list", channels.on_guest_list, (Reason.NOT_ON_GUEST_LIST,), "BEFOREHAND_GUEST_LIST"),
    Gate("channel", channels.choose, ()),
    Gate("quiet hours", times.quiet_hours, (Reason.QUIET_HOURS,), "BEFOREHAND_QUIET_HOURS"),
    Gate("send-by", times.send_by, (Reason.TOO_LATE,), "limits.valid_for"),
)
"""Gates for the later steps of a match that has begun."""

GATES = (KNOWN_OCCASION, *STEP_GATES)
"""Gates for subjects that a rule has just found."""


def decide(connection: Connection, case: Case) -> None:
    """Decide on every candidate: afterwards each has a reason, or a channel, an address and a due moment."""
    times.tell_local_times(connection, case)
    if case.first:
        occasion.name_occasions(connection, case)
    for gate in GATES if case.first else STEP_GATES:
        gate.apply(connection, case)


def withheld(connection: Connection) -> dict[Reason, int]:
    """How many candidates were withheld, by reason; the most frequent first."""
    counted = select(candidate.c.reason, func.count().label("n")).where(candidate.c.reason.is_not(None))
    rows = connection.execute(counted.group_by(candidate.c.reason).order_by(func.count().desc(), candidate.c.reason))
    return {Reason(row.reason): row.n for row in rows}


__all__ = ["GATES", "STEP_GATES", "Case", "Gate", "decide", "withheld"]
