"""Voucher codes: long enough, derived, forgiving to read, found by hash."""

import hashlib
import secrets

import pytest

from messaging.vouchers import CROCKFORD, NotACode, canonical_code, code_hash, new_salt, voucher_code

SECRET = b"a secret of the house"


def test_a_salt_has_at_least_80_random_bits() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return secrets.token_bytes(count)

    assert new_salt(random) != new_salt(random)
    assert all(count * 8 >= 80 for count in asked)


def test_the_same_salt_gives_the_same_code_and_another_key_another() -> None:
    assert voucher_code(SECRET, "00ff") == voucher_code(SECRET, "00ff")
    assert voucher_code(SECRET, "00ff") != voucher_code(b"another", "00ff")
    assert voucher_code(SECRET, "00ff") != voucher_code(SECRET, "00fe")


def test_a_code_has_100_bits_in_groups_that_people_can_read() -> None:
    codes = [voucher_code(SECRET, str(number)) for number in range(2_000)]
    assert all([len(group) for group in code.split("-")] == [5, 5, 5, 5] for code in codes)
    assert set("".join(codes)) - {"-"} == set(CROCKFORD)  # every sign is used, none that looks like another
    assert len(set(codes)) == len(codes)


def test_a_code_is_found_however_it_is_typed() -> None:
    code = next(c for n in range(10_000) if {"0", "1"} <= set(c := voucher_code(SECRET, str(n))))
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert canonical_code(typed) == code.replace("-", "")
    assert canonical_code(code.replace("1", "I").replace("-", "\u2013")) == code.replace("-", "")
    assert code_hash(typed) == code_hash(code)


def test_the_stored_hash_is_of_the_canonical_code() -> None:
    code = voucher_code(SECRET, "1")
    assert code_hash(code) == hashlib.sha256(code.replace("-", "").encode()).hexdigest()


@pytest.mark.parametrize(
    ("typed", "said"), [("ABC", "this one has 3"), ("U" * 20, "no voucher code has the sign 'U'"), ("", "has 0")]
)
def test_what_cannot_be_a_code_is_said(typed: str, said: str) -> None:
    with pytest.raises(NotACode, match=said):
        canonical_code(typed)
