"""The words of the house (DESIGN section 5) that are stored: enums, never free text."""

from enum import StrEnum


class Channel(StrEnum):
    """A way to reach a customer."""

    SMS = "sms"
    VOICE = "voice"
    EMAIL = "email"


class Purpose(StrEnum):
    """Why we speak: decides consent, caps and quiet hours."""

    SERVICE = "service"
    SURVEY = "survey"
    MARKETING = "marketing"


class RuleStatus(StrEnum):
    """Where a rule is in its life."""

    DRAFT = "draft"
    SHADOW = "shadow"
    LIVE = "live"
    RETIRED = "retired"


RUNNING = (RuleStatus.LIVE, RuleStatus.SHADOW)
"""The statuses of a rule that runs by its clock and its events."""


class WhenCapped(StrEnum):
    """What becomes of a message when the customer has heard enough, as ``limits.when_capped`` of its rule says."""

    SKIP = "skip"
    DEFER = "defer"
    OTHER_CHANNEL = "other channel"


class Reason(StrEnum):
    """A gate's verdict: why something is not sent (or not yet). Shown to people through :data:`REASON_TEXT`."""

    KNOWN_OCCASION = "known_occasion"
    NO_CUSTOMER = "no_customer"
    OPTED_OUT = "opted_out"
    NO_CONSENT = "no_consent"
    SUPPRESSED = "suppressed"
    UNREACHABLE = "unreachable"
    NOT_ON_GUEST_LIST = "not_on_guest_list"
    COMPLAINT_OPEN = "complaint_open"
    CAP = "cap"
    QUIET_HOURS = "quiet_hours"
    NO_COMMON_HOUR = "no_common_hour"
    TOO_LATE = "too_late"
    STOPPED = "stopped"
    RULE_NOT_LIVE = "rule_not_live"
    KILL_SWITCH = "kill_switch"
    REFUSED = "refused"
    BAD_ADDRESS = "bad_address"
    GAVE_UP = "gave_up"
    PACE = "pace"
    TEMPLATE_FAILED = "template_failed"
    HOLDOUT = "holdout"
    HOUSE_HOLDOUT = "house_holdout"
    NOT_IN_ROLLOUT = "not_in_rollout"
    BACKLOG = "backlog"
    SHADOW = "shadow"
    OWNER_CHANGED = "owner_changed"
    AT_MOST = "at_most"
    BUDGET = "budget"
    CUSTOMER_BUDGET = "customer_budget"
    MAYBE_STOP = "maybe_stop"
    RESTORED = "restored"
    SENT_BEFORE = "sent_before"
    BRAKE = "brake"
    BRAKE_REFUSED = "brake_refused"
    CANCELLED_BY_STAFF = "cancelled_by_staff"


REASON_TEXT: dict[Reason, str] = {
    Reason.KNOWN_OCCASION: "we have already spoken about this occasion",
    Reason.NO_CUSTOMER: "nobody is known behind it",
    Reason.OPTED_OUT: "the customer has opted out",
    Reason.NO_CONSENT: "the customer has not agreed to hear from us about this",
    Reason.SUPPRESSED: "the address must not be used",
    Reason.UNREACHABLE: "no usable address on any allowed channel",
    Reason.NOT_ON_GUEST_LIST: "trial mode: not on the guest list",
    Reason.COMPLAINT_OPEN: "a complaint, a late order or a missed callback is open",
    Reason.CAP: "the customer has heard enough from us lately",
    Reason.QUIET_HOURS: "it is a quiet hour where the customer lives",
    Reason.NO_COMMON_HOUR: "nobody knows where the customer is, and no hour is decent wherever they may be",
    Reason.TOO_LATE: "it came too late to be of use",
    Reason.STOPPED: "the rule's own stop condition holds by now",
    Reason.RULE_NOT_LIVE: "the rule is not live",
    Reason.KILL_SWITCH: "sending is switched off",
    Reason.REFUSED: "the provider refused it for good",
    Reason.BAD_ADDRESS: "the provider says that this address cannot be reached this way",
    Reason.PACE: "it waits for its turn: the sender sends no faster",
    Reason.GAVE_UP: "all tries were used up",
    Reason.TEMPLATE_FAILED: "the template could not be filled",
    Reason.HOLDOUT: "kept out on purpose, so that the effect can be measured",
    Reason.HOUSE_HOLDOUT: "kept out of all marketing and surveys, so that the effect of them all can be measured",
    Reason.NOT_IN_ROLLOUT: "the rule has not been rolled out to this customer yet",
    Reason.BACKLOG: "it was so before the rule went live",
    Reason.SHADOW: "the rule runs as a shadow and sends nothing",
    Reason.OWNER_CHANGED: "it belongs to somebody else by now",
    Reason.AT_MOST: "the rule has sent all that it may for now",
    Reason.BUDGET: "the budget for vouchers is used up",
    Reason.CUSTOMER_BUDGET: "the customer has been promised vouchers enough lately",
    Reason.MAYBE_STOP: "a reply may have asked us to stop, and nobody has read it yet",
    Reason.RESTORED: "the database was restored and has not been reconciled with what was sent",
    Reason.SENT_BEFORE: "it went out before the database was restored",
    Reason.BRAKE: "the run is held until a second person has approved it",
    Reason.BRAKE_REFUSED: "the run was held, and was refused or not approved in time",
    Reason.CANCELLED_BY_STAFF: "staff cancelled it",
}


class MessageState(StrEnum):
    """The state of a message (DESIGN section 6). UNKNOWN is a state, not an error."""

    PLANNED = "planned"
    HELD = "held"
    QUEUED = "queued"
    CLAIMED = "claimed"
    IN_FLIGHT = "in_flight"
    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class AttemptState(StrEnum):
    """The state of one try on the wire."""

    CLAIMED = "claimed"
    IN_FLIGHT = "in_flight"
    ACCEPTED = "accepted"
    NOT_ACCEPTED = "not_accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    RETURNED = "returned"


class MatchState(StrEnum):
    """Where a match stands."""

    WITHHELD = "withheld"  # a gate said no or not yet; looked at again while the rule still matches
    OPEN = "open"  # has a next step with a due time
    DONE = "done"  # all steps taken
    STOPPED = "stopped"  # its stop_if came true, its rule was retired, or staff cancelled it
    HELD = "held"  # the brake holds its run: nothing of it is decided or planned before a second person has approved


class BrakeLimit(StrEnum):
    """The limit over which a run is held. Shown to people through :data:`BRAKE_TEXT`."""

    RULE = "rule"
    HOUSE = "house"
    USUAL = "usual"


BRAKE_TEXT: dict[BrakeLimit, str] = {
    BrakeLimit.RULE: "more than the rule's own brake allows",
    BrakeLimit.HOUSE: "more than the house lets any rule reach at once",
    BrakeLimit.USUAL: "many times what the rule usually reaches",
}


class HeldState(StrEnum):
    """Where a held run stands. Shown to people through :data:`HELD_TEXT`."""

    WAITING = "waiting"
    CANARY = "canary"
    GOING = "going"
    STOPPED = "stopped"
    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"


HELD_TEXT: dict[HeldState, str] = {
    HeldState.WAITING: "waits for a second person",
    HeldState.CANARY: "approved; the first few go, then we look",
    HeldState.GOING: "approved; the rest goes",
    HeldState.STOPPED: "approved, and stopped again by what came back; waits for a second person",
    HeldState.DONE: "all of it has been let go",
    HeldState.REFUSED: "refused; nothing more of it goes",
    HeldState.EXPIRED: "nobody approved it in time, so it was refused",
}


class WebhookState(StrEnum):
    """Where a call of one of the operator's own systems stands. Shown to people through :data:`WEBHOOK_TEXT`."""

    PLANNED = "planned"  # waits for its first or its next try
    CALLING = "calling"  # a try is under way; when its lease is over, it is made again
    DELIVERED = "delivered"
    GONE = "gone"
    GAVE_UP = "gave_up"
    WITHHELD = "withheld"
    CANCELLED = "cancelled"


WEBHOOK_TEXT: dict[WebhookState, str] = {
    WebhookState.PLANNED: "it waits for its first or its next try",
    WebhookState.CALLING: "a try is under way",
    WebhookState.DELIVERED: "the endpoint took it",
    WebhookState.GONE: "the endpoint answered that it is gone for good (410)",
    WebhookState.GAVE_UP: "all tries were used up",
    WebhookState.WITHHELD: "trial mode: nothing leaves",
    WebhookState.CANCELLED: "cancelled: its rule was retired",
}


class OutcomeClass(StrEnum):
    """What a provider's answer means for an attempt (DESIGN section 6)."""

    ACCEPTED = "accepted"
    NOT_ACCEPTED = "not_accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class CallDirection(StrEnum):
    """Who dialled."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class CallOutcome(StrEnum):
    """How a call ended."""

    COMPLETED = "completed"
    DROPPED = "dropped"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    FAILED = "failed"
    VOICEMAIL = "voicemail"
    ABANDONED = "abandoned"


class TicketPriority(StrEnum):
    """How much a ticket presses."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class Severity(StrEnum):
    """How bad a known issue is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ConsentVerdict(StrEnum):
    """One entry of the consent ledger: given or withdrawn."""

    GRANTED = "granted"
    WITHDRAWN = "withdrawn"
