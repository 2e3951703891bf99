"""The customer pages: looking changes nothing, one click ends it, and what is chosen is what the next pass does."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import Engine, select

import models
from beforehand.passes import links_of, run_rule, secret_of
from beforehand.people.forget import forget
from beforehand.web.app import create_app
from beforehand.web.pages.shown import languages, words
from beforehand.wiring import App
from messaging.consents import silence, suppress
from messaging.links import Kind
from models.database import reading, writing
from tests.deciding import NOON, House

MARKETING = {"purpose": "marketing", "steps": "  - {send: hello, by: [email]}"}
CLICK = {"List-Unsubscribe": "One-Click"}
both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


class Desk:
    """A house with one customer, one e-mail to them, and a browser. ``at`` is what the clock says."""

    def __init__(self, house: House) -> None:
        self.house, self.at = house, NOON
        app = house.app
        self.app = App(settings=app.settings, engine=app.engine, clock=lambda: self.at)
        self.browser = TestClient(create_app(self.app), base_url="http://127.0.0.1:8000", follow_redirects=False)

    def mailed(self, **customer: Any) -> int:
        """A customer with a marketing e-mail on its way."""
        who = self.house.customer(email="ann@example.com", phone="+4915112340123", **customer)
        self.house.consent(who, "email", "marketing", "granted", NOON - timedelta(days=9))
        run_rule(self.app, "hello", NOON)
        return who

    def path(self, kind: Kind) -> str:
        """The link of the newest message."""
        reference, made_at = self.house.rows(models.Message, "reference", "created_at")[-1]
        return "/" + links_of(self.app.settings).url(kind, reference, made_at).split("/", 3)[3]

    def shown(self, kind: Kind = Kind.PREFERENCES) -> str:
        return self.browser.get(self.path(kind)).text

    def filled(self, text: str) -> dict[str, Any]:
        """The fields of the first form as a browser would send them."""
        form = text[text.index("<form") : text.index("</form>")]
        fields: dict[str, Any] = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
        fields["allow"] = re.findall(r'name="allow" value="([^"]+)" checked', form)
        fields |= dict.fromkeys(("language", "channel"), "")
        for name, options in re.findall(r'<select id="(\w+)".*?>(.*?)</select>', form, re.S):
            fields[name] = "".join(re.findall(r'value="([^"]*)" selected', options))
        fields |= dict(re.findall(r'type="time" id="\w+" name="(\w+)" value="([^"]*)"', form))
        return fields | {"do": "save"}

    def save(self, text: str = "", **changed: Any) -> Any:
        fields = self.filled(text or self.shown()) | changed
        return self.browser.post(self.path(Kind.PREFERENCES), data=fields)

    def press(self, do: str) -> Any:
        seal = self.filled(self.shown())["seal"]
        return self.browser.post(self.path(Kind.PREFERENCES), data={"seal": seal, "do": do})

    def ledger(self) -> list[Any]:
        """What was written after the customer had agreed."""
        return self.house.rows(models.Consent, "customer_id", "channel", "purpose", "verdict")[1:]

    def newest(self) -> tuple[str, str]:
        return tuple(self.house.rows(models.Consent, "source", "text_version")[-1])  # type: ignore[return-value]


def chosen(desk: Desk) -> list[Any]:
    with reading(desk.app.engine) as connection:
        return [tuple(row) for row in connection.execute(select(models.Preference.__table__))]  # type: ignore[attr-defined]


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def desk(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[Desk]:
    engine: Engine = request.getfixturevalue(f"{database}_engine")
    house = House(engine, tmp_path)
    house.template()
    house.rule(**MARKETING)
    made = Desk(house)
    with made.browser:
        yield made


@both
def test_one_click_ends_it_without_cookie_or_redirect_and_twice_is_once(desk: Desk) -> None:
    who = desk.mailed()
    for _ in range(2):
        answer = desk.browser.post(desk.path(Kind.STOP), data=CLICK)
        assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
        desk.at += timedelta(minutes=1)
    assert desk.ledger() == [(who, "email", "marketing", "withdrawn")]
    source, version = desk.newest()
    assert source == f"one-click {desk.house.rows(models.Message, 'reference')[0]}"
    assert re.fullmatch(r"stop\.en\.[0-9a-f]{8}", version)


def test_every_published_request_of_rfc_8058(desk: Desk, shared_data: Path) -> None:
    desk.mailed()
    vectors = json.loads((shared_data / "vectors" / "rfc8058" / "vectors.json").read_text(encoding="utf-8"))["vectors"]
    for vector in vectors:
        head, _, body = vector["request"].partition("\r\n\r\n")
        method = head.split(" ", 1)[0]
        sent = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        kept = {name: value for name, value in sent.items() if name == "Content-Type"}
        before = len(desk.ledger())
        desk.browser.request(method, desk.path(Kind.STOP), content=body.encode(), headers=kept)
        ended = vector["expect"].startswith(("unsubscribed", "tolerate"))
        assert len(desk.ledger()) - before == int(ended), vector["name"]
        desk.at += timedelta(minutes=1)
        if ended:  # they agree anew, so that the next request has something to end
            desk.house.consent(1, "email", "marketing", "granted", desk.at)
            desk.at += timedelta(minutes=1)


def test_looking_changes_nothing_and_says_who_and_what(desk: Desk) -> None:
    desk.mailed()
    for method in ("GET", "HEAD"):
        for kind in (Kind.STOP, Kind.PREFERENCES):
            answer = desk.browser.request(method, desk.path(kind))
            assert answer.status_code == 200
            assert answer.headers["x-robots-tag"] == "noindex, nofollow"
            assert "script" not in answer.headers["content-security-policy"]
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "set-cookie" not in answer.headers
            assert "<script" not in answer.text
            assert "ann@" not in answer.text
            assert "0123" in answer.text or kind is Kind.STOP or method == "HEAD"
    assert "offers" in desk.shown(Kind.STOP)
    assert "a•••@example.com" in desk.shown(Kind.STOP)
    assert desk.ledger() == []


@both
def test_the_page_ends_the_one_thing_or_everything(desk: Desk) -> None:
    who = desk.mailed()
    other = desk.house.customer(email="ann@example.com", phone=None)
    done = desk.browser.post(desk.path(Kind.STOP), data={**CLICK, "by": "page"})
    assert "We write to you about offers no more" in done.text
    assert desk.ledger() == [(who, "email", "marketing", "withdrawn"), (other, "email", "marketing", "withdrawn")]
    assert desk.newest()[0].startswith("unsubscribe page ")
    desk.at += timedelta(minutes=1)
    assert "That is so already" in desk.shown(Kind.STOP)
    done = desk.browser.post(desk.path(Kind.STOP), data={**CLICK, "by": "page", "all": "yes"})
    assert "We send you nothing any more" in done.text
    assert sorted(desk.ledger()[2:]) == [
        (who, "all", "all", "withdrawn"),
        (who, "email", "all", "withdrawn"),
        (other, "email", "all", "withdrawn"),
    ]
    assert "Stop everything" not in desk.shown(Kind.STOP)


def test_a_link_for_one_kind_is_no_link_for_another_and_garbage_gets_a_kind_page(desk: Desk) -> None:
    desk.mailed()
    stop, choose = desk.path(Kind.STOP), desk.path(Kind.PREFERENCES)
    token = stop.rpartition("/")[2]
    wrong = [f"/p/{token}", f"/a/{token}", f"/s/{choose[3:]}", "/s/x", "/p/%00%ff", "/a/" + "a" * 3000, f"/s/{token}X"]
    for path in wrong:
        for method in ("GET", "POST"):
            answer = desk.browser.request(method, path, data=CLICK if method == "POST" else None)
            assert answer.status_code == 404, path
            assert "This link leads nowhere any more" in answer.text
    assert desk.ledger() == []
    assert desk.browser.get(f"/s/{'ab' * 9}7K2M9QXC", params={"lang": "ar"}).text.count('dir="rtl"') == 1


@both
def test_a_forgotten_customer_gets_a_kind_page(desk: Desk, tmp_path: Path) -> None:
    who = desk.mailed()
    path = desk.path(Kind.PREFERENCES)
    forget(desk.app.engine, who, secret=secret_of(desk.app.settings), folder=tmp_path, clock=lambda: desk.at)
    for method in ("GET", "POST"):
        assert desk.browser.request(method, path).status_code == 404


def test_a_message_of_a_restored_database_is_not_opened_by_an_old_link(desk: Desk) -> None:
    desk.mailed()
    path = desk.path(Kind.PREFERENCES)
    desk.house.set(models.Message, created_at=NOON + timedelta(days=1))
    assert desk.browser.get(path).status_code == 404


@both
def test_the_preference_page_shows_how_it_is_and_records_only_what_changed(desk: Desk) -> None:
    who = desk.mailed(language="en", preferred_channel="sms")
    first = desk.filled(desk.shown())
    assert first["allow"] == ["sms.service", "voice.service", "email.service", "email.marketing"]
    assert (first["language"], first["channel"]) == ("en", "sms")
    assert "unchanged" not in desk.save().text
    assert desk.ledger() == []
    assert chosen(desk) == []
    desk.at += timedelta(minutes=1)
    wish = {"allow": ["sms.service", "email.service", "sms.survey"], "language": "zh", "channel": "email"}
    done = desk.save(**wish, quiet_from="21:30", quiet_until="08:00")
    assert "已保存" in done.text
    assert sorted(desk.ledger()) == [
        (who, "email", "marketing", "withdrawn"),
        (who, "sms", "survey", "granted"),
        (who, "voice", "service", "withdrawn"),
    ]
    assert desk.newest()[0].startswith("preferences ")
    assert desk.newest()[1].startswith("preferences.en.")
    assert chosen(desk) == [(who, "zh", "email", "21:30", "08:00", desk.at)]
    now = desk.filled(desk.shown())
    assert sorted(now["allow"]) == sorted(wish["allow"])
    assert (now["language"], now["channel"], now["quiet_from"], now["quiet_until"]) == ("zh", "email", "21:30", "08:00")
    desk.at += timedelta(minutes=1)
    desk.save(quiet_from="", quiet_until="", language="")
    assert chosen(desk) == [(who, None, "email", None, None, desk.at)]


def test_a_page_that_lay_open_takes_no_stop_back(desk: Desk) -> None:
    who = desk.mailed()
    opened = desk.shown()
    desk.at += timedelta(minutes=1)
    desk.browser.post(desk.path(Kind.STOP), data=CLICK)
    desk.at += timedelta(minutes=1)
    desk.save(opened, language="zh")
    assert desk.ledger() == [(who, "email", "marketing", "withdrawn")]
    assert desk.filled(desk.shown())["language"] == "zh"


@pytest.mark.parametrize("times", [("21:00", ""), ("", "08:00"), ("25:00", "08:00"), ("x", "y"), ("08:00", "08:00")])
def test_half_a_wish_for_silence_changes_nothing_and_says_so(desk: Desk, times: tuple[str, str]) -> None:
    desk.mailed()
    answer = desk.save(allow=[], quiet_from=times[0], quiet_until=times[1])
    assert answer.status_code == 422
    assert "Please give both times" in answer.text
    assert desk.ledger() == []


def test_a_form_that_is_not_ours_or_too_old_changes_nothing(desk: Desk) -> None:
    desk.mailed()
    opened = desk.shown()
    assert desk.save(opened, seal="", allow=[]).status_code == 400
    assert desk.save(opened, seal="a" * 16, allow=[]).status_code == 400
    desk.at += timedelta(days=2)
    assert "open for long" in desk.save(opened, allow=[]).text
    assert desk.ledger() == []


@both
def test_never_call_me_and_everything(desk: Desk) -> None:
    who = desk.mailed()
    assert "We never ring you" in desk.press("never").text
    desk.at += timedelta(minutes=1)
    assert not [box for box in desk.filled(desk.shown())["allow"] if box.startswith("voice")]
    assert "Never call me" not in desk.shown()
    desk.press("stop")
    desk.at += timedelta(minutes=1)
    assert desk.filled(desk.shown())["allow"] == []
    assert desk.ledger() == [(who, "voice", "all", "withdrawn"), (who, "all", "all", "withdrawn")]
    desk.save(allow=["email.service"])
    assert desk.filled(desk.shown())["allow"] == ["email.service"]


@both
def test_call_me_makes_one_task_and_one_event_an_hour(desk: Desk) -> None:
    who = desk.mailed()
    changes = models.Change.__table__  # type: ignore[attr-defined]
    for _ in range(3):
        desk.press("call")
        desk.at += timedelta(minutes=20)
    assert desk.house.rows(models.Task, "customer_id", "desk") == [(who, "care-desk")]
    assert desk.house.rows(models.Event, "customer_id", "name") == [(who, "customer.call_me")]
    with writing(desk.app.engine) as connection:
        assert "event.happened" in set(connection.execute(changes.select()).scalars())
    desk.press("call")
    assert len(desk.house.rows(models.Task, "id")) == len(desk.house.rows(models.Event, "id")) == 2


def test_a_rule_can_answer_to_call_me(desk: Desk) -> None:
    who = desk.mailed()
    more = {"subject": "event", "condition": "name: customer.call_me", "when": "{event: event.happened}"}
    desk.house.rule("ring", **more, steps="  - {send: hello, by: [sms]}", limits="{once_per: event}")
    desk.press("call")
    report = run_rule(desk.app, "ring", NOON + timedelta(minutes=1))
    assert report.planned == 1
    assert desk.house.rows(models.Message, "customer_id", "rule_id")[-1] == (who, "ring")


def test_one_link_changes_only_so_much_in_ten_minutes(desk: Desk) -> None:
    desk.mailed()
    statuses = [desk.press("save").status_code for _ in range(22)]
    assert statuses == [200] * 20 + [429] * 2
    assert desk.browser.get(desk.path(Kind.PREFERENCES)).status_code == 200, "looking is not counted"
    desk.at += timedelta(minutes=11)
    assert desk.press("save").status_code == 200


@both
def test_after_stop_by_sms_the_page_says_how_to_come_back(desk: Desk) -> None:
    who = desk.mailed()
    with writing(desk.app.engine) as connection:
        silence(connection)
        secret = secret_of(desk.app.settings)
        suppress(connection, secret=secret, channel="sms", address="+4915112340123", cause="stop", at=NOON)
        suppress(connection, secret=secret, channel="email", address="ann@example.com", cause="stop", at=NOON)
    page = desk.shown()
    assert "Send START" in page
    assert desk.filled(page)["allow"] == ["voice.service"]
    assert 'value="sms.service" disabled' in page
    desk.at += timedelta(minutes=1)
    desk.save(allow=["voice.service", "sms.service", "sms.marketing", "email.service"])
    assert desk.ledger() == [(who, "email", "service", "granted")], "the carrier blocks SMS until START"
    assert "email.service" in desk.filled(desk.shown())["allow"]


def test_an_unsubscribed_customer_gets_no_more_and_one_who_came_back_does(desk: Desk) -> None:
    desk.mailed()
    desk.house.rule("again", **MARKETING)
    desk.browser.post(desk.path(Kind.STOP), data=CLICK)
    desk.at += timedelta(minutes=1)
    assert run_rule(desk.app, "again", desk.at).planned == 0
    desk.save(allow=["email.marketing"])
    desk.at += timedelta(minutes=1)
    assert run_rule(desk.app, "again", desk.at).planned == 1


def surveyed(desk: Desk) -> int:
    desk.house.rule("ask", purpose="survey", steps="  - {survey: hello, by: [email]}")
    who = desk.house.customer(language="ar")
    desk.house.consent(who, "email", "survey", "granted", NOON - timedelta(days=9))
    assert run_rule(desk.app, "ask", NOON).planned == 1
    return who


@both
def test_a_survey_is_answered_by_its_link_and_may_be_changed(desk: Desk) -> None:
    who = surveyed(desk)
    path = desk.path(Kind.ANSWER)
    page = desk.browser.get(path, params={"score": "4"}).text
    assert 'dir="rtl"' in page
    assert re.findall(r'value="(\d)" required checked', page) == ["4"]
    assert desk.house.rows(models.Survey, "score", "answered_at") == [(None, None)]
    seal = re.search(r'name="seal" value="(\w+)"', page)[1]  # type: ignore[index]
    evil = "<b>good</b>\r\nline\x00\x1b" + "x" * 3000
    for score, comment in (("4", "fine"), ("5", evil)):
        answer = desk.browser.post(path, data={"seal": seal, "score": score, "comment": comment})
        assert answer.status_code == 200
        assert "<b>good" not in answer.text
        desk.at += timedelta(minutes=1)
    ((customer, score, comment, at),) = desk.house.rows(models.Survey, "customer_id", "score", "comment", "answered_at")
    assert (customer, score, at) == (who, 5, desk.at - timedelta(minutes=1))
    assert comment.startswith("<b>good</b>\nlinexxx")
    assert len(comment) == 2000
    assert desk.browser.post(path, data={"seal": seal, "score": "6"}).status_code == 400
    assert desk.browser.post(path, data={"score": "1"}).status_code == 400


def test_a_message_without_a_survey_has_no_answer_page(desk: Desk) -> None:
    desk.mailed()
    assert desk.browser.get(desk.path(Kind.ANSWER)).status_code == 404


def test_a_database_that_does_not_answer_is_told_kindly(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.mailed()
    path = desk.path(Kind.STOP)
    with writing(desk.app.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE consent RENAME TO gone")
    answer = desk.browser.post(path, data=CLICK)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "120")
    assert "Nothing was changed" in answer.text


def test_links_signed_before_a_key_was_replaced_still_work(desk: Desk) -> None:
    desk.mailed()
    stop, choose = desk.path(Kind.STOP), desk.path(Kind.PREFERENCES)
    changed: dict[str, Any] = {
        "link_key": SecretStr("n" * 32),
        "link_keys_before": {SecretStr("s" * 32): (NOON - timedelta(days=1)).date()},
    }
    app = App(settings=desk.app.settings.model_copy(update=changed), engine=desk.app.engine, clock=lambda: desk.at)
    with TestClient(create_app(app), base_url="http://127.0.0.1:8000") as browser:
        assert browser.get(choose).status_code == browser.get(stop).status_code == 200
        desk.at += timedelta(days=90)
        assert (browser.get(choose).status_code, browser.get(stop).status_code) == (404, 200)
        assert browser.post(stop, data=CLICK).status_code == 200
    assert len(desk.ledger()) == 1


def test_the_address_that_stands_in_every_mail_leads_to_a_page(desk: Desk) -> None:
    for language in ("en", "ar", "zh"):
        front = desk.browser.get("/", params={"lang": language})
        assert front.status_code == 200
        assert f'lang="{language}"' in front.text
        assert "Beforehand Shop" in front.text


def test_every_language_has_the_same_words() -> None:
    def keys(said: Any) -> Any:
        return (
            {name: keys(value) for name, value in said.items()} if isinstance(said, dict) else re.findall("{.+?}", said)
        )

    shapes = {tag: json.dumps(keys(words(tag)), sort_keys=True) for tag, _ in languages()}
    assert shapes.keys() == {"en", "ar", "zh"}
    assert len(set(shapes.values())) == 1
