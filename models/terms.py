"""What a loaded rule promises, as plain values: the words in which ``rules`` speaks to ``messaging``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dateutil.relativedelta import relativedelta

from models.vocabulary import Channel, Purpose, RuleStatus, WhenCapped


@dataclass(frozen=True)
class Money:
    """An amount in minor units of a currency: ``Money(5000, "EUR")`` is 50 EUR."""

    minor: int
    currency: str


@dataclass(frozen=True)
class Send:
    """A ``send``, ``call`` or ``survey`` step: fill ``template`` and reach the customer.

    ``by`` are the allowed channels in order; empty means the customer's preferred one first, then any.
    ``connect_to``, ``tries`` and ``every`` belong to calls; ``otherwise`` is the ``else`` step when no try got through.
    ``survey`` is the name of the survey that the step opens, else None.
    """

    template: str
    by: tuple[Channel, ...] = ()
    valid_for: relativedelta | None = None
    connect_to: str | None = None
    tries: int = 1
    every: relativedelta | None = None
    otherwise: "Send | None" = None
    survey: str | None = None


@dataclass(frozen=True)
class Wait:
    """A ``wait`` step. Either ``lasts``, or ``until`` (a dotted fact, such as ``issue.closed_at``, becomes known).

    ``at_most`` bounds an ``until``: where the moment has not come by then, the match ends.
    ``stop_if`` is the raw condition of the rule file; ``rules`` compiles it, nobody else reads it.
    """

    lasts: relativedelta | None = None
    until: str | None = None
    at_most: relativedelta | None = None
    stop_if: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TaskStep:
    """A ``task`` step: work for a person at ``desk``."""

    what: str
    desk: str


@dataclass(frozen=True)
class VoucherStep:
    """A ``voucher`` step: reserve a voucher; the next ``send`` shows its code.

    ``budget`` is the rule's for each calendar ``budget_per`` (``month``, ``week`` or ``day``); ``most`` is what one
    customer may be promised by all rules together within the rolling ``most_within``.
    """

    worth: Money
    valid_for: relativedelta
    budget: Money | None = None
    budget_per: str | None = None
    most: Money | None = None
    most_within: relativedelta | None = None


@dataclass(frozen=True)
class WebhookStep:
    """A ``webhook`` step: call the endpoint of that name. ``facts`` are (name, dotted path), ``said`` plain values."""

    endpoint: str
    facts: tuple[tuple[str, str], ...] = ()
    said: tuple[tuple[str, str | int | float | bool], ...] = ()


Step = Send | Wait | TaskStep | VoucherStep | WebhookStep


@dataclass(frozen=True)
class OncePer:
    """``once_per``: the subject (``order``, ``call`` ...), or ``customer`` with an optional pause in between."""

    what: str
    every: relativedelta | None = None


THE_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""A rule that goes live from here has no backlog: it acts on all that it finds, however long it has been so."""


@dataclass(frozen=True)
class Terms:
    """All of a rule but its conditions. ``version`` is the hash of its content; ``valid_for`` None: no deadline.

    ``live_from`` is the moment of ``from:``; None: the house's default (``from_now``: the rule says ``now`` itself).
    ``percent`` is the share of customers it is rolled out to; None: all. ``when_capped``: what becomes of a message to
    somebody who has heard enough.
    """

    rule_id: str
    version: str
    title: str
    status: RuleStatus
    purpose: Purpose
    priority: int
    subject: str
    steps: tuple[Step, ...]
    once: OncePer
    valid_for: relativedelta | None = None
    at_most: tuple[int, relativedelta] | None = None
    brake_percent: float | None = None
    holdout_percent: float | None = None
    live_from: datetime | None = None
    from_now: bool = False
    percent: float | None = None
    owner: str = ""
    why: str = ""
    events: tuple[str, ...] = ()
    cron: tuple[str, ...] = field(default=())
    when_capped: WhenCapped = WhenCapped.SKIP


def after(moment: datetime, lasts: relativedelta) -> datetime:
    """``moment`` plus a duration. Hours, days and weeks are exact; months and years go by the calendar."""
    return moment + lasts
