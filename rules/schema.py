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
    "when_capped": "when the customer has heard enough: skip, defer or other channel",
}
SEND_KEYS = ("send", "by", "valid_for", "else")
CALL_KEYS = ("call", "connect_to", "tries", "every", "else", "valid_for")
SURVEY_KEYS = ("survey", "by", "valid_for", "else")
WAIT_KEYS = ("wait", "stop_if")
TASK_KEYS = ("task", "to")
WEBHOOK_KEYS = ("webhook", "with")
VOUCHER_KEYS = ("voucher",)
VOUCHER_TERMS = ("worth", "valid_for", "budget", "per_customer")
STEP_KEYS: dict[str, tuple[str, ...]] = {
    "send": SEND_KEYS,
    "call": CALL_KEYS,
    "survey": SURVEY_KEYS,
    "wait": WAIT_KEYS,
    "task": TASK_KEYS,
    "voucher": VOUCHER_KEYS,
    "webhook": WEBHOOK_KEYS,
}
TEST_KEYS: dict[str, str] = {
    "name": "the story in a few words",
    "now": "the moment and the zone, such as 2026-03-10 10:00 Europe/Berlin",
    "given": "the rows that are there: the customer, and the subject by its name",
    "undelivered": "channels on which nothing gets through: nobody picks up, the message comes back",
    "after": "how long to wait before looking, such as 2 days; what became due meanwhile has been done",
    "expect": "nothing, {withheld: REASON}, or the list of what happens",
    "then": "later looks: each with 'after' and what has happened since the look before",
}
STAGE_KEYS: dict[str, str] = {
    "after": "how long after the look before, such as 2 days",
    "expect": "nothing, {withheld: REASON}, or the list of what has happened since",
}
EXPECT_KEYS: dict[str, str] = {
    "send": "a template",
    "call": "the template of a call",
    "survey": "the template of a survey",
    "voucher": "what the voucher is worth, such as 50 EUR",
    "task": "what a person shall do",
    "webhook": "the endpoint that is told",
    "by": "the channel",
    "at": "when it goes where the customer lives, such as 07:00 or tomorrow 07:00",
    "says": "a text that the message contains, or a list of them",
    "language": "the language that the text is written in",
    "to": "the desk",
    "withheld": "the reason why nothing happens",
}
EXPECTED_STEP_KEYS: dict[str, tuple[str, ...]] = {
    "send": ("send", "by", "at", "says", "language"),
    "call": ("call", "at", "says", "language"),
    "survey": ("survey", "by", "at", "says", "language"),
    "voucher": ("voucher",),
    "task": ("task", "to"),
    "webhook": ("webhook",),
}

STATUSES = tuple(str(status) for status in RuleStatus)
PURPOSES = tuple(str(purpose) for purpose in Purpose)
CHANNELS = tuple(str(channel) for channel in Channel)
