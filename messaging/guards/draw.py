"""Who is drawn: the holdout, and the share that a rule is rolled out to. Sticky, and another for each rule.

``customer.bucket`` (0 to 9999) is as good as random and never changes. Each rule shuffles the buckets in its own way:
``(bucket * factor + offset) % 10000`` gives each bucket another place. A share is the places below it, so a greater
share keeps everybody that a smaller one has. A household is drawn as one, by the bucket of its first member.
"""

import hashlib
import hmac

from sqlalchemy import ColumnElement, Connection, Integer, and_, cast, func, literal, or_, select

from messaging.candidates import candidate, customer
from messaging.guards.case import Case, withhold
from models.customer import BUCKETS, IN_EVERY_HOLDOUT
from models.terms import Terms
from models.vocabulary import Purpose, Reason

FACTORS = [number for number in range(1, BUCKETS) if number % 2 and number % 5]
"""They share nothing with 10,000, so each of them gives every bucket another place."""


EVERY_RULE = ""
"""Stands for the rule's id where the house holds out from all of them."""


def shuffle(secret: bytes, what: str, rule_id: str) -> tuple[int, int]:
    """The factor and the offset by which a rule shuffles the buckets for ``what`` (``holdout``, ``rollout``)."""
    digest = hmac.new(secret, f"{what}:{rule_id}".encode(), hashlib.sha256).digest()
    return FACTORS[int.from_bytes(digest[:8]) % len(FACTORS)], int.from_bytes(digest[8:16]) % BUCKETS


def place_of(bucket: ColumnElement[int], secret: bytes, what: str, rule_id: str) -> ColumnElement[int]:
    """The place of a bucket, 0 to 9999, in SQL."""
    factor, offset = shuffle(secret, what, rule_id)
    return (bucket * literal(factor, Integer()) + literal(offset, Integer())) % literal(BUCKETS, Integer())


def _share(percent: float) -> int:
    return round(percent * BUCKETS / 100)


def is_held_out(case_: Case) -> ColumnElement[bool] | None:
    """A condition on ``candidate``: kept out of this rule on purpose. None: the rule holds nobody out."""
    return _drawn(case_, case_.terms.rule_id, case_.terms.holdout_percent or 0)


def is_held_out_of_all(case_: Case) -> ColumnElement[bool] | None:
    """The same for the house's own holdout: kept out of all marketing and all surveys (see :func:`of_the_house`)."""
    return _drawn(case_, EVERY_RULE, of_the_house(case_.terms, case_.policy.holdout))


def of_the_house(terms: Terms, percent: float) -> float:
    """Which share the house holds out from a rule. A service rule is owed, unless its file names a holdout itself."""
    return 0 if terms.purpose is Purpose.SERVICE and not terms.holdout_percent else percent


def _drawn(case_: Case, rule_id: str, percent: float) -> ColumnElement[bool] | None:
    if not percent:
        return None
    first = customer.alias("first_of_household")
    bucket = func.coalesce(first.c.bucket, customer.c.bucket)
    place = place_of(bucket, case_.policy.secret, "holdout", rule_id)
    drawn = or_(bucket == IN_EVERY_HOLDOUT, and_(bucket >= 0, place < _share(percent)))
    together = customer.outerjoin(first, first.c.id == customer.c.household_id)
    mine = select(customer.c.id).select_from(together).where(customer.c.id == candidate.c.customer_id, drawn)
    return mine.correlate(candidate).exists()


def is_not_rolled_out(case_: Case) -> ColumnElement[bool] | None:
    """A condition on ``candidate``: not in the rule's share. None: it has all.

    Where no customer is known, the subject is drawn.
    """
    share = case_.terms.percent
    if share is None or share >= 100:
        return None
    bucket = select(customer.c.bucket).where(customer.c.id == candidate.c.customer_id).correlate(candidate)
    number = func.coalesce(bucket.scalar_subquery(), cast(candidate.c.subject_id % BUCKETS, Integer))
    place = place_of(number, case_.policy.secret, "rollout", case_.terms.rule_id)
    return and_(number >= 0, place >= _share(share))


def held_out(connection: Connection, case_: Case) -> None:
    """Withhold from the customers who are kept out of this rule on purpose."""
    drawn = is_held_out(case_)
    if drawn is not None:
        withhold(connection, Reason.HOLDOUT, drawn)


def held_out_of_all(connection: Connection, case_: Case) -> None:
    """Withhold from the customers whom the house keeps out of all marketing and all surveys."""
    drawn = is_held_out_of_all(case_)
    if drawn is not None:
        withhold(connection, Reason.HOUSE_HOLDOUT, drawn)


def not_rolled_out(connection: Connection, case_: Case) -> None:
    """Withhold from those whom the rule has not been rolled out to."""
    drawn = is_not_rolled_out(case_)
    if drawn is not None:
        withhold(connection, Reason.NOT_IN_ROLLOUT, drawn)
