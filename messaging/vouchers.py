"""Voucher codes: derived from a secret and a random salt, never stored, found again by their hash.

A code is 100 bits of HMAC-SHA256 in Crockford's base 32 (https://www.crockford.com/base32.html), shown as
``XXXXX-XXXXX-XXXXX-XXXXX``. The salt has 128 random bits, so that whoever knows one code knows nothing of another.
"""

import hashlib
import hmac
from collections.abc import Callable

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LOOK_ALIKES = str.maketrans("ILO", "110")
# Spaces and dashes of all kinds, and the marks by which an Arabic message sets a code apart.
IGNORED = "- \t\n\u00a0\u2010\u2011\u2012\u2013\u200e\u200f\u2066\u2067\u2068\u2069"
CODE_LETTERS = 20
GROUP = 5
SALT_BYTES = 16

RandomBytes = Callable[[int], bytes]
"""``secrets.token_bytes``, or a seeded stand-in: so many bytes."""


class NotACode(ValueError):
    """What was typed cannot be a voucher code; the text says why."""


def new_salt(random: RandomBytes) -> str:
    """A fresh salt: 128 random bits as 32 hex digits."""
    return random(SALT_BYTES).hex()


def voucher_code(secret: bytes, salt: str) -> str:
    """The code that belongs to a salt, as people see it (20 letters in groups of five)."""
    digest = hmac.new(secret, f"voucher:{salt}".encode(), hashlib.sha256).digest()
    bits = int.from_bytes(digest, "big") >> (len(digest) * 8 - CODE_LETTERS * 5)
    letters = "".join(CROCKFORD[(bits >> shift) & 31] for shift in range((CODE_LETTERS - 1) * 5, -1, -5))
    return "-".join(letters[start : start + GROUP] for start in range(0, CODE_LETTERS, GROUP))


def canonical_code(typed: str) -> str:
    """The code that somebody typed, in its one form: case, spaces and dashes do not matter, nor I L O for 1 1 0.

    Raises NotACode where it has another length or a sign that no code has.
    """
    letters = "".join(sign for sign in typed.upper() if sign not in IGNORED).translate(LOOK_ALIKES)
    if len(letters) != CODE_LETTERS:
        raise NotACode(f"a voucher code has {CODE_LETTERS} letters and digits; this one has {len(letters)}")
    strange = sorted(set(letters) - set(CROCKFORD))
    if strange:
        raise NotACode(f"no voucher code has the sign {strange[0]!r}")
    return letters


def code_hash(code: str) -> str:
    """The stored fingerprint of a code: SHA-256 of its canonical form, 64 hex digits. Raises NotACode."""
    return hashlib.sha256(canonical_code(code).encode()).hexdigest()
