"""``beforehand doctor``."""

from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common

if TYPE_CHECKING:
    from beforehand.doctor import Check
    from beforehand.wiring import App

STYLES = {"ok": "green", "look": "yellow", "wrong": "red"}


def doctor(
    resolver: Annotated[
        str,
        typer.Option("--resolver", metavar="ADDRESS[:PORT]", help="Ask this DNS server for the records of the sender"),
    ] = "",
    dkim_selector: Annotated[
        str, typer.Option("--dkim-selector", metavar="NAME", help="The name of your mail provider's DKIM key")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Look at everything around the house: one line a check, with what to do. Exit code 1: something is wrong."""
    from rich.console import Console

    from beforehand.doctor import Asked, Verdict, examine

    console = Console(highlight=False, soft_wrap=True)
    app = _unchanged()
    found: list[Check] = []
    for check in examine(app, Asked(resolver, dkim_selector)):
        found.append(check)
        if not json:
            console.print(f"{check.verdict:<5}  {check.what}: {check.said}", style=STYLES[check.verdict], markup=False)
            if check.do:
                console.print(f"       What to do: {check.do}.", markup=False)
    if json:
        checks = [vars(check) for check in found]
        common.print_json({"checks": checks, "wrong": sum(check.verdict is Verdict.WRONG for check in found)})
    if any(check.verdict is Verdict.WRONG for check in found):
        raise typer.Exit(common.FINDINGS)


def _unchanged() -> "App":
    """The application over a database as it is: a look must not bring its tables up to date."""
    from beforehand.wiring import bootstrap
    from models.database import DatabaseError

    try:
        return bootstrap(common.settings(), migrated=False, new=False)
    except DatabaseError as wrong:
        common.fail(f"wrong  database: {wrong}", code=common.FINDINGS)
