"""``beforehand demo`` and ``beforehand up``: the whole house as one command."""

from typing import Annotated, NoReturn

import typer

from beforehand.cli.common import FINDINGS, fail
from beforehand.parts import CHOSEN, PartName


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after the first round: 0 when all went well, else 1")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --once: print one JSON object with the figures")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with what the last demo left instead of afresh")] = False,
) -> None:
    """Load the sample shop, run every rule, and show what customers would get. Nothing leaves this machine."""
    if json and not once:
        fail("--json goes with --once: the figures are printed when the first round is done")
    from beforehand.runtime.running import NotStarted, run_demo

    try:
        _leave(run_demo(once=once, as_json=json, keep=keep))
    except NotStarted as wrong:
        fail(str(wrong), code=FINDINGS)


def up(
    only: Annotated[
        list[PartName] | None,
        typer.Option(
            "--only",
            metavar="PART",
            help="Run this part alone; to be given several times: prefect, worker, heartbeat, dispatcher, web",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start everything over your own data: Prefect server, worker, heartbeat, dispatcher, pages, and the post room
    unless live. Stops on Ctrl-C, SIGTERM or `beforehand down`.
    """
    chosen = frozenset(only or CHOSEN)
    if odd := sorted(chosen - {*CHOSEN}):
        fail(f"{', '.join(odd)} cannot be chosen; expected {', '.join(CHOSEN)}")
    from beforehand.cli.common import wired
    from beforehand.runtime.running import NotStarted, run_up
    from rules.errors import RuleErrors

    try:
        _leave(run_up(wired, chosen))
    except RuleErrors as wrong:
        fail(f"The rules were not loaded, so nothing was started.\n{wrong}", code=FINDINGS)
    except NotStarted as wrong:
        fail(str(wrong), code=FINDINGS)


def _leave(code: int) -> NoReturn:
    """End at once: everything is closed, and threads of Prefect's client could linger for minutes."""
    import os
    import sys

    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
