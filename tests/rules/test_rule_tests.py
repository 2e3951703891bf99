"""What the tests of a rule file may say, what is refused in them, and what their rows become."""

import textwrap
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

import models
from models.database import reading
from rules.attributes import with_attributes
from rules.errors import RuleErrors
from rules.facts import subjects
from rules.given import Given
from rules.loader import load_text
from rules.reader import Complaints, Node, read
from rules.shorthand import Row, Shorthand, frame
from tests.rules.build import NOW, rule_of

RULE = """\
id: case
title: A case
purpose: service
for_each: order
if: {something: {number: '3'}}
then: [{send: late-order, by: sms}]
tests:
  - name: a story
    now: 2026-03-10 10:00 Europe/Berlin
"""


def with_test(more: str) -> str:
    return RULE + textwrap.indent(textwrap.dedent(more).strip(), "    ") + "\n"


REFUSED = [
    ("no expectation", "given: {}", "case.yaml:8:5: a test needs 'expect'"),
    ("an empty list", "expect: []", "asserts nothing; expected nothing, {withheld: REASON} or a list of steps"),
    ("an empty mapping", "expect: {}", "case.yaml:10:13: a test that expects neither something nor nothing asserts nothing"),
    ("no value", "expect:", "asserts nothing"),
    ("another word", "expect: something", "asserts nothing"),
    ("an unknown fact", "given: {order: {delivred_at: yesterday}}\nexpect: nothing", "case.yaml:10:21: unknown fact of an order 'delivred_at'"),
    ("an unknown fact, meant", "given: {customer: {teir: gold}}\nexpect: nothing", "did you mean tier?"),
    ("an unknown fact in quotes", 'given: {customer: {orders: "2 x {plced_at: yesterday}"}}\nexpect: nothing', "case.yaml:10:32: unknown fact of an order 'plced_at'"),
    ("an unknown subject", "given: {ordr: {}}\nexpect: nothing", "unknown subject 'ordr'"),
    ("no row", "given: {order: late}\nexpect: nothing", "an order is a mapping of its facts"),
    ("a fact that cannot be so", "given: {call: {outcome: dropt}}\nexpect: nothing", "unknown outcome 'dropt'; expected completed, dropped"),
    ("a number in words", "given: {ticket: {satisfaction: high}}\nexpect: nothing", "'high' is no number"),
    ("a time nobody knows", "given: {order: {delivered_at: soon}}\nexpect: nothing", "'soon' is not a time"),
    ("no amount", "given: {order: {net_total: 12}}\nexpect: nothing", "'12' is no amount"),
    ("two currencies", "given: {order: {net_total: 12 EUR, gross_total: 12 USD}}\nexpect: nothing", "one order has one currency"),
    ("not a list of rows", "given: {customer: {orders: many}}\nexpect: nothing", "a list of rows is due here"),
    ("too many rows", 'given: {customer: {orders: "9999 x {}"}}\nexpect: nothing', "a test gives 2000 rows at most"),
    ("a consent to nothing", "given: {customer: {consents: [{channel: fax}]}}\nexpect: nothing", "unknown channel 'fax'"),
    ("a holdout in words", "given: {customer: {holdout: maybe}}\nexpect: nothing", "'maybe' is neither true nor false"),
    ("an unknown reason", "expect: {withheld: no_consnt}", "did you mean no_consent?"),
    ("more than a reason", "expect: {withheld: cap, send: late-order}", "unknown word beside 'withheld' 'send'"),
    ("an unknown step", "expect: [{sned: late-order}]", "unknown step 'sned'"),
    ("two steps in one", "expect: [{send: late-order, task: Ring}]", "one thing that happens"),
    ("an unknown word", "expect: [{send: late-order, channel: sms}]", "unknown word beside 'send' 'channel'"),
    ("an unknown channel", "expect: [{send: late-order, by: fax}]", "unknown channel 'fax'"),
    ("no time of day", "expect: [{send: late-order, at: noon}]", "is not a time at which a message goes"),
    ("no day", "expect: [{send: late-order, at: someday 07:00}]", "is not a time at which a message goes"),
    ("a voucher of nothing", "expect: [{voucher: ten}]", "'ten' is no amount"),
    ("an unknown key", "expects: nothing\nexpect: nothing", "unknown key of a test 'expects'"),
    ("no duration", "after: soon\nexpect: nothing", "'soon' is not a duration"),
    ("later looks that are none", "expect: nothing\nthen: {after: 2 days}", "'then' is a list of later looks"),
    ("a later look at no time", "expect: nothing\nthen: [{expect: nothing}]", "a later look needs 'after'"),
    ("an unknown channel that fails", "undelivered: [fax]\nexpect: nothing", "unknown channel 'fax'"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "said"), [pytest.param(m, s, id=name) for name, m, s in REFUSED])
def test_what_is_refused_in_a_test(more: str, said: str) -> None:
    with pytest.raises(RuleErrors) as refused:
        load_text(with_test(more), "case")
    assert said in str(refused.value)


@pytest.mark.parametrize("now", ["today", "2026-13-10 10:00", "2026-03-10 10:00 Europe/Berlim", "9999-03-10 10:00"])
def test_a_now_that_is_no_moment_is_refused(now: str) -> None:
    text = with_test("expect: nothing").replace("2026-03-10 10:00 Europe/Berlin", now)
    with pytest.raises(RuleErrors, match=r"case\.yaml:9:10: "):
        load_text(text, "case")


def test_two_tests_of_one_name_are_refused() -> None:
    text = with_test("expect: nothing")
    again = text[text.index("  - name:") :]
    with pytest.raises(RuleErrors, match=r"case.yaml:11:11: two tests are called 'a story'"):
        load_text(text + again, "case")


def test_a_kept_version_goes_on_whatever_its_tests_say() -> None:
    text = with_test("expect: []")
    assert load_text(text, "case", tests=False).tests == ()


def test_the_stages_of_a_test() -> None:
    more = """
        expect: [{send: late-order, by: sms, at: tomorrow 07:00, says: [sorry, soon]}]
        then:
          - {after: 2 days, expect: {withheld: stopped}}
          - {after: 1 day, expect: nothing}
    """
    (test,) = load_text(with_test(more), "case").tests
    first, second, third = test.stages
    assert (first.after, first.steps[0].says) == (None, ("sorry", "soon"))
    assert first.steps[0].at is not None
    assert first.steps[0].at.day == date(2026, 3, 11)
    assert (second.withheld, third.steps, third.withheld) == ("stopped", (), None)
    assert test.sends


# -- rows --------------------------------------------------------------------------------------------------

BERLIN = frame(Node(NOW, 1, 1), Complaints("now"))


def row(subject: str, text: str) -> Row:
    said = Complaints("given")
    found = Shorthand(subjects(), BERLIN, said).row(subjects()[subject], read(text, "given"))
    assert said.problems == []
    return found


def test_times_days_and_money() -> None:
    given = row("order", "{placed_at: 40 days ago, delivered_on: yesterday, promised_on: monday, net_total: 12.50 EUR}")
    assert given.values == {
        "placed_at": datetime(2026, 1, 29, 9, 0, tzinfo=UTC),
        "delivered_at": datetime(2026, 3, 9, 11, 0, tzinfo=UTC),
        "promised_on": date(2026, 3, 9),
        "net_total": 1250,
        "currency": "EUR",
    }


@pytest.mark.parametrize(
    "text",
    [
        '{orders: "3 x {number: A}"}',
        "{orders: {3 x: {number: A}}}",
        "{orders: [{number: A}, {number: A}, {number: A}]}",
        '{orders: [{number: A}, "2 x {number: A}"]}',
        "{orders: [{number: A}, {2 x: {number: A}}]}",
    ],
)
def test_many_rows_in_few_words(text: str) -> None:
    assert [each.values for each in row("customer", text).many["orders"]] == [{"number": "A"}] * 3


def test_one_row_needs_no_list() -> None:
    assert [each.values for each in row("customer", "{orders: {number: A}}").many["orders"]] == [{"number": "A"}]


def test_all_facts_of_ones_own_are_kept(tmp_path: Path) -> None:
    facts = tmp_path / "facts.yaml"
    facts.write_text("customer:\n  club: text\n  since: {type: day}\n  points: number\n")
    said = Complaints("given")
    known = with_attributes(subjects(), facts)
    node = read("{club: blue, since: yesterday, points: 3}", "given")
    found = Shorthand(known, BERLIN, said).row(known["customer"], node)
    assert said.problems == []
    assert found.values == {"attributes": {"club": "blue", "since": "2026-03-09", "points": 3}}


def built(engine: Engine, rule_subject: str, given: str) -> dict[str, list[Any]]:
    """The rows that a given makes, by table."""
    rule = rule_of("a: {customer: present}" if rule_subject != "customer" else "a: {tier: gold}", subject=rule_subject)
    found: dict[str, list[Any]] = {}
    with reading(engine) as connection:
        maker = Given(connection, rule, BERLIN, Complaints("given"), lambda kind, address: f"{kind}:{address}")
        maker.build(read(textwrap.dedent(given), "given"))
        for name, table in models.Base.metadata.tables.items():
            found[name] = list(connection.execute(select(table)))
    return found


def test_what_a_row_needs_is_there(database: Engine) -> None:
    rows = built(database, "exposure", "exposure: {}")
    assert [len(rows[name]) for name in ("exposure", "known_issue", "orders", "order_line")] == [1, 1, 1, 1]
    assert rows["exposure"][0].customer_id == rows["customer"][0].id


def test_nobody_is_known(database: Engine) -> None:
    rows = built(database, "call", "{customer: missing, call: {outcome: dropped}}")
    assert (rows["customer"], rows["call"][0].customer_id) == ([], None)


def test_a_subject_of_nobody_among_known_customers(database: Engine) -> None:
    rows = built(database, "call", "call: {outcome: dropped, customer: missing}")
    assert (len(rows["customer"]), rows["call"][0].customer_id) == (1, None)


def test_what_we_sent_before(database: Engine) -> None:
    rows = built(database, "customer", 'customer: {messages: "2 x {created_at: 2 days ago, channel: email}"}')
    assert [(each.channel, each.purpose, each.state) for each in rows["message"]] == [
        ("email", "service", "delivered")
    ] * 2
    assert len({each.occasion for each in rows["match"]}) == 2


def test_addresses_that_must_not_be_used(database: Engine) -> None:
    rows = built(database, "customer", 'customer: {phone: "+4915112345678", suppressed: sms}')
    assert [(each.address_hash, each.channel) for each in rows["suppression"]] == [("sms:+4915112345678", "sms")]


def test_consents_are_of_everything_unless_they_say(database: Engine) -> None:
    rows = built(database, "customer", "customer: {consents: [{verdict: withdrawn, given_at: 2 days ago}]}")
    (entry,) = rows["consent"]
    assert (entry.channel, entry.purpose, entry.verdict) == ("all", "all", "withdrawn")
    assert entry.given_at == datetime(2026, 3, 8, 9, 0, tzinfo=UTC)
