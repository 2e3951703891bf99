"""``beforehand sample``: write the sample shop's export files."""

from pathlib import Path
from typing import Annotated

import typer


def sample(
    folder: Annotated[Path, typer.Argument(help="Where to write the files")] = Path("var/shop"),
    now: Annotated[str | None, typer.Option(help="The shop's last moment, ISO 8601 with zone; without it now")] = None,
    seed: Annotated[int, typer.Option(help="Another seed is another shop")] = 7,
    customers: Annotated[int, typer.Option(min=100, help="How many customers")] = 2400,
) -> None:
    """Write a made-up shop: customers, 18 months of orders, calls, tickets. Map it by examples/shop/sources.yaml."""
    from datetime import datetime

    from beforehand.cli.common import fail
    from beforehand.sample import write
    from beforehand.wiring import wall_clock

    try:
        last = datetime.fromisoformat(now) if now else wall_clock()
        write(folder, now=last, seed=seed, customers=customers)
    except ValueError:
        fail(f"--now {now!r} is not a moment with a zone; expected for example 2026-03-10T10:00:00+00:00")
    typer.echo(f"The sample shop is in {folder}. Load it with: beforehand ingest examples/shop/sources.yaml")
