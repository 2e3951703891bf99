"""``beforehand postroom``: the post room alone."""

from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli.common import fail

if TYPE_CHECKING:
    from beforehand.web.postroom import PostRoom


def postroom(
    inbound_url: Annotated[
        str | None, typer.Option(help="Where a customer's reply is posted; none: it is kept in the ledger only")
    ] = None,
) -> None:
    """Run the post room: it takes every SMS, call and e-mail, sends none on, and shows them on a page."""
    from pydantic import ValidationError

    from beforehand.settings import Settings
    from beforehand.web.postroom import run

    try:
        settings = Settings()
        run(settings, inbound_url=inbound_url, started=_say)
    except ValidationError as wrong:
        fail(f"The settings are not right:\n{wrong}")
    except OSError as wrong:
        ports = f"{settings.post_room_port} and {settings.post_room_smtp_port}"
        names = "BEFOREHAND_POST_ROOM_PORT and BEFOREHAND_POST_ROOM_SMTP_PORT name others"
        fail(f"The post room could not start: {wrong.strerror or wrong}. It wants the ports {ports}; {names}")


def _say(room: "PostRoom") -> None:
    typer.echo(f"The post room is open. Look at the messages: {room.http_url}/")
    typer.echo(f"  SMS and calls (Twilio-compatible): {room.http_url}   account {room.account_sid}")
    typer.echo(f"  e-mail (SMTP): {room.host} port {room.smtp_port}")
    typer.echo("Ctrl-C closes it.")
