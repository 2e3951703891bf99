"""What every table shares."""

from datetime import datetime
from typing import Any

from sqlalchemy import MetaData
from sqlmodel import Field, SQLModel

from models.types import BigKey, UTCDateTime

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(SQLModel):
    """The parent of every table; one metadata with stable constraint names, so that migrations can name them."""

    metadata = MetaData(naming_convention=NAMING)


def key() -> Any:
    """The integer primary key."""
    return Field(default=None, primary_key=True, sa_type=BigKey)


def moment(**kw: Any) -> Any:
    """A nullable UTC moment."""
    return Field(default=None, sa_type=UTCDateTime, **kw)


def required_moment(**kw: Any) -> Any:
    """A UTC moment that is always known."""
    return Field(sa_type=UTCDateTime, **kw)


def minor() -> Any:
    """An amount of money in minor units (cents) of the row's currency."""
    return Field(default=None, sa_type=BigKey)


class Fact(Base):
    """A row that came from a source: known outside by ``external_id``, and dated by when we learnt of it.

    ``changed_at`` is when ingest last changed the row, so that event rules know what is new.
    """

    external_id: str = Field(unique=True, max_length=200)
    changed_at: datetime = required_moment()
