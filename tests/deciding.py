"""What the tests of decisions share: a small house with customers, rule files and a fixed clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, insert, select, update

import models
from beforehand import ROOT
from beforehand.settings import Settings
from beforehand.wiring import App
from models import Base
from models.database import connect, migrate, reading, writing
from models.terms import THE_BEGINNING

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
"""A Tuesday, at noon UTC: nowhere near quiet hours in Europe."""

HELLO = """
id: {id}
title: A test
why: To see what is decided.
owner: test@example.com
status: {status}
purpose: {purpose}
priority: {priority}
for_each: {subject}
when: {when}
if:
  always: {{{condition}}}
then:
{steps}
limits: {limits}
"""


@dataclass
class House:
    """A database, a rules folder, templates, and short ways to fill them."""

    engine: Engine
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))

    @property
    def app(self) -> App:
        set_to: dict[str, Any] = {"secret_key": SecretStr("s" * 32), "templates": self.folder / "templates"}
        set_to["live_from"] = THE_BEGINNING
        set_to["canary"] = 1_000_000  # nothing is held: tests of the brake say theirs
        settings = Settings(_env_file=None, rules=self.folder / "rules", **(set_to | self.settings))
        return App(settings=settings, engine=self.engine, clock=lambda: NOON)

    def rule(self, rule_id: str = "hello", **terms: Any) -> None:
        said = {
            "id": rule_id,
            "status": "live",
            "purpose": "service",
            "priority": 50,
            "subject": "customer",
            "when": "{every: 1 hour}",
            "condition": "country: DE",
            "steps": "  - {send: hello, by: [sms, email]}",
            "limits": "{once_per: customer}",
        } | terms
        path = self.folder / "rules" / f"{rule_id}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HELLO.format(**said))

    def template(self, name: str = "hello", *channels: str) -> None:
        folder = self.folder / "templates" / name
        folder.mkdir(parents=True, exist_ok=True)
        layout = self.folder / "templates" / "_layout"
        if not layout.exists():
            layout.symlink_to(ROOT / "messaging" / "templates" / "_layout")
        for channel in channels or ("sms", "voice"):
            (folder / f"{channel}.en.txt").write_text("Good day, {{ customer.first_name or 'you' }}.\n")
        if not channels or "email" in channels:
            (folder / "email.en.txt").write_text("Subject: Good day\n\nGood day to you.\n")

    def add(self, model: type[Base], **values: Any) -> int:
        table = model.__table__  # type: ignore[attr-defined]
        number = next(self.numbers)
        defaults = {"external_id": f"{table.name}-{number}", "changed_at": NOON}
        row = {name: value for name, value in defaults.items() if name in table.c} | values
        with writing(self.engine) as connection:
            return int(connection.execute(insert(table).values(row).returning(table.c.id)).scalar_one())

    def customer(self, **values: Any) -> int:
        number = next(self.numbers)
        known = {"phone": f"+49151123{number:05}", "email": f"c{number}@example.com", "country": "DE"}
        return self.add(models.Customer, **(known | {"time_zone": "Europe/Berlin"} | values))

    def consent(self, customer_id: int, channel: str, purpose: str, verdict: str, at: datetime = NOON) -> int:
        said = {"customer_id": customer_id, "channel": channel, "purpose": purpose, "verdict": verdict}
        return self.add(models.Consent, **said, given_at=at, recorded_at=at, source="test")

    def rows(self, model: type[Base], *columns: str) -> list[Any]:
        table = model.__table__  # type: ignore[attr-defined]
        wanted = [table.c[name] for name in columns] or [table]
        with reading(self.engine) as connection:
            found = connection.execute(select(*wanted).order_by(table.c.id)).all()
        return [row[0] if len(columns) == 1 else row for row in found]

    def set(self, model: type[Base], where: Callable[[Any], Any] = lambda _: True, **values: Any) -> None:
        table = model.__table__  # type: ignore[attr-defined]
        with writing(self.engine) as connection:
            connection.execute(update(table).where(where(table.c)).values(**values))


def house_for_commands(folder: Path, patch: pytest.MonkeyPatch, **environment: str) -> House:
    """A house in a SQLite file of ``folder``, with a template and the rule ``hello``, that commands work in.

    ``environment``: what else is set there, such as ``COLUMNS``.
    """
    url = f"sqlite:///{folder / 'cli.db'}"
    made = House(connect(url), folder)
    migrate(made.engine)
    patch.chdir(folder)
    patch.setenv("BEFOREHAND_DATABASE_URL", url)
    patch.setenv("BEFOREHAND_RULES", str(folder / "rules"))
    patch.setenv("BEFOREHAND_TEMPLATES", str(folder / "templates"))
    for name, value in environment.items():
        patch.setenv(name, value)
    made.template()
    made.rule()
    return made
