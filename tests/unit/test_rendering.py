"""Rendering: fall-back, isolation of right-to-left text, hostile values, the sandbox, errors with their place."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from messaging.context import sample_context
from messaging.publishing import Files
from messaging.rendering import Problem, RenderingError, Templates, fall_back
from messaging.vouchers import canonical_code, voucher_code
from models.vocabulary import Channel

LAYOUTS = Path(__file__).resolve().parents[2] / "messaging" / "templates" / "_layout"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "_layout").mkdir()
    for path in LAYOUTS.iterdir():
        (tmp_path / "_layout" / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def context(**changes: Any) -> dict[str, Any]:
    """A sample with parts changed: ``customer={"first_name": "X"}`` changes that word only."""
    whole = sample_context()
    return {**whole, **{name: {**whole[name], **words} for name, words in changes.items()}}


def sms(folder: Path, text: str, language: str = "en", **changes: Any) -> str:
    write(folder, f"t/sms.{language}.txt", text)
    return Templates(folder).render("t", "sms", language, context(**changes)).text


def test_fall_back_goes_from_the_region_to_the_language_to_the_default(folder: Path) -> None:
    for language, text in {"en": "English", "ar": "العربية", "zh": "中文"}.items():
        write(folder, f"t/sms.{language}.txt", text)
    templates = Templates(folder)
    found = {tag: templates.render("t", "sms", tag, context()).language for tag in ("ar-EG", "zh-Hans-CN", "fr", "AR")}
    assert found == {"ar-EG": "ar", "zh-Hans-CN": "zh", "fr": "en", "AR": "ar"}
    assert templates.render("t", "sms", None, context()).language == "en"
    write(folder, "t/sms.ar-EG.txt", "مصر")
    assert templates.render("t", "sms", "ar_EG", context()).language == "ar-EG"
    assert fall_back("zh-Hant-TW", "en") == ["zh-hant-tw", "zh-hant", "zh", "en"]


def test_each_channel_falls_back_by_itself(folder: Path) -> None:
    write(folder, "t/sms.ar.txt", "أهلا")
    write(folder, "t/sms.en.txt", "Hi")
    write(folder, "t/email.en.txt", "Subject: Hi\n\nHi")
    templates = Templates(folder)
    assert templates.channels("t") == {Channel.SMS, Channel.EMAIL}
    assert templates.render("t", Channel.SMS, "ar", context()).language == "ar"
    mail = templates.render("t", Channel.EMAIL, "ar", context())
    assert mail.language == "en"
    assert '<html lang="en" dir="ltr">' in mail.html


def test_an_unknown_name_is_an_error_with_file_and_line(folder: Path) -> None:
    path = write(folder, "t/email.en.txt", "Subject: Hi\n\nHello,\n\nyour {{ order.numbr }}")
    with pytest.raises(RenderingError) as caught:
        Templates(folder).render("t", "email", "en", sample_context("order"))
    assert caught.value.problem.path == str(path)
    assert caught.value.problem.line == 5
    assert caught.value.problem.message.startswith("'numbr' is unknown; known are cancelled_at, ")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("email.en.txt", "Subject: {{ nobody }}\n\nHi", 1),
        ("email.en.txt", "Subject: Hi\nPreheader: {{ nobody }}\n\nHi", 2),
        ("email.en.txt", "Subject: Hi\n\nHi\n{% if %}", 4),
        ("email.en.txt", "Hello,\n\nHi", 1),
        ("email.en.txt", "\nHi", 1),
        ("sms.en.txt", "Hi\n{% include '../../secret' %}", 2),
        ("sms.en.txt", "Hi {{ customer.first_name }}", 1),  # may be missing
        ("sms.en.txt", "Hi\n{{ order.placed_at|moment(1, 2, 3) }}", 2),
    ],
)
def test_problems_say_where(folder: Path, name: str, text: str, line: int) -> None:
    path = write(folder, f"t/{name}", text)
    found = Templates(folder).problems("t", [name.split(".")[0]], subject="customer")
    assert [(problem.path, problem.line) for problem in found] == [(str(path), line)]


@pytest.mark.parametrize(
    "text", ["{{ product.name|day }}", "{{ product.name|number }}", "{{ product.name|money('EUR') }}"]
)
def test_a_problem_tells_no_customer_values(folder: Path, text: str) -> None:
    write(folder, "t/sms.en.txt", text)
    with pytest.raises(RenderingError) as caught:
        Templates(folder).render("t", "sms", "en", context(product={"name": "Private matter"}))
    assert caught.value.problem.line == 1
    assert "Private" not in str(caught.value)


def test_problems_in_html_name_the_line_as_written(folder: Path) -> None:
    write(folder, "t/email.en.txt", "Subject: Hi\n\nHi")
    path = write(folder, "t/email.en.html", "<p\n class='x'\n>Hi</p>\n\n<p>{{ nobody }}</p>")
    (problem,) = Templates(folder).problems("t", ["email"], subject="customer")
    assert (problem.path, problem.line) == (str(path), 5)


def test_problems_name_what_is_missing(folder: Path) -> None:
    write(folder, "t/sms.ar.txt", "أهلا")
    templates = Templates(folder)
    assert [problem.path for problem in templates.problems("t", ["sms"])] == ["t/sms.en.txt"]
    assert [problem.path for problem in templates.problems("t", ["voice"])] == ["t/voice.en.txt"]
    assert templates.problems("nowhere", ["sms"]) == [
        Problem("nowhere/", 0, "there is no such template: the folder is missing or holds no text")
    ]
    assert templates.problems("../t", ["sms"])


def test_a_voucher_without_a_voucher_step_is_a_problem(folder: Path) -> None:
    write(folder, "t/sms.en.txt", "{{ voucher.code }}")
    templates = Templates(folder)
    assert templates.problems("t", ["sms"], subject="customer") == []
    (problem,) = templates.problems("t", ["sms"], subject="customer", voucher=False)
    assert "may be missing" in problem.message


def test_a_check_lets_any_fact_through(folder: Path) -> None:
    write(folder, "t/sms.en.txt", "{{ facts.loyal.orders|number }} {{ facts.due.at|day }} {{ facts.sum|money('EUR') }}")
    assert Templates(folder).problems("t", ["sms"], subject="customer") == []


def test_an_edited_file_is_seen(folder: Path) -> None:
    path = write(folder, "t/sms.en.txt", "one")
    templates = Templates(folder)
    assert "one" in templates.render("t", "sms", "en", context()).text
    path.write_text("two", encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert "two" in templates.render("t", "sms", "en", context()).text


def test_templates_are_compiled_and_inlined_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "t/email.en.txt", "Subject: Hi\n\nHi")
    read: list[str] = []
    whole = Files.get_source
    monkeypatch.setattr(Files, "get_source", lambda self, env, name: read.append(name) or whole(self, env, name))
    templates = Templates(folder)
    for _ in range(3):
        templates.render("t", "email", "en", context())
    assert len(read) == len(set(read)) > 3


def test_jinja_survives_inlining(folder: Path) -> None:
    write(folder, "t/email.en.txt", "Subject: Hi\n\nHi")
    body = """<p class="x">{% if 1 < 2 and 3 > 2 and "a&b" != "<p>" %}yes{% endif %}</p>
<table>{% for word in ["one", "two"] %}<tr><td class="box" title="{% if loop.first %}a{% endif %}">{{ word }}</td></tr>
{% endfor %}</table><a href="{{ brand.url }}?a=1&amp;b={{ 2 }}">go</a>
{# never <b>seen #}{% raw %}{{ kept }}{% endraw %}"""
    write(folder, "t/email.en.html", body)
    html = Templates(folder).render("t", "email", "en", context()).html
    assert "yes</p>" in html
    assert re.search(r"<table><tbody>(<tr>.*){2}</tbody></table>|<table>(<tr>[^\n]*\s*){2}", html, re.DOTALL)
    assert len(re.findall(r'<td class="box"[^>]*style="[^"]*background-color: #eef4fb', html)) == 2
    assert html.count('title="a"') == html.count('title=""') == 1
    assert 'href="https://shop.example?a=1&amp;b=2" style="color' in html
    assert "never" not in html
    assert "{{ kept }}" in html
    assert "jinja" not in html


def test_jinja_between_attributes_is_refused_with_its_line(folder: Path) -> None:
    write(folder, "t/email.en.txt", "Subject: Hi\n\nHi")
    path = write(folder, "t/email.en.html", '<p>Hi</p>\n<p {% if True %}id="a"{% endif %}>Hi</p>')
    (problem,) = Templates(folder).problems("t", ["email"], subject="customer")
    assert (problem.path, problem.line) == (str(path), 2)
    assert "quoted value" in problem.message


def test_money_days_and_moments_are_the_readers(folder: Path) -> None:
    text = (
        "{{ voucher.worth|money }} {{ order.net_total|money }} {{ order.promised_on|day }} {{ order.placed_at|moment }}"
    )
    berlin = {"language": "en-GB", "country": "GB", "time_zone": "Europe/Berlin"}
    assert "€50 €49.90 9 March 2026 2 March 2026, 10:30" in sms(folder, text, customer=berlin)
    york = {"country": "US", "time_zone": "America/New_York"}
    assert "€50 €49.90 March 9, 2026 March 2, 2026, 4:30 AM" in sms(folder, text, customer=york)
    write(folder, "t/sms.zh.txt", text)
    assert "€50 €49.90 2026年3月9日" in Templates(folder).render("t", "sms", "zh-CN", context()).text


def test_facts_hold_moments_as_text(folder: Path) -> None:
    facts = {"due": {"ended_at": "2026-03-10T09:00:00Z", "naive": "2026-03-10 09:00:00", "promised_on": "2026-03-09"}}
    text = "{{ facts.due.ended_at|moment }} {{ facts.due.naive|moment }} {{ facts.due.promised_on|day }}"
    said = sms(folder, text, facts=facts, customer={"language": "en-GB", "country": "GB"})
    assert "10 March 2026, 10:00 10 March 2026, 10:00 9 March 2026" in said


def test_a_zone_nobody_knows_is_no_reason_to_stay_silent(folder: Path) -> None:
    assert "9:30" in sms(folder, "{{ order.placed_at|moment }}", customer={"time_zone": "Mars/Base"})


def test_arabic_sets_codes_numbers_and_links_apart(folder: Path) -> None:
    text = "رمزك {{ voucher.code|ltr }} بقيمة {{ voucher.worth|money }} حتى {{ voucher.valid_until|day }}"
    said = sms(folder, text, language="ar")
    assert "\u2068XXXXX-XXXXX-XXXXX-XXXXX\u2069" in said
    assert said.count("\u2068") == said.count("\u2069") == 5
    assert said.startswith("\u2068Beforehand Shop\u2069")  # the isolate keeps the line's direction Arabic
    write(folder, "t/email.ar.txt", f"Subject: رمزك\n\n{text}\n\n{{{{ brand.phone|phone }}}}")
    mail = Templates(folder).render("t", "email", "ar-EG", context())
    assert '<html lang="ar" dir="rtl">' in mail.html
    # Gmail and Outlook know no bdi, so the isolating characters stand around it.
    assert '\u2068<bdi dir="ltr">XXXXX-XXXXX-XXXXX-XXXXX</bdi>\u2069' in mail.html
    assert '<bdi dir="ltr">+44 20 7946 0000</bdi>' in mail.html
    assert "<bdi>8 يونيو 2026</bdi>" in mail.html
    assert "\u2068+44 20 7946 0000\u2069" in mail.text
    write(folder, "t/email.ar.html", "<p>{{ voucher.code|ltr }}</p>")
    own = Templates(folder).render("t", "email", "ar", context()).html
    assert '<bdi dir="ltr">XXXXX-XXXXX-XXXXX-XXXXX</bdi>' in own


def test_an_arabic_name_costs_no_isolates_and_a_latin_one_does(folder: Path) -> None:
    text = "أهلا {{ customer.first_name|isolate }}."
    assert "أهلا محمد." in sms(folder, text, language="ar", customer={"first_name": "محمد"})
    assert "أهلا \u2068Maria\u2069." in sms(folder, text, language="ar")


def test_a_code_copied_with_what_sets_it_apart_is_still_the_code(folder: Path) -> None:
    code = voucher_code(b"secret", "salt")
    said = sms(folder, "{{ voucher.code|ltr }}", language="ar", voucher={"code": code})
    copied = said[said.index(code) - 1 : said.index(code) + len(code) + 1]
    assert copied == f"\u2068{code}\u2069"
    assert canonical_code(copied) == canonical_code(code)


def test_english_is_not_set_apart_for_that_would_cost_segments(folder: Path) -> None:
    assert sms(folder, "{{ voucher.code|ltr }} {{ voucher.worth|money }}").isprintable()
    assert "\u2068" not in sms(folder, "{{ voucher.code|ltr }}")


HOSTILE = [
    "{{ 7*7 }}",
    "<script>alert(1)</script>",
    "{% include 'x' %}",
    "Win at evil.com",
    "a@b.example",
    "\u202egnp.exe",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_data(folder: Path, name: str) -> None:
    write(folder, "t/email.en.txt", "Subject: {{ product.name }}\n\nIt is {{ product.name }}.")
    write(folder, "t/email.en.html", "<p>{{ product.name }}</p>")
    mail = Templates(folder).render("t", "email", "en", context(product={"name": name}))
    assert "49" not in mail.text
    assert "<script" not in mail.html
    assert "\u202e" not in mail.text + mail.html + mail.subject
    assert mail.subject == name.replace("\u202e", "")


def test_a_name_that_is_no_name_is_not_greeted_with(folder: Path) -> None:
    text = "Hello{% if customer.first_name %} {{ customer.first_name }}{% endif %}."
    for name in [*HOSTILE[:5], "12345", "", None]:
        assert "Hello." in sms(folder, text, customer={"first_name": name}), name
    for name in ["Maria", "Jean-Luc", "O'Neil", "محمد", "王伟", "José", "Anna Maria", "J. R."]:
        assert f"Hello {name}." in sms(folder, text, customer={"first_name": name}), name


def test_people_are_called_as_their_language_does(folder: Path) -> None:
    text = "{{ customer|called }}，您好"
    assert "】王小明，您好" in sms(folder, text, language="zh", customer={"first_name": "小明", "last_name": "王"})
    assert "】小明，您好" in sms(folder, text, language="zh", customer={"first_name": "小明", "last_name": None})
    assert "】Maria，您好" in sms(folder, text, language="zh")


def test_header_injection_is_impossible(folder: Path) -> None:
    write(folder, "t/email.en.txt", "Subject: About {{ product.name }}\n\nHi")
    evil = "Kettle\r\nBcc: all@example.com\u2028X-Evil: 1\x00"
    subject = Templates(folder).render("t", "email", "en", context(product={"name": evil})).subject
    assert subject == "About Kettle Bcc: all@example.com X-Evil: 1"


def test_endless_values_are_cut(folder: Path) -> None:
    said = sms(
        folder,
        "{{ customer.first_name }} {{ product.name }}",
        customer={"first_name": "M" * 10_000},
        product={"name": "K" * 10_000},
    )
    assert len(said) < 200
    assert "…" in said


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ customer.__class__ }}",
        "{{ brand|attr('__init__') }}",
        "{{ cycler.__init__.__globals__.os.system('id') }}",
        "{{ '{0.__class__}'.format(brand) }}",
        "{{ formats.locale.__init__.__globals__ }}",
        "{% set _ = facts.update({'x': 1}) %}",
        "{{ range(10000000)|list|length }}",
        "{{ customer.pop('first_name') }}",
    ],
)
def test_the_sandbox_holds(folder: Path, attack: str) -> None:
    write(folder, "t/sms.en.txt", attack)
    with pytest.raises(RenderingError):
        Templates(folder).render("t", "sms", "en", context(facts={}))


def test_texts_of_an_issue_are_laid_over_it_in_the_language_of_the_message(folder: Path) -> None:
    texts = {"ar": {"title": "الغطاء"}, "zh": "请只装一半。", "fr": {"title": "Le couvercle"}}
    for language in ("en", "ar", "zh"):
        write(folder, f"t/sms.{language}.txt", "{{ issue.title }} | {{ issue.advice }}")
    render = Templates(folder).render
    assert "الغطاء | Please fill" in render("t", "sms", "ar-EG", context(issue={"texts": texts})).text
    assert (
        "The lid can come off while pouring | 请只装一半。"
        in render("t", "sms", "zh", context(issue={"texts": texts})).text
    )
    assert "The lid" in render("t", "sms", "fr", context(issue={"texts": texts})).text


def test_a_line_that_ends_with_a_link_of_ours_becomes_that_link_and_no_other_does(folder: Path) -> None:
    text = "Choose: {{ links.preferences }}\n{{ links.unsubscribe|ltr }}\nSee https://evil.example\n{{ customer.tier }}"
    write(folder, "t/email.en.txt", f"Subject: x\n\n{text}")
    ours = context()["links"]
    html = Templates(folder).render("t", "email", "en", context(customer={"tier": ours["survey"] + '"onload=x'})).html
    assert f'<a href="{ours["preferences"]}">Choose</a>' in html
    assert f'<a href="{ours["unsubscribe"]}">{ours["unsubscribe"]}</a>' in html
    assert 'href="https://evil.example' not in html
    assert "onload=x" in html
    assert '"onload' not in html
