"""E-mail: what providers and other people's mail servers tell of it afterwards."""

import json

from messaging.mail_events.event import TAG, Kind, MailEvent, Reject
from messaging.mail_events.happen import happen
from messaging.mail_events.readers import READERS, read
from messaging.mail_events.signatures import Posted, is_theirs

HEADERS: dict[str, tuple[str, str]] = {
    "sendgrid": ("X-SMTPAPI", "unique_args"),
    "postmark": (f"X-PM-Metadata-{TAG}", ""),
    "sparkpost": ("X-MSYS-API", "metadata"),
    "mandrill": ("X-MC-Metadata", ""),
    "mailtrap": ("X-MT-Custom-Variables", ""),
}
"""By which header of a mail each provider takes metadata, and the key inside; the others tell our Message-ID back."""


def token_headers(provider: str, token: str) -> dict[str, str]:
    """The header that has a provider name our attempt in its events; none for a provider that takes none."""
    if provider not in HEADERS:
        return {}
    name, inside = HEADERS[provider]
    if provider == "postmark":
        return {name: token}
    said = {TAG: token}
    return {name: json.dumps({inside: said} if inside else said)}


__all__ = ["READERS", "Kind", "MailEvent", "Posted", "Reject", "happen", "is_theirs", "read", "token_headers"]
