"""Which telephone numbers Twilio would take."""

import re

import phonenumbers

_SENDER_ID = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{2,11}")


def valid(number: str) -> bool:
    """Whether it is E.164 with a known country code and a possible length. Numbers kept for fiction pass."""
    try:
        read = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return False
    return number.startswith("+") and phonenumbers.is_possible_number(read)


def sender_id(name: str) -> bool:
    """Whether it is an alphanumeric sender ID, which an SMS may carry in place of a number."""
    return _SENDER_ID.fullmatch(name) is not None
