"""Whether a provider's events are the provider's: each signs in its own way, or comes with a password."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from standardwebhooks.webhooks import Webhook as StandardWebhook
from standardwebhooks.webhooks import WebhookVerificationError


@dataclass(frozen=True)
class Posted:
    """A request as it came: ``url`` by our public address, ``headers`` with small names, ``form`` in pairs."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    form: tuple[tuple[str, str], ...] = ()


def sendgrid(key: str, posted: Posted) -> bool:
    """ECDSA over timestamp and body; ``key`` is the public key in base64 (DER).

    https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
    """
    stamp = posted.headers.get("x-twilio-email-event-webhook-timestamp", "")
    signed = posted.headers.get("x-twilio-email-event-webhook-signature", "")
    public = _public_key(key)
    if not isinstance(public, ec.EllipticCurvePublicKey) or not stamp:
        return False
    return _holds(lambda: public.verify(_unpacked(signed), stamp.encode() + posted.body, ec.ECDSA(hashes.SHA256())))


def postal(key: str, posted: Posted) -> bool:
    """RSA with SHA-1 over the body, as Postal has it; ``key`` is its public key in base64 (DER)."""
    public = _public_key(key)
    if not isinstance(public, rsa.RSAPublicKey):
        return False
    signed = posted.headers.get("x-postal-signature", "")
    sha1 = hashes.SHA1()  # noqa: S303
    return _holds(lambda: public.verify(_unpacked(signed), posted.body, padding.PKCS1v15(), sha1))


def mandrill(key: str, posted: Posted) -> bool:
    """HMAC with SHA-1 over the address and the sorted form.

    https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/
    """
    text = posted.url + "".join(name + value for name, value in sorted(posted.form))
    made = base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest())
    return hmac.compare_digest(made, posted.headers.get("x-mandrill-signature", "").encode())


def mailtrap(key: str, posted: Posted) -> bool:
    """HMAC with SHA-256 over the body, in hex."""
    made = hmac.new(key.encode(), posted.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(made.encode(), posted.headers.get("mailtrap-signature", "").encode())


def password(key: str, posted: Posted) -> bool:
    """HTTP basic authentication (RFC 7617); ``key`` is ``user:password``. Postmark and SparkPost sign nothing."""
    kind, _, given = posted.headers.get("authorization", "").partition(" ")
    return kind.lower() == "basic" and hmac.compare_digest(_unpacked(given), key.encode())


def standard(key: str, posted: Posted) -> bool:
    """Standard Webhooks (https://www.standardwebhooks.com); ``key`` begins with ``whsec_``."""
    try:
        StandardWebhook(key).verify(posted.body, dict(posted.headers))
    except (WebhookVerificationError, ValueError, RuntimeError):
        return False
    return True


SIGNERS: Mapping[str, Callable[[str, Posted], bool]] = {
    "sendgrid": sendgrid,
    "postmark": password,
    "sparkpost": password,
    "mandrill": mandrill,
    "mailtrap": mailtrap,
    "postal": postal,
    "generic": standard,
}
"""By the provider's name: whether a request is the provider's, by the key that we were given."""


def is_theirs(provider: str, key: str, posted: Posted) -> bool:
    """Whether a request is the provider's. Without a key nothing is."""
    return bool(key) and SIGNERS[provider](key, posted)


def _public_key(key: str) -> object:
    try:
        return load_der_public_key(_unpacked(key))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _unpacked(said: str) -> bytes:
    try:
        return base64.b64decode(said)
    except (ValueError, binascii.Error):
        return b""


def _holds(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True
