"""What a replay promises: nothing is written, the past stays as it was known, and what cannot be known is named."""

import csv
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from dateutil.relativedelta import relativedelta
from sqlalchemy import Engine, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

import models
from beforehand.backtest import Backtest, backtest, standins
from beforehand.cli import app as command_line
from beforehand.passes import rule_of, run_rule
from models import Base
from models.database import writing
from models.delivery import RuleVersion
from models.terms import THE_BEGINNING
from models.vocabulary import Reason
from tests.deciding import NOON, House

DAY = timedelta(days=1)
LATE = "promised_on: {before: today}, delivered_at: missing"


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"live_from": THE_BEGINNING})
    made.template()
    return made


def late_order(house: House, customer_id: int, **values: object) -> int:
    known = {"placed_at": NOON - 9 * DAY, "promised_on": (NOON - 2 * DAY).date()}
    return house.add(models.Order, customer_id=customer_id, **(known | values))


def replay(house: House, days: int = 5, *, rule_id: str = "hello", **more: object) -> Backtest:
    return backtest(house.app, rule_of(house.app, rule_id), NOON - days * DAY, NOON, **more)  # type: ignore[arg-type]


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        tables = Base.metadata.sorted_tables
        return {each.name: connection.execute(select(func.count()).select_from(each)).scalar_one() for each in tables}


def test_it_says_when_each_message_would_have_gone(house: House) -> None:
    ada, ben = house.customer(first_name="Ada"), house.customer(first_name="Ben")
    late_order(house, ada)
    late_order(house, ben, promised_on=(NOON - 4 * DAY).date())
    late_order(house, house.customer(), delivered_at=NOON - 3 * DAY)
    house.rule(subject="order", condition=LATE, limits="{once_per: order}")
    seen = replay(house)
    assert (seen.matches, seen.messages, seen.withheld) == (2, 2, {})
    assert [(str(each.day), each.matches, each.messages) for each in seen.days] == [
        ("2026-03-06", 1, 0),  # at midnight in Berlin, which is still the day before in UTC
        ("2026-03-07", 0, 1),
        ("2026-03-08", 1, 0),
        ("2026-03-09", 0, 1),
    ]
    assert ["Ada" in sample.text for sample in seen.examples] == [False, True]
    assert seen.cost is not None
    assert seen.cost.messages == 2


def test_what_came_later_is_not_known_yet(house: House) -> None:
    late_order(house, house.customer(), delivered_at=NOON - DAY)
    house.rule(subject="order", condition=LATE, limits="{once_per: order}")
    seen = replay(house)
    assert seen.messages == 1
    assert seen.examples[0].facts == {"always": {"promised_on": "2026-03-08", "delivered_at": None}}


def test_a_later_no_does_not_count_an_earlier_one_does(house: House) -> None:
    ada, ben = house.customer(), house.customer()
    house.consent(ada, "all", "all", "withdrawn", NOON - timedelta(hours=1))
    house.consent(ben, "all", "all", "withdrawn", NOON - 9 * DAY)
    house.rule(condition="country: DE")
    seen = replay(house)
    assert (seen.messages, seen.withheld) == (1, {Reason.OPTED_OUT: 1})


def test_nothing_is_written_and_nobody_is_kept_waiting(house: House) -> None:
    late_order(house, house.customer())
    house.rule(subject="order", condition=LATE, limits="{once_per: order}", steps=STEPS)
    before = counts(house.engine)

    def told(_done: int, _of: int) -> None:  # a real pass writes while the replay is on
        row = {"rule_id": "other", "version": "1", "text": "", "first_used_at": NOON}
        if counts(house.engine)["rule_version"] == before["rule_version"]:
            with writing(house.engine) as connection:
                connection.execute(insert(RuleVersion.__table__).values(row))  # type: ignore[attr-defined]

    seen = replay(house, progress=told)
    assert seen.messages == 1
    assert seen.tasks == 1
    assert counts(house.engine) == before | {"rule_version": before["rule_version"] + 1}


STEPS = """
  - {send: hello, by: [sms]}
  - wait: 1 day
  - task: Phone the customer
    to: desk
"""


AWAITS = """
  - {send: hello, by: [email]}
  - wait: until delivered_at, at most 2 days
  - {send: hello, by: [email]}
"""


def test_a_wait_for_a_moment_goes_on_in_the_minute_in_which_it_comes(house: House) -> None:
    day = (NOON - 4 * DAY).date()
    came = NOON - 3 * DAY + timedelta(minutes=90, seconds=10)
    late_order(house, house.customer(), promised_on=day, delivered_at=came)
    late_order(house, house.customer(), promised_on=day, delivered_at=came + 2 * DAY)
    house.rule(subject="order", condition=LATE, limits="{once_per: order}", steps=AWAITS)
    seen = replay(house)
    assert (seen.matches, seen.messages) == (2, 3)
    assert max(sample.due_at for sample in seen.examples) == came + timedelta(seconds=50)
    if house.engine.dialect.name == "sqlite":  # every minute of four weeks; the other database needs a minute for it
        assert replay(house, thorough=True).as_json() | {"looks": 0} == seen.as_json() | {"looks": 0}


def test_a_write_to_a_real_row_is_refused(sqlite_engine: Engine) -> None:
    with standins.replaying(sqlite_engine) as connection, pytest.raises(DBAPIError, match="not authorized"):
        connection.execute(text("DELETE FROM main.customer"))
    with writing(sqlite_engine) as connection:
        connection.execute(text("DELETE FROM main.customer"))


def test_what_was_said_before_the_start_is_not_said_again(house: House) -> None:
    late_order(house, house.customer(), promised_on=(NOON - 8 * DAY).date())
    house.rule(subject="order", condition=LATE, limits="{once_per: order}")
    run_rule(house.app, "hello", NOON - 6 * DAY)
    seen = replay(house)
    assert (seen.matches, seen.messages) == (0, 0)
    assert replay(house, days=7).messages == 1


def test_going_live_at_the_start_leaves_the_backlog_alone(house: House) -> None:
    late_order(house, house.customer(), promised_on=(NOON - 8 * DAY).date())
    late_order(house, house.customer())
    house.settings["live_from"] = None
    house.rule(subject="order", condition=LATE, limits="{once_per: order}")
    seen = replay(house)
    assert (seen.messages, seen.withheld) == (1, {Reason.BACKLOG: 1})


def test_other_rules_messages_use_up_the_cap_when_their_time_comes(house: House) -> None:
    ada = house.customer()
    house.settings["caps"] = {"service": "1 per 3 days"}
    house.rule("other")
    run_rule(house.app, "other", NOON - 2 * DAY)
    late_order(house, ada, promised_on=(NOON - 2 * DAY).date())
    house.rule(subject="order", condition=LATE, limits="{once_per: order}")
    seen = replay(house)
    assert (seen.messages, seen.withheld) == (0, {Reason.CAP: 1})
    late_order(house, ada, promised_on=(NOON - 5 * DAY).date())
    assert replay(house).messages == 1


def test_a_draft_is_replayed_as_if_it_were_live(house: House) -> None:
    house.customer()
    house.rule(status="draft")
    assert replay(house).messages == 1


def test_another_tick_takes_the_place_of_the_schedule(house: House) -> None:
    house.customer()
    house.rule(when="{event: order.updated}")
    assert replay(house).slots == 0
    seen = replay(house, every=relativedelta(hours=6))
    assert (seen.slots, seen.messages) == (20, 1)


def test_facts_without_history_are_named_with_their_condition(house: House) -> None:
    house.rule(condition="tier: gold, created_at: {before: 3 days ago}")
    said = "tier is taken as it is today; no history of it is kept (always)"
    assert said in replay(house).notes
    assert not any("created_at" in note for note in replay(house).notes)


def test_every_looks_the_same_as_in_full(house: House) -> None:
    for number in range(4):
        late_order(house, house.customer(), promised_on=(NOON - number * DAY).date())
    house.rule(subject="order", condition=LATE, limits="{once_per: order}", steps=STEPS)
    quick, full = replay(house), replay(house, thorough=True)
    assert quick.as_json() | {"looks": 0} == full.as_json() | {"looks": 0}
    assert quick.looks < full.looks == full.slots


@pytest.mark.parametrize(("start", "end"), [(NOON, NOON), (NOON, NOON - DAY)])
def test_a_period_that_is_none(house: House, start: datetime, end: datetime) -> None:
    house.rule()
    with pytest.raises(ValueError, match="before it begins"):
        backtest(house.app, rule_of(house.app, "hello"), start, end)


@pytest.fixture
def shell(sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[House, CliRunner]:
    made = House(sqlite_engine, tmp_path, {"live_from": THE_BEGINNING})
    made.template()
    late_order(made, made.customer(first_name="Ada"))
    made.rule(subject="order", condition=LATE, limits="{once_per: order}")
    for name, value in {
        "DATABASE_URL": str(sqlite_engine.url),
        "RULES": str(tmp_path / "rules"),
        "TEMPLATES": str(tmp_path / "templates"),
        "LIVE_FROM": THE_BEGINNING.isoformat(),
    }.items():
        monkeypatch.setenv(f"BEFOREHAND_{name}", value)
    return made, CliRunner()


PERIOD = ["--from", "2026-03-05", "--to", "2026-03-10"]


def test_the_command_shows_days_reasons_examples_and_notes(shell: tuple[House, CliRunner]) -> None:
    done = shell[1].invoke(command_line, ["backtest", "hello", *PERIOD])
    assert done.exit_code == 0, done.output
    for said in ("1 occasion", "1 message would have gone", "Good day, Ada.", "promised_on is taken as it is today"):
        assert said in done.output


def test_the_command_writes_json_csv_and_a_chart(shell: tuple[House, CliRunner], tmp_path: Path) -> None:
    table, chart = tmp_path / "days.csv", tmp_path / "days.svg"
    files = ["--csv", str(table), "--chart", str(chart)]
    done = shell[1].invoke(command_line, ["backtest", "hello", *PERIOD, "--json", *files])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["messages"], told["from"]) == (1, "2026-03-05T00:00:00+00:00")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert sum(int(row["messages"]) for row in rows) == 1
    drawn = ElementTree.fromstring(chart.read_text())
    assert drawn.tag.endswith("svg")
    assert not re.search(r"(src|href)=.https?:", chart.read_text()), "nothing is fetched when the picture is opened"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hello", "--from", "2026-03-10", "--to", "2026-03-01"], "must lie before"),
        (["hello", "--from", "someday", "--to", "2026-03-01"], "--from 'someday' is not a moment"),
        (["helo", *PERIOD], "did you mean hello?"),
        (["hello", *PERIOD, "--every", "often"], "--every 'often' is not a duration"),
        (["hello", *PERIOD, "--every", "0 minutes"], "--every '0 minutes' is not"),
        (["hello", *PERIOD, "--chart", "days.png"], "must end in .svg"),
        (["hello", *PERIOD, "--csv", "/nowhere/days.csv"], "there is no folder"),
        (["hello", "--from", "2999-03-10", "--to", "2999-03-11"], "has not come yet"),
    ],
)
def test_wrong_use_is_said_plainly(shell: tuple[House, CliRunner], arguments: list[str], said: str) -> None:
    done = shell[1].invoke(command_line, ["backtest", *arguments])
    assert done.exit_code == 2
    assert said in done.output.replace("\n", " ")
