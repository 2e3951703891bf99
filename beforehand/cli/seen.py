"""``beforehand seen``: somebody has looked at what staff were called for."""

from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common
from beforehand.cli.words import plainly

if TYPE_CHECKING:
    from beforehand.status import CallToStaff

Topics = Annotated[
    list[str] | None, typer.Argument(metavar="[TOPIC]...", help="What was looked at; without one all is listed")
]


def seen(
    topics: Topics = None,
    by: common.By = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document")] = False,
) -> None:
    """List what staff are called for, or say of a TOPIC that you have looked: it is told again when it happens again.

    Exit code 1: something is left that waits for this.
    """
    from beforehand.status import calls_to_staff
    from messaging import audit, breaker
    from models.database import reading, writing

    app = common.wired(new=False)
    wanted, says = topics or [], common.who(by, app.settings.rules)
    with (writing if wanted else reading)(app.engine) as connection:
        open_now = {call.topic: call for call in calls_to_staff(connection)}
        for topic in wanted:
            _may_go(topic, open_now)
        for topic in wanted:
            breaker.dismiss(connection, topic)
            audit.write(connection, by=says, action="seen", about=topic, now=app.clock())
    left = [call for topic, call in open_now.items() if topic not in wanted]
    if as_json:
        common.print_json([vars(call) | {"until_seen": breaker.is_until_seen(call.topic)} for call in left])
    else:
        _show(left, wanted)
    if any(breaker.is_until_seen(call.topic) for call in left):
        raise typer.Exit(common.FINDINGS)


def _may_go(topic: str, open_now: "dict[str, CallToStaff]") -> None:
    """Refuse, before anything is written, what is not there and what ends by itself."""
    from messaging.breaker import is_until_seen

    if topic not in open_now:
        common.fail(f"staff are not called for {topic!r}; `beforehand seen` lists what they are called for")
    if not is_until_seen(topic):
        common.fail(f"{topic} ends by itself when it is put right; `beforehand status` says what to do")


def _show(left: "list[CallToStaff]", done: list[str]) -> None:
    from messaging.breaker import is_until_seen

    for topic in done:
        typer.echo(f"{topic}: seen.")
    for call in left:
        ends = "" if is_until_seen(call.topic) else "; it ends by itself when it is put right"
        typer.echo(plainly(f"{call.topic}  {call.since:%Y-%m-%d %H:%M} UTC  {call.said}{ends}"))
    if not left:
        typer.echo("Staff are called for nothing" + (" else." if done else "."))
