"""The addresses at which the world tells us of an attempt: each carries the attempt id, signed.

A Twilio status, the script of a call and its keys by URL; a bounced e-mail by its envelope sender (VERP) and its
envelope id.
"""

import hashlib
import hmac

STATUS_PATH = "/hooks/twilio/status"
VOICE_PATH = "/hooks/twilio/voice"


def attempt_token(secret: bytes, attempt_id: int) -> str:
    """``17-1f3a...``: the attempt id and 64 bits of a keyed hash, safe in a URL, in an ENVID and before an @."""
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


def voice_url(public_url: str, secret: bytes, attempt_id: int) -> str:
    """Where the script of a call is fetched when it is answered."""
    return f"{public_url.rstrip('/')}{VOICE_PATH}/{attempt_token(secret, attempt_id)}"


def key_url(public_url: str, secret: bytes, attempt_id: int) -> str:
    """Where a key pressed in a call is told."""
    return f"{voice_url(public_url, secret, attempt_id)}/key"


def bounce_address(base: str, token: str) -> str:
    """The envelope sender of one attempt: ``bounces@shop.example`` and a token give ``bounces+TOKEN@shop.example``.

    A token has 36 signs at most, so that up to 27 of ``base`` fit before the @ (RFC 5321 4.5.3.1.1: 64 octets).
    """
    local, _, domain = base.rpartition("@")
    return f"{local}+{token}@{domain}"


def attempt_of_bounce(secret: bytes, address: str) -> int | None:
    """The attempt id that an envelope sender of ours carries, or None where we did not make it.

    Mail servers on the way may have changed the case of letters, or put ``<>`` around it.
    """
    local, at, _ = address.strip().strip("<>").rpartition("@")
    return attempt_of(secret, local.rpartition("+")[2].lower()) if at and "+" in local else None


def attempt_of_envid(secret: bytes, envid: str) -> int | None:
    """The attempt id in an ``Original-Envelope-Id`` of a delivery report (RFC 3464 2.2.1), or None."""
    return attempt_of(secret, envid.strip().lower())


def _mark(secret: bytes, attempt_id: int) -> str:
    return hmac.new(secret, f"attempt:{attempt_id}".encode(), hashlib.sha256).hexdigest()[:16]
