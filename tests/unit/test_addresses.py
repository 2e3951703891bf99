"""One spelling and one hash for an address, however it is written."""

import pytest

from messaging.addresses import address_hash, family, normal_address

SECRET = b"key"


@pytest.mark.parametrize(
    ("channel", "written", "normal"),
    [
        ("sms", "+49 151 123-456", "+49151123456"),
        ("voice", "+49151123456", "+49151123456"),
        ("email", " Ann@Example.COM ", "ann@example.com"),
        ("email", "jose\u0301@example.com", "jos\u00e9@example.com"),
    ],
)
def test_an_address_has_one_spelling(channel: str, written: str, normal: str) -> None:
    assert normal_address(channel, written) == normal


def test_sms_and_voice_share_a_hash_and_email_has_its_own() -> None:
    assert address_hash(SECRET, "sms", "+49151123456") == address_hash(SECRET, "voice", "+49 151 123456")
    assert address_hash(SECRET, "email", "a@b.example") != address_hash(SECRET, "email", "c@b.example")
    assert family("sms") == family("voice") != family("email")


def test_the_hash_says_nothing_without_the_key() -> None:
    assert address_hash(SECRET, "sms", "+49151123456") != address_hash(b"other", "sms", "+49151123456")
    assert len(address_hash(SECRET, "email", "a@b.example")) == 64


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="pigeon"):
        family("pigeon")
