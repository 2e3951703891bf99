"""``beforehand cancel``, ``sent`` and ``correct``: when a rule has said something that it should not have said."""

import csv
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli import common
from beforehand.cli.words import plainly, some

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from beforehand.correcting import Asked, Correction
    from beforehand.passes import PassReport
    from messaging.cancelling import Cancelled
    from messaging.sent import Sent
    from models.vocabulary import Channel, Purpose

RuleId = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id", show_default=False)]
Version = Annotated[
    str | None,
    typer.Option("--version", metavar="V", help="One version; its first letters do", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document")]

COLUMNS = ("customer", "subject", "channel", "template", "at", "state", "provider_id", "version")


def cancel(
    rule: RuleId,
    version: Version = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only said")] = False,
    by: common.By = None,
    as_json: AsJson = False,
) -> None:
    """End all of RULE that has not left: messages, waiting steps, vouchers nobody was told of, webhooks.

    Without --yes it says what it would end. Exit code 1: there is something, and --yes is missing.
    """
    from messaging import cancelling

    app = common.wired(new=False)
    says = common.who(by, app.settings.rules)

    def done() -> "tuple[str | None, Cancelled]":
        from models.database import reading, writing

        with (writing if yes else reading)(app.engine) as connection:
            which = _version(connection, rule, version)
            if not yes:
                return which, cancelling.would_cancel(connection, rule, which)
            ended = cancelling.cancel(connection, rule, which, app.clock())
            _write_down(connection, says, rule, which, ended, app.clock())
            return which, ended

    which, found = common.asked(done)
    if as_json:
        common.print_json({"rule": rule, "version": which, "cancelled": yes, **asdict(found)})
    else:
        for line in _cancelled(rule, which, found, yes):
            typer.echo(line)
    if found.anything and not yes:
        raise typer.Exit(common.FINDINGS)


def _write_down(
    connection: "Connection", by: str, rule: str, version: str | None, ended: "Cancelled", now: "datetime"
) -> None:
    from messaging import audit

    details = {"version": version, **asdict(ended)}
    audit.write(connection, by=by, action="cancel", about=f"rule:{rule}", now=now, details=details)


def _version(connection: "Connection", rule: str, version: str | None) -> str | None:
    """The version in full; a wrong one, or a rule that never ran, ends the command."""
    from messaging.versions import UnknownVersion, check_known, version_named

    try:
        if version is not None:
            return version_named(connection, rule, version)
        check_known(connection, rule)
    except UnknownVersion as wrong:
        common.fail(str(wrong))
    return None


def _cancelled(rule: str, version: str | None, found: "Cancelled", yes: bool) -> Iterator[str]:
    what = rule + (f" (version {version})" if version else "")
    many = sum(found.messages.values())
    by = ", ".join(f"{count:,} by {channel}" for channel, count in found.messages.items())
    would = "" if yes else "would be "
    if not found.anything:
        yield f"Nothing of {what} waits to leave."
    else:
        yield f"{what}: {some(many, 'message')} {would}cancelled{f' ({by})' if by else ''}."
        yield f"  {some(found.matches, 'match', 'matches')} {'go' if yes else 'would go'} no further."
        if found.vouchers:
            yield f"  {some(found.vouchers, 'voucher')} {would}taken back: nobody was told of them."
        if found.webhooks:
            yield f"  {some(found.webhooks, 'webhook')} {would}cancelled."
    if found.away:
        yield f"  {some(found.away, 'message')} cannot be taken back: on the wire, or gone as far as anybody knows."
    if not yes and found.anything:
        yield "Nothing was changed: say it again with --yes."
    if yes:
        yield f"The rule itself goes on: `beforehand stop {rule}` stops it, `status: retired` ends it."


def sent(
    rule: RuleId,
    version: Version = None,
    file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a CSV file; - is the standard output")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line")] = False,
) -> None:
    """Say who got what of RULE: customer, subject, channel, template, when, state, the provider's id."""
    from messaging.sent import sent as who_got_what
    from models.database import reading

    app = common.wired(new=False)
    with reading(app.engine) as connection:
        which = _version(connection, rule, version)
        rows = who_got_what(connection, rule, which)
        if file is not None:
            count = common.asked(lambda: _to_csv(rows, file))
            typer.echo(f"{some(count, 'message')} written to {file}.", err=file == Path("-"))
        elif as_json:
            _to_json(rows)
        else:
            _to_people(rows)


def _plain(row: "Sent") -> dict[str, Any]:
    return asdict(row) | {"at": row.at.isoformat() if row.at else None}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path == Path("-"):
        yield sys.stdout
        return
    try:
        stream = path.open("w", newline="", encoding="utf-8")
    except OSError as wrong:
        common.fail(f"{path} cannot be written: {wrong.strerror}")
    with stream:
        yield stream


def _to_csv(rows: "Iterable[Sent]", path: Path) -> int:
    count = 0
    with _opened(path) as stream:
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        for count, row in enumerate(rows, 1):  # noqa: B007
            table.writerow(_plain(row))
    return count


def _to_json(rows: "Iterable[Sent]") -> None:
    import json

    for row in rows:
        sys.stdout.write(json.dumps(_plain(row), ensure_ascii=False) + "\n")


def _to_people(rows: "Iterable[Sent]") -> None:
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007
        at = f"{row.at:%Y-%m-%d %H:%M} UTC" if row.at else ""
        said = [row.customer, row.subject, row.channel, row.template, at, row.state, row.provider_id or ""]
        typer.echo(plainly("  ".join(said).rstrip()))
    typer.echo(f"{some(count, 'message')} left, or may have.", err=True)


def correct(
    rule: RuleId,
    version: Annotated[str, typer.Option("--version", metavar="V", help="The version that told them wrong")],
    send: Annotated[str, typer.Option("--send", metavar="TEMPLATE", help="What they get now")],
    by_channel: Annotated[
        list[str] | None,
        typer.Option("--by-channel", metavar="CHANNEL", help="Only by these, in this order; else as they were told"),
    ] = None,
    purpose: Annotated[str, typer.Option(help="service, survey or marketing: decides consent and hours")] = "service",
    yes: Annotated[bool, typer.Option("--yes", help="Plan it; without this it is only shown")] = False,
    by: common.By = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Show so many messages as customers get them")] = 3,
    as_json: AsJson = False,
) -> None:
    """Send a correction to exactly those whom a version of RULE has told, or may have told: once each.

    Without --yes it shows how many, what they would get, what it costs and who is withheld. Exit code 1: somebody
    would get it, and --yes is missing.
    """
    from beforehand import correcting

    app = common.wired(new=False)
    says = common.who(by, app.settings.rules)
    asked = correcting.Asked(rule, version, send, says, _channels(by_channel or ()), _purpose(purpose))
    now = app.clock()
    if yes:
        made, report = common.asked(lambda: _or_fail(lambda: correcting.correct(app, asked, now)))
        if as_json:
            common.print_json(_head(asked, made, planned=True) | report.as_json())
        else:
            _show_correct(made, report)
        return
    made, seen = common.asked(lambda: _or_fail(lambda: correcting.preview_correction(app, asked, now, limit=limit)))
    if as_json:
        common.print_json(_head(asked, made, planned=False) | seen.as_json())
    else:
        from beforehand.cli.preview import show_preview

        typer.echo(f"{some(made.told, 'customer')} were told by {rule} {made.version}, or may have been.\n")
        show_preview(seen)
        typer.echo("\nNothing was changed: say it again with --yes.")
    if seen.messages:
        raise typer.Exit(common.FINDINGS)


def _or_fail(question: Any) -> Any:
    from beforehand.correcting import NothingToCorrect
    from messaging.versions import UnknownVersion

    try:
        return question()
    except (UnknownVersion, NothingToCorrect) as wrong:
        common.fail(str(wrong))


def _head(asked: "Asked", made: "Correction", *, planned: bool) -> dict[str, Any]:
    return {"corrects": {"rule": asked.rule, "version": made.version}, "told": made.told, "done": planned}


def _show_correct(made: "Correction", report: "PassReport") -> None:
    from beforehand.cli.preview import show_run

    show_run(report)
    typer.echo(f"It is a rule of its own, {made.rule.id}: stop, cancel, sent and explain know it by that name.")


def _channels(words: Iterable[str]) -> "tuple[Channel, ...]":
    from models.vocabulary import Channel

    try:
        return tuple(dict.fromkeys(Channel(word) for word in words))
    except ValueError as wrong:
        common.fail(f"{wrong}; expected {', '.join(Channel)}")


def _purpose(word: str) -> "Purpose":
    from models.vocabulary import Purpose

    try:
        return Purpose(word)
    except ValueError as wrong:
        common.fail(f"{wrong}; expected {', '.join(Purpose)}")
