"""What a webhook says, and its signature."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from babel.numbers import get_currency_precision
from standardwebhooks import Webhook

TYPE = "beforehand.step"


def webhook_id(row: Mapping[Any, Any]) -> str:
    """The id of a planned webhook: the same at each try, and another one after the database was made anew.

    Without a full stop, which the signed content keeps for itself.
    """
    return f"wh_{int(row['created_at'].timestamp() * 1_000_000)}_{row['id']}"


def body(row: Mapping[Any, Any]) -> str:
    """The JSON text of a webhook row: the same at each try. Of personal data it holds what the rule asks for alone."""
    asked = {name: _plainly(value) for name, value in (row["facts"] or {}).items()}
    data = {
        "rule": row["rule_id"],
        "version": row["version"],
        "occasion": row["occasion"],
        "step": row["step"],
        "subject": row["subject"],
        "subject_id": row["subject_key"],
        "customer_id": row["customer_key"],
        "facts": dict(sorted((asked | (row["said"] or {})).items())),
    }
    said = {"type": TYPE, "timestamp": row["created_at"].isoformat(), "data": data}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _plainly(value: Any) -> Any:
    """Money as a rule writes it (``12.50 EUR``), a flag as true or false."""
    if not isinstance(value, dict):
        return value
    if "flag" in value:
        return None if value["flag"] is None else bool(value["flag"])
    if value["minor"] is None:
        return None
    places = get_currency_precision(value["currency"])
    whole, rest = divmod(abs(value["minor"]), 10**places)
    sign = "-" if value["minor"] < 0 else ""
    return f"{sign}{whole}{f'.{rest:0{places}}' if places else ''} {value['currency']}"


def headers(secret: str, key: str, text: str, now: datetime) -> dict[str, str]:
    """The headers of one try: the id, this try's own moment (UTC), and the signature over both and the body.

    ``secret`` is ``whsec_`` and base64, as the specification writes it.
    """
    return {
        "content-type": "application/json",
        "user-agent": "Beforehand",
        "webhook-id": key,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(key, now, text),
    }
