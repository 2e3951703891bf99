"""A dozen rows as they come from real systems: wrong, doubled or pointing nowhere, so that rejects can be seen."""

from beforehand.sample.contact import Row


def break_customers(rows: list[Row]) -> None:
    """Spoil a few customers in place, and add two that should not be there."""
    rows[10]["phone"] = "12345"
    rows[11]["phone"] = "call me maybe"
    rows[20]["email"] = "no-at-sign.example.com"
    rows[21]["email"] = "two@@example.com"
    rows[30]["time_zone"] = "Mars/Olympus"
    rows[31]["birthday"] = "1987-02-30"
    rows[41]["phone"] = rows[40]["phone"]  # a family that shares one phone
    rows.append({**rows[50], "last_name": "Doubled"})  # the same key twice
    rows.append({**rows[51], "id": ""})  # no key


def break_orders(rows: list[Row]) -> None:
    """Spoil three orders in place: nobody's, an impossible day, a sum that is no number."""
    rows[60]["customer"] = "C99999"
    rows[61]["promised"] = "2026-02-30"
    rows[62]["net"] = "twelve"


def break_lines(rows: list[Row]) -> None:
    """Add a line of an order that is not there."""
    rows.append({**rows[-1], "id": f"{rows[-1]['id']}-X", "order": "W999999"})
