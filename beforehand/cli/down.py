"""``beforehand down``."""

from typing import Annotated

import typer

from beforehand.cli import common


def down(
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0, help="Wait so long")] = 30,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Stop the house that runs with this BEFOREHAND_VAR, and wait until it is gone. Exit code 1: none ran, or it still
    does.
    """
    from beforehand.runtime.stopping import stop_houses

    var = common.settings().var
    report = stop_houses(var, timeout, (lambda _: None) if json else typer.echo)
    if json:
        common.print_json(report.as_json())
    elif not report.found:
        typer.echo(f"No house runs with {var}.")
    elif report.left:
        typer.echo(f"It still stops after {report.seconds} s; `beforehand down` once more ends it at once.")
    elif report.gone:
        typer.echo(f"Stopped in {report.seconds} s.")
    if not report.is_down:
        raise typer.Exit(common.FINDINGS)
