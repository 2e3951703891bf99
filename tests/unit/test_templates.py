"""The shipped templates: each in each language and channel, with everything known, little known and hostile values."""

import json
import re
import shutil
import tarfile
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from messaging.context import sample_context
from messaging.formats import FILTERS
from messaging.rendering import Rendered, Templates
from messaging.segments import count
from messaging.values import clean
from models.vocabulary import Channel

FOLDER = Path(__file__).resolve().parents[2] / "messaging" / "templates"
TEMPLATES = Templates(FOLDER)
LANGUAGES = ("en", "ar", "zh")
SMS, VOICE, EMAIL = Channel.SMS, Channel.VOICE, Channel.EMAIL

SHIPPED = {
    "late-order": ("order", {SMS, EMAIL}, "service"),
    "dropped-callback": ("call", {VOICE}, "service"),
    "sorry-we-missed-you": ("customer", {SMS, EMAIL}, "service"),
    "thank-you-voucher": ("customer", {SMS, EMAIL}, "marketing"),
    "known-issue": ("exposure", {SMS, EMAIL}, "service"),
    "issue-fixed": ("exposure", {SMS, EMAIL}, "service"),
    "contact-survey": ("ticket", {SMS, EMAIL}, "survey"),
    "win-back": ("customer", {SMS, EMAIL}, "marketing"),
    "first-weeks-care": ("customer", {VOICE}, "service"),
    "first-weeks-hello": ("customer", {SMS, EMAIL}, "service"),
    "late-delivery-apology": ("order", {SMS, EMAIL}, "service"),
    "recovery-call": ("order", {VOICE}, "service"),
}
VOUCHERS = ("thank-you-voucher", "win-back", "late-delivery-apology")
ALL = [
    (name, channel, language) for name, row in SHIPPED.items() for channel in sorted(row[1]) for language in LANGUAGES
]
MAILS = [(name, language) for name, channel, language in ALL if channel == EMAIL]
TEXTS = [(name, language) for name, channel, language in ALL if channel == SMS]


def filled(name: str, channel: Channel, language: str, *, sparse: bool = False, **changes: Any) -> Rendered:
    subject, _channels, purpose = SHIPPED[name]
    context = sample_context(subject, language=language, purpose=purpose, sparse=sparse)
    for word, values in changes.items():
        if context.get(word):
            context[word] = {**context[word], **values}
    return TEMPLATES.render(name, channel, language, context)


def test_the_folder_holds_these_and_no_others() -> None:
    there = {path.name for path in FOLDER.iterdir() if not path.name.startswith("_")}
    assert there == set(SHIPPED)
    assert {name: TEMPLATES.channels(name) for name in there} == {name: row[1] for name, row in SHIPPED.items()}


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_wrong_with_it_and_every_language_is_its_own(name: str) -> None:
    subject, channels, _purpose = SHIPPED[name]
    needs_one = name in VOUCHERS and name != "late-delivery-apology"
    for voucher in (True, needs_one):
        assert TEMPLATES.problems(name, channels, LANGUAGES, subject=subject, voucher=voucher) == []
    for channel in channels:
        assert TEMPLATES.languages(name, channel) == sorted(LANGUAGES)


@pytest.mark.parametrize(("name", "channel", "language"), ALL)
def test_it_says_who_we_are_and_never_none(name: str, channel: Channel, language: str) -> None:
    for sparse in (False, True):
        said = filled(name, channel, language, sparse=sparse)
        assert said.language == language
        assert "Beforehand Shop" in said.text
        assert "None" not in said.text + said.html + said.subject
        assert "  " not in said.text.replace("\n    ", "\n")
        assert not re.search(r" [,.:?!،؟]", said.text), said.text


@pytest.mark.parametrize(("name", "language"), TEXTS)
def test_an_sms_is_one_segment_in_english_and_two_at_most_in_others(name: str, language: str) -> None:
    customer = {"first_name": {"en": "Christopher", "ar": "عبد الرحمن", "zh": "小明"}[language], "last_name": "王"}
    voucher = {"valid_until": datetime(2026, 9, 28, tzinfo=UTC)}
    said = count(filled(name, SMS, language, order={"number": "W100173"}, customer=customer, voucher=voucher).text)
    if language == "en":
        assert (said.encoding, said.segments) == ("GSM-7", 1), said
    else:
        assert said.segments <= 2, said


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_issue_of_the_sample_shop_fits_too(language: str) -> None:
    issue = YAML(typ="safe").load(FOLDER.parents[1] / "issues" / "kettle-rima.yaml")
    said = filled("known-issue", SMS, language, issue=issue, order={"number": "W100173"}).text
    assert {"en": "stop using", "ar": "التوقف", "zh": "停止使用"}[language] in said
    assert count(said).segments <= (1 if language == "en" else 2), said


@pytest.mark.parametrize(("name", "language"), TEXTS)
def test_an_sms_can_be_found_again_and_stopped(name: str, language: str) -> None:
    text = filled(name, SMS, language).text
    assert "7K2M9QXC" in text
    assert ("STOP" in text) == (SHIPPED[name][2] != "service")


@pytest.mark.parametrize("name", VOUCHERS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_voucher_shows_code_worth_and_last_day(name: str, language: str) -> None:
    for channel in (SMS, EMAIL):
        said = filled(name, channel, language)
        for text in (said.text, said.html) if channel == EMAIL else (said.text,):
            assert "XXXXX-XXXXX-XXXXX-XXXXX" in text
            assert "50" in text
            assert "2026" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_known_issue_says_what_which_and_what_to_do(language: str) -> None:
    said = filled("known-issue", EMAIL, language)
    title = {"en": "The lid can come off", "ar": "قد ينفك الغطاء", "zh": "盖子可能脱落"}[language]
    advice = {"en": "Please fill it only half", "ar": "نرجو ملء نصفها", "zh": "请只装一半水"}[language]
    for part in (said.text, said.html, filled("known-issue", SMS, language).text):
        assert title in part
        assert advice in part
        assert "A-10017" in part
    assert "Kettle Aurora 2" in said.text


@pytest.mark.parametrize("name", [name for name, row in SHIPPED.items() if VOICE in row[1]])
def test_a_call_says_who_calls_first_and_the_keys_last(name: str) -> None:
    for language in LANGUAGES:
        said = filled(name, VOICE, language).text
        assert said.index("Beforehand Shop") < 40
        keys = [re.search(rf"(?<!\d){key}(?!\d)", said) for key in (1, 2, 9)]
        assert all(keys)
        assert "\u2068" not in said  # a voice has no direction


@pytest.mark.parametrize(("name", "language"), MAILS)
def test_an_email_has_all_that_it_owes(name: str, language: str) -> None:
    said = filled(name, EMAIL, language)
    assert len(said.subject) <= 78
    assert said.subject.isprintable() or language == "ar"
    for part in (said.text, said.html):
        assert "1 Sample Street, London" in part
        assert "+44 20 7946 0000" in part
        assert "STOP" in part
    assert f'lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}"' in said.html
    assert 'href="tel:+442079460000"' in said.html
    assert "prefers-color-scheme: dark" in said.html
    assert "max-width: 620px" in said.html
    assert re.search(r'class="peek"[^>]*>[^<\s]', said.html), "no preheader"
    assert len(said.html) < 90_000  # Gmail clips at 102 kB


@pytest.mark.parametrize(("name", "language"), MAILS)
def test_an_email_fetches_nothing_and_runs_nothing(name: str, language: str) -> None:
    html = filled(name, EMAIL, language).html
    assert not re.search(r"<(img|script|link|iframe|form|object|video)\b|url\(|@import|@font-face", html)
    purpose = SHIPPED[name][2]
    kinds = {"service": "p", "marketing": "sp", "survey": "spa"}[purpose]
    ours = {f"https://shop.example/{kind}/ab{'c' * 16}7K2M9QXC" for kind in kinds}
    assert set(re.findall(r'href="([^"]*)"', html)) == {"tel:+442079460000", "https://shop.example"} | ours


@pytest.mark.parametrize(("name", "language"), MAILS)
def test_hostile_values_change_no_email(name: str, language: str) -> None:
    evil = "<script>x</script>\r\nBcc: a@b.example {{ 7*7 }} \u202e\u2067" + "A" * 10_000
    said = filled(
        name, EMAIL, language,
        customer={"first_name": evil, "last_name": evil}, order={"number": evil}, product={"name": evil},
        issue={"title": evil, "advice": evil, "texts": {}},
    )  # fmt: skip
    assert "<script" not in said.html
    assert "\n" not in said.subject
    assert "\r" not in said.subject + said.text
    assert "49" not in said.subject + said.text.replace("+44 20 7946", "")
    assert not {"\u202e", "\u2067"} & set(said.subject + said.text + said.html)
    assert len(said.text) < 8000


@given(st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_no_text_of_a_customer_breaks_a_message(text: str) -> None:
    """Whatever stands in a field: it renders, and in the HTML it is that text, cleaned, and no element."""
    values = {"product": {"name": text}, "order": {"number": text}, "customer": {"first_name": text}}
    for language in ("en", "ar"):
        said = filled("known-issue", EMAIL, language, **values)
        plain = filled("known-issue", EMAIL, language)
        assert [tag for tag, _ in Elements(said.html).found if tag not in ("bdi", "br")] == [
            tag for tag, _ in Elements(plain.html).found if tag not in ("bdi", "br")
        ]
        shown = clean(text, 80)
        assert shown in said.text
        assert shown in unescape(said.html)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said.text + said.html)
        assert len(said.subject.splitlines()) == 1


class Elements(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))


def styles(html: str) -> set[tuple[str, str, str]]:
    """(tag, property, value) of every inlined style."""
    return {
        (tag, pair.split(":", 1)[0].strip(), pair.split(":", 1)[1].strip())
        for tag, attributes in Elements(html).found
        for pair in attributes.get("style", "").split(";")
        if ":" in pair
    }


def support(archive: Path, feature: str) -> dict[str, str]:
    """The newest verdict (y, a or n) of caniemail for a feature in each Gmail and Outlook client."""
    with tarfile.open(archive) as tar:
        page = tar.extractfile(f"_features/{feature}.md").read().decode()  # type: ignore[union-attr]
    stats = page[page.index("stats:") + 6 :]
    stats = stats[: re.search(r"^\}", stats, re.MULTILINE).end()]  # type: ignore[union-attr]
    stats = re.sub(r'(?<!")\b([a-z][\w-]*)\s*:\s*\{', r'"\1": {', stats)
    clients = json.loads(re.sub(r",(\s*\})", r"\1", stats))
    return {
        f"{client} {platform}": list(verdicts.values())[-1][0]
        for client in ("gmail", "outlook")
        for platform, verdicts in clients[client].items()
    }


FEATURE = {"font-family": "css-font", "color": None, "border-bottom": "css-border", "display": "css-display-none"}
ENHANCEMENTS = {("div", "display"), ("div", "max-height"), ("div", "overflow")}
"""What hides the preheader: where a client lacks it, a line of one pixel in the background's colour is left."""


def test_the_layout_uses_only_what_gmail_and_outlook_have(shared_data: Path) -> None:
    archive = shared_data / "email" / "caniemail-features.tar.gz"
    used = {pair for name, language in MAILS for pair in styles(filled(name, EMAIL, language).html)}
    assert ("td", "padding") in {(tag, word) for tag, word, _value in used}
    for tag, word in sorted({(tag, word) for tag, word, _value in used} - ENHANCEMENTS):
        feature = FEATURE.get(word, f"css-{word}")
        lacking = (
            [] if feature is None else [who for who, verdict in support(archive, feature).items() if verdict == "n"]
        )
        # Without an underline a link is still coloured; all else must be there.
        assert lacking == [] or word == "text-decoration", f"{word} on {tag} is unknown to {lacking}"
    # The partial ones: padding on cells only, margins neither negative nor auto, no margin on span (caniemail's notes).
    assert {tag for tag, word, _value in used if word == "padding"} <= {"td", "body"}
    assert not any("-" in value or "auto" in value for _tag, word, value in used if word == "margin")
    assert {tag for tag, word, _value in used if word == "margin"} <= {"p", "body"}


def test_without_any_style_the_words_still_run_the_right_way() -> None:
    """Gmail drops <html> and <body>: language and direction stand on the outer table and on each cell too."""
    html = filled("late-order", EMAIL, "ar").html
    tables = [attributes for tag, attributes in Elements(html).found if tag == "table"]
    assert tables[0]["dir"] == "rtl"
    cells = [attributes for tag, attributes in Elements(html).found if tag == "td" and "class" in attributes]
    assert {cell["dir"] for cell in cells} == {"rtl"}
    assert {cell["align"] for cell in cells} == {"right"}


def test_the_reference_lists_every_name_a_template_has() -> None:
    page = (FOLDER.parents[1] / "docs" / "reference" / "templates.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    for name, words in sample_context().items():
        assert name in rows, name
        hidden = {"id", "currency"} if name != "facts" else set()
        assert not [word for word in words if word not in hidden and f"`{word}`" not in rows[name]], name
    for name in (*FILTERS,):
        assert name in rows, name


def test_the_examples_of_the_how_to_page_work(tmp_path: Path) -> None:
    page = (FOLDER.parents[1] / "docs" / "how-to" / "write-a-template.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(.*?)```", page, re.DOTALL)
    shutil.copytree(FOLDER / "_layout", tmp_path / "_layout")
    (tmp_path / "parcel-waiting").mkdir()
    for name, start in (("sms", "Your order"), ("email", "Subject:")):
        (example,) = [block for block in blocks if block.startswith(start)]
        (tmp_path / "parcel-waiting" / f"{name}.en.txt").write_text(example, encoding="utf-8")
    assert Templates(tmp_path).problems("parcel-waiting", [SMS, EMAIL], subject="order") == []


@pytest.mark.parametrize("language", ["en", "ar", "zh"])
def test_a_call_offers_keys_only_where_somebody_answers_them(language: str) -> None:
    context = sample_context("customer", language=language)
    offered = Templates(FOLDER).render("first-weeks-care", "voice", language, context).text
    plain = Templates(FOLDER, keys=False).render("first-weeks-care", "voice", language, context).text
    assert "9" in offered.splitlines()[-1]
    assert "9" not in plain.replace("+44 20 7946 0000", "")
    assert "7946 0000" in plain
