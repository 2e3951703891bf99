"""The preference page in a real browser: three languages, by touch and by keyboard, no script and no stranger."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import Engine, select

import models
from beforehand.passes import links_of, run_rule
from beforehand.web.serving import Pages
from messaging.links import Kind
from models.database import reading
from tests.deciding import NOON, House

CHROMIUM = shutil.which("chromium", path="/usr/bin") or ""
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PHONE = {"width": 360, "height": 740}
WORDS = {
    "en": ("ltr", "What you hear from us, and how", "Save", "Saved.", "Never call me"),
    "ar": ("rtl", "ما يصلك منا، وكيف يصلك", "حفظ", "تم الحفظ.", "لا تتصلوا بي أبدًا"),
    "zh": ("ltr", "您接收哪些信息，怎样接收", "保存", "已保存。", "请勿再打电话"),
}

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed at /usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def house(sqlite_engine: Engine, tmp_path: Path) -> House:
    made = House(sqlite_engine, tmp_path)
    made.template()
    made.rule(steps="  - {send: hello, by: [email]}")
    return made


@pytest.fixture
def pages(house: House) -> Iterator[Pages]:
    house.customer(email="sam@example.com", phone="+4915112340123")
    run_rule(house.app, "hello", NOON)
    with Pages(house.app) as served:
        yield served


def link(house: House, pages: Pages, kind: Kind) -> str:
    ((reference, made_at),) = house.rows(models.Message, "reference", "created_at")
    return links_of(pages.app.settings).url(kind, reference, made_at)


def opened(browser: Browser, **more: object) -> Page:
    page = browser.new_page(viewport=PHONE, **more)  # type: ignore[arg-type]
    page.set_default_timeout(10_000)
    return page


def fits(page: Page) -> bool:
    """Nothing is wider than the phone."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("language", WORDS)
def test_choosing_in_the_own_language(house: House, pages: Pages, browser: Browser, language: str) -> None:
    direction, title, save, saved, never = WORDS[language]
    page = opened(browser, java_script_enabled=language != "zh", color_scheme="dark" if language == "ar" else "light")
    strangers: list[str] = []
    page.on("request", lambda request: strangers.append(request.url) if pages.url not in request.url else None)
    page.goto(link(house, pages, Kind.PREFERENCES) + f"?lang={language}")
    assert page.locator("h1").inner_text() == title
    assert page.locator("html").get_attribute("dir") == direction
    assert fits(page)
    page.locator("input[value='email.marketing']").check()
    page.locator("input[value='sms.service']").uncheck()
    page.locator("#language").select_option(language)
    page.locator("#channel").select_option("email")
    page.locator("#quiet_from").fill("21:30")
    page.locator("#quiet_until").fill("08:00")
    page.get_by_role("button", name=save, exact=True).click()
    assert page.get_by_role("status").inner_text() == saved
    page.get_by_role("button", name=never, exact=True).click()
    assert not page.locator("input[value='voice.service']").is_checked()
    assert page.locator("input[value='email.marketing']").is_checked()
    assert page.locator("#quiet_from").input_value() == "21:30"
    assert fits(page)
    assert strangers == []
    assert page.context.cookies() == []
    page.close()
    with reading(house.engine) as connection:
        row = connection.execute(select(models.Preference.__table__)).one()  # type: ignore[attr-defined]
    assert tuple(row)[1:5] == (language, "email", "21:30", "08:00")
    said = house.rows(models.Consent, "channel", "purpose", "verdict", "text_version")
    assert [tuple(entry[:3]) for entry in said] == [
        ("sms", "service", "withdrawn"),
        ("email", "marketing", "granted"),
        ("voice", "all", "withdrawn"),
    ]
    assert all(re.fullmatch(rf"preferences\.{language}\.[0-9a-f]{{8}}", entry.text_version) for entry in said)


def test_unsubscribing_by_keyboard_and_every_control_has_a_name(house: House, pages: Pages, browser: Browser) -> None:
    page = opened(browser)
    page.goto(link(house, pages, Kind.PREFERENCES))
    unnamed = "e => !e.labels?.length && !e.innerText.trim()"
    shown = page.locator("input:not([type=hidden]), select, textarea, button")
    assert not any(shown.nth(n).evaluate(unnamed) for n in range(shown.count()))
    page.goto(link(house, pages, Kind.STOP))
    button = page.get_by_role("button", name="Unsubscribe")
    for _ in range(8):
        if button.evaluate("e => e === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Done").wait_for()
    page.close()
    assert house.rows(models.Consent, "channel", "purpose", "verdict") == [("email", "service", "withdrawn")]
