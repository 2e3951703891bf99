"""Words that providers and settings choose, put into few classes: a label of a metric must not grow without end."""

import re

from messaging.breaker import BROKEN
from messaging.consents import NEVER_CALL_CAUSE, PROVIDERS_STOP, STOP_CAUSE

_ENHANCED = re.compile(r"(?P<first>[245])\.\d{1,3}\.\d{1,3}")

OTHER = "other"
OWN_CODES = frozenset({"deadline", "callback", "lease_over", "busy", "failed", "no-answer", "canceled", "machine"})
CAUSES = frozenset({STOP_CAUSE, NEVER_CALL_CAUSE, "complaint", "erased"})
TOPICS = frozenset({"rules", "rule", "provider", "callback", "callbacks", "mail", "channel", "held", "part", "process"})


def code_class(code: str) -> str:
    """The class of a provider's code: ``21xxx`` (Twilio), ``5xx`` (SMTP, HTTP), ``5.x.x``, ``network``, or our own."""
    if not code:
        return "none"
    if code.isascii() and code.isdigit():
        return _numbered(code)
    if (found := _ENHANCED.match(code)) is not None:
        return f"{found['first']}.x.x"
    if code in OWN_CODES:
        return code
    return "network" if BROKEN.fullmatch(code) else OTHER


def _numbered(code: str) -> str:
    if len(code) == 3:
        return f"{code[0]}xx"
    return f"{code[:2]}xxx" if len(code) == 5 else OTHER


def cause_class(cause: str) -> str:
    """Why an address is suppressed: ``stop``, ``never_call``, ``complaint``, ``erased``, or ``bad_address``."""
    if cause == f"provider_{PROVIDERS_STOP}":
        return STOP_CAUSE
    return cause if cause in CAUSES else "bad_address"


def topic_class(topic: str) -> str:
    """What a notice is about, without the name behind the colon."""
    kind = topic.partition(":")[0]
    return kind if kind in TOPICS else OTHER


def scope_class(scope: str) -> str:
    """What a kill switch stops: ``all``, or ``rule``, ``channel``, ``webhook`` without its name."""
    kind = scope.partition(":")[0]
    return kind if kind in ("all", "rule", "channel", "webhook") else OTHER
