"""The sample shop: the same bytes for the same arguments, well-formed, and everything planted that rules look for."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import phonenumbers
import polars as pl
import pytest
from typer.testing import CliRunner

from beforehand import sample
from beforehand.cli import app as command_line

NOW = datetime(2026, 3, 10, 10, 0, tzinfo=UTC)
TIMES = ["placed", "shipped", "delivered", "cancelled", "returned"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    sample.write(folder, now=NOW)
    return folder


def table(shop: Path, name: str) -> pl.DataFrame:
    path = shop / name
    return pl.read_ndjson(path) if path.suffix == ".jsonl" else pl.read_csv(path, infer_schema=False)


def orders(shop: Path) -> pl.DataFrame:
    times = [pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S", time_zone="UTC") for name in TIMES]
    read = table(shop, "orders.csv.gz").with_columns(*times, pl.col("net").cast(pl.Float64, strict=False))
    zones = table(shop, "customers.csv").select("id", "time_zone").unique("id", keep="first")
    today = pl.col("time_zone").map_elements(
        lambda zone: str(NOW.astimezone(ZoneInfo(zone if "Mars" not in zone else "UTC")).date()), pl.String
    )
    return read.join(zones, left_on="customer", right_on="id", how="left").with_columns(today=today)


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        sample.write(tmp_path / name, now=NOW, customers=120)
    sample.write(tmp_path / "other", now=NOW, customers=120, seed=8)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert digest(tmp_path / "one") != digest(tmp_path / "other")


def test_a_naive_now_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="now needs a time zone"):
        sample.write(tmp_path, now=datetime(2026, 3, 10))  # noqa: DTZ001


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_small_shop_can_be_written_too(tmp_path: Path, seed: int) -> None:
    sample.write(tmp_path, now=NOW, customers=100, seed=seed)
    assert {path.name for path in tmp_path.iterdir() if table(tmp_path, path.name).height < 3} == set()


def test_a_shop_too_small_to_show_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 100 customers"):
        sample.write(tmp_path, now=NOW, customers=99)


def test_it_is_as_large_as_the_demo_promises(shop: Path) -> None:
    customers = table(shop, "customers.csv")
    assert customers["id"].drop_nulls().n_unique() == 2400
    assert customers["country"].n_unique() == 6
    assert set(customers["language"].str.slice(0, 2).unique()) == {"en", "ar", "zh"}
    bought = orders(shop)
    assert 18_000 < bought.height < 30_000
    assert 40_000 < table(shop, "order_lines.csv.gz").height < 70_000
    placed = bought["placed"]
    assert timedelta(days=540) < NOW - placed.min() < timedelta(days=549)  # type: ignore[operator]
    products = table(shop, "products.csv")
    assert (products.height, products["category"].n_unique()) == (60, 8)


def test_phones_are_valid_and_from_ranges_for_fiction_where_there_are_any(shop: Path) -> None:
    rows = table(shop, "customers.csv").select("phone", "country").drop_nulls().rows()
    bad = [phone for phone, _ in rows if not phone.startswith("+")]
    assert bad == ["12345", "call me maybe"]
    good = [(phone, country) for phone, country in rows if phone.startswith("+")]
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(phone)) for phone, _ in good)
    assert all("55501" in phone for phone, _ in good if phone.startswith("+1"))
    british = [phone for phone, _ in good if phone.startswith("+44")]
    assert all(phone[9:10] == "0" and phone[3:9] in sample.places.LONDON_AND_OTHERS for phone in british)
    numbers = [phone for phone, _ in good]
    assert len(numbers) - len(set(numbers)) == 3  # one family with one phone, two rows that stand twice


def test_e_mails_are_at_domains_kept_for_examples(shop: Path) -> None:
    addresses = [text for text in table(shop, "customers.csv")["email"].drop_nulls() if "@" in text]
    assert {address.rpartition("@")[2] for address in addresses} == {"example.com", "example.net", "example.org"}


def test_nothing_lies_after_now_and_times_are_in_order(shop: Path) -> None:
    bought = orders(shop)
    for name in TIMES:
        assert bought.filter(pl.col(name) > NOW).height == 0
    for earlier, later in (("placed", "shipped"), ("shipped", "delivered"), ("delivered", "returned")):
        assert bought.filter(pl.col(later) < pl.col(earlier)).height == 0
    calls = table(shop, "calls.jsonl")
    assert calls.filter(pl.col("ended") > f"{NOW:%Y-%m-%dT%H:%M:%SZ}").height == 0
    for name, column in (("tickets.csv", "closed"), ("surveys.csv", "answered"), ("consents.csv", "given")):
        assert table(shop, name).filter(pl.col(column) > f"{NOW:%Y-%m-%d %H:%M:%S}").height == 0


def test_totals_are_the_sums_of_the_lines(shop: Path) -> None:
    lines = table(shop, "order_lines.csv.gz").with_columns(pl.col("net").cast(pl.Float64))
    sums = lines.group_by("order").agg(pl.col("net").sum().alias("sum"))
    both = orders(shop).drop_nulls("net").join(sums, left_on="number", right_on="order", how="inner")
    assert both.height > 18_000
    assert both.filter((pl.col("net") - pl.col("sum")).abs() > 0.005).height == 0


def test_yesterday_a_depot_failed(shop: Path) -> None:
    late = orders(shop).filter(
        pl.col("promised") < pl.col("today"), pl.col("shipped").is_not_null(), pl.col("delivered").is_null()
    )
    assert 50 <= late.height <= 70
    assert late["customer"].n_unique() == late.height


def test_about_sixty_loyal_customers(shop: Path) -> None:
    year = orders(shop).filter(pl.col("placed") > NOW - timedelta(days=365), pl.col("cancelled").is_null())
    each = year.group_by("customer").agg(pl.len().alias("orders"), pl.col("net").sum())
    assert 50 <= each.filter(pl.col("orders") >= 10, pl.col("net") >= 1000).height <= 75


def test_regulars_who_stopped_are_not_the_many(shop: Path) -> None:
    each = orders(shop).group_by("customer").agg(pl.len().alias("orders"), pl.col("placed").max())
    stopped = each.filter(pl.col("orders") >= 4, pl.col("placed") < NOW - timedelta(days=90))
    assert 40 <= stopped.height <= 150


def test_callbacks_dropped_just_now_where_it_is_day(shop: Path) -> None:
    calls = table(shop, "calls.jsonl").filter(pl.col("ended") > f"{NOW - timedelta(minutes=26):%Y-%m-%dT%H:%M:%SZ}")
    dropped = calls.filter(pl.col("direction") == "out", pl.col("outcome").is_in(["DROPPED", "NO ANSWER"]))
    answered = calls.filter(pl.col("outcome") == "ANSWERED")
    assert dropped.height == 12
    assert answered.height == 2
    assert set(answered["phone"]) < set(dropped["phone"])


@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_at_any_hour_of_the_day_somebody_was_called_back(tmp_path: Path, hour: int) -> None:
    now = NOW.replace(hour=hour)
    sample.write(tmp_path, now=now, customers=400)
    recent = table(tmp_path, "calls.jsonl").filter(
        pl.col("ended") > f"{now - timedelta(minutes=26):%Y-%m-%dT%H:%M:%SZ}", pl.col("reason") == "callback"
    )
    assert recent.height == 12


def test_the_known_issue_the_tickets_and_the_sour_surveys(shop: Path) -> None:
    kettles = table(shop, "order_lines.csv.gz").filter(pl.col("product") == "KIT-04")
    assert 100 <= kettles.height <= 140
    day_ago = f"{NOW - timedelta(days=1):%Y-%m-%d %H:%M:%S}"
    tickets = table(shop, "tickets.csv")
    assert 25 <= tickets.filter(pl.col("closed") > day_ago).height <= 60
    assert 30 <= tickets.filter(pl.col("closed").is_null()).height <= 70
    two_days_ago = f"{NOW - timedelta(days=2):%Y-%m-%d %H:%M:%S}"
    sour = table(shop, "surveys.csv").filter(pl.col("answered") > two_days_ago, pl.col("score").is_in(["1", "2"]))
    late = orders(shop).filter(pl.col("delivered").dt.date().cast(pl.String) > pl.col("promised"))
    assert 5 <= sour.join(late, left_on="order", right_on="number", how="semi").height <= 25


def test_newcomers_and_consents(shop: Path) -> None:
    since = f"{NOW - timedelta(days=30):%Y-%m-%d}"
    assert 60 <= table(shop, "customers.csv").filter(pl.col("created_at") > since).height <= 150
    consents = table(shop, "consents.csv")
    granted = consents.filter(pl.col("verdict") == "granted").group_by("purpose").agg(pl.col("customer").n_unique())
    shares = {purpose: count / 2400 for purpose, count in granted.rows()}
    assert 0.7 < shares["marketing"] < 0.85
    assert 0.8 < shares["survey"] < 0.95
    assert consents.filter(pl.col("verdict") == "withdrawn").height > 100


def test_the_command_writes_the_same_shop(tmp_path: Path) -> None:
    sample.write(tmp_path / "direct", now=NOW, customers=100)
    asked = ["sample", str(tmp_path / "asked"), "--now", NOW.isoformat(), "--customers", "100"]
    assert CliRunner().invoke(command_line, asked).exit_code == 0
    assert digest(tmp_path / "asked") == digest(tmp_path / "direct")


def test_the_command_refuses_a_moment_without_a_zone(tmp_path: Path) -> None:
    done = CliRunner().invoke(command_line, ["sample", str(tmp_path), "--now", "2026-03-10T10:00:00"])
    assert done.exit_code == 2
    assert "is not a moment with a zone; expected for example" in done.stderr
