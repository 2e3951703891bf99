"""The console: what status says, readable by anybody and any reader, with nothing in it that does anything."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert

from beforehand.passes import run_rule
from beforehand.status import Status, status_of
from beforehand.web.staff import console, create_staff_app
from beforehand.web.staff.console import SHOWN, Kept, ago, more, page
from beforehand.wiring import App
from messaging import breaker, switches
from models.database import writing
from models.staff import HeldRun, Process
from tests.deciding import NOON, House

HERE = "http://127.0.0.1"


@dataclass
class Read(HTMLParser):
    """What a reader of the page finds."""

    html: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, *names: str) -> Iterator[tuple[str, dict[str, str | None]]]:
        yield from ((tag, said) for tag, said in self.tags if tag in names)


def words(html: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path)
    made.template()
    made.rule()
    for _ in range(3):
        made.customer(first_name="Canary-Anna", last_name="Canary-Bell")
    run_rule(made.app, "hello", NOON)
    return made


def trouble(house: House) -> None:
    held = {"rule_id": "hello", "version": "v", "subjects": 90, "customers": 80, "count": 90, "most": 5}
    times = {"held_at": NOON, "expires_at": NOON + timedelta(days=1)}
    process = {"boot": "shop-4711-x", "host": "shop", "version": "9.9", "started_at": NOON, "seen_at": NOON}
    with writing(house.engine) as connection:
        connection.execute(insert(HeldRun).values(**held, **times, why="usual", state="waiting"))
        connection.execute(insert(Process).values(**process, parts={"web": {"state": "down"}}))
        switches.stop(connection, "rule:hello", "mona", NOON)
        breaker.trip(connection, "smtp", "535", NOON)


def get(app: App, path: str = "/") -> str:
    answer = TestClient(create_staff_app(app), base_url=HERE).get(path)
    assert answer.status_code == 200
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    return answer.text


def test_it_says_what_status_says(house: House) -> None:
    trouble(house)
    seen = status_of(house.app, NOON)
    said = words(get(house.app))
    assert f"{len(seen.findings)} things need a person" in said
    for finding in seen.findings:
        assert finding.what in said
        assert finding.do.replace("`", "").split(",")[0].split()[0] in said
    for wanted in (
        "due now 3", "planned 3", "Stopped: rule:hello (by mona)", "beforehand resume rule:hello", "Resting: email",
        "1 of hello many times what the rule usually reaches (90 where 5) 80", "beforehand approve 1 shows it",
        "shop 4711 web (down) 9.9 just now", "hello live",
    ):  # fmt: skip
        assert wanted in said, said


def test_it_shows_no_person(house: House) -> None:
    trouble(house)
    html = get(house.app)
    assert "Canary" not in html
    assert "+49" not in html
    assert "@" not in words(html)


def test_all_is_well_is_said_too(sqlite_engine: Engine, tmp_path: Path) -> None:
    house = House(sqlite_engine, tmp_path)
    house.template()
    house.rule()
    said = words(get(house.app))
    assert "All is well Nothing needs a person." in said
    assert "The brake holds nothing." in said
    assert "No house is running" in said


def test_a_screen_reader_finds_its_way(house: House) -> None:
    trouble(house)
    read = Read(get(house.app))
    assert next(read.of("html"))[1]["lang"] == "en"
    heads = [int(tag[1]) for tag, _ in read.of("h1", "h2", "h3")]
    assert heads[0] == 1
    assert heads.count(1) == 1
    assert set(heads) == {1, 2}
    ids = [said["id"] for _, said in read.tags if "id" in said]
    assert len(ids) == len(set(ids))
    assert all(said.get("aria-labelledby") in ids for _, said in read.of("section"))
    assert all(said.get("scope") in ("col", "row") for _, said in read.of("th"))
    columns = sum(1 for tag, said in read.of("th") if said["scope"] == "col")
    assert columns >= 12
    assert {tag for tag, _ in read.of("main", "header", "footer")} == {"main", "header", "footer"}


def test_it_does_nothing_and_loads_nothing(house: House) -> None:
    read = Read(get(house.app))
    assert list(read.of("script", "form", "button", "input", "img", "link", "iframe")) == []
    answer = TestClient(create_staff_app(house.app), base_url=HERE).post("/")
    assert answer.status_code == 405


def test_it_comes_anew_by_itself_until_somebody_wants_it_still(house: House) -> None:
    def refreshes(path: str) -> list[str | None]:
        return [said.get("content") for _, said in Read(get(house.app, path)).of("meta") if "http-equiv" in said]

    assert refreshes("/") == ["10"]
    assert refreshes("/?still=1") == []


def test_only_this_machines_names_are_answered(house: House) -> None:
    client = TestClient(create_staff_app(house.app), base_url="http://evil.example")
    assert client.get("/").status_code == 400
    assert client.get("/metrics").status_code == 400


def test_a_database_that_is_away_is_said(sqlite_engine: Engine, tmp_path: Path) -> None:
    house = House(sqlite_engine, tmp_path)
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql("ALTER TABLE message RENAME TO gone")
    answer = TestClient(create_staff_app(house.app), base_url=HERE).get("/")
    assert answer.status_code == 503
    assert "The database does not answer (OperationalError)" in words(answer.text)


def test_many_who_look_ask_once(house: House) -> None:
    asked: list[int] = []

    def look() -> Status:
        asked.append(1)
        return status_of(house.app, NOON)

    kept = Kept(look, seconds=60)
    assert kept() is kept()
    assert len(asked) == 1


def test_what_a_status_tells_beyond_is_shown_as_it_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = status_of(house.app, NOON)
    assert more(seen) == {}, "a part of the status that the page has no words for yet"
    monkeypatch.setattr(console, "SHOWN", SHOWN - {"messages"})
    assert more(seen) == {"messages": '{"planned": 3}'}
    assert "messages {&#34;planned&#34;: 3}" in words(page(house.app, seen))


def test_words_for_times() -> None:
    told = [ago(NOON, NOON - timedelta(seconds=seconds)) for seconds in (-5, 5, 60, 7200, 90_000)]
    assert told == ["just now", "just now", "1 minute ago", "2 hours ago", "1 day ago"]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_text_stands_out_from_its_ground() -> None:
    style = (Path(console.__file__).parent / "templates/console.css").read_text(encoding="utf-8")
    for scheme in re.findall(r":root \{([^}]*)\}", style):
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", scheme))
        for ink, grounds in (
            ("ink", ("paper", "ground", "good", "bad")), ("soft", ("paper", "ground", "good", "bad")),
            ("key", ("paper", "ground", "bad")), ("bad-edge", ("paper", "bad")),
        ):  # fmt: skip
            for ground in grounds:
                light, dark = sorted((luminance(colour[ink]), luminance(colour[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
