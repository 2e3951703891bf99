"""What customers buy: products, orders, lines, subscriptions, payments, vouchers.

Money is integer minor units and a currency. States are kept as times, so that a question can be asked
as of a past moment.
"""

from datetime import date, datetime

from sqlalchemy import Index, text
from sqlmodel import Field

from models.base import Fact, key, minor, moment
from models.types import BigKey


class Product(Fact, table=True):
    """Something we sell."""

    __tablename__ = "product"

    id: int | None = key()
    name: str | None = None
    category: str | None = Field(default=None, max_length=200)
    supplier: str | None = Field(default=None, max_length=200)


class Order(Fact, table=True):
    """An order. ``promised_on`` is a calendar day where the customer lives; the other dates are moments."""

    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_customer_placed", "customer_id", "placed_at"),
        Index("ix_orders_delivered", "delivered_at"),
        Index(
            "ix_orders_open_promised",
            "promised_on",
            sqlite_where=text("delivered_at IS NULL"),
            postgresql_where=text("delivered_at IS NULL"),
        ),
    )

    id: int | None = key()
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    number: str | None = Field(default=None, max_length=200)
    placed_at: datetime | None = moment()
    promised_on: date | None = None
    shipped_at: datetime | None = moment()
    delivered_at: datetime | None = moment()
    cancelled_at: datetime | None = moment()
    returned_at: datetime | None = moment()
    currency: str | None = Field(default=None, max_length=3)
    net_total: int | None = minor()
    shipping_total: int | None = minor()
    gross_total: int | None = minor()
    sales_channel: str | None = Field(default=None, max_length=100)


class OrderLine(Fact, table=True):
    """One line of an order."""

    __tablename__ = "order_line"
    __table_args__ = (
        Index("ix_order_line_order", "order_id"),
        Index("ix_order_line_product", "product_id"),
    )

    id: int | None = key()
    order_id: int = Field(foreign_key="orders.id", sa_type=BigKey)
    product_id: int | None = Field(default=None, foreign_key="product.id", sa_type=BigKey)
    quantity: int = 1
    currency: str | None = Field(default=None, max_length=3)
    unit_price: int | None = minor()
    net_total: int | None = minor()
    returned_at: datetime | None = moment()


class Subscription(Fact, table=True):
    """A running agreement with a customer."""

    __tablename__ = "subscription"
    __table_args__ = (
        Index("ix_subscription_customer_started", "customer_id", "started_at"),
        Index(
            "ix_subscription_running_renews",
            "renews_at",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: int | None = key()
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    plan: str | None = Field(default=None, max_length=200)
    started_at: datetime | None = moment()
    renews_at: datetime | None = moment()
    paused_at: datetime | None = moment()
    cancelled_at: datetime | None = moment()
    ended_at: datetime | None = moment()
    currency: str | None = Field(default=None, max_length=3)
    price: int | None = minor()


class Payment(Fact, table=True):
    """Money that came, or should have come."""

    __tablename__ = "payment"
    __table_args__ = (
        Index("ix_payment_customer_paid", "customer_id", "paid_at"),
        Index("ix_payment_order", "order_id"),
        Index(
            "ix_payment_open_due",
            "due_at",
            sqlite_where=text("paid_at IS NULL"),
            postgresql_where=text("paid_at IS NULL"),
        ),
    )

    id: int | None = key()
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    order_id: int | None = Field(default=None, foreign_key="orders.id", sa_type=BigKey)
    method: str | None = Field(default=None, max_length=60)
    due_at: datetime | None = moment()
    paid_at: datetime | None = moment()
    failed_at: datetime | None = moment()
    refunded_at: datetime | None = moment()
    currency: str | None = Field(default=None, max_length=3)
    amount: int | None = minor()


class Voucher(Fact, table=True):
    """A voucher that we promised.

    The code is never stored: ``salt`` and the secret key derive it, ``code_hash`` finds it. It is reserved when it is
    planned; ``confirmed_at`` is when a message that shows it was accepted. ``voided_at``: no message that would have
    shown it reached the customer, so it was taken back; ``promised_until`` is then what ``valid_until`` was.
    ``redeemed_by`` is the till that took it.
    """

    __tablename__ = "voucher"
    __table_args__ = (
        Index("ix_voucher_customer_issued", "customer_id", "issued_at"),
        Index(
            "ix_voucher_reserved",
            "match_id",
            sqlite_where=text("confirmed_at IS NULL AND voided_at IS NULL"),
            postgresql_where=text("confirmed_at IS NULL AND voided_at IS NULL"),
        ),
    )

    id: int | None = key()
    customer_id: int = Field(foreign_key="customer.id", sa_type=BigKey)
    rule_id: str | None = Field(default=None, max_length=100)
    match_id: int | None = Field(default=None, sa_type=BigKey, unique=True)
    salt: str | None = Field(default=None, max_length=64)
    code_hash: str | None = Field(default=None, max_length=64, unique=True)
    currency: str = Field(max_length=3)
    worth: int = Field(sa_type=BigKey)
    issued_at: datetime | None = moment()
    valid_until: datetime | None = moment()
    confirmed_at: datetime | None = moment()
    redeemed_at: datetime | None = moment()
    redeemed_by: str | None = Field(default=None, max_length=100)
    voided_at: datetime | None = moment()
    promised_until: datetime | None = moment()
