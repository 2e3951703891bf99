"""The command line. Command modules import their heavy parts inside the commands, so that ``--help`` is quick.

Exit codes: 0 fine, 1 findings, 2 wrong use.
"""

import typer

from beforehand.cli import (
    approve,
    audit,
    backtest,
    brief,
    check,
    correcting,
    customer,
    demo,
    dispatch,
    doctor,
    down,
    explain,
    ingest,
    issues,
    plan,
    postroom,
    preview,
    reconcile,
    replies,
    returned,
    rules,
    sample,
    schema,
    seen,
    status,
    switches,
    testing,
    voucher,
)

app = typer.Typer(
    name="beforehand",
    help="Beforehand reaches customers before they have to ask.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("up")(demo.up)
app.command("down")(down.down)
app.command("check")(check.check)
app.command("test")(testing.run_tests)
app.command("schema")(schema.schema)
app.command("facts")(rules.facts)
app.command("postroom")(postroom.postroom)
app.command("ingest")(ingest.ingest)
app.command("issues")(issues.issues)
app.command("sample")(sample.sample)
app.command("preview")(preview.preview)
app.command("plan")(plan.plan)
app.command("explain")(explain.explain)
app.command("run")(preview.run)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("seen")(seen.seen)
app.command("brief")(brief.brief)
app.command("stop")(switches.stop)
app.command("resume")(switches.resume)
app.command("approve")(approve.approve)
app.command("cancel")(correcting.cancel)
app.command("sent")(correcting.sent)
app.command("correct")(correcting.correct)
app.command("audit")(audit.audit)
app.command("backtest")(backtest.backtest)
app.command("dispatch")(dispatch.dispatch)
app.command("reconcile")(reconcile.reconcile)
app.command("returned")(returned.returned)
app.add_typer(voucher.commands, name="voucher")
app.add_typer(customer.commands, name="customer")
app.add_typer(replies.commands, name="replies")


def main() -> None:
    """Run the command line."""
    app()
