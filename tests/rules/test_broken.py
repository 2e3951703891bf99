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
    ("a list", "- 1", "case.yaml:1:1: a rule file is a mapping; expected id, title, purpose, for_each, if or then"),
    ("not YAML", "id: [case", "case.yaml:1:10: this is not YAML: a bracket is opened and never closed"),
    ("a symbol", condition("{net_total: >= 5}"), "case.yaml:6:18: this is not YAML: a text cannot begin with '>'; expected quotes around it"),
    ("a tab", "id: case\n\ttitle: x", "case.yaml:2:1: this is not YAML: a tab stands here; expected spaces"),
    ("a word out of line", HEAD + "if:\n  a: {shipped_at: present}\n b: {shipped_at: present}\n" + THEN, "case.yaml:7:2: this is not YAML: the lines do not fit together here; expected as many spaces before the word as its neighbours have, and a ':' behind each word"),
    ("no colon", HEAD.replace("title: ", "title ") + IF + THEN, "case.yaml:3:1: this is not YAML: a word without its ':'; expected a ':' and a space behind it"),
    ("a colon too many", HEAD.replace("A case", "A case: mine") + IF + THEN, "case.yaml:2:14: this is not YAML: a ':' stands where none can; expected quotes around a text that has one, or the ':' that is missing in the line above"),
    ("twice", HEAD + "id: case\n" + IF + THEN, "case.yaml:5:1: the key 'id' stands twice (first in line 1)"),
    ("an anchor", HEAD + "if: &a\n  b: {shipped_at: present}\nunless: *a\n" + THEN, "case.yaml:5:5: anchors and aliases are not allowed\ncase.yaml:7:9: anchors and aliases are not allowed"),
    ("a tag", condition("{number: !!python/name:os.system x}"), "case.yaml:6:15: tags are not allowed: tag:yaml.org,2002:python/name:os.system"),
    ("two documents", HEAD + IF + THEN + "---\nid: x\n", "case.yaml:9:1: this is not YAML: expected a single document in the stream"),
    ("an unknown key", extra("prio: 5"), "case.yaml:8:1: unknown key of a rule 'prio'; expected id, title, why, owner, status, from, percent, purpose, priority, for_each, when, if ...; did you mean priority?"),
    ("an unknown key with a hint", extra("limit: {}"), "case.yaml:8:1: unknown key of a rule 'limit'; expected id, title, why, owner, status, from, percent, purpose, priority, for_each, when, if ...; did you mean limits?"),
    ("no title", HEAD.replace("title: A case\n", "") + IF + THEN, "case.yaml:1:1: 'title' is missing; expected what the rule does, in one line"),
    ("no then", HEAD + IF, "case.yaml:1:1: 'then' is missing; expected the steps it takes"),
    ("another id", HEAD.replace("id: case", "id: other") + IF + THEN, "case.yaml:1:5: the id 'other' differs from the file's name; expected 'case'"),
    ("a bad id", HEAD.replace("id: case", "id: My Case") + IF + THEN, "case.yaml:1:5: 'My Case' cannot be a rule's id; expected small letters, digits and hyphens"),
    ("an id of ours", HEAD.replace("id: case", "id: dispatch") + IF + THEN, "case.yaml:1:5: 'dispatch' is the name of something of ours in Prefect; expected another id"),
    ("a bad status", extra("status: on"), "case.yaml:8:9: unknown status 'on'; expected draft, shadow, live or retired"),
    ("a bad purpose", HEAD.replace("service", "servise") + IF + THEN, "case.yaml:3:10: unknown purpose 'servise'; expected service, survey or marketing; did you mean service?"),
    ("a bad priority", extra("priority: high"), "case.yaml:8:11: 'high' is no priority; expected a number from 0 to 100"),
    ("a bad subject", HEAD.replace("order", "orders") + IF + THEN, "case.yaml:4:11: unknown subject 'orders'; expected customer, order, subscription, call, ticket, event or exposure; did you mean order?"),
    ("a subject nobody looks at", HEAD.replace("order", "product") + IF + THEN, "case.yaml:4:11: unknown subject 'product'; expected customer, order, subscription, call, ticket, event or exposure"),
    ("shadow without when", extra("status: shadow"), "case.yaml:1:1: a shadow rule needs 'when'; expected when it looks"),
    ("live without when", extra("status: live"), "case.yaml:1:1: a live rule needs 'when'; expected when it looks\ncase.yaml:8:9: warning: a live rule should have a test that sends and one that does not"),
    ("an unknown fact", condition("{shiped_at: present}"), "case.yaml:6:7: 'shiped_at' is not known of an order; expected external_id, number, placed_at, placed_on, promised_on, shipped_at, shipped_on, delivered_at, delivered_on, cancelled_at, cancelled_on, returned_at ...; did you mean shipped_at?"),
    ("a hint for a fact", condition("{shiped_at: present}"), "case.yaml:6:7: 'shiped_at' is not known of an order; expected external_id, number, placed_at, placed_on, promised_on, shipped_at, shipped_on, delivered_at, delivered_on, cancelled_at, cancelled_on, returned_at ...; did you mean shipped_at?"),
    ("a hint along a path", condition("{customer.teir: gold}"), "case.yaml:6:7: 'teir' is not known of a customer; expected external_id, first_name, last_name, email, phone, language, time_zone, country, tier, preferred_channel, birthday, created_at ...; did you mean customer.tier?"),
    ("an unknown relation", condition("{custommer.tier: gold}"), "case.yaml:6:7: 'custommer' is not known of an order; expected customer, lines, payments, tickets, surveys or exposures; did you mean customer?"),
    ("a symbol as a test", condition("{net_total: {'>=': 5 EUR}}"), "case.yaml:6:19: unknown test of a money '>='; expected is, is_not, in, not_in, at_least, at_most, more_than, less_than or between"),
    ("a hint for a test", condition("{net_total: {at_leest: 5 EUR}}"), "case.yaml:6:19: unknown test of a money 'at_leest'; expected is, is_not, in, not_in, at_least, at_most, more_than, less_than or between; did you mean at_least?"),
    ("an ordering of text", condition("{number: {at_least: 5}}"), "case.yaml:6:16: unknown test of a text 'at_least'; expected is, is_not, in, not_in, contains or starts_with"),
    ("no value", condition("{number: }"), "case.yaml:6:15: 'number' has no value; expected a value, 'missing' or 'present'"),
    ("a boolean of YAML 1.1", condition("{number: no}"), "case.yaml:6:15: 'no' cannot be compared with the text 'number'; expected a text (in quotes where it is yes, no, on, off, true or false)"),
    ("a true where text is due", condition("{number: true}"), "case.yaml:6:15: 'True' cannot be compared with the text 'number'; expected a text (in quotes where it is yes, no, on, off, true or false)"),
    ("money without a currency", condition("{net_total: {at_least: 1000}}"), "case.yaml:6:29: '1000' cannot be compared with the money 'net_total'; expected an amount with its currency, such as 1000 EUR"),
    ("money in no currency", condition("{net_total: {at_least: 1000 EURO}}"), "case.yaml:6:29: '1000 EURO' cannot be compared with the money 'net_total'; expected an amount with its currency, such as 1000 EUR"),
    ("too many decimals", condition("{net_total: {at_least: 1.005 EUR}}"), "case.yaml:6:29: '1.005 EUR' cannot be compared with the money 'net_total'; expected an amount with its currency, such as 1000 EUR"),
    ("not a time", condition("{shipped_at: {before: soon}}"), "case.yaml:6:28: 'soon' cannot be compared with the moment 'shipped_at'; expected today, yesterday, tomorrow, a weekday, '3 days ago', 'in 3 days', a date, a time or another fact"),
    ("not a date", condition("{shipped_at: {before: 2026-02-30}}"), "case.yaml:6:28: '2026-02-30' cannot be compared with the moment 'shipped_at'; expected today, yesterday, tomorrow, a weekday, '3 days ago', 'in 3 days', a date, a time or another fact"),
    ("not a duration", condition("{shipped_at: {within: 3 fortnights}}"), "case.yaml:6:28: '3 fortnights' is not a duration; expected a duration such as '30 minutes', '2 days' or '12 months'"),
    ("an unknown word of ours", HEAD.replace("order", "call") + "if:\n  a: {outcome: droped}\n" + THEN, "case.yaml:6:16: unknown outcome 'droped'; expected completed, dropped, no_answer, busy, failed, voicemail or abandoned; did you mean dropped?"),
    ("an empty list", condition("{number: {in: []}}"), "case.yaml:6:20: a list of values is due here; expected [one, two] or a CSV file"),
    ("a list that is not there", condition("{number: {in: lists/none.csv}}"), "case.yaml:6:20: there is no list 'lists/none.csv'; expected a CSV file beside the rules, such as lists/vip.csv"),
    ("a list outside", condition("{number: {in: ../../etc/x.csv}}"), "case.yaml:6:20: the list '../../etc/x.csv' lies outside the rules folder; expected a CSV file beside the rules, such as lists/vip.csv"),
    ("between of one", condition("{net_total: {between: [1 EUR]}}"), "case.yaml:6:28: between takes two values; expected [lowest, highest]"),
    ("an empty condition", condition("{}"), "case.yaml:6:6: a condition is missing; expected facts with what they must be, such as {tier: gold}"),
    ("a fact where a name is due", HEAD + "if:\n  shipped_at: present\n" + THEN, "case.yaml:6:3: 'shipped_at' stands where the name of a condition is due; expected a name first, such as 'this_holds: {shipped_at: ...}'"),
    ("no test of many", condition("{lines: present}"), "case.yaml:6:14: 'lines' are many, so say which test; expected any, none, count, sum, average, min, max, latest or change"),
    ("two tests of many", condition("{lines: {any: {}, count: 2}}"), "case.yaml:6:14: 2 tests where exactly one is due; expected any, none, count, sum, average, min, max, latest or change"),
    ("an unknown test of many", condition("{lines: {some: {}}}"), "case.yaml:6:14: no tests where exactly one is due; expected any, none, count, sum, average, min, max, latest or change\ncase.yaml:6:15: unknown test of a relation 'some'; expected any, none, count, sum, average, min, max, latest, change, where, within, within_next ..."),
    ("within what has no time", condition("{lines: {count: 2, within: 3 days}}"), "case.yaml:6:14: a line has no time of its own, so 'within' has nothing to count on"),
    ("a sum of nothing", condition("{lines: {sum: {at_least: 3}}}"), "case.yaml:6:20: 'sum' needs 'of'; expected quantity, unit_price or net_total"),
    ("a sum of text", condition("{lines: {sum: {of: currency, at_least: 3}}}"), "case.yaml:6:25: unknown fact to take the sum of 'currency'; expected quantity, unit_price or net_total"),
    ("a change without a window", condition("{customer.orders: {change: {of: count, less_than: -5%}}}"), "case.yaml:6:33: change compares two windows, so it needs 'within'; expected within: 90 days"),
    ("a change that is no percentage", condition("{customer.orders: {change: {of: count, less_than: 5}, within: 3 days}}"), "case.yaml:6:56: '5' is not a change in percent; expected such as -50%"),
    ("one, not a fact", condition("{customer: gold}"), "case.yaml:6:17: 'customer' is one customer, not a fact; expected one of its facts, such as customer.external_id"),
    ("this, too deep", condition("{customer.orders: {any: {lines: {any: {net_total: this.net_total}}}}}"), "case.yaml:6:56: 'this.net_total': 'this' can be used in a relation, not in a relation of a relation"),
    ("no step", step("3"), "case.yaml:7:8: a step is one thing to do; expected send, call, survey, wait, task, voucher or webhook"),
    ("an unknown step", step("{sned: late-order}"), "case.yaml:7:9: unknown step 'sned'; expected send, call, survey, wait, task, voucher or webhook; did you mean send?"),
    ("an unknown key of a step", step("{send: late-order, via: sms}"), "case.yaml:7:27: unknown key of a send step 'via'; expected send, by, valid_for or else"),
    ("an unknown channel", step("{send: late-order, by: [sms, fax]}"), "case.yaml:7:37: unknown channel 'fax'; expected sms, voice, email or preferred"),
    ("a wait for nothing", step("{wait: soon}"), "case.yaml:7:15: 'soon' cannot be waited for; expected a duration such as '30 minutes', '2 days' or '12 months', or 'until' and a time of the order"),
    ("a wait for no time", step("{wait: until customer.tier}"), "case.yaml:7:15: 'customer.tier' is not a time that comes; expected such as until issue.closed_at"),
    ("a stop on nothing", step("{wait: 2 days, stop_if: {delivred_at: present}}"), "case.yaml:7:33: 'delivred_at' is not known of an order; expected external_id, number, placed_at, placed_on, promised_on, shipped_at, shipped_on, delivered_at, delivered_on, cancelled_at, cancelled_on, returned_at ...; did you mean delivered_at?"),
    ("a task for nobody", step("{task: Ring them}"), "case.yaml:7:8: a task needs 'to'; expected the desk that does it"),
    ("a voucher of nothing", step("{voucher: {worth: 0 EUR, valid_for: 9 days}}"), "case.yaml:7:26: '0 EUR' is no worth; expected an amount with its currency, such as 1000 EUR"),
    ("a voucher for ever", step("{voucher: {worth: 5 EUR}}"), "case.yaml:7:18: a voucher needs 'valid_for'; expected {worth: 50 EUR, valid_for: 90 days}"),
    ("a voucher without bounds", step("{voucher: {worth: 5 EUR, valid_for: 9 days, budget: 100 EUR}}"), "case.yaml:7:60: '100 EUR' is no budget; expected such as 5000 EUR per month"),
    ("too many tries", step("{call: recovery-call, tries: 99}"), "case.yaml:7:37: '99' tries cannot be made; expected a number from 1 to 10"),
    ("an uneven beat", extra("when: {every: 7 minutes}"), "case.yaml:8:15: '7 minutes' is not a time for 'every'; expected a duration that divides the hour or the day; for a time of day use 'at'"),
    ("no time of day", extra('when: {at: "weekdays 25:00"}'), "case.yaml:8:12: 'weekdays 25:00' is not a time for 'at'; expected such as '09:00', 'weekdays 09:00', 'monday 09:00' or 'monday, thursday 09:00'"),
    ("no cron", extra('when: {cron: "0 9 * *"}'), "case.yaml:8:14: '0 9 * *' is not a time for 'cron'; expected five cron fields, such as '0 9 * * 1-5'"),
    ("an unknown event", extra("when: {event: order.updatd}"), "case.yaml:8:15: unknown event 'order.updatd'; expected call.ended, call.updated, customer.updated, event.happened, event.updated, exposure.updated, issue.changed, issue.declared, order.cancelled, order.delivered, order.placed, order.shipped, order.updated, subscription.updated, survey.answered, survey.updated, ticket.closed, ticket.opened or ticket.updated; did you mean order.updated?"),
    ("an unknown occasion", extra("limits: {once_per: ticket}"), "case.yaml:8:20: unknown occasion 'ticket'; expected order, customer or customer every 180 days"),
    ("a brake in numbers", extra("limits: {brake: 5}"), "case.yaml:8:17: '5' is no share; expected such as 5% of customers"),
    ("a limit in words", extra("limits: {at_most: a few}"), "case.yaml:8:19: 'a few' is no limit; expected such as 500 messages per day"),
    ("a test without a name", extra("tests: [{now: 2026-01-01, expect: nothing}]"), "case.yaml:8:9: a test needs 'name'; expected the story in a few words"),
    ("nested too deep", condition("{all_of: " + "[" * 40 + "]" * 40 + "}"), "case.yaml:6:52: this is nested over 40 levels deep"),
    ("a key that is a list", HEAD + IF + "? [a, b]\n: 1\n" + THEN, "case.yaml:7:3: a key is one word, not a list or a mapping"),
    ("zeros", "id: case\0", "case.yaml:1:1: this is not a text file; expected a file saved as UTF-8"),
    ("twice deep down", condition("{number: '3', shipped_at: present, number: '4'}"), "case.yaml:6:41: the key 'number' stands twice (first in line 6)"),
    ("a title that is a list", HEAD.replace("A case", "[A, case]") + IF + THEN, "case.yaml:2:8: 'title' needs a text; expected what the rule does, in one line"),
    ("an empty title", HEAD.replace("A case", "''") + IF + THEN, "case.yaml:2:8: 'title' needs a text; expected what the rule does, in one line"),
    ("conditions in a list", HEAD + "if: [shipped_at]\n" + THEN, "case.yaml:5:5: 'if' is a mapping of named conditions; expected a name, then what must hold"),
    ("no steps", HEAD + IF + "then: []\n", "case.yaml:7:7: 'then' is a list of steps; expected send, call, survey, wait, task, voucher or webhook"),
    ("limits in a list", extra("limits: [5]"), "case.yaml:8:9: a mapping is due here, with a limit a line; expected once_per, valid_for, at_most, brake, holdout or when_capped"),
    ("an unknown clock", extra("when: {evry: 1 hour}"), "case.yaml:8:8: unknown clock 'evry'; expected every, at, cron or event; did you mean every?"),
    ("a percentage over all", extra("limits: {holdout: 120%}"), "case.yaml:8:19: '120%' is no share; expected such as 5% of customers"),
    ("an unknown limit", extra("limits: {at_mst: 5}"), "case.yaml:8:10: unknown limit 'at_mst'; expected once_per, valid_for, at_most, brake, holdout or when_capped; did you mean at_most?"),
    ("a group of nothing", condition("{any_of: []}"), "case.yaml:6:15: any_of is empty; expected a list of conditions"),
    ("a fact that says nothing", condition("{number: {}}"), "case.yaml:6:15: 'number' says nothing; expected is, is_not, in, not_in, contains or starts_with"),
    ("a text for a number", HEAD.replace("order", "ticket") + "if:\n  a: {reopen_count: many}\n" + THEN, "case.yaml:6:21: 'many' cannot be compared with the number 'reopen_count'; expected a number, at most 9 quadrillion"),
    ("a symbol for a list", condition("{number: {in: a}}"), "case.yaml:6:20: a list of values is due here; expected [one, two] or a CSV file"),
    ("money in a list file", condition("{net_total: {in: lists/vip.csv}}"), "case.yaml:6:23: a list file holds texts, and 'net_total' is a money; expected the values here, such as [one, two]"),
    ("two kinds of step", step("{send: late-order, task: Ring}"), "case.yaml:7:8: a step is one thing to do; expected send, call, survey, wait, task, voucher or webhook"),
    ("else that is a wait", step("{call: recovery-call, else: {wait: 2 days}}"), "case.yaml:7:36: 'else' is one send or call step, without tries or an else of its own"),
    ("a voucher with an unknown term", step("{voucher: {worth: 5 EUR, valid_for: 9 days, budgt: 5 EUR per day}}"), "case.yaml:7:52: unknown term of a voucher 'budgt'; expected worth, valid_for, budget or per_customer; did you mean budget?"),
    ("an amount for a customer without a time", step("{voucher: {worth: 5 EUR, valid_for: 9 days, per_customer: 50 EUR}}"), "case.yaml:7:66: '50 EUR' is no amount per time; expected such as 100 EUR per 12 months"),
    ("a voucher worth more than a customer may get", step("{voucher: {worth: 5 EUR, valid_for: 9 days, per_customer: 4 EUR per 9 days}}"), "case.yaml:7:66: this per_customer does not pay for a single voucher; expected an amount in EUR, the worth of one voucher or more"),
    ("an over-long word", condition("{" + "shipped_" * 20 + ": present}"), "case.yaml:6:7: 'shipped_shipped_shipped_shipped_shipped_shipped_shipped_shi…' is not known of an order; expected external_id, number, placed_at, placed_on, promised_on, shipped_at, shipped_on, delivered_at, delivered_on, cancelled_at, cancelled_on, returned_at ..."),
    ("once for a bad while", extra("limits: {once_per: customer every full moon}"), "case.yaml:8:20: 'full moon' is not a duration; expected a duration such as '30 minutes', '2 days' or '12 months'"),
    ("on is a boolean of YAML 1.1", condition("{number: on}"), "case.yaml:6:15: 'on' cannot be compared with the text 'number'; expected a text (in quotes where it is yes, no, on, off, true or false)"),
    ("a moment for a text", condition("{number: {before: today}}"), "case.yaml:6:16: unknown test of a text 'before'; expected is, is_not, in, not_in, contains or starts_with"),
    ("a percentage in words", extra("percent: half"), "case.yaml:8:10: 'half' is no share of the customers; expected a number from 0 to 100"),
    ("a start in words", extra("from: soon"), "case.yaml:8:7: 'soon' is no time to go live from; expected now, a date such as 2026-03-01, a time such as 2026-03-01 09:00 Europe/Berlin, or the beginning"),
    ("an average of a time", condition("{customer.orders: {average: {of: placed_at, before: today}}}"), "case.yaml:6:39: unknown fact to take the average of 'placed_at'; expected net_total, shipping_total or gross_total"),
    ("a bound that is missing", condition("{customer.orders: {sum: {of: net_total}}}"), "case.yaml:6:30: a bound is missing; expected is, is_not, at_least, at_most, more_than, less_than or between"),
    ("an ordering with a symbol", condition("{customer.orders: {count: {'>': 2}}}"), "case.yaml:6:33: unknown bound '>'; expected is, is_not, at_least, at_most, more_than, less_than or between"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [pytest.param(t, s, id=name) for name, t, s in BROKEN])
def test_what_is_said_of_a_broken_file(tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules").mkdir()
    Path("rules/case.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RuleErrors) as refused:
        load_folder(Path("rules"))
    assert [line.removeprefix("rules/") for line in str(refused.value).splitlines()] == said.splitlines()


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
