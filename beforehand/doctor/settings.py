"""Settings that are allowed, and that somebody should look at."""

import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url

from beforehand.doctor.check import Check, look, ok, wrong
from beforehand.settings import PLACEHOLDER, Settings
from beforehand.wiring import is_local


def settings_checks(settings: Settings) -> list[Check]:
    """Placeholders and unsafe combinations. What can never be right has been refused before."""
    found = [*_everywhere(settings), *(_when_live(settings) if settings.delivery == "live" else [])]
    return found or [ok("settings", _delivery(settings))]


def _delivery(settings: Settings) -> str:
    if settings.delivery != "live":
        return "delivery is post_room: nothing leaves this machine"
    if settings.trial:
        return f"delivery is live, in trial mode: the {len(settings.guest_list)} of the guest list can be reached"
    return "delivery is live"


def _everywhere(settings: Settings) -> Iterator[Check]:
    if settings.secret_key.get_secret_value() == PLACEHOLDER:
        do = "set BEFOREHAND_SECRET_KEY to 32 random characters before real data comes in; later it cannot be changed"
        yield look("settings: secret key", "it is the placeholder", do)
    if not is_local(settings.staff_host):
        do = "set BEFOREHAND_STAFF_HOST=127.0.0.1 and tunnel, or let only those in who may stop everything"
        yield look("settings: staff pages", f"they listen on {settings.staff_host}, and have no login", do)
    if settings.allow_unsafe_sqlite:
        do = "install the wheel pysqlite3 and take BEFOREHAND_ALLOW_UNSAFE_SQLITE back"
        yield look("settings: SQLite", "one that can lose data is allowed", do)
    if settings.allow_another_secret:
        do = "take BEFOREHAND_ALLOW_ANOTHER_SECRET back once the house has started"
        yield look("settings: another secret", "a database with another secret key is taken", do)
    api = settings.prefect_api_url
    keys = [name for name in ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY") if os.environ.get(name)]
    if api.startswith("http://") and not keys and not is_local(api.split("/")[2].rpartition(":")[0]):
        do = "keep it in a network of your own, or set PREFECT_API_AUTH_STRING here and at the server"
        yield look("settings: Prefect", "another machine's server is used without a login", do)


def _when_live(settings: Settings) -> Iterator[Check]:
    fields = type(settings).model_fields
    if settings.mail_from == fields["mail_from"].default:
        yield wrong("settings: sender", "the sender of e-mails is the sample's", "set BEFOREHAND_MAIL_FROM")
    if not settings.postal_address:
        do = "set BEFOREHAND_BRAND_ADDRESS: marketing by e-mail is withheld without it"
        yield look("settings: postal address", "none is set", do)
    if not settings.bounce_address:
        do = "set BEFOREHAND_BOUNCE_ADDRESS and BEFOREHAND_MAILDIR: docs/how-to/mail-events.md"
        yield look(
            "settings: bounces", "bounced e-mails go to the sender's mailbox, and nobody here learns of them", do
        )
    if not settings.status_callbacks:
        do = "set BEFOREHAND_STATUS_CALLBACKS=true once PUBLIC_URL leads here; without it the provider is asked"
        yield look("settings: callbacks", "the provider does not tell us what became of messages", do)
    if not settings.trial and not settings.approvers:
        do = "name who may approve held runs in BEFOREHAND_APPROVERS"
        yield look("settings: approvers", "anybody but the author may approve a held run", do)
    if settings.trial and not settings.guest_list:
        yield look("settings: guest list", "trial mode with nobody on it: nothing can be sent", "set the guest list")
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        journal = settings.journal or settings.var / "journal"
        if _device(journal) == _device(Path(url.database)):
            do = "set BEFOREHAND_JOURNAL to a folder on another disk, and keep it out of the database's backups"
            yield look("settings: journal", "it lies on the same disk as the database that it is there to guard", do)


def _device(path: Path) -> int | None:
    there = next((one for one in (path.absolute(), *path.absolute().parents) if one.exists()), None)
    return there.stat().st_dev if there else None
