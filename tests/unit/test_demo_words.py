"""The demo's words: every rule and figure is there to read, on a narrow terminal too."""

from io import StringIO

import pytest
from rich.console import Console

from beforehand.runtime.demo import Watch
from beforehand.runtime.first_round import Round, RuleRound
from beforehand.runtime.house import Addresses
from beforehand.runtime.shop import Loaded
from beforehand.runtime.shown import as_json, show_end, show_round, show_shop
from models.vocabulary import Reason

ROUND = Round(
    rules=[
        RuleRound(
            "late-delivery-apology", "Apologise and ring after a late delivery that was rated 1 or 2", 1500, 15, 14
        ),
        RuleRound("late-order", "Say sorry", 53, 52, 41, waiting=11, withheld={Reason.CAP: 1}),
    ],
    sent={("sms", "ar-EG"): 2, ("sms", "ar-SA"): 3, ("sms", "en-GB"): 30, ("email", "zh-CN"): 1200},
    withheld={Reason.NO_CONSENT: 1, Reason.CAP: 12},
    waiting=11,
)
ADDRESSES = Addresses(
    "http://127.0.0.1:8025", "http://127.0.0.1:4200/v2/dashboard", "http://127.0.0.1:4200/v2/deployments"
)
LOADED = Loaded({"customers": {"new": 2400}, "orders": {"new": 23929}}, 10, 120)


def said(width: int, found: Round = ROUND) -> str:
    out = StringIO()
    console = Console(file=out, width=width, highlight=False, soft_wrap=True)
    show_shop(console, LOADED)
    show_round(console, found)
    watch = Watch()
    watch.mark("first round")
    show_end(console, watch, ADDRESSES)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 110, 200])
def test_rules_and_figures_are_whole_at_any_width(width: int) -> None:
    text = said(width)
    for words in ("late-delivery-apology", "late-order", "1,500", "found", "withheld", "waiting"):
        assert words in text
    assert all(len(line) <= width for line in text.splitlines() if line.startswith(" late-"))


def test_languages_are_told_in_words_and_reasons_by_weight() -> None:
    text = said(110)
    assert "35 SMS (30 English, 5 Arabic)" in text
    assert "1,200 e-mails (1,200 Chinese)" in text
    assert text.index("heard enough from us lately") < text.index("has not agreed to hear")
    assert "2,400 customers, 23,929 orders" in text


def test_a_problem_is_said() -> None:
    assert "Problem: 3 messages are failed" in said(110, Round(problems=["3 messages are failed"]))


def test_the_figures_as_json_hold_what_the_words_say() -> None:
    figures = as_json(LOADED, ROUND, Watch(), ADDRESSES)
    assert figures["customers"] == 2400
    assert figures["matched"] == 1553
    assert figures["sent"] == {
        "total": 1235,
        "by_channel": {"sms": {"ar-EG": 2, "ar-SA": 3, "en-GB": 30}, "email": {"zh-CN": 1200}},
    }
    assert figures["withheld"] == {"no_consent": 1, "cap": 12}
    assert figures["rules"]["late-order"]["withheld"] == {"cap": 1}
    assert figures["addresses"]["post_room"] == "http://127.0.0.1:8025"
