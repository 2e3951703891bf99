"""``explain``: why a customer got a message, or did not."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common

if TYPE_CHECKING:
    from beforehand.explaining import Explanation
    from beforehand.wiring import App


def explain(
    customer: Annotated[
        str,
        typer.Argument(
            metavar="CUSTOMER",
            help="The external id, an e-mail address, a phone number, or a row of theirs such as order/1001.",
            show_default=False,
        ),
    ],
    rule: Annotated[
        str | None, typer.Argument(metavar="[RULE]", help="One rule; without it, all of them.", show_default=False)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="ISO", help="As of this moment; without it, now.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Tell so many matches of the past.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say why CUSTOMER got a message, or did not: each condition with its value, each gate, and what is stored."""
    from beforehand.cli.explained import show
    from beforehand.explaining import explain as ask

    app = common.wired()
    wall = common.moment(None, app)
    moment = common.moment(at, app, option="--at")
    told = _asked(lambda: ask(app, customer, moment, rule_id=rule, wall=wall, limit=limit))
    if json:
        common.print_json(told.as_json())
        return
    show(told)


def preview_customer(app: "App", rule: str, customer: str, moment: datetime, *, json: bool) -> None:
    """``preview RULE --customer ID``: one rule for one person, step by step."""
    from beforehand.cli.explained import show
    from beforehand.explaining import explain_one

    told = _asked(lambda: explain_one(app, customer, moment, rule))
    if json:
        common.print_json(told.as_json())
        return
    show(told, past=False)


def _asked(question: Callable[[], "Explanation"]) -> "Explanation":
    """The answer; or what is wrong, said plainly: nobody of that name and no such rule are wrong use."""
    from beforehand.explaining import UnknownCustomer

    try:
        return common.asked(question)
    except UnknownCustomer as wrong:
        common.fail(str(wrong))
