"""Mail scanners open every link of every message, run scripts and click: nothing changes until somebody posts."""

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright
from pydantic import SecretStr
from sqlalchemy import Engine, select

import models
from beforehand import ROOT, dispatching
from beforehand.passes import run_rule
from beforehand.web.postroom import PostRoom
from beforehand.web.serving import Pages
from beforehand.wiring import App
from models import Base
from models.database import reading
from tests.deciding import NOON, House

CHROMIUM = shutil.which("chromium", path="/usr/bin") or ""
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
LINK = re.compile(r"https?://[^\s<>\"']+/[spa]/[a-z2-7]{18}[0-9A-Z]+")
GIFT = "  - {voucher: {worth: 5 EUR, valid_for: 9 days}}\n"
RULES = {
    "offer": {"purpose": "marketing", "steps": GIFT + "  - {send: win-back, by: [email]}"},
    "ask": {"purpose": "survey", "steps": "  - {survey: contact-survey, by: [email]}"},
    "tell": {"purpose": "service", "steps": "  - {send: first-weeks-hello, by: [email]}"},
}
GUESSES = "List-Unsubscribe=One-Click&all=yes&by=page&do=stop&allow=email.service&score=5&_method=POST"
"""What a script could hang on a link, hoping that it acts."""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed at /usr/bin/chromium")


@contextmanager
def world(engine: Engine, folder: Path, customers: int) -> Iterator[tuple[Pages, PostRoom]]:
    """Our pages and a post room in which every customer has an offer, a survey and a service e-mail."""
    house = House(engine, folder)
    for number in range(customers):
        who = house.customer(language=("en", "ar", "zh")[number % 3], first_name="Sam")
        for purpose in ("marketing", "survey"):
            house.consent(who, "email", purpose, "granted", NOON - timedelta(days=9))
    for name, terms in RULES.items():
        house.rule(name, **terms)
    with PostRoom() as room:
        house.settings |= {
            "templates": ROOT / "messaging" / "templates",
            "twilio_account_sid": room.account_sid,
            "twilio_auth_token": SecretStr(room.auth_token),
            "post_room_port": room.http_port,
            "post_room_smtp_port": room.smtp_port,
            "unsubscribe_mailbox": "unsubscribe@shop.example",
        }
        with Pages(house.app) as pages:
            for name in RULES:
                assert run_rule(pages.app, name, NOON).planned == customers
            assert dispatching.dispatch_due(pages.app, everything=True).sent == 3 * customers
            room.wait_for(3 * customers)
            yield pages, room


def links_in(room: PostRoom) -> list[str]:
    """Every link of ours that the e-mails hold, in headers, text and HTML."""
    found: set[str] = set()
    for entry in room.entries:
        here = {*LINK.findall(entry.headers.get("List-Unsubscribe", "")), *LINK.findall(entry.body)}
        assert here == {*LINK.findall(entry.html), *LINK.findall(entry.headers.get("List-Unsubscribe", ""))}
        found |= here
    return sorted(found)


def state_of(engine: Engine) -> dict[str, str]:
    """A hash of all rows of each table."""
    with reading(engine) as connection:
        return {
            table.name: hashlib.sha256(
                repr(sorted(map(repr, connection.execute(select(table)).all()))).encode()
            ).hexdigest()
            for table in Base.metadata.sorted_tables
        }


def fetched(links: list[str], times: int) -> int:
    """Open each link by GET and HEAD, as it is and with guesses behind it. Returns how many requests that were."""
    count = 0
    with httpx.Client(follow_redirects=True, timeout=20) as client:
        for _ in range(times):
            for link in links:
                for method, url in (("GET", link), ("HEAD", link), ("GET", f"{link}?{GUESSES}"), ("OPTIONS", link)):
                    answer = client.request(method, url)
                    assert answer.status_code in (200, 405), (method, url)
                    assert not answer.headers.get("set-cookie")
                    count += 1
    return count


def clicked(browser: Browser, links: list[str]) -> int:
    """Open each link in a browser that runs scripts, and click every anchor of each page. Returns the page loads.

    Telephone numbers are not clicked: the browser would ask for a program, and wait.
    """
    context, loads = browser.new_context(), 0
    page = context.new_page()
    for link in links:
        page.goto(link)
        here = page.url
        anchors = page.locator("a[href]:not([href^='tel:'])")
        for number in range(anchors.count()):
            anchors.nth(number).click()
            page.wait_for_url(lambda url, here=here: url != here)
            page.goto(here)
            loads += 2
        page.evaluate("() => [...document.links].map(a => fetch(a.href, {mode: 'no-cors'}).catch(() => 0))")
        loads += 1
    assert context.cookies() == []
    context.close()
    return loads


def one_click(room: PostRoom) -> tuple[int, int]:
    """Do what a mail program does with the two headers of each e-mail. Returns how many have them, and how many not."""
    done = without = 0
    with httpx.Client(timeout=20) as client:
        for entry in room.entries:
            header = entry.headers.get("List-Unsubscribe", "")
            if not header:
                without += 1
                continue
            assert entry.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
            assert header.split(", ")[1].startswith("<mailto:unsubscribe@shop.example?subject=unsubscribe%20")
            url = header.split(">")[0].lstrip("<")
            answer = client.post(url, content=b"List-Unsubscribe=One-Click", headers={"Content-Type": FORM})
            assert (answer.status_code, answer.headers.get("set-cookie")) == (200, None)
            done += 1
    return done, without


FORM = "application/x-www-form-urlencoded"


def scanned(engine: Engine, folder: Path, customers: int, times: int = 3, browsed: int | None = None) -> str:
    """Let scanners loose, compare all tables, then let every customer press the button of their mail program."""
    with world(engine, folder, customers) as (pages, room), sync_playwright() as playwright:
        links = links_in(room)
        assert len(links) == customers * (2 + 3 + 1), "offer: stop, choose; survey: and answer; service: choose"
        before = state_of(engine)
        requests = fetched(links, times)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        loads = clicked(browser, links[:browsed])
        browser.close()
        after = state_of(engine)
        changed = sorted(name for name in before if before[name] != after[name])
        assert changed == []
        wanted = meant(pages.app)
        done, without = one_click(room)
        assert (done, without) == (2 * customers, customers)
        assert withdrawn(engine) == wanted
        again = state_of(engine)
        assert [name for name in before if before[name] != again[name]] == ["consent"], "one table, and it is seen"
        one_click(room)
        assert state_of(engine) == again, "the second click has no effect"
        return (
            f"{len(links):,} links of {3 * customers:,} e-mails, {requests:,} requests and {loads:,} page loads with "
            f"scripts: {len(changed)} of {len(before)} tables changed; all {done:,} one-click links worked afterwards"
        )


def meant(app: App) -> list[tuple[int, str, str]]:
    """What one click of each e-mail ends, by the messages: channel and purpose of those that are no service."""
    message = models.Message.__table__  # type: ignore[attr-defined]
    with reading(app.engine) as connection:
        rows = connection.execute(
            select(message.c.customer_id, message.c.channel, message.c.purpose).where(message.c.purpose != "service")
        )
        return sorted(tuple(row) for row in rows)


def withdrawn(engine: Engine) -> list[Any]:
    """What the ledger says was withdrawn."""
    consent = models.Consent.__table__  # type: ignore[attr-defined]
    with reading(engine) as connection:
        rows = connection.execute(
            select(consent.c.customer_id, consent.c.channel, consent.c.purpose).where(consent.c.verdict == "withdrawn")
        )
        return sorted(tuple(row) for row in rows)


def test_scanners_change_nothing_and_one_click_works(sqlite_engine: Engine, tmp_path: Path) -> None:
    scanned(sqlite_engine, tmp_path, customers=1, times=1, browsed=2)


@pytest.mark.prove
def test_prove_scanners(engine: Engine, tmp_path: Path) -> None:
    print(f"\nPROOF scanners {engine.dialect.name}: {scanned(engine, tmp_path, customers=30)}")
