"""The post room in a real browser: four messages as their customers see them, and nothing that leaves the machine."""

import shutil
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from beforehand.web.postroom import Pace, PostRoom

CHROMIUM = shutil.which("chromium", path="/usr/bin") or ""
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OURS, ANNA, SARA = "+442079460000", "+4915112345678", "+971501234567"
EVIL = (
    '<p id="words">您好，李伟</p><img src="https://tracker.example/p.gif">'
    '<link rel="stylesheet" href="//evil.example/x">'
    '<script>top.document.title = "owned"; document.getElementById("words").textContent = "owned"</script>'
    '<img src="data:," onerror="top.document.title=\'owned\'">'
    '<meta http-equiv="refresh" content="0;url=https://evil.example/">'
)
SCRIPT = (
    '<Response><Gather numDigits="1"><Say>Hello Anna, our callback dropped.</Say><Say>Press 1 and we connect you, '
    "or 9 and we never call.</Say></Gather><Hangup/></Response>"
)

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed at /usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom(pace=Pace(0.01, 0.01, 0.01, 0.01, 0.01)) as room:
        yield room


@pytest.fixture
def page(browser: Browser, room: PostRoom) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 840})
    strangers: list[str] = []

    def seen(request: Request) -> None:
        # The browser also tells of requests that the page's policy kept it from making.
        if not _ours(request.url, room) and "csp" not in (request.failure or "").lower():
            strangers.append(f"{request.url} {request.failure}")

    page.on("requestfinished", seen)
    page.on("requestfailed", seen)
    yield page
    page.close()
    assert strangers == []


def _ours(url: str, room: PostRoom) -> bool:
    return url.startswith((room.http_url, "about:", "data:"))


def _create(room: PostRoom, what: str, **form: str) -> dict[str, Any]:
    url = f"{room.http_url}/2010-04-01/Accounts/{room.account_sid}/{what}.json"
    answer = httpx.post(url, data={"From": OURS, **form}, auth=(room.account_sid, room.auth_token))
    answer.raise_for_status()
    return dict(answer.json())


def _mail(room: PostRoom, html: str = "") -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "关于您的咖啡机", "care@beforehand.example", "li.wei@example.com"
    mail.set_content("您好，李伟")
    mail.add_alternative(html or EVIL, subtype="html")
    with smtplib.SMTP("127.0.0.1", room.smtp_port) as smtp:
        smtp.send_message(mail)


def test_an_english_sms_is_a_bubble_and_the_reply_joins_it(room: PostRoom, page: Page) -> None:
    _create(room, "Messages", To=ANNA, Body="Hello Anna, your order is late and we are sorry.")
    page.goto(room.http_url)
    bubble = page.locator(".bubble.theirs p")
    assert bubble.inner_text() == "Hello Anna, your order is late and we are sorry."
    assert bubble.evaluate("e => getComputedStyle(e).direction") == "ltr"
    assert "GSM-7" in page.locator(".facts").inner_text()
    page.get_by_placeholder("Reply as the customer").fill("STOP")
    page.get_by_role("button", name="Send").click()
    page.locator(".bubble.mine").wait_for()
    assert page.locator(".bubble.mine p").inner_text() == "STOP"
    assert room.ledger.stopped(OURS, ANNA)


def test_an_arabic_sms_reads_from_the_right(room: PostRoom, page: Page) -> None:
    _create(room, "Messages", To=SARA, Body="مرحبا سارة، طلبك متأخر. STOP للتوقف")
    page.goto(room.http_url)
    bubble = page.locator(".bubble p")
    assert bubble.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert bubble.get_attribute("lang") == "ar"
    assert "UCS-2" in page.locator(".facts").inner_text()
    page.get_by_label("Language").select_option("ar")
    page.get_by_role("button", name="Find").click()
    assert page.locator(".row").count() == 1


def test_a_chinese_mail_shows_and_its_script_does_not_run(room: PostRoom, page: Page) -> None:
    _mail(room)
    page.goto(room.http_url)
    assert page.locator("h1").inner_text() == "关于您的咖啡机"
    page.wait_for_timeout(400)
    assert page.frame_locator("iframe").locator("#words").inner_text() == "您好，李伟"
    assert page.title() == "Post room"
    page.get_by_text("The text part").click()
    assert page.locator("pre.text").inner_text().strip() == "您好，李伟"
    page.get_by_text("Headers", exact=True).click()
    assert "Subject: 关于您的咖啡机" in page.locator("pre", has_text="Subject:").inner_text()


def test_a_call_is_a_script_with_its_keys(room: PostRoom, page: Page) -> None:
    _create(room, "Calls", To=ANNA, Twiml=SCRIPT)
    page.goto(room.http_url)
    assert page.locator(".said").all_inner_texts() == [
        "Hello Anna, our callback dropped.",
        "Press 1 and we connect you, or 9 and we never call.",
    ]
    assert page.locator(".keys button").all_inner_texts() == ["1", "9"]


def test_the_page_fills_by_itself(room: PostRoom, page: Page) -> None:
    page.goto(room.http_url)
    assert page.get_by_role("heading").inner_text() == "No messages yet"
    _create(room, "Messages", To=ANNA, Body="the first")
    page.locator(".bubble", has_text="the first").wait_for(timeout=5000)
    _create(room, "Messages", To=SARA, Body="the second")
    page.locator(".row", has_text="the second").wait_for(timeout=5000)
    assert page.locator(".bubble p").inner_text() == "the first"  # what is being read stays
    page.locator(".row", has_text="the second").click()
    assert page.locator(".bubble p").inner_text() == "the second"


def test_a_link_in_a_mail_opens_by_itself(room: PostRoom, page: Page) -> None:
    _mail(room, f'<html><head></head><body><a href="{room.http_url}/?channel=sms">Choose</a></body></html>')
    page.goto(room.http_url)
    with page.expect_popup() as opened:
        page.frame_locator("iframe").get_by_text("Choose").click()
    assert opened.value.url == f"{room.http_url}/?channel=sms"
    opened.value.close()
