"""``beforehand issues``: read the folder in which staff declare known issues."""

from pathlib import Path
from typing import Annotated

import typer

from beforehand.cli.common import fail, moment, print_json, wired


def issues(
    folder: Annotated[Path | None, typer.Argument(help="The folder; without it the setting BEFOREHAND_ISSUES")] = None,
    now: Annotated[str | None, typer.Option(help="Act as at this moment, ISO 8601")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Read the declared known issues and find whose orders they touch."""
    from dataclasses import asdict

    from beforehand.cli.words import some
    from beforehand.ingest.issues import declare
    from beforehand.ingest.tree import MappingErrors

    app = wired()
    place = folder or app.settings.issues
    try:
        report = declare(app.engine, place, moment(now, app))
    except MappingErrors as wrong:
        fail(f"The issues were not read; what was in force stays in force.\n{wrong}")
    if json:
        print_json(asdict(report))
        return
    typer.echo(f"{some(report.issues, 'known issue')} in {place}: {report.new} new, {report.changed} changed.")
    typer.echo(f"{report.exposures_new} order lines newly exposed, {report.exposures_gone} no longer.")
    for note in report.notes:
        typer.echo(f"Please look: {note}")
