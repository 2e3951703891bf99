"""The brake: whether a pass would reach more customers than ``limits.brake`` allows. It tells, and stops nothing."""

from sqlalchemy import Connection, func, select

from messaging.candidates import candidate, customer, open_for_decision
from messaging.guards.case import Case


def over(connection: Connection, case_: Case) -> tuple[int, int] | None:
    """``(limit, count)`` in customers where the decided candidates go beyond the brake, else None.

    The limit is a share of all customers, rounded down.
    """
    percent = case_.terms.brake_percent
    if percent is None:
        return None
    reached = select(func.count(candidate.c.customer_id.distinct())).where(open_for_decision())
    count = int(connection.execute(reached).scalar_one())
    if not count:
        return None
    everybody = int(connection.execute(select(func.count()).select_from(customer)).scalar_one())
    limit = int(everybody * percent / 100)
    return (limit, count) if count > limit else None
