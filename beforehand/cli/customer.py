"""``beforehand customer``: how we stand with one person, a word of theirs for the ledger, their data out or gone."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli import common, person
from beforehand.cli.words import plainly

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from beforehand.people.card import Card
    from beforehand.wiring import App

commands = typer.Typer(
    help="One customer: how we stand, what they agreed to, their data out or gone.", no_args_is_help=True
)
commands.command("export")(person.export)
commands.command("forget")(person.forget)

Who = Annotated[str, typer.Argument(metavar="ID", help="The customer's id in your source, e-mail address or phone")]


@commands.command("show")
def show(
    who: Who,
    last: Annotated[int, typer.Option(min=1, max=1000, help="So many messages and replies")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Show consents, suppressions, preferences, the last messages with their reasons, and the replies."""
    from beforehand.passes import policy_of
    from beforehand.people.card import card_of
    from models.database import reading

    app = common.wired()
    policy = common.asked(lambda: policy_of(app))
    with reading(app.engine) as connection:
        card = card_of(
            connection,
            _id_of(app, connection, who),
            secret=policy.secret,
            consent_needed=policy.consent_needed,
            now=app.clock(),
            last=last,
        )
    if as_json:
        common.print_json(card.as_json())
    else:
        typer.echo(plainly("\n".join(_lines(card))))


@commands.command("consent")
def consent(
    who: Who,
    channel: Annotated[str, typer.Option(help="sms, voice, email or all")],
    purpose: Annotated[str, typer.Option(help="service, survey, marketing or all")],
    source: Annotated[str, typer.Option(help="Where they said it: a form, a call, a letter")],
    grant: Annotated[bool | None, typer.Option("--grant/--withdraw", help="They agree, or they no longer do")] = None,
    text_version: Annotated[str, typer.Option(help="Which text they agreed to")] = "",
    at: Annotated[str | None, typer.Option(metavar="ISO", help="When they said it; without it, now")] = None,
) -> None:
    """Write into the consent ledger what a customer told you. The ledger only grows; the newest entry counts."""
    from beforehand.passes import secret_of
    from messaging.consents import record_consent, silence
    from messaging.preferences import standing_of
    from models.database import writing
    from models.vocabulary import ConsentVerdict

    if grant is None:
        common.fail("say --grant or --withdraw")
    app = common.wired()
    now = app.clock()
    said_at = now if at is None else common.moment(at, app, "--at")
    if said_at > now:
        common.fail(f"--at {at} is not over yet; the ledger keeps what was said")
    verdict = ConsentVerdict.GRANTED if grant else ConsentVerdict.WITHDRAWN
    with writing(app.engine) as connection:
        silence(connection)
        key = _id_of(app, connection, who)
        try:
            record_consent(
                connection, [key], channel=channel, purpose=purpose, verdict=verdict, source=source,
                text_version=text_version or None, at=said_at, now=now,
            )  # fmt: skip
        except ValueError as wrong:
            common.fail(f"{wrong}; expected sms, voice, email or all, and service, survey, marketing or all")
        stands = standing_of(connection, key, secret=secret_of(app.settings), consent_needed=(), now=now)
    typer.echo(f"{who}: {verdict} for {purpose} by {channel}, said {_when(said_at)}, source {plainly(source)}.")
    causes = {cause for (way, _), cause in stands.blocked.items() if channel in (way, "all")}
    if grant and causes:
        typer.echo(f"The address stays suppressed ({', '.join(sorted(causes))}): a yes here does not lift that.")


def _id_of(app: "App", connection: "Connection", who: str) -> int:
    from beforehand.explaining.people import UnknownCustomer, person_of

    try:
        return person_of(connection, who, {}, app.settings.time_zone).id
    except UnknownCustomer as wrong:
        common.fail(str(wrong))


def _when(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"


def _lines(card: "Card") -> list[str]:
    who = card.customer
    name = " ".join(part for part in (who["first_name"], who["last_name"]) if part)
    lines = [f"{who['external_id']}  {name}".rstrip()]
    lines.append(f"  {who['phone'] or 'no phone'}, {who['email'] or 'no e-mail'}, {who['language'] or 'no language'}")
    reach = {"email": who["email"], "sms": who["phone"], "voice": who["phone"]}
    yes = [f"{way['purpose']} by {way['channel']}" for way in card.may if way["yes"] and reach[way["channel"]]]
    lines.append(f"We may send: {', '.join(yes) or 'nothing'}.")
    lines += _part("Suppressions", [_suppression(row) for row in card.suppressions])
    lines += _part("Consents, newest first", [_consent(row) for row in card.consents])
    if card.preference:
        chosen = [f"{word}: {value}" for word, value in card.preference.items() if value and word != "updated_at"]
        lines += _part("Chosen by themselves", [", ".join(chosen)])
    lines += _part("Last messages", [_message(row) for row in card.messages])
    return lines + _part("Replies", [_reply(row) for row in card.replies])


def _part(title: str, rows: list[str]) -> list[str]:
    return [f"{title}:", *(f"  {row}" for row in rows)] if rows else [f"{title}: none."]


def _suppression(row: dict[str, Any]) -> str:
    return (
        f"{_when(row['since'])}  {row['address']}: {row['channel']}, {row['scope']} purposes, because of {row['cause']}"
    )


def _consent(row: dict[str, Any]) -> str:
    text = f", text {row['text_version']}" if row["text_version"] else ""
    said = f"{row['verdict']} for {row['purpose']} by {row['channel']}"
    return f"{_when(row['given_at'])}  {said}, source {row['source']}{text}  [{row['id']}]"


def _message(row: dict[str, Any]) -> str:
    cites = f"  [consent {row['consent_id']}]" if row["consent_id"] else ""
    why = f": {row['why']}" if row["why"] else ""
    return f"{_when(row['created_at'])}  {row['rule_id']} by {row['channel']}, {row['state']}{why}{cites}"


def _reply(row: dict[str, Any]) -> str:
    return f"{_when(row['received_at'])}  {row['channel']}, {row['said']}: {row['text'] or ''}"
