"""``beforehand replies``: what customers wrote that somebody has to read, because it may mean STOP."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common
from beforehand.cli.words import plainly, some

if TYPE_CHECKING:
    from messaging.replies import OpenReply

commands = typer.Typer(help="Replies that may mean STOP: read them, and say what they mean.")

Number = Annotated[int, typer.Argument(metavar="N", help="The reply's number in the list")]
By = Annotated[str, typer.Option(help="Who has read it: your name")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document")]


@commands.callback(invoke_without_command=True)
def replies(context: typer.Context, as_json: AsJson = False) -> None:
    """List the replies that nobody has read yet. Exit code 1: there are some."""
    from messaging.replies import open_replies
    from models.database import reading

    if context.invoked_subcommand is not None:
        return
    app = common.wired()
    with reading(app.engine) as connection:
        found = open_replies(connection)
    if as_json:
        common.print_json([asdict(reply) for reply in found])
    else:
        typer.echo(plainly("\n".join(_lines(found))))
    if found:
        raise typer.Exit(common.FINDINGS)


@commands.command("stop")
def stop(
    number: Number,
    by: By,
    calls: Annotated[bool, typer.Option("--calls", help="They want no calls either")] = False,
    as_json: AsJson = False,
) -> None:
    """It was a STOP: nothing goes there any more, and what waited ends."""
    from messaging import replies
    from models.database import writing

    app = common.wired()
    with writing(app.engine) as connection:
        try:
            done = replies.stop(connection, number, app.clock(), by=by, calls=calls)
        except replies.UnknownReply as wrong:
            common.fail(str(wrong))
    _told(
        done, as_json, f"Reply {number} was a STOP: {_who(done)} gets no more {'texts or calls' if calls else 'texts'}."
    )


@commands.command("release")
def release(number: Number, by: By, as_json: AsJson = False) -> None:
    """It was no STOP: what waited goes on."""
    from messaging import replies
    from models.database import writing

    app = common.wired()
    with writing(app.engine) as connection:
        try:
            done = replies.release(connection, number, app.clock(), by=by)
        except replies.UnknownReply as wrong:
            common.fail(str(wrong))
    _told(done, as_json, f"Reply {number} was no STOP: what waited for {_who(done)} goes on.")


def _told(done: "OpenReply", as_json: bool, said: str) -> None:
    if as_json:
        common.print_json(asdict(done))
    else:
        typer.echo(plainly(said))


def _who(reply: "OpenReply") -> str:
    return reply.name or reply.customer or "that number"


def _lines(found: "list[OpenReply]") -> list[str]:
    if not found:
        return ["No reply waits to be read."]
    lines = [f"{some(len(found), 'reply', 'replies')} may mean STOP; what waits for them is held:"]
    for reply in found:
        about = f" after {reply.answers}" if reply.answers else ""
        held = f", {some(reply.held, 'message')} held" if reply.held else ""
        lines.append(
            f"  {reply.id:>5}  {reply.received_at:%Y-%m-%d %H:%M} UTC  {reply.channel}{about}, {_who(reply)}{held}"
        )
        lines.append(f"         {' '.join(reply.text.split())}")
    lines.append("Say what each means: beforehand replies stop N --by NAME, or beforehand replies release N --by NAME")
    return lines
