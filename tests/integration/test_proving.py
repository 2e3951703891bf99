"""The tests in rule files, run: what passes, what fails, and the words in which a failure is told."""

import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beforehand import ROOT
from beforehand.proving import Outcome, Prover, prove_all, prove_files
from beforehand.proving.junit import junit
from beforehand.proving.watching import affected, changed, footprint, watch
from beforehand.settings import Settings
from rules.loader import load_text

CATALOG = ROOT / "rules" / "catalog"
LATE = """
- name: a story
  now: 2026-03-10 10:00 Europe/Berlin
  given:
    customer: {phone: "+4915112345678", email: a@example.com, orders: "2 x {delivered_at: 9 days ago}"}
    order: {promised_on: yesterday, shipped_at: 3 days ago}
"""
CALL = """
- name: a story
  now: 2026-03-10 10:00 Europe/Berlin
  given:
    customer: {phone: "+4915112345678", time_zone: Europe/Berlin}
    call: {direction: outbound, reason: callback, outcome: dropped, started_at: 9 minutes ago, ended_at: 5 minutes ago}
"""
LOYAL = """
- name: a story
  now: 2026-03-09 09:00 Europe/Berlin
  given:
    customer:
      email: ada@example.com
      consents: [{channel: email, purpose: marketing}]
      orders: "12 x {placed_at: 30 days ago, delivered_at: 20 days ago, net_total: 120 EUR}"
"""
TASK = "Phone the customer, the parcel is still missing"
ISSUE = """
- name: a story
  now: 2026-03-10 10:00 Europe/Berlin
  given:
    customer: {email: ada@example.com}
    issue: {severity: high, declared_at: 1 hour ago, closed_at: in 12 days}
    exposure: {}
"""


@pytest.fixture(scope="module")
def prover() -> Iterator[Prover]:
    made = Prover(Settings(_env_file=None))
    yield made
    made.close()


def proven(prover: Prover, rule_id: str, story: str, more: str, **edits: str) -> Outcome:
    """The outcome of one test of a shipped rule; ``edits`` are replaced in the story."""
    for old, new in edits.items():
        assert old in story
        story = story.replace(old, new)
    text = (CATALOG / f"{rule_id}.yaml").read_text(encoding="utf-8")
    text = text[: text.index("tests:")] + "tests:" + story + textwrap.indent(textwrap.dedent(more).strip(), "  ") + "\n"
    rule = load_text(text, rule_id, CATALOG)
    return prover.prove(rule, rule.tests[0])


PASSES = [
    ("sends at once", "late-order", LATE, "expect: [{send: late-order, by: sms}]"),
    ("any channel", "late-order", LATE, "expect: {send: late-order}"),
    ("words of the message", "late-order", LATE, "expect: {send: late-order, says: [Sorry Ada, late], language: en}"),
    (
        "later looks",
        "late-order",
        LATE,
        """
        expect: [{send: late-order, by: sms, at: "10:00"}]
        then:
          - {after: 47 hours, expect: nothing}
          - {after: 1 hour, expect: [{task: "Phone the customer, the parcel is still missing", to: delivery-desk}]}
        """,
    ),
    ("all at the end", "late-order", LATE, f"after: 3 days\nexpect: [{{send: late-order}}, {{task: '{TASK}'}}]"),
    (
        "nobody picks up",
        "dropped-callback",
        CALL,
        """
        undelivered: [voice]
        after: 1 hour
        expect:
          - {call: dropped-callback, at: "10:03"}
          - {call: dropped-callback, at: "10:23"}
          - {send: sorry-we-missed-you, by: sms, at: "10:23"}
        """,
    ),
    ("somebody picks up", "dropped-callback", CALL, "after: 1 hour\nexpect: [{call: dropped-callback}]"),
    (
        "an awaited moment",
        "known-issue",
        ISSUE,
        """
        expect: [{send: known-issue, by: email}]
        then:
          - {after: 11 days, expect: nothing}
          - {after: 2 days, expect: [{send: issue-fixed, by: email, at: "2026-03-22 10:00"}]}
        """,
    ),
    ("a voucher comes first", "thank-you-voucher", LOYAL, "expect: [{voucher: 50 EUR}, {send: thank-you-voucher}]"),
]  # fmt: skip


@pytest.mark.parametrize(("rule_id", "story", "more"), [pytest.param(*c[1:], id=c[0]) for c in PASSES])
def test_what_passes(prover: Prover, rule_id: str, story: str, more: str) -> None:
    outcome = proven(prover, rule_id, story, more)
    assert (outcome.differences, outcome.because) == ((), ())


def test_quiet_hours_move_a_message_to_the_morning(prover: Prover) -> None:
    night = {"10:00": "23:30", "email: a@example.com, ": ""}
    at_seven = proven(prover, "late-order", LATE, "expect: [{send: late-order, at: tomorrow 07:00}]", **night)
    assert at_seven.passed
    assert at_seven.got == "send late-order by sms at 2026-03-11 07:00"
    at_eight = proven(prover, "late-order", LATE, 'expect: [{send: late-order, at: "08:00"}]', **night)
    assert at_eight.differences == ("send late-order goes at 2026-03-11 07:00 where the customer lives, not at 08:00",)


def test_what_comes_in_time_stops_the_rest(prover: Prover) -> None:
    more = "expect: [{send: late-order}]\nthen: [{after: 3 days, expect: {withheld: stopped}}]"
    assert proven(prover, "late-order", LATE, more, **{"3 days ago": "3 days ago, delivered_at: in 1 day"}).passed


REASONS = [
    ("opted_out", "consents: [{purpose: service, verdict: withdrawn}]"),
    ("suppressed", "suppressed: all"),
    ("cap", 'messages: "4 x {created_at: 2 hours ago}"'),
    ("known_occasion", "messages: [{rule_id: late-order, created_at: 2 hours ago}]"),
]


@pytest.mark.parametrize(("reason", "given"), REASONS)
def test_reasons_can_be_expected(prover: Prover, reason: str, given: str) -> None:
    said = {"customer: {": f"customer: {{{given}, "}
    assert proven(prover, "late-order", LATE, f"expect: {{withheld: {reason}}}", **said).differences == ()
    other = proven(prover, "late-order", LATE, "expect: {withheld: no_consent}", **said)
    assert f"({reason})" in other.differences[0]


def test_once_in_a_while_is_known_too(prover: Prover) -> None:
    before = "messages: [{rule_id: thank-you-voucher, created_at: 20 days ago}]\n      consents"
    assert proven(prover, "thank-you-voucher", LOYAL, "expect: {withheld: known_occasion}", consents=before).passed
    long_ago = before.replace("20 days", "200 days")
    assert not proven(
        prover, "thank-you-voucher", LOYAL, "expect: {withheld: known_occasion}", consents=long_ago
    ).passed


def test_a_failure_names_the_conditions_that_do_not_hold_and_their_values(prover: Prover) -> None:
    few = {"120 EUR": "20 EUR", "consents": "vouchers: [{issued_at: 20 days ago}]\n      consents"}
    outcome = proven(prover, "thank-you-voucher", LOYAL, "expect: [{voucher: 50 EUR}]", **few)
    assert (outcome.expected, outcome.got) == ("voucher 50 EUR", "nothing")
    total = "the sum of net_total of orders in the last 12 months"
    assert outcome.because == (
        f"'valuable' does not hold: {total}: 240.00 EUR, needed at least 1,000.00 EUR",
        "'thanked', which stops it, holds: vouchers in the last 180 days: 1, stops if at least one",
    )


def test_a_failure_names_the_days_that_were_compared(prover: Prover) -> None:
    outcome = proven(prover, "late-order", LATE, "expect: [{send: late-order}]", yesterday="today")
    assert outcome.because == (
        "'promise_broken' does not hold: promised_on: Tue 10 Mar 2026, needed before today (Tue 10 Mar 2026)",
    )


def test_a_failure_names_what_holds_where_nothing_was_expected(prover: Prover) -> None:
    outcome = proven(prover, "late-order", LATE, "expect: nothing")
    assert outcome.differences == ("nothing was expected, but send late-order by sms",)
    (good,) = [line for line in outcome.because if line.startswith("'good_customer' holds: ")]
    assert good.endswith("orders in the last 365 days, delivered: 2, needed at least 2")
    assert "'complaint_open', which would stop it, does not hold" in outcome.because


def test_a_failure_names_the_gate(prover: Prover) -> None:
    said = {"customer: {": "customer: {suppressed: all, "}
    outcome = proven(prover, "late-order", LATE, "expect: [{send: late-order}]", **said)
    assert outcome.because[0] == "withheld: the address must not be used (suppressed)"


def test_a_failure_says_that_time_must_go_on(prover: Prover) -> None:
    outcome = proven(prover, "dropped-callback", CALL, "expect: [{call: dropped-callback}]")
    assert outcome.because[0] == "it waits until 2026-03-10 09:03 UTC; a later 'after' would see more"


def test_a_failure_says_which_template_was_meant(prover: Prover) -> None:
    outcome = proven(prover, "late-order", LATE, "expect: [{send: late-ordr, by: sms}]")
    assert outcome.differences == ("expected send late-ordr by sms, got send late-order by sms",)
    assert outcome.because[0] == "the rule never sends 'late-ordr'; did you mean late-order?"


def test_a_failure_says_what_the_message_says(prover: Prover) -> None:
    outcome = proven(prover, "late-order", LATE, "expect: [{send: late-order, by: email, says: free shipping}]")
    assert outcome.differences[0] == "send late-order goes by sms, not by email"
    assert outcome.differences[1] == "send late-order does not say 'free shipping'"
    assert outcome.differences[2].startswith("it says: Beforehand Shop: Sorry Ada")


def test_a_subject_that_is_not_given_is_said(prover: Prover) -> None:
    story = LATE.replace("    order: {promised_on: yesterday, shipped_at: 3 days ago}\n", "").replace(
        'orders: "2 x {delivered_at: 9 days ago}"', "tier: gold"
    )
    outcome = proven(prover, "late-order", story, "expect: [{send: late-order}]")
    assert outcome.because == ("the test gives no order, so there is nothing to look at",)


def test_several_subjects_are_told_apart(prover: Prover) -> None:
    story = LATE.replace("    order: {promised_on: yesterday, shipped_at: 3 days ago}\n", "")
    outcome = proven(prover, "late-order", story, "expect: [{send: late-order}]")
    assert [line.split("'")[0] for line in outcome.because] == ["order 1: "] * 2 + ["order 2: "] * 2


def test_what_never_comes_is_not_looked_for_every_minute(prover: Prover) -> None:
    more = "expect: [{send: known-issue}]\nthen: [{after: 20 months, expect: nothing}]"
    outcome = proven(prover, "known-issue", ISSUE, more, **{", closed_at: in 12 days": ""})
    assert outcome.passed
    assert outcome.seconds < 10


def test_a_template_that_cannot_be_filled_fails_a_test_that_would_pass(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    (folder / "late-order").mkdir(parents=True)
    (folder / "_layout").symlink_to(ROOT / "messaging" / "templates" / "_layout")
    (folder / "late-order" / "sms.en.txt").write_text("Dear {{ customer.nickname }}, it is late.\n")
    mine = Prover(Settings(_env_file=None, templates=folder))
    outcome = proven(mine, "late-order", LATE, "expect: [{send: late-order, by: sms}]")
    mine.close()
    assert not outcome.passed
    assert "send late-order cannot be filled:" in outcome.differences[0]
    assert "'nickname' is unknown" in outcome.differences[0]


def test_drafts_are_tested_as_if_they_were_live(prover: Prover) -> None:
    text = (CATALOG / "late-order.yaml").read_text(encoding="utf-8").replace("status: live", "status: draft")
    rule = load_text(text + "percent: 1\nfrom: 2030-01-01\n", "late-order", CATALOG)
    assert [prover.prove(rule, test).differences for test in rule.tests] == [(), ()]


@pytest.mark.parametrize("path", sorted(CATALOG.glob("*.yaml")), ids=lambda path: path.stem)
def test_one_thing_alone_stops_each_shipped_story_in_which_nothing_happens(prover: Prover, path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("expect: nothing", "expect: {withheld: cap}")
    rule = load_text(text, path.stem, CATALOG)
    stopped = rule.tests[1]
    outcome = prover.prove(rule, stopped)
    assert len(outcome.because) == 1, outcome.because


def test_endpoints_that_are_told(prover: Prover) -> None:
    text = (CATALOG / "late-order.yaml").read_text(encoding="utf-8")
    head, rest = text.split("  - wait: 2 days")
    story = f"tests:{LATE}  expect: [{{send: late-order}}, {{webhook: crm}}]\n"
    text = f"{head}  - webhook: crm\n  - wait: 2 days{rest.split('tests:')[0]}{story}"
    rule = load_text(text, "late-order", CATALOG)
    assert prover.prove(rule, rule.tests[0]).differences == ()


def test_the_holdout_can_be_tested(prover: Prover) -> None:
    said = {"consents": "holdout: true\n      consents"}
    assert proven(prover, "thank-you-voucher", LOYAL, "expect: {withheld: holdout}", **said).passed


def test_each_test_starts_with_nothing(prover: Prover) -> None:
    for _ in range(2):
        assert proven(prover, "late-order", LATE, "expect: [{send: late-order}]").passed


# -- files -------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A rule whose tests pass, one with a failing test, one without tests, one that does not load."""
    fine = (CATALOG / "late-order.yaml").read_text(encoding="utf-8")
    (tmp_path / "late-order.yaml").write_text(fine)
    (tmp_path / "failing.yaml").write_text(
        fine.replace("id: late-order", "id: failing").replace(
            "expect: nothing", 'expect: [{send: late-order, says: "<&\\a"}]'
        )
    )
    (tmp_path / "untested.yaml").write_text(fine.replace("id: late-order", "id: untested").split("tests:")[0])
    (tmp_path / "broken.yaml").write_text(
        fine.replace("id: late-order", "id: broken").replace("promised_on:", "promisd_on:")
    )
    return sorted(tmp_path.glob("*.yaml"))


def test_a_broken_file_does_not_keep_others_from_being_tested(prover: Prover, files: list[Path]) -> None:
    report = prove_files(prover, files)
    assert {rule: [o.passed for o in outcomes] for rule, outcomes in report.rules.items()} == {
        "failing": [True, False],
        "late-order": [True, True],
        "untested": [],
    }
    assert [Path(unread.path).name for unread in report.unread] == ["broken.yaml"]
    assert not report.fine


def test_on_several_cores_the_report_is_the_same(prover: Prover, files: list[Path]) -> None:
    told: list[str] = []
    settings = Settings(_env_file=None)
    several = prove_all(settings, files, told=lambda rule_id, _: told.append(rule_id), jobs=2)
    alone = prove_files(prover, files)
    assert [(o.rule_id, o.test, o.differences) for o in several.outcomes] == [
        (o.rule_id, o.test, o.differences) for o in alone.outcomes
    ]
    assert (several.unread, several.paths) == (alone.unread, alone.paths)
    assert told == list(alone.rules)


def test_the_junit_report_adds_up(prover: Prover, files: list[Path]) -> None:
    root = ET.fromstring(junit(prove_files(prover, files)))
    counts = {name: int(root.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": 5, "failures": 1, "errors": 1, "skipped": 0}
    for name in counts:
        assert counts[name] == sum(int(suite.attrib[name]) for suite in root.iter("testsuite"))
    assert [len(list(root.iter(tag))) for tag in ("testcase", "failure", "error")] == [5, 1, 1]
    for case in root.iter("testcase"):
        assert case.attrib.keys() >= {"name", "classname", "file", "line", "time"}
        assert float(case.attrib["time"]) >= 0
    failing = next(case for case in root.iter("testcase") if case.find("failure") is not None)
    line = Path(failing.attrib["file"]).read_text(encoding="utf-8").splitlines()[int(failing.attrib["line"]) - 1]
    assert "says: " in line


def test_watching_tells_what_was_saved_once_it_is_whole(tmp_path: Path) -> None:
    rule, template = tmp_path / "rules" / "one.yaml", tmp_path / "templates" / "sms.en.txt"
    for path in (rule, template):
        path.parent.mkdir()
        path.write_text("1")
    told: list[set[Path]] = []
    nothing: list[Callable[[], object]] = [lambda: 0] * 3
    first: list[Callable[[], object]] = [lambda: rule.write_text("22"), lambda: rule.write_text("333")]
    saves = iter([*first, *nothing, template.unlink, *nothing])
    left = [len(first) + 2 * len(nothing) + 1]

    def rest() -> None:
        left[0] -= 1
        next(saves)()

    watch([rule.parent, template.parent], told.append, rest=rest, going=lambda: left[0] > 0)
    assert told == [{rule}, {template}]


def test_what_must_be_tested_again(tmp_path: Path) -> None:
    one, two, text = tmp_path / "one.yaml", tmp_path / "two.yaml", tmp_path / "sms.en.txt"
    for path in (one, two):
        path.write_text("x")
    before = footprint([tmp_path])
    two.write_text("xy")
    assert affected([one, two], changed(before, footprint([tmp_path]))) == [two]
    text.write_text("new")
    assert affected([one, two], changed(before, footprint([tmp_path]))) == [one, two]
