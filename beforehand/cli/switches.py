"""``beforehand stop`` and ``beforehand resume``: the kill switches."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli import common

if TYPE_CHECKING:
    from beforehand.wiring import App

WHAT = "all, rule:ID, channel:sms, channel:voice, channel:email or webhook:NAME"

Scope = Annotated[str, typer.Argument(metavar="WHAT", help=WHAT)]
By = Annotated[str, typer.Option(help="Who says so: your name")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document")]


def stop(scope: Scope = "all", by: By = "cli", as_json: AsJson = False) -> None:
    """Stop sending at once: all of it, a rule, a channel or a webhook. What waits keeps its place in the queue."""
    from messaging import switches
    from models.database import writing

    app = common.wired()
    _check(app, scope)
    with writing(app.engine) as connection:
        new = switches.stop(connection, scope, by, app.clock())
        standing = switches.set_now(connection)
    _told(
        standing, as_json, f"{scope} is stopped{'' if new else ' already'}; `beforehand resume {scope}` takes it back."
    )


def resume(scope: Scope = "all", as_json: AsJson = False) -> None:
    """Take a stop back: what waits goes on. Exit code 1: it was not stopped, or another stop still holds something."""
    from messaging import breaker, switches
    from models.database import writing

    app = common.wired()
    with writing(app.engine) as connection:
        done = switches.resume(connection, scope)
        breaker.dismiss(connection, scope)
        standing = switches.set_now(connection)
    _told(standing, as_json, f"{scope} goes on." if done else f"{scope} was not stopped.")
    if not done or standing:
        raise typer.Exit(common.FINDINGS)


def _check(app: "App", scope: str) -> None:
    """A stop of a misspelt rule would stop nothing, and nobody would see it."""
    from models.vocabulary import Channel

    kind, _, name = scope.partition(":")
    known: dict[str, Any] = {"channel": list(Channel), "webhook": app.settings.webhooks}
    if scope == "all" or (kind == "rule" and name in _rules(app)) or name in known.get(kind, ()):
        return
    common.fail(f"{scope!r} is nothing that can be stopped; expected {WHAT}")


def _rules(app: "App") -> set[str]:
    from sqlalchemy import select

    from beforehand.passes import rules_of
    from models.database import reading
    from models.housekeeping import RuleInForce
    from rules.errors import RuleErrors

    with reading(app.engine) as connection:
        known = set(connection.execute(select(RuleInForce.__table__.c.rule_id)).scalars())  # type: ignore[attr-defined]
    try:
        return known | rules_of(app).rules.keys()
    except RuleErrors:  # a broken file must not keep anybody from stopping another rule
        return known


def _told(standing: dict[str, str], as_json: bool, said: str) -> None:
    if as_json:
        common.print_json({"stopped": standing})
        return
    typer.echo(said)
    for scope, by in standing.items():
        typer.echo(f"  stopped: {scope} (by {by})")
