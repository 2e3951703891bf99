"""The skeleton of a rule file: which keys there are, and what each is for."""

from models.vocabulary import Channel, Purpose, RuleStatus

RULE_KEYS: dict[str, str] = {
    "id": "the rule's name; the same as the file's",
    "title": "what the rule does, in one line",
    "why": "why customers are better off for it",
    "owner": "who answers for it",
    "status": "draft, shadow, live or retired",
    "from": "what it may act on when it goes live or is edited: now, or what began since a date or time",
    "percent": "0 to 100: the share of customers that it is rolled out to",
    "purpose": "service, survey or marketing: decides consent, quiet hours and caps",
    "priority": "0 to 100: who goes first where a cap leaves room for one",
    "for_each": "what the rule looks at",
    "when": "when it looks",
    "if": "named conditions that must all hold",
    "unless": "named conditions any of which stops it",
    "then": "the steps it takes",
    "limits": "how often, how late, how many",
    "tests": "examples that prove it",
}
REQUIRED = ("id", "title", "purpose", "for_each", "if", "then")

WHEN_KEYS: dict[str, str] = {
    "every": "a duration that divides the hour or the day, such as 15 minutes",
    "at": "a time, such as weekdays 09:00",
    "cron": "five cron fields",
    "event": "one event or a list of them",
}
LIMIT_KEYS: dict[str, str] = {
    "once_per": "the subject, or customer every 180 days",
    "valid_for": "how long a message is of use",
    "at_most": "such as 500 messages per day",
    "brake": "such as 5% of customers",
    "holdout": "such as 5%; under purpose: service only as 5% also for service",
}
SEND_KEYS = ("send", "by", "valid_for")
CALL_KEYS = ("call", "connect_to", "tries", "every", "else", "valid_for")
SURVEY_KEYS = ("survey", "by", "valid_for")
WAIT_KEYS = ("wait", "stop_if")
TASK_KEYS = ("task", "to")
VOUCHER_KEYS = ("voucher",)
VOUCHER_TERMS = ("worth", "valid_for", "budget")
STEP_KEYS: dict[str, tuple[str, ...]] = {
    "send": SEND_KEYS,
    "call": CALL_KEYS,
    "survey": SURVEY_KEYS,
    "wait": WAIT_KEYS,
    "task": TASK_KEYS,
    "voucher": VOUCHER_KEYS,
}
TEST_KEYS = ("name", "now", "given", "after", "expect")

STATUSES = tuple(str(status) for status in RuleStatus)
PURPOSES = tuple(str(purpose) for purpose in Purpose)
CHANNELS = tuple(str(channel) for channel in Channel)
