"""``beforehand returned``: one mail that came back, from a mail server's pipe, or all that are new in a Maildir."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common

if TYPE_CHECKING:
    from beforehand.wiring import App

TRY_LATER = 75
"""EX_TEMPFAIL of sysexits.h: the mail server keeps the mail and asks again."""


def returned(
    to: Annotated[
        list[str] | None, typer.Option(help="The envelope's recipient, where the mail server tells it")
    ] = None,
    maildir: Annotated[
        Path | None, typer.Option(help="Read what is new in this Maildir, not the standard input")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Take in bounces, complaints and answers to e-mails. Exit code 75: not now; the mail server shall try again."""
    from sqlalchemy.exc import SQLAlchemyError

    from beforehand.returned import read_maildir, take_mail

    app = _wired()
    try:
        if maildir is not None:
            counts = {what.value: count for what, count in read_maildir(app, maildir).items()}
        else:
            counts = {take_mail(app, sys.stdin.buffer.read(), to or []).value: 1}
    except SQLAlchemyError as wrong:
        common.fail(f"Not taken in yet, the database does not answer: {type(wrong).__name__}", code=TRY_LATER)
    except OSError as wrong:
        common.fail(f"This Maildir cannot be read: {wrong.strerror}")
    if as_json:
        common.print_json(counts)
    else:
        typer.echo(", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing new")


def _wired() -> "App":
    """The application; where it cannot start, the mail server keeps the mail: any other code sends it back."""
    try:
        return common.wired()
    except typer.Exit as over:
        raise typer.Exit(TRY_LATER) from over
