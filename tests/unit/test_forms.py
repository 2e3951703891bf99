"""What anybody may post to the customers' pages is read at once and without an error, whatever it is."""

import time

import pytest

from beforehand.web.pages.forms import read_form

ODD = {
    "parameters": "name=x" + ";a=b" * 14_000,
    "comments": "name=" + "(" * 20_000,
    "a lone percent sign": "name*=utf-8''%",
    "pieces": "".join(f";name*{number}*=a" for number in range(3000)),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_part_is_read_at_once(name: str) -> None:
    began = time.thread_time()
    body = f"--b\r\nContent-Disposition: form-data; {ODD[name]}\r\n\r\nx\r\n--b--\r\n"
    read_form("multipart/form-data; boundary=b", body.encode())
    assert time.thread_time() - began < 1


def test_a_field_is_read_from_either_kind_of_form() -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
    assert read_form("multipart/form-data; boundary=b", part).one("List-Unsubscribe") == "One-Click"
    assert read_form("", b"List-Unsubscribe=One-Click").one("List-Unsubscribe") == "One-Click"
