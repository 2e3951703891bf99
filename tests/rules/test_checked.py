# ruff: noqa: E501
"""Rule files that load and are still not right: what ``check`` says of them, and where."""

from pathlib import Path

import pytest

from beforehand import ROOT
from beforehand.checking import Checked, House, check
from beforehand.checking.texts import Texts
from messaging.offers import offers
from messaging.rendering import Templates

RULE = """\
id: case
title: A case
status: {status}
purpose: {purpose}
for_each: {subject}
when: {{every: 1 hour}}
if:
  a: {{{condition}}}
then: [{steps}]
{more}
"""
BOTH = """tests:
  - {name: one, now: 2026-03-10 10:00 Europe/Berlin, given: {customer: {phone: "+4915112345678"}}, expect: [{send: late-order, by: sms}]}
  - {name: two, now: 2026-03-10 10:00 Europe/Berlin, given: {customer: {phone: "+4915112345678"}}, expect: nothing}"""


def rule(status: str = "draft", more: str = "", **words: str) -> str:
    said = {"purpose": "service", "subject": "order", "condition": "number: present", "steps": "{send: late-order}"}
    return RULE.format(**(said | words), status=status, more=more)


CHECKED = [
    ("nothing at all", rule(), ""),
    ("a live rule, proven both ways", rule("live", BOTH), ""),
    ("a live rule without tests", rule("live"), "3:9: a live rule should have a test that sends and one that does not"),
    ("a live rule, proven one way", rule("live", BOTH.rsplit("\n", 1)[0]), "3:9: a live rule should have a test that sends and one that does not"),
    ("a shadow rule without tests", rule("shadow"), ""),
    ("no such template", rule(steps="{send: nope}"), "9:15: template 'nope': nope/: there is no such template: the folder is missing or holds no text"),
    ("no such template, but one like it", rule(steps="{send: late-ordr}"), "9:15: template 'late-ordr': late-ordr/: there is no such template: the folder is missing or holds no text; did you mean late-order?"),
    ("in a title or a comment first", rule(more="why: 'so that we send: nope' # send: nope", steps="{send: nope}"), "9:15: template 'nope': nope/: there is no such template: the folder is missing or holds no text"),
    ("the second of two", rule(steps="{send: late-order}, {wait: 2 days}, {send: nope}"), "9:51: template 'nope': nope/: there is no such template: the folder is missing or holds no text"),
    ("in an else", rule(steps="{call: recovery-call, else: {send: nope, by: sms}}"), "9:43: template 'nope': nope/: there is no such template: the folder is missing or holds no text"),
    ("a channel that it lacks", rule(steps="{send: late-order, by: [sms, voice]}"), "9:15: template 'late-order': late-order/voice.en.txt: is missing, so nothing can be said this way"),
    ("a name that nobody knows", rule(steps="{send: odd, by: sms}"), "9:15: template 'odd': odd/sms.en.txt:2: 'numbr' is unknown; known are cancelled_at, currency, delivered_at, gross_total, id, net_total, number, placed_at, promised_on, returned_at, sales_channel, shipped_at, shipping_total"),
    ("another subject", rule(steps="{send: known-issue, by: sms}"), "9:15: template 'known-issue': known-issue/sms.ar.txt:1: nobody knows the name 'issue' here\n9:15: template 'known-issue': known-issue/sms.en.txt:1: nobody knows the name 'issue' here\n9:15: template 'known-issue': known-issue/sms.zh.txt:1: nobody knows the name 'issue' here"),
    ("a voucher that no step gives", rule(purpose="marketing", steps="{send: thank-you-voucher, by: sms}"), "no voucher"),
    ("a voucher under service", rule(steps="{task: Ring, to: desk}, {voucher: {worth: 5 EUR, valid_for: 9 days}}"), "9:33: a voucher is an offer, and a rule with 'purpose: service' makes none; expected purpose: marketing"),
    ("an offer under service", rule(steps="{send: sale, by: sms}"), "9:15: warning: template 'sale' reads like an offer under 'purpose: service': '20% off' in sale/sms.en.txt:3"),
    ("an offer under marketing", rule(purpose="marketing", steps="{send: sale, by: sms}"), ""),
    ("an offer on another channel", rule(steps="{send: sale, by: email}"), ""),
    ("what can never hold", rule(condition="delivered_at: {within_next: 2 days}"), "8:22: warning: a: this can never hold: 'delivered_at' can never be within the next 2 days: it is known only once it has happened"),
    ("what always holds", rule(condition="lines: {count: {at_least: 0}}"), "8:7: warning: a: this always holds, whatever the data say"),
]  # fmt: skip


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    """The shipped templates, and two that are not right."""
    folder = tmp_path / "templates"
    folder.mkdir()
    for shipped in (ROOT / "messaging" / "templates").iterdir():
        (folder / shipped.name).symlink_to(shipped)
    for name, channel, text in [
        ("odd", "sms", "Hello,\nyour order {{ order.numbr }}"),
        ("sale", "sms", "{# 50% off #}Hello,\n{% if voucher %}a coupon{% endif %}\nnow 20% off everything"),
        ("sale", "email", "Subject: Hello\n\nHello."),
    ]:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"{channel}.en.txt").write_text(text + "\n")
    return folder


def checked(tmp_path: Path, templates: Path, text: str, name: str = "case") -> Checked:
    (tmp_path / "rules").mkdir(exist_ok=True)
    (tmp_path / "rules" / f"{name}.yaml").write_text(text)
    return check(tmp_path / "rules", Texts(Templates(templates)))


@pytest.mark.parametrize(("text", "said"), [pytest.param(t, s, id=name) for name, t, s in CHECKED])
def test_what_check_says_of_a_rule_that_loads(tmp_path: Path, templates: Path, text: str, said: str) -> None:
    found = checked(tmp_path, templates, text)
    lines = [str(problem).split("case.yaml:", 1)[1].replace(f"{templates}/", "") for problem in found.problems]
    if said == "no voucher":
        assert lines
        assert all("'worth'" in line and "9:15: template" in line for line in lines)
        return
    assert lines == said.splitlines()
    assert found.rules == 1
    assert not found.refused


def test_one_broken_file_keeps_nothing_of_the_others_from_being_told(tmp_path: Path, templates: Path) -> None:
    checked(tmp_path, templates, "id: broken\n", "broken")
    found = checked(tmp_path, templates, rule(steps="{send: nope}"))
    assert found.refused
    assert {Path(problem.path).stem for problem in found.errors} == {"broken", "case"}


def test_a_rule_that_stands_in_two_files_is_told(tmp_path: Path, templates: Path) -> None:
    checked(tmp_path, templates, rule())
    (tmp_path / "rules" / "case.yml").write_text(rule())
    found = check(tmp_path / "rules", Texts(Templates(templates)))
    assert [problem.said for problem in found.errors] == [f"the rule 'case' stands in {tmp_path}/rules/case.yaml too"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Everything 20% off!", "20% off"),
        ("20 EUR off your next order", "20 EUR off"),
        ("A DISCOUNT for you", "DISCOUNT"),
        ("On sale now", "On sale"),
        ("Your coupon\nis here", "coupon"),
        ("خصم ٢٠٪ لك", "خصم"),
        ("احصل على ٢٠٪", "٢٠٪"),
        ("بالخصم الكبير", "خصم"),
        ("全场8折", "8折"),
        ("优惠券", "优惠"),
        ("Please switch it off and on again", None),
        ("We drop off your parcel", None),
        ("Our salesman will ring", None),
        ("Your parcel is delayed by 2 days", None),
        ("نعتذر عن التأخير", None),
        ("很抱歉，您的订单延迟了", None),
    ],
)
def test_words_of_an_offer(tmp_path: Path, text: str, word: str | None) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "sms.en.txt").write_text(f"{{{{ customer.first_name }}}}\n{text}\n", encoding="utf-8")
    assert [(offer.line, offer.word) for offer in offers(tmp_path, "t")] == ([(2, word)] if word else [])


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (rule("live", BOTH, purpose="marketing"), True),
        (rule("live", BOTH, purpose="marketing", steps="{send: late-order, by: [sms, email]}"), True),
        (rule("live", BOTH, purpose="marketing", steps="{send: late-order, by: sms}"), False),
        (rule("live", BOTH, purpose="service"), False),
        (rule("draft", purpose="marketing"), False),
    ],
)
def test_advertising_by_email_needs_a_postal_address(said: str, wrong: bool, tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text(said)
    texts = Texts(Templates(ROOT / "messaging" / "templates"))
    with_one = check(tmp_path, texts, house=House(address="1 Street, London"))
    without = check(tmp_path, texts, house=House(address=""))
    found = {str(problem.said) for problem in without.problems} - {str(problem.said) for problem in with_one.problems}
    assert found == ({"an advertising e-mail needs your postal address under it, and none is set"} if wrong else set())
    assert not wrong or without.errors
