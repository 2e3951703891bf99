"""Staff are told of something that happened: what it was and what to do, by e-mail. Ids and counts, never a person."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select

from beforehand.counting import CHANNELS, some
from beforehand.wiring import App
from messaging import events_out
from messaging.addresses import normal_address
from messaging.channels.base import Envelope
from models.database import reading
from models.vocabulary import BRAKE_TEXT, BrakeLimit, Channel, OutcomeClass

event_out = events_out.event_out


@dataclass(frozen=True)
class Said:
    """What happened: a ``title`` of a few words, a sentence, and what to do about it, a line each (markdown)."""

    title: str
    what: str
    do: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """A call to staff: what was said, when it happened, and how many addresses were told, not told and left out.

    ``left_out`` are addresses that trial mode does not let anything reach.
    """

    said: Said
    happened_at: datetime | None
    counts: dict[str, Any] = field(default_factory=dict)
    told: int = 0
    failed: int = 0
    left_out: int = 0


def call_staff(app: App, kind: str, about: str, now: datetime) -> Call:
    """Mail every address of ``staff_mail`` what the newest event of this ``kind`` about ``about`` was.

    An unknown kind is told as it stands. Nothing is raised for a mail that does not go: it is counted.
    """
    content, at = _newest(app, kind, about)
    said = say(kind, about, content)
    reached, left_out = _reachable(app)
    text = mail_text(app, said, at or now)
    told = sum(_mail(app, address, said.title, text) for address in reached)
    return Call(said, at, dict(content), told, len(reached) - told, left_out)


def _newest(app: App, kind: str, about: str) -> tuple[Mapping[str, Any], datetime | None]:
    c = event_out.c
    newest = select(c.content, c.happened_at).where(c.event == kind, c.about == about).order_by(c.id.desc()).limit(1)
    with reading(app.engine) as connection:
        row = connection.execute(newest).first()
    return (row.content or {}, row.happened_at) if row else ({}, None)


def _reachable(app: App) -> tuple[list[str], int]:
    """The addresses that may be written to: in trial mode only guests are reached, staff too."""
    settings = app.settings
    addresses = sorted({address.strip() for address in settings.staff_mail if address.strip()})
    if settings.delivery != "live" or not settings.trial:
        return addresses, 0
    guests = {normal_address("email", guest) for guest in settings.guest_list if "@" in guest}
    reached = [address for address in addresses if normal_address("email", address) in guests]
    return reached, len(addresses) - len(reached)


def _mail(app: App, address: str, subject: str, text: str) -> bool:
    """Send one mail by the house's own mail server. It belongs to no message: nothing is planned, kept or retried."""
    envelope = Envelope(
        attempt_id=0,
        reference=f"staff-{secrets.token_hex(8)}",
        to=address,
        text=text,
        subject=f"{app.settings.brand}: {subject}",
    )
    return app.channels[Channel.EMAIL].send(envelope).kind is OutcomeClass.ACCEPTED


def mail_text(app: App, said: Said, at: datetime) -> str:
    """The words of the mail."""
    local = at.astimezone(app.settings.zone)
    lines = [
        said.what,
        "",
        f"It happened on {local:%A %-d %B %Y at %H:%M} ({app.settings.time_zone}).",
        "",
        "What to do:",
        *(f"- {line.replace('`', '')}" for line in said.do),
        "",
        f"The console: {console_url(app)}",
        "",
        "You get this mail because your address is in BEFOREHAND_STAFF_MAIL.",
    ]
    return "\n".join(lines)


def console_url(app: App) -> str:
    """Where staff look, on this machine."""
    settings = app.settings
    host = "127.0.0.1" if settings.staff_host in ("0.0.0.0", "::", "") else settings.staff_host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.staff_port}/"


def say(kind: str, about: str, content: Mapping[str, Any]) -> Said:
    """An event in plain words, and what to do about it."""
    word, _, name = about.partition(":")
    known = _SAID.get(kind)
    return known(name or word, content) if known else _something(kind, name or word, content)


def _brake(rule: str, content: Mapping[str, Any]) -> Said:
    count, most, why = content.get("count"), content.get("most"), content.get("why")
    over = f" is {BRAKE_TEXT[BrakeLimit(why)]}" if why in tuple(BrakeLimit) else " is too many"
    known = isinstance(count, int) and isinstance(most, int)
    many = f": {count:,} at once, where the limit is {most:,}" if known else ""
    return Said(
        f"brake pulled, {rule}",
        f"A run of the rule {rule} is held. What it would reach{over}{many}.",
        (
            "Nothing of it goes until a second person has approved it; other rules go on.",
            "See who it would reach and what they would read: `beforehand approve`, or the console.",
            "Approve it only if you expected that many. Whoever wrote the rule cannot approve it.",
            "If you do nothing, it is refused by itself when its time is over.",
        ),
    )


def _brake_again(rule: str, _content: Mapping[str, Any]) -> Said:
    return Said(
        f"stopped again, {rule}",
        f"An approved run of the rule {rule} was stopped again by what came back of its first messages.",
        ("`beforehand approve` says what came back. Approve it again only if that is explained.",),
    )


def _provider_down(account: str, content: Mapping[str, Any]) -> Said:
    channels = " or ".join(CHANNELS.get(name, ("", name))[1] for name in content.get("channels") or []) or "messages"
    code = content.get("code")
    says = f", which says {code}" if code else ""
    return Said(
        f"provider down, {account}",
        f"No {channels} go out through {account}{says}.",
        (
            "Messages wait; nothing is lost, and nothing is sent twice. One is tried now and then.",
            "Look at the provider's own status page, and at your account there: is it paid, is the password right?",
            "`beforehand status` says when it is tried again.",
        ),
    )


def _provider_up(account: str, _content: Mapping[str, Any]) -> Said:
    do = ("Nothing. What waited goes by itself, if it is not too late.",)
    return Said(f"provider well again, {account}", f"Messages go out through {account} again.", do)


def _unknown(rule: str, content: Mapping[str, Any]) -> Said:
    many = sum(count for count in (content.get("by_channel") or {}).values() if isinstance(count, int))
    return Said(
        f"unclear, {rule}",
        f"Of {some(many, 'message')} of the rule {rule} nobody knows whether they went.",
        ("Nothing yet: the provider is asked, and nothing is sent twice meanwhile. `beforehand status` counts them.",),
    )


def _refused(_name: str, _content: Mapping[str, Any]) -> Said:
    said = "The rule files were edited, but not rightly: the rules from before stay in force."
    return Said("rule files refused", said, ("`beforehand check` says what is wrong, with file and line.",))


def _part(part: str, _content: Mapping[str, Any]) -> Said:
    do = ("`beforehand status` says whether it is well again; if it is not, its words are in the log.",)
    return Said(f"a part died, {part}", f"A part of the house died, {part}, and is started again.", do)


def _something(kind: str, name: str, content: Mapping[str, Any]) -> Said:
    counts = ", ".join(f"{word} {value:,}" for word, value in content.items() if type(value) is int)
    title = f"{' '.join(kind.split('.')[1:]) or kind}, {name}"
    return Said(title, f"{title}{f' ({counts})' if counts else ''}.", ("See the console.",))


_SAID: dict[str, Callable[[str, Mapping[str, Any]], Said]] = {
    events_out.BRAKE_PULLED: _brake,
    events_out.BRAKE_STOPPED_AGAIN: _brake_again,
    events_out.PROVIDER_DOWN: _provider_down,
    events_out.PROVIDER_UP: _provider_up,
    events_out.MESSAGE_UNKNOWN: _unknown,
    events_out.RULES_REFUSED: _refused,
    events_out.PART_DIED: _part,
}
