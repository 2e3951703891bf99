"""What bounds sending, in the audit log: a rule's limits when its text changes, the house's settings between starts."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from beforehand.settings import Settings
from messaging import audit
from models.delivery import RuleVersion
from rules.errors import RuleErrors
from rules.loader import Rule
from rules.reader import read

rule_version: Any = RuleVersion.__table__  # type: ignore[attr-defined]

LIMITS_CHANGED = "limits changed"
SETTINGS_NOTED = "settings noted"
SETTINGS_CHANGED = "settings changed"

NAMES = (
    "delivery",
    "trial",
    "consent_needed",
    "caps",
    "holdout",
    "quiet_hours",
    "quiet_laws",
    "brake",
    "brake_times",
    "canary",
    "canary_minutes",
    "approval_hours",
    "approvers",
)
"""The settings that bound sending and may stand in the log as they are."""


def limits_of(text: str, path: str) -> dict[str, Any]:
    """What a rule's text says of its bounds, in its own words; what it does not say is left out."""
    said = read(text, path).plainly()
    limits = said.get("limits") or {}
    found: dict[str, Any] = dict(limits) if isinstance(limits, dict) else {}
    found |= {key: said.get(key) for key in ("percent", "purpose")}
    steps = said.get("then") or []
    vouchers = [step["voucher"] for step in steps if isinstance(step, dict) and isinstance(step.get("voucher"), dict)]
    for key in ("budget", "per_customer"):
        found[key] = [voucher.get(key) for voucher in vouchers if voucher.get(key)] or None
    return {key: value for key, value in _as_json(found).items() if value is not None}


def note_limits(connection: Connection, rule: Rule, before: str, now: datetime) -> None:
    """Write down what differs in a rule's limits from those of the version that was in force ``before``."""
    rows = select(rule_version.c.version, rule_version.c.text, rule_version.c.author)
    kept = {row.version: row for row in connection.execute(rows.where(rule_version.c.rule_id == rule.id))}
    if before == rule.terms.version or before not in kept:
        return
    try:
        changed = _differences(limits_of(kept[before].text, rule.path), limits_of(rule.text, rule.path))
    except RuleErrors:  # a text from before the language was as strict as it is now
        return
    if changed:
        own = kept.get(rule.terms.version)
        details = {"before": before, "version": rule.terms.version, "changed": changed}
        by = (own.author if own else None) or "the rule file"
        audit.write(connection, by=by, action=LIMITS_CHANGED, about=f"rule:{rule.id}", now=now, details=details)


def bounds_of(settings: Settings) -> dict[str, Any]:
    """The settings that bound sending. Of the guest list its size and a keyed digest: no address gets into the log."""
    found = {name: getattr(settings, name) for name in NAMES}
    guests = json.dumps(sorted({guest.strip().lower() for guest in settings.guest_list}))
    secret = settings.secret_key.get_secret_value().encode()
    found["guests"] = len(settings.guest_list)
    found["guest_list"] = hmac.new(secret, f"guests/{guests}".encode(), hashlib.sha256).hexdigest()[:16]
    return _as_json(found)


def note_bounds(connection: Connection, settings: Settings, now: datetime) -> None:
    """Write down the settings that bound sending, where they are others than those last written down."""
    bounds = bounds_of(settings)
    last = audit.newest_of(connection, (SETTINGS_NOTED, SETTINGS_CHANGED))
    before = last.details.get("settings", {}) if last else None
    if before == bounds:
        return
    action = SETTINGS_NOTED if before is None else SETTINGS_CHANGED
    details = {"settings": bounds} | ({"changed": _differences(before, bounds)} if before is not None else {})
    audit.write(connection, by="settings", action=action, about="house", now=now, details=details)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What is not the same: by name, the old value and the new one; None: not said."""
    names = sorted({*before, *after})
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def _as_json(value: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(value), default=str))
    return plain
