"""Broken rule files and what is said of them: place, sentence, what was expected, what was perhaps meant."""

from pathlib import Path

import pytest

from rules.errors import RuleErrors
from rules.loader import load_folder
from rules.reader import MAX_BYTES

HEAD = "id: case\ntitle: A case\npurpose: service\nfor_each: order\n"
IF = "if:\n  a: {shipped_at: present}\n"
THEN = "then: [{send: late-order}]\n"


def condition(text: str) -> str:
    """A rule with this one condition, which stands in line 6, column 6."""
    return f"{HEAD}if:\n  a: {text}\n{THEN}"


def step(text: str) -> str:
    """A rule with this one step, which stands in line 7, column 7."""
    return f"{HEAD}{IF}then: [{text}]\n"


def extra(text: str) -> str:
    """A rule with one more line, line 8."""
    return f"{HEAD}{IF}{THEN}{text}\n"


BROKEN = [
    ("empty", "", "case.yaml:1:1: the file is empty"),
    ("a list", "- 1", "case.yaml:1:1: a rule file is a mapping"),
    ("not YAML", "id: [case", "case.yaml:1:10: this is not YAML"),
    ("a symbol", condition("{net_total: >= 5}"), "case.yaml:6:18: this is not YAML"),
    ("a tab", "id: case\n\ttitle: x", "case.yaml:2:1: this is not YAML"),
    ("twice", HEAD + "id: case\n" + IF + THEN, "case.yaml:5:1: the key 'id' stands twice (first in line 1)"),
    ("an anchor", HEAD + "if: &a\n  b: {shipped_at: present}\nunless: *a\n" + THEN, "case.yaml:5:5: anchors and aliases are not allowed"),
    ("a tag", condition("{number: !!python/name:os.system x}"), "case.yaml:6:15: tags are not allowed"),
    ("two documents", HEAD + IF + THEN + "---\nid: x\n", "this is not YAML"),
    ("an unknown key", extra("prio: 5"), "case.yaml:8:1: unknown key of a rule 'prio'; expected id, title"),
    ("an unknown key with a hint", extra("limit: {}"), "did you mean limits?"),
    ("no title", HEAD.replace("title: A case\n", "") + IF + THEN, "case.yaml:1:1: 'title' is missing; expected what the rule does"),
    ("no then", HEAD + IF, "'then' is missing; expected the steps it takes"),
    ("another id", HEAD.replace("id: case", "id: other") + IF + THEN, "case.yaml:1:5: the id 'other' differs from the file's name; expected 'case'"),
    ("a bad id", HEAD.replace("id: case", "id: My Case") + IF + THEN, "'My Case' cannot be a rule's id"),
    ("an id of ours", HEAD.replace("id: case", "id: dispatch") + IF + THEN, "'dispatch' is the name of something of ours in Prefect"),
    ("a bad status", extra("status: on"), "case.yaml:8:9: unknown status 'on'; expected draft, shadow, live or retired"),
    ("a bad purpose", HEAD.replace("service", "servise") + IF + THEN, "unknown purpose 'servise'; expected service, survey or marketing; did you mean service?"),
    ("a bad priority", extra("priority: high"), "case.yaml:8:11: 'high' is no priority; expected a number from 0 to 100"),
    ("a bad subject", HEAD.replace("order", "orders") + IF + THEN, "case.yaml:4:11: unknown subject 'orders'"),
    ("a subject nobody looks at", HEAD.replace("order", "product") + IF + THEN, "unknown subject 'product'"),
    ("live without when", extra("status: live"), "a live rule needs 'when'"),
    ("an unknown fact", condition("{shiped_at: present}"), "case.yaml:6:7: 'shiped_at' is not known of an order"),
    ("a hint for a fact", condition("{shiped_at: present}"), "did you mean shipped_at?"),
    ("a hint along a path", condition("{customer.teir: gold}"), "did you mean customer.tier?"),
    ("an unknown relation", condition("{custommer.tier: gold}"), "'custommer' is not known of an order"),
    ("a symbol as a test", condition("{net_total: {'>=': 5 EUR}}"), "case.yaml:6:19: unknown test of a money '>='"),
    ("a hint for a test", condition("{net_total: {at_leest: 5 EUR}}"), "did you mean at_least?"),
    ("an ordering of text", condition("{number: {at_least: 5}}"), "unknown test of a text 'at_least'"),
    ("no value", condition("{number: }"), "'number' has no value; expected a value, 'missing' or 'present'"),
    ("a boolean of YAML 1.1", condition("{number: no}"), "'no' cannot be compared with the text 'number'; expected a text (in quotes"),
    ("a true where text is due", condition("{number: true}"), "'True' cannot be compared with the text 'number'"),
    ("money without a currency", condition("{net_total: {at_least: 1000}}"), "expected an amount with its currency, such as 1000 EUR"),
    ("money in no currency", condition("{net_total: {at_least: 1000 EURO}}"), "'1000 EURO' cannot be compared"),
    ("too many decimals", condition("{net_total: {at_least: 1.005 EUR}}"), "'1.005 EUR' cannot be compared"),
    ("not a time", condition("{shipped_at: {before: soon}}"), "'soon' cannot be compared with the moment 'shipped_at'"),
    ("not a date", condition("{shipped_at: {before: 2026-02-30}}"), "'2026-02-30' cannot be compared"),
    ("not a duration", condition("{shipped_at: {within: 3 fortnights}}"), "case.yaml:6:28: '3 fortnights' is not a duration"),
    ("an unknown word of ours", HEAD.replace("order", "call") + "if:\n  a: {outcome: droped}\n" + THEN, "unknown outcome 'droped'"),
    ("an empty list", condition("{number: {in: []}}"), "a list of values is due here"),
    ("a list that is not there", condition("{number: {in: lists/none.csv}}"), "there is no list 'lists/none.csv'"),
    ("a list outside", condition("{number: {in: ../../etc/x.csv}}"), "lies outside the rules folder"),
    ("between of one", condition("{net_total: {between: [1 EUR]}}"), "between takes two values"),
    ("an empty condition", condition("{}"), "case.yaml:6:6: a condition is missing"),
    ("a fact where a name is due", HEAD + "if:\n  shipped_at: present\n" + THEN, "case.yaml:6:3: 'shipped_at' stands where the name of a condition is due"),
    ("no test of many", condition("{lines: present}"), "'lines' are many, so say which test; expected any, none, count"),
    ("two tests of many", condition("{lines: {any: {}, count: 2}}"), "2 tests where exactly one is due"),
    ("an unknown test of many", condition("{lines: {some: {}}}"), "unknown test of a relation 'some'"),
    ("within what has no time", condition("{lines: {count: 2, within: 3 days}}"), "a line has no time of its own"),
    ("a sum of nothing", condition("{lines: {sum: {at_least: 3}}}"), "'sum' needs 'of'; expected quantity, unit_price or net_total"),
    ("a sum of text", condition("{lines: {sum: {of: currency, at_least: 3}}}"), "unknown fact to take the sum of 'currency'"),
    ("a change without a window", condition("{customer.orders: {change: {of: count, less_than: -5%}}}"), "it needs 'within'"),
    ("a change that is no percentage", condition("{customer.orders: {change: {of: count, less_than: 5}, within: 3 days}}"), "is not a change in percent"),
    ("one, not a fact", condition("{customer: gold}"), "'customer' is one customer, not a fact"),
    ("this, too deep", condition("{customer.orders: {any: {lines: {any: {net_total: this.net_total}}}}}"), "not in a relation of a relation"),
    ("no step", step("3"), "case.yaml:7:8: a step is one thing to do"),
    ("an unknown step", step("{sned: late-order}"), "unknown step 'sned'; expected send, call, survey, wait, task, voucher or webhook; did you mean send?"),
    ("an unknown key of a step", step("{send: late-order, via: sms}"), "unknown key of a send step 'via'"),
    ("an unknown channel", step("{send: late-order, by: [sms, fax]}"), "unknown channel 'fax'; expected sms, voice, email or preferred"),
    ("a wait for nothing", step("{wait: soon}"), "'soon' cannot be waited for"),
    ("a wait for no time", step("{wait: until customer.tier}"), "'customer.tier' is not a time that comes"),
    ("a stop on nothing", step("{wait: 2 days, stop_if: {delivred_at: present}}"), "did you mean delivered_at?"),
    ("a task for nobody", step("{task: Ring them}"), "a task needs 'to'"),
    ("a voucher of nothing", step("{voucher: {worth: 0 EUR, valid_for: 9 days}}"), "'0 EUR' is no worth"),
    ("a voucher for ever", step("{voucher: {worth: 5 EUR}}"), "a voucher needs 'valid_for'"),
    ("a voucher without bounds", step("{voucher: {worth: 5 EUR, valid_for: 9 days, budget: 100 EUR}}"), "'100 EUR' is no budget; expected such as 5000 EUR per month"),
    ("too many tries", step("{call: recovery-call, tries: 99}"), "'99' tries cannot be made"),
    ("an uneven beat", extra("when: {every: 7 minutes}"), "'7 minutes' is not a time for 'every'"),
    ("no time of day", extra('when: {at: "weekdays 25:00"}'), "'weekdays 25:00' is not a time for 'at'"),
    ("no cron", extra('when: {cron: "0 9 * *"}'), "'0 9 * *' is not a time for 'cron'"),
    ("an unknown event", extra("when: {event: order.updatd}"), "unknown event 'order.updatd'"),
    ("an unknown occasion", extra("limits: {once_per: ticket}"), "unknown occasion 'ticket'; expected order, customer or customer every 180 days"),
    ("a brake in numbers", extra("limits: {brake: 5}"), "'5' is no share; expected such as 5% of customers"),
    ("a limit in words", extra("limits: {at_most: a few}"), "'a few' is no limit; expected such as 500 messages per day"),
    ("a test without a name", extra("tests: [{now: 2026-01-01, expect: nothing}]"), "a test needs 'name'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [pytest.param(t, s, id=name) for name, t, s in BROKEN])
def test_what_is_said_of_a_broken_file(tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules").mkdir()
    Path("rules/case.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RuleErrors) as refused:
        load_folder(Path("rules"))
    assert said in str(refused.value)


def test_all_errors_of_all_files_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(condition("{teir: gold, nummber: 3}").replace("case", "one"))
    (tmp_path / "two.yaml").write_text("id: two\n")
    (tmp_path / "fine.yaml").write_text(condition("{number: '3'}").replace("id: case", "id: fine"))
    with pytest.raises(RuleErrors) as refused:
        load_folder(tmp_path)
    lines = str(refused.value).splitlines()
    assert sum("one.yaml" in line for line in lines) == 2
    assert sum("two.yaml" in line for line in lines) == 5


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_bytes(b"id: case\ntitle: \xff\n")
    with pytest.raises(RuleErrors, match=r"case.yaml:1:1: byte 16 is not UTF-8"):
        load_folder(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text("a: " + "x" * (MAX_BYTES + 1))
    with pytest.raises(RuleErrors, match="over 256 kB"):
        load_folder(tmp_path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuleErrors, match="no such folder or file"):
        load_folder(tmp_path / "none")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_bytes(b"\xef\xbb\xbf" + condition("{number: '3'}").encode())
    assert list(load_folder(tmp_path).rules) == ["case"]


def test_a_live_rule_without_tests_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text(extra('status: live\nwhen: {at: "09:00"}'))
    (warning,) = load_folder(tmp_path).warnings
    assert "a test that sends and one that does not" in str(warning)
