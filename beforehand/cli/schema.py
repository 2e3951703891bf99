"""``beforehand schema``: the JSON Schema of a rule file."""

from pathlib import Path
from typing import Annotated

import typer

from beforehand.cli.common import FINDINGS, fail, settings


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here; without it, print it.")
    ] = None,
) -> None:
    """The JSON Schema of a rule file, with your own facts in it: editors complete and explain each word by it."""
    from rules.attributes import with_attributes
    from rules.errors import RuleErrors
    from rules.facts import subjects
    from rules.json_schema import schema_text

    try:
        text = schema_text(with_attributes(subjects(), settings().facts))
    except RuleErrors as wrong:
        fail(str(wrong), code=FINDINGS)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as wrong:
        fail(f"{output} cannot be written: {wrong.strerror}")
    typer.echo(f"{output}: name it in your editor, or in the first line of a rule:", err=True)
    typer.echo(f"# yaml-language-server: $schema={output.name}", err=True)
