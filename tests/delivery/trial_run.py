"""A run of the whole house that looks live, in a process of its own that notes every address it speaks to or looks up.

``python -m tests.delivery.trial_run FOLDER`` loads the sample shop, plans its messages to everybody as a house without
trial mode does, then goes on as a live house in trial mode: passes, dispatch, webhooks, receipts, the reaper. What it
saw is in ``FOLDER/seen.json``. It does so twice: with an empty guest list, and with a few guests that a local fake
serves (its settings are in ``FOLDER/more.json``).
"""

import json
import shutil
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from beforehand import ROOT, dispatching, sample
from beforehand.ingest import run
from beforehand.ingest.issues import declare
from beforehand.passes import advance, rules_of, run_rule
from beforehand.settings import Settings
from beforehand.wiring import App, bootstrap
from messaging.candidates import TABLES
from messaging.claims import message
from models.database import reading
from models.terms import THE_BEGINNING

NOW = datetime(2026, 3, 10, 10, 0, tzinfo=UTC)
SPEAKS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")
CALLS = """
id: tell-crm
title: Tell the CRM
why: To see whether a webhook leaves.
owner: test@example.com
status: live
purpose: service
for_each: customer
when: {every: 1 hour}
if: {somebody: {country: present}}
then: [{webhook: crm}]
"""


def listen() -> list[list[str]]:
    """Note each connection, datagram and look-up of a name from here on."""
    seen: list[list[str]] = []

    def heard(event: str, given: tuple[Any, ...]) -> None:
        if event in SPEAKS:
            seen.append([event, repr(given[0] if event.startswith("socket.get") else given[-1])])

    sys.addaudithook(heard)
    return seen


def settings_of(folder: Path, **more: Any) -> Settings:
    """The settings of this house; secrets are made up and look right."""
    said: dict[str, Any] = {
        "database_url": f"sqlite:///{folder}/shop.db",
        "rules": folder / "rules" / "catalog",
        "templates": ROOT / "messaging" / "templates",
        "var": folder / "var",
        "journal": folder / "journal",
        "secret_key": "k" * 40,
        "live_from": THE_BEGINNING,
        "canary": 1_000_000,  # the brake would hold a rule that calls for everybody
        "public_url": "https://care.shop.example",
        "webhooks": {"crm": "https://crm.shop.example/in"},
        "webhook_secrets": {"crm": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    }
    return Settings(_env_file=None, **(said | more))


LIVE: dict[str, Any] = {
    "delivery": "live",
    "trial": True,
    "twilio_account_sid": "AC" + "1f" * 16,
    "twilio_auth_token": "3c" * 16,
    "twilio_from": "+442079460018",
    "smtp_host": "smtp.shop.example",
    "smtp_port": 587,
    "smtp_user": "care",
    "smtp_password": "s3cret-and-long",
    "mail_from": "care@shop.example",
    "sms_per_second": None,
    "calls_per_second": None,
}


def load(folder: Path) -> App:
    """The sample shop, and messages planned to everybody that a rule finds."""
    shutil.copytree(ROOT / "rules" / "catalog", folder / "rules" / "catalog")
    (folder / "rules" / "catalog" / "tell-crm.yaml").write_text(CALLS)
    sample.write(folder / "export", now=NOW, customers=250)
    app = bootstrap(settings_of(folder), clock=lambda: NOW)
    mapping = ROOT / "examples" / "shop" / "sources.yaml"
    run(app.engine, mapping, now=NOW, settings=app.settings, data=folder / "export", var=folder)
    declare(app.engine, ROOT / "issues", NOW)
    for rule in rules_of(app).rules:
        run_rule(app, rule, NOW)
    return app


def guests_of(app: App, many: int) -> list[str]:
    """Addresses on each channel that messages wait for."""
    found: list[str] = []
    with reading(app.engine) as connection:
        for channel in ("sms", "email"):
            mine = (
                select(message.c.address)
                .where(message.c.channel == channel)
                .distinct()
                .order_by(message.c.address.desc())
            )
            found += connection.execute(mine.limit(many)).scalars().all()
    return found


def go_live(app: App) -> None:
    """All that a house does by itself, on three days."""
    for days in (0, 2):
        now = NOW + timedelta(days=days, minutes=5)
        for rule in rules_of(app).rules:
            run_rule(app, rule, now)
        advance(app, now)
        dispatching.dispatch_due(app, now, everything=True)
        dispatching.call_webhooks(app, now)
        dispatching.poll_receipts(app, now + timedelta(minutes=10))
        dispatching.reap(app, now + timedelta(hours=2))


def live_run(folder: Path, database: str, **more: Any) -> dict[str, Any]:
    """A house that looks live over a copy of the database; what it spoke to, and what became of everything."""
    seen = SEEN
    seen.clear()
    shutil.copy(folder / "shop.db", folder / database)
    settings = settings_of(folder, **(LIVE | {"database_url": f"sqlite:///{folder / database}"} | more))
    app = bootstrap(settings, clock=lambda: NOW)
    go_live(app)
    with reading(app.engine) as connection:
        rows = connection.execute(select(message.c.state, message.c.reason, message.c.channel)).all()
        webhooks = connection.execute(select(TABLES["webhook"].c.state)).scalars().all()
    app.engine.dispose()
    states = Counter(f"{row.state} {row.reason}" for row in rows)
    return {"states": states, "webhooks": Counter(webhooks), "seen": list(seen)}


def main(folder: Path) -> None:
    """Do it all, without a guest and with some, and write down what was seen."""
    more = json.loads((folder / "more.json").read_text())
    planned = load(folder)
    guests = guests_of(planned, 2)
    with reading(planned.engine) as connection:
        before = connection.execute(select(func.count()).select_from(message)).scalar_one()
        calls = connection.execute(select(func.count()).select_from(TABLES["webhook"])).scalar_one()
    with planned.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    planned.engine.dispose()
    told = {
        "before": before,
        "calls": calls,
        "guests": guests,
        "nobody": live_run(folder, "nobody.db"),
        "some": live_run(folder, "some.db", guest_list=guests, **more),
    }
    (folder / "seen.json").write_text(json.dumps(told))


SEEN = listen()

if __name__ == "__main__":
    main(Path(sys.argv[1]))
