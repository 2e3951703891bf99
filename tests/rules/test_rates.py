"""Money of several currencies: refused without rates, converted row by row with them, the same on both databases."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Engine, String, literal, select

from models.database import reading
from rules.currencies import refuse_mixed_currencies
from rules.errors import RuleErrors
from rules.exchange import converted
from rules.given import Given, frame
from rules.rates import LARGEST, Rates, convert, load_rates
from rules.reader import Complaints, Node, read
from tests.rules.build import NOW, rule_of, who

FILE = "from,to,rate\nUSD,EUR,0.92\nEUR,JPY,163.25\nEUR,KWD,0.333\nGBP,EUR,1.1875\n"


@pytest.fixture
def rates(tmp_path: Path) -> Rates:
    path = tmp_path / "rates.csv"
    path.write_text(FILE)
    return load_rates(path, "EUR")


def holds(engine: Engine, rates: Rates | None, condition: str, rows: str, subject: str = "customer") -> bool:
    """Whether the condition holds for the one subject of the given rows; refused as a pass refuses it."""
    rule = replace(rule_of(f"a:\n  {condition}", subject=subject), rates=rates)
    said = Complaints("given")
    at = frame(Node(NOW, 1, 1), said)
    with reading(engine) as connection:
        Given(connection, rule, at, said).build(read(rows, "given"))
        refuse_mixed_currencies(connection, rule)
        return bool(who(connection, rule, at.now))


def of(orders: str) -> str:
    return f"customer: {{orders: [{orders}]}}"


CASES = [
    ("orders: {sum: {of: net_total, at_least: 192 EUR}}", "{net_total: 100 EUR}, {net_total: 100 USD}", True),
    ("orders: {sum: {of: net_total, more_than: 192 EUR}}", "{net_total: 100 EUR}, {net_total: 100 USD}", False),
    ("orders: {average: {of: net_total, is: 96 EUR}}", "{net_total: 100 EUR}, {net_total: 100 USD}", True),
    ("orders: {min: {of: net_total, is: 92 EUR}}", "{net_total: 100 EUR}, {net_total: 100 USD}", True),
    ("orders: {max: {of: net_total, is: 163 JPY}}", "{net_total: 1 EUR}, {net_total: 162 JPY}", True),
    ("orders: {any: {net_total: {at_least: 3 EUR}}}", "{net_total: 1 KWD}, {net_total: 1 EUR}", True),
    ("orders: {any: {net_total: {more_than: 3 EUR}}}", "{net_total: 1 KWD}, {net_total: 1 EUR}", False),
    ("orders: {any: {net_total: {is: 0.333 KWD}}}", "{net_total: 1 EUR}", True),
    ("orders: {any: {net_total: [1.19 EUR, 9 EUR]}}", "{net_total: 1 GBP}, {net_total: 2 USD}", True),
    ("orders: {none: {net_total: {between: [1 EUR, 2 EUR]}}}", "{net_total: 1 USD}, {net_total: 3 USD}", True),
    ("orders: {none: {net_total: {is_not: 92 EUR}}}", "{net_total: 100 USD}, {net_total: 92 EUR}", True),
    ("orders: {none: {net_total: {not_in: [92 EUR]}}}", "{net_total: 100 USD}, {net_total: 92 EUR}", True),
    (
        "orders: {change: {of: net_total, between: [-8%, -8%]}, within: 30 days}",
        "{net_total: 100 USD, placed_at: 3 days ago}, {net_total: 100 EUR, placed_at: 40 days ago}",
        True,
    ),
]


@pytest.mark.parametrize(("condition", "orders", "expected"), CASES)
def test_each_row_is_converted_to_the_bounds_currency(
    database: Engine, rates: Rates, condition: str, orders: str, expected: bool
) -> None:
    assert holds(database, rates, condition, of(orders)) is expected


@pytest.mark.parametrize(("condition", "orders", "_expected"), CASES)
def test_without_rates_the_same_is_refused(database: Engine, condition: str, orders: str, _expected: bool) -> None:
    with pytest.raises(RuleErrors, match="BEFOREHAND_RATES"):
        holds(database, None, condition, of(orders))


ROWS = "customer: {{}}\norder: {{gross_total: {0}, payments: [{{amount: {1}}}]}}"
OTHER = "payments: {any: {amount: {less_than: this.gross_total}}}"


def test_the_money_of_two_rows_is_compared_in_one_currency(database: Engine, rates: Rates) -> None:
    assert holds(database, rates, OTHER, ROWS.format("100 EUR", "108 USD"), "order")
    assert not holds(database, rates, OTHER, ROWS.format("100 EUR", "109 USD"), "order")
    assert holds(database, rates, OTHER, ROWS.format("163 JPY", "162 JPY"), "order"), "the same currency stays as it is"
    with pytest.raises(RuleErrors, match="money of two rows"):
        holds(database, None, OTHER, ROWS.format("100 EUR", "108 USD"), "order")


def test_a_currency_without_a_rate_is_named(database: Engine, rates: Rates) -> None:
    rows = of("{net_total: 100 EUR}, {net_total: 100 CHF}")
    with pytest.raises(RuleErrors, match=r"needs a rate for CHF.*rates\.csv"):
        holds(database, rates, "orders: {sum: {of: net_total, at_least: 1 EUR}}", rows)
    with pytest.raises(RuleErrors, match="needs a rate for CHF"):
        holds(database, rates, "orders: {sum: {of: net_total, at_least: 1 CHF}}", of("{net_total: 100 EUR}"))
    assert holds(database, rates, "orders: {sum: {of: net_total, at_least: 1 CHF}}", of("{net_total: 100 CHF}")), (
        "one currency alone needs no rate"
    )


def test_money_of_a_stop_condition_is_looked_at_too(database: Engine) -> None:
    rule = rule_of("a: {email: present}", more="")
    wait = "then: [{wait: 1 day, stop_if: {orders: {any: {net_total: 5 EUR}}}}, {send: late-order, by: sms}]"
    from rules.loader import load_text

    rule = load_text(rule.text.replace("then: [{send: late-order, by: sms}]", wait), "case")
    said = Complaints("given")
    at = frame(Node(NOW, 1, 1), said)
    with reading(database) as connection:
        Given(connection, rule, at, said).build(read(of("{net_total: 1 USD}"), "given"))
        with pytest.raises(RuleErrors, match="compares EUR"):
            refuse_mixed_currencies(connection, rule)


@pytest.mark.parametrize("condition", ["net_total: [1 EUR, 2 USD]", "net_total: {between: [1 EUR, 2 USD]}"])
def test_amounts_of_two_currencies_do_not_stand_side_by_side(condition: str) -> None:
    with pytest.raises(RuleErrors, match="EUR and USD stand side by side"):
        rule_of(f"a: {{{condition}}}", subject="order")
    with pytest.raises(RuleErrors, match="EUR and USD stand side by side"):
        rule_of("a: {orders: {sum: {of: net_total, at_least: 1 EUR, at_most: 2 USD}}}")


def test_the_statement_is_the_same_whatever_the_rates(rates: Rates) -> None:
    def text(table: Rates) -> str:
        rule = replace(rule_of("a: {orders: {sum: {of: net_total, at_least: 1 EUR}}}"), rates=table)
        from datetime import UTC, datetime

        from rules.evaluate import matching

        return str(matching(rule, now=datetime(2026, 3, 10, tzinfo=UTC), zone="UTC"))

    assert text(rates) == text(Rates("EUR", (("USD", 1, 2),)))


amounts = st.one_of(st.integers(-(10**13), 10**13), st.sampled_from([0, 1, -1, 5, -5, 50, -50]))
parts = st.one_of(st.integers(1, 40), st.integers(1, LARGEST))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(amount=amounts, above=parts, below=parts)
def test_both_databases_round_as_the_fraction_does(database: Engine, amount: int, above: int, below: int) -> None:
    rate = Fraction(above, below)
    table = Rates("EUR", (("USD", rate.numerator, rate.denominator),))
    exact = abs(amount) * rate
    nearest = int(exact + Fraction(1, 2)) * (1 if amount >= 0 else -1)
    assert convert(amount, rate.numerator, rate.denominator) == nearest
    if abs(nearest) > 2**62:
        return
    asked = converted(literal(amount, BigInteger()), literal("USD", String()), table, "EUR")
    with reading(database) as connection:
        assert connection.execute(select(asked)).scalar_one() == nearest


@pytest.mark.parametrize("code", ["", "usd", "$", '"', "U'D", "CHF", "$.a"])
def test_a_code_that_is_none_is_worth_nothing_known(database: Engine, rates: Rates, code: str) -> None:
    asked = converted(literal(5, BigInteger()), literal(code, String()), rates, "EUR")
    with reading(database) as connection:
        assert connection.execute(select(asked)).scalar_one() is None


WRONG = [
    ("", "rates.csv:1:1: the first line is not the header; expected from,to,rate"),
    ("currency,rate\nUSD,1\n", "rates.csv:1:1: the first line is not the header"),
    ("from,to,rate\nUSD,EUR\n", "rates.csv:2:1: 2 values"),
    ("from,to,rate\nUSD,EUR,0.9\n\nUSD,EUR,0.8\n", "rates.csv:4:1: USD stands twice (first in line 2)"),
    ("from,to,rate\nUSD,GBP,0.9\n", "rates.csv:2:1: neither side is EUR"),
    ("from,to,rate\nEUR,EUR,1\n", "rates.csv:2:1: neither side is EUR"),
    ("from,to,rate\nUSX,EUR,0.9\n", "rates.csv:2:1: 'USX' is no currency"),
    ("from,to,rate\nUSD,EUR,0\nGBP,EUR,-1\nJPY,EUR,x\nKWD,EUR,nan\n", "rates.csv:5:1: 'nan' is no rate"),
    ("from,to,rate\nUSD,EUR,1e14\nJPY,EUR,1e-14\n", "out of all proportion"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_what_is_wrong_in_a_table_of_rates_is_told_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(text)
    with pytest.raises(RuleErrors) as refused:
        load_rates(path, "EUR")
    assert expected in str(refused.value)


def test_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuleErrors, match="the rates cannot be read: No such file"):
        load_rates(tmp_path / "none.csv", "EUR")


def test_a_rate_may_stand_either_way_round(rates: Rates) -> None:
    assert rates.known == {"EUR", "USD", "JPY", "KWD", "GBP"}
    assert {name: Fraction(*parts) for name, parts in rates.into("EUR").items()} == {
        "EUR": Fraction(1),
        "USD": Fraction(92, 100),
        "JPY": Fraction(10000, 16325),  # a yen has no cents
        "KWD": Fraction(100, 333),  # a dinar has a thousand fils
        "GBP": Fraction(11875, 10000),
    }
