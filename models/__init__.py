"""SQLModel tables and values, and the way to the database. Importing this registers every table."""

from models.base import Base
from models.commerce import Order, OrderLine, Payment, Product, Subscription, Voucher
from models.contact import Call, Event, Survey, Ticket
from models.customer import Consent, Customer, Preference, Suppression
from models.delivery import (
    Attempt,
    Callback,
    Evidence,
    Mark,
    Match,
    Message,
    PastSend,
    Receipt,
    Reply,
    RulePass,
    RuleVersion,
    Task,
)
from models.housekeeping import Change, Guesses, Lease, Notice, Pace, RuleInForce, ShareHistory, Switch
from models.issue import Exposure, KnownIssue
from models.staff import Audit, EventOut, HeldRun, Memo, Process
from models.webhook import Webhook

__all__ = [
    "Attempt",
    "Audit",
    "Base",
    "Call",
    "Callback",
    "Change",
    "Consent",
    "Customer",
    "Event",
    "EventOut",
    "Evidence",
    "Exposure",
    "Guesses",
    "HeldRun",
    "KnownIssue",
    "Lease",
    "Mark",
    "Match",
    "Memo",
    "Message",
    "Notice",
    "Order",
    "OrderLine",
    "Pace",
    "PastSend",
    "Payment",
    "Preference",
    "Process",
    "Product",
    "Receipt",
    "Reply",
    "RuleInForce",
    "RulePass",
    "RuleVersion",
    "ShareHistory",
    "Subscription",
    "Suppression",
    "Survey",
    "Switch",
    "Task",
    "Ticket",
    "Voucher",
    "Webhook",
]
