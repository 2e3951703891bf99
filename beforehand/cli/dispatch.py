"""``beforehand dispatch``: send what is due now."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from messaging.dispatch import DispatchReport
    from messaging.webhooks import WebhookReport


def dispatch(
    now: Annotated[str | None, typer.Option(help="As if it were this moment, ISO 8601")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Send every message that may go now.

    Exit code 1 where something failed, nobody knows what became of it, or everything is held after a restore.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from beforehand import approving, dispatching, passes
    from beforehand.cli.common import FINDINGS, fail, moment, print_json, wired
    from messaging.journal import JournalError, Restored
    from models.trouble import plainly
    from models.vocabulary import WebhookState
    from rules.errors import RuleErrors

    app = wired()
    at = moment(now, app)
    if wrong_with_it := dispatching.make_sure(app):
        fail(wrong_with_it, code=FINDINGS)
    try:
        approving.watch(app, at) if now else approving.watch_once(app)
        advanced = passes.advance(app, at)
        report = dispatching.dispatch_due(app, at if now else None, everything=True)
        called = dispatching.call_webhooks(app, at if now else None)
    except (RuleErrors, ValueError) as wrong:
        fail(str(wrong))
    except JournalError as wrong:
        fail(str(wrong), code=FINDINGS)
    except SQLAlchemyError as wrong:
        fail(plainly(wrong, app.engine.url), code=FINDINGS)
    if as_json:
        webhooks = {state.value: count for state, count in called.states.items()}
        print_json({"now": at.isoformat(), "steps": advanced.steps, **as_plain(report), "webhooks": webhooks})
    else:
        for line in [*lines(report), *webhook_lines(called)]:
            typer.echo(line)
    if dispatching.is_held_now(app):
        fail(str(Restored()), code=FINDINGS)
    if called.states.keys() & {WebhookState.GONE, WebhookState.GAVE_UP}:
        raise typer.Exit(FINDINGS)
    if report.failed or report.unknown or report.stopped:
        raise typer.Exit(FINDINGS)


def as_plain(report: "DispatchReport") -> dict[str, Any]:
    """The report as JSON values, keyed by the stored words."""
    return {
        name: {str(key): value for key, value in said.items()} if isinstance(said, dict) else said
        for name, said in asdict(report).items()
    }


def webhook_lines(report: "WebhookReport") -> list[str]:
    """What became of webhooks, a line each state."""
    from models.vocabulary import WEBHOOK_TEXT

    many = sorted(report.states.items(), key=lambda item: list(WEBHOOK_TEXT).index(item[0]))
    return [f"{count:,} {'webhook' if count == 1 else 'webhooks'}: {WEBHOOK_TEXT[state]}" for state, count in many]


def lines(report: "DispatchReport") -> list[str]:
    """The report in a few readable lines."""
    from models.vocabulary import REASON_TEXT

    by = ", ".join(f"{count:,} {name.value}" for name, count in report.by_channel.items())
    said = [f"{report.sent:,} sent" + (f" ({by})" if by else "")]
    if report.retry:
        said.append(f"{report.retry:,} not accepted yet; they are tried again later")
    if report.failed:
        said.append(f"{report.failed:,} refused for good or not to be filled in")
    if report.unknown:
        said.append(
            f"{report.unknown:,} with an unknown outcome; the provider's listing is asked before anything is resent"
        )
    said += [f"{count:,} not sent: {REASON_TEXT[reason]}" for reason, count in report.withheld.items()]
    said += [f"{name.value} rests for a minute: the provider said {code}" for name, code in report.stopped.items()]
    return said
