"""SQLModel tables and values, and the way to the database. Importing this registers every table."""

from models.base import Base
from models.commerce import Order, OrderLine, Payment, Product, Subscription, Voucher
from models.contact import Call, Event, Survey, Ticket
from models.customer import Consent, Customer, Suppression
from models.delivery import Attempt, Evidence, Match, Message, Receipt, RulePass, RuleVersion, Task
from models.housekeeping import Change, Lease, Notice, RuleInForce, Switch
from models.issue import Exposure, KnownIssue
from models.webhook import Webhook

__all__ = [
    "Attempt",
    "Base",
    "Call",
    "Change",
    "Consent",
    "Customer",
    "Event",
    "Evidence",
    "Exposure",
    "KnownIssue",
    "Lease",
    "Match",
    "Message",
    "Notice",
    "Order",
    "OrderLine",
    "Payment",
    "Product",
    "Receipt",
    "RuleInForce",
    "RulePass",
    "RuleVersion",
    "Subscription",
    "Suppression",
    "Survey",
    "Switch",
    "Task",
    "Ticket",
    "Voucher",
    "Webhook",
]
