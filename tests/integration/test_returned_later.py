"""`beforehand returned` in a mail server's pipe: what cannot be taken in now is kept by the mail server, never lost."""

import pytest
from typer.testing import CliRunner

from beforehand.cli import app
from beforehand.cli.returned import TRY_LATER

MAIL = b"From: ada@example.com\r\nTo: care@example.com\r\n\r\nSTOP\r\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BEFOREHAND_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none"),
        ("BEFOREHAND_CAPS", "no JSON"),
    ],
)
def test_a_house_that_cannot_start_asks_the_mail_server_to_try_again(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any exit code but 75 makes Postfix send the mail back: a STOP or a bounce would be lost."""
    monkeypatch.setenv(name, value)
    assert CliRunner().invoke(app, ["returned"], input=MAIL).exit_code == TRY_LATER
