"""The one place that puts the parts together: settings, database, clock, channels. Tests hand in fakes here."""

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import Engine

from beforehand.parts import Parts
from beforehand.settings import Settings
from models.database import connect, migrate
from models.vocabulary import Channel as ChannelName
from rules.loader import RuleSet

if TYPE_CHECKING:
    from messaging.channels import Providers
    from messaging.channels.base import Channel
    from messaging.journal import Journal
    from messaging.stop_file import StopFile
    from messaging.webhooks import Wires

Clock = Callable[[], datetime]


def wall_clock() -> datetime:
    """The moment it is, in UTC. Only wiring hands this out; decisions take a moment as a parameter."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class App:
    """A wired application. ``clock`` gives an aware UTC datetime.

    ``rules_in_force`` gives the rule set of a long-lived process, in which a broken edit changes nothing; None: the
    rules are what the folder holds. ``parts`` tells how the parts of a long-lived process stand.
    """

    settings: Settings
    engine: Engine
    clock: Clock
    rules_in_force: Callable[[], RuleSet] | None = None
    parts: Parts | None = None

    @cached_property
    def channels(self) -> "dict[ChannelName, Channel]":
        """The ways out, as the settings say. Made when first asked for: the SDK behind them is slow to import."""
        from messaging.channels import build

        return build(providers(self.settings, self.clock))

    @cached_property
    def journal(self) -> "Journal":
        """What this process sends, kept outside the database. No file is made before something is sent."""
        from messaging.journal import Journal, place_of

        settings, secret = self.settings, self.settings.secret_key.get_secret_value().encode()
        return Journal(
            folder=settings.journal or settings.var / "journal",
            secret=secret,
            place=place_of(secret, self.engine.url),
            live=settings.delivery == "live",
            keep=timedelta(days=settings.journal_days),
        )

    @cached_property
    def stop_file(self) -> "StopFile":
        """The kill switch that works without the database."""
        return stop_file_of(self.settings)


def stop_file_of(settings: Settings) -> "StopFile":
    """The stop file of this machine; it may not be there."""
    from messaging.stop_file import StopFile

    return StopFile(settings.stop_file or settings.var / "STOP")


def proof_of(settings: Settings, nonce: str) -> str:
    """By what ``/healthz?nonce=`` shows that it is a process with this secret key which answers; hexadecimal."""
    return hmac.digest(settings.secret_key.get_secret_value().encode(), f"healthz/{nonce}".encode(), "sha256").hex()


def is_local(host: str) -> bool:
    """Whether a host name or address is this machine by its very name: localhost, 127.x.y.z or ::1."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def providers(settings: Settings, clock: Clock) -> "Providers":
    """Where messages go. With delivery ``post_room`` that is this machine's post room, and nothing else.

    Raises ValueError where a base URL that leads off this machine is set beside ``post_room``.
    """
    from messaging.channels import Account, MailServer, Providers
    from messaging.channels.callbacks import attempt_token, status_url, voice_url

    live = settings.delivery == "live"
    local = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104
    base_url = settings.twilio_base_url or (None if live else f"http://{local}:{settings.post_room_port}")
    host = urlsplit(base_url or "").hostname or ""
    if not live and host != local and not is_local(host):
        said = "BEFOREHAND_TWILIO_BASE_URL leads off this machine, but BEFOREHAND_DELIVERY is not live"
        raise ValueError(f"{said}: the post room is all that may be reached")
    secret = settings.secret_key.get_secret_value().encode()
    account = Account(
        sid=settings.twilio_account_sid,
        token=settings.twilio_auth_token.get_secret_value(),
        sender=settings.twilio_from,
        base_url=base_url,
        timeout=settings.send_timeout_seconds,
        callback=(lambda key: status_url(settings.callback_url, secret, key)) if settings.status_callbacks else None,
        voice=(lambda key: voice_url(settings.callback_url, secret, key)) if settings.status_callbacks else None,
    )
    mail = MailServer(
        host=settings.smtp_host if live else local,
        port=settings.smtp_port if live else settings.post_room_smtp_port,
        sender=settings.mail_from,
        sender_name=settings.brand,
        starttls=live and settings.smtp_starttls,
        user=settings.smtp_user if live else "",
        password=settings.smtp_password.get_secret_value() if live else "",
        timeout=settings.send_timeout_seconds,
        patience=max(settings.send_timeout_seconds, settings.lease_seconds),
        bounces=settings.bounce_address,
        token=lambda key: attempt_token(secret, key),
    )
    return Providers(account, mail, clock)


def wires(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> "Wires":
    """Where webhooks go: with delivery ``post_room`` to the post room alone, in trial mode nowhere."""
    from messaging.webhooks import Endpoint, Wires

    live = settings.delivery == "live"
    local = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host  # noqa: S104
    room = f"http://{local}:{settings.post_room_port}/webhooks"
    endpoints = {
        name: Endpoint(
            name=name,
            url=url if live else f"{room}/{name}",
            secret=_webhook_secret(settings, name),
            inside=not live or name in settings.webhooks_inside,
        )
        for name, url in settings.webhooks.items()
    }
    return Wires(endpoints, live and settings.trial, settings.webhook_timeout_seconds, stopping)


def _webhook_secret(settings: Settings, name: str) -> str:
    """An endpoint's secret; where none is set (only the post room is called then), one made from the house's own."""
    given = settings.webhook_secrets.get(name)
    if given is not None:
        return given.get_secret_value()
    made = hmac.digest(settings.secret_key.get_secret_value().encode(), f"webhook/{name}".encode(), "sha256")
    return f"whsec_{base64.b64encode(made).decode()}"


def bootstrap(
    settings: Settings | None = None, *, clock: Clock = wall_clock, migrated: bool = True, new: bool = True
) -> App:
    """Wire the application; brings the database schema up to date unless ``migrated`` is False.

    A new database gets its identity at once, so that every backup of it has that. Raises DatabaseError where the secret
    key is not the one that the database was used with; with ``new`` False also where there is no SQLite file yet.
    """
    settings = settings or Settings()
    engine = connect(settings.database_url, allow_unsafe_sqlite=settings.allow_unsafe_sqlite, new=new)
    if migrated:
        from messaging.journal import identify
        from messaging.journal.secret import check_secret

        migrate(engine)
        identify(engine, clock())
        secret = settings.secret_key.get_secret_value().encode()
        check_secret(engine, secret, allow_another=settings.allow_another_secret)
    return App(settings=settings, engine=engine, clock=clock)
