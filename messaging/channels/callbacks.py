"""The address at which a provider tells us of an attempt: it carries the attempt id, signed."""

import hashlib
import hmac

STATUS_PATH = "/hooks/twilio/status"


def attempt_token(secret: bytes, attempt_id: int) -> str:
    """``17-1f3a...``: the attempt id and 64 bits of a keyed hash, safe in a URL."""
    return f"{attempt_id}-{_mark(secret, attempt_id)}"


def attempt_of(secret: bytes, token: str) -> int | None:
    """The attempt id in a token, or None where we did not sign it."""
    digits, _, mark = token.partition("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        return None
    return int(digits) if hmac.compare_digest(mark.encode(), _mark(secret, int(digits)).encode()) else None


def status_url(public_url: str, secret: bytes, attempt_id: int) -> str:
    """Where the status of an attempt is told."""
    return f"{public_url.rstrip('/')}{STATUS_PATH}/{attempt_token(secret, attempt_id)}"


def _mark(secret: bytes, attempt_id: int) -> str:
    return hmac.new(secret, f"attempt:{attempt_id}".encode(), hashlib.sha256).hexdigest()[:16]
