"""``beforehand voucher``: redeem a code, or look what it is worth."""

from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common

if TYPE_CHECKING:
    from messaging.redeeming import Answer

commands = typer.Typer(help="Redeem a voucher, or look what a code is worth.", no_args_is_help=True)

Code = Annotated[str, typer.Argument(help="The code, with or without its dashes")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object")]


@commands.command("redeem")
def redeem(
    code: Code,
    by: Annotated[str, typer.Option(help="Who takes it: a till, a person")] = "cli",
    receipt: Annotated[str, typer.Option(help="The till's own number for the purchase")] = "",
    as_json: AsJson = False,
) -> None:
    """Redeem a voucher, once. Exit code 1: it is not good, and why is said."""
    from messaging import redeeming
    from models.database import writing

    app = common.wired()
    with writing(app.engine) as connection:
        answer = redeeming.redeem(connection, code, by=by, receipt=receipt, now=app.clock())
    _show(answer, as_json)


@commands.command("show")
def show(
    code: Code,
    by: Annotated[str, typer.Option(help="Who asks: wrong codes are counted by it")] = "cli",
    as_json: AsJson = False,
) -> None:
    """Say what a code is worth, without redeeming it. Exit code 1: it is not good, and why is said."""
    from messaging import redeeming
    from models.database import writing

    app = common.wired()
    with writing(app.engine) as connection:
        answer = redeeming.look(connection, code, by=by, now=app.clock())
    _show(answer, as_json)


def _show(answer: "Answer", as_json: bool) -> None:
    if as_json:
        common.print_json(answer.as_json())
    else:
        typer.echo("\n".join(_lines(answer)))
    if answer.refusal is not None:
        raise typer.Exit(common.FINDINGS)


def _lines(answer: "Answer") -> list[str]:
    from messaging.costs import shown_money
    from messaging.redeeming import REFUSAL_TEXT

    worth = shown_money(answer.worth) if answer.worth else ""
    until = f", valid until {answer.valid_until:%Y-%m-%d %H:%M} UTC" if answer.valid_until else ""
    if answer.refusal is None:
        if answer.redeemed_at is None:
            return [f"Good: worth {worth}{until}. Not redeemed yet."]
        return [
            f"Redeemed: worth {worth}." + (" The same answer as before: you asked already." if answer.again else "")
        ]
    said = [f"Not redeemed: {REFUSAL_TEXT[answer.refusal]}."]
    if answer.redeemed_at:
        said.append(f"It was redeemed at {answer.redeemed_at:%Y-%m-%d %H:%M} UTC.")
    if answer.wait_until:
        said.append(f"Try again after {answer.wait_until:%H:%M} UTC.")
    return said
