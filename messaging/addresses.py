"""Addresses in one normal form, and their keyed hash by which suppressions know them."""

import hashlib
import hmac
import unicodedata

from models.vocabulary import Channel

PHONE = "phone"
EMAIL = "email"


def family(channel: str) -> str:
    """The kind of address a channel uses: SMS and voice share ``phone``. Raises ValueError for another channel."""
    return EMAIL if Channel(channel) is Channel.EMAIL else PHONE


def normal_address(channel: str, address: str) -> str:
    """One spelling of an address: E.164 digits for phones; lower case and NFC for e-mail.

    Lower case for the whole mailbox: no provider that people use tells cases apart, and a suppression must hold.
    """
    if family(channel) == EMAIL:
        return unicodedata.normalize("NFC", address).strip().casefold()
    return "+" + "".join(sign for sign in address if sign.isdigit())


def address_hash(secret: bytes, channel: str, address: str) -> str:
    """The keyed hash (HMAC-SHA256, 64 hex digits) of an address: survives erasure, says nothing without the key."""
    said = f"{family(channel)}:{normal_address(channel, address)}"
    return hmac.new(secret, said.encode(), hashlib.sha256).hexdigest()
