"""What lies outside the process: providers, our public address, Prefect, clocks, disks. Nothing is sent."""

import hmac
import json
import secrets
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from packaging.requirements import Requirement

from beforehand.doctor.check import Check, look, ok, wrong
from beforehand.settings import Settings
from beforehand.surroundings import SKEW, Surroundings
from beforehand.wiring import Clock, is_local, proof_of, providers

PINNED = ("prefect", "fastapi", "sqlalchemy", "apscheduler", "sqlmodel", "twilio")
"""What works together in these versions only (docs/decisions/0001)."""


def provider_checks(settings: Settings, clock: Clock) -> Iterator[Check]:
    """Whether Twilio and the mail server answer and know us; asked only when delivery is live."""
    if settings.delivery != "live":
        yield ok("providers", "not asked: delivery is post_room, nothing leaves this machine")
        return
    from messaging.channels.probing import ask_mail_server, ask_twilio

    known = providers(settings, clock)
    for what, probe, do in (
        (
            "Twilio",
            ask_twilio(known.twilio),
            "see the account in Twilio's console; BEFOREHAND_TWILIO_ACCOUNT_SID, _TOKEN",
        ),
        ("mail server", ask_mail_server(known.mail), "see BEFOREHAND_SMTP_HOST, _PORT, _USER, _PASSWORD, _STARTTLS"),
    ):
        yield ok(what, probe.said) if probe.well else wrong(what, probe.said, do)


def public_checks(settings: Settings, around: Surroundings) -> Iterator[Check]:
    """Whether the public address leads to a process of ours: only one that has the secret key can answer rightly."""
    webs = [one.parts["web"] for one in around.processes if "web" in one.parts and not one.silent]
    url, what = settings.public_url.rstrip("/"), "public address"
    if webs and settings.delivery != "live" and is_local(urlsplit(url).hostname or ""):
        url = str(webs[0].get("address", url)).rstrip("/")  # a house that keeps all here takes the port that is free
    if not webs:
        yield look(what, "not asked: no process with pages runs", "`beforehand up`, and once more")
        return
    if settings.delivery != "live" and not is_local(urlsplit(url).hostname or ""):
        yield ok(what, f"{url} is not asked: delivery is post_room, nothing leaves this machine")
        return
    nonce = secrets.token_hex(16)
    opener = build_opener(ProxyHandler({})) if is_local(urlsplit(url).hostname or "") else build_opener()
    try:
        with opener.open(f"{url}/healthz?nonce={nonce}", timeout=10) as answer:
            told = json.loads(answer.read(10_000))
    except (URLError, OSError, ValueError) as broken:
        do = "lead it to BEFOREHAND_WEB_PORT, by a proxy with TLS: docs/how-to/callbacks.md"
        yield wrong(what, f"{url}/healthz does not answer ({type(broken).__name__})", do)
        return
    proof = told.get("proof", "") if isinstance(told, dict) else ""
    if not hmac.compare_digest(str(proof), proof_of(settings, nonce)):
        yield wrong(what, f"{url} leads to somebody else", "let BEFOREHAND_PUBLIC_URL lead to this house")
    else:
        yield ok(what, f"{url} leads to us")


def prefect_checks(around: Surroundings) -> Iterator[Check]:
    """Whether Prefect answers, and whether the versions are those that work together."""
    odd = sorted(_not_as_pinned())
    if odd:
        do = "install by requirements.lock; other versions are silently broken together"
        yield wrong("versions", f"not as pinned: {', '.join(odd)}", do)
    else:
        yield ok("versions", f"prefect {version('prefect')} and what goes with it are as pinned")
    if around.prefect is None:
        yield look("Prefect", "not asked: no process that works with it runs", "`beforehand up`, and once more")
    elif around.prefect.up:
        yield ok("Prefect", f"{around.prefect.api} is well")
    else:
        do = "see VAR/prefect-server.log, or whoever runs it; passes and messages go on without it meanwhile"
        yield wrong("Prefect", f"{around.prefect.api} does not answer", do)


def _not_as_pinned() -> Iterator[str]:
    try:
        wanted = [Requirement(line) for line in requires("beforehand") or []]
    except PackageNotFoundError:
        return
    for one in wanted:
        if one.name in PINNED and not one.specifier.contains(version(one.name)):
            yield f"{one.name} {version(one.name)} (wanted {one.specifier})"


def clock_checks(around: Surroundings) -> Iterator[Check]:
    """Whether clocks agree: ours with the database's and Prefect's, and those of the other processes."""
    seconds = {
        f"{one.host}'s and the database's": (one.ahead_ms or 0) / 1000 for one in around.processes if not one.silent
    }
    seconds["ours and the database's"] = (around.database_ahead_ms or 0) / 1000
    if around.prefect and around.prefect.ahead_seconds is not None:
        seconds["ours and the Prefect server's"] = around.prefect.ahead_seconds
    apart = {which: by for which, by in seconds.items() if abs(by) > SKEW.total_seconds()}
    for which, by in apart.items():
        yield wrong("clocks", f"{which} differ by {by:+.1f} s", "set every machine by NTP: leases go by them")
    if not apart:
        yield ok("clocks", f"they agree, within {SKEW.total_seconds():.0f} s")


def disk_checks(around: Surroundings) -> Iterator[Check]:
    """Whether there is room."""
    for disk in around.disks:
        said = f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.0f} GB are free for {disk.what}"
        do = "make room: when it is full nothing is sent any more"
        yield look("disk", said, do) if disk.low else ok("disk", said)
