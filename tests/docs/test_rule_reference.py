"""The reference of the rule language: every example runs, every word has one, the tables are those of the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from sqlalchemy import Engine

from beforehand import ROOT
from beforehand.cli import app
from beforehand.proving import Prover
from models.database import connect, migrate, reading
from models.vocabulary import Purpose, RuleStatus
from rules.conditions import AGGREGATES, GROUPS, MODIFIERS, OPERATORS
from rules.errors import RuleErrors
from rules.evaluate import matching
from rules.facts import Kind, subjects
from rules.given import frame
from rules.loader import Rule, load_folder, load_text
from rules.reader import Complaints, read
from rules.reference import facts_markdown
from rules.schema import LIMIT_KEYS, RULE_KEYS, STEP_KEYS, TEST_KEYS, VOUCHER_TERMS, WHEN_KEYS
from tests.databases import on_postgres
from tests.docs.pages import REFERENCE, renewed
from tests.rules.build import matched, rule_of
from tests.rules.test_catalog import settings_of

PAGE = REFERENCE / "rules.md"
TUTORIAL = ROOT / "docs/how-to/write-a-rule.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROW = re.compile(r"^\| (.+?) \| `(.+?)` \| `(.+?)` \|(?: `(.+?)`)? \|$", re.M)
BLOCK = re.compile(r"^```(yaml|csv)\n(.+?)^```$", re.M | re.S)


def tables() -> Iterator[tuple[str, str]]:
    """Each table of examples: its subject and its text."""
    for part in TEXT.split("<!-- examples: ")[1:]:
        subject, _, rest = part.partition(" -->\n")
        yield subject, rest.split("\n\n")[0]


EXAMPLES = [
    pytest.param(subject, *row, id=f"{row[0]}: {row[1]}") for subject, table in tables() for row in ROW.findall(table)
]
BLOCKS = [
    pytest.param(page.parent, block, id=f"{page.stem} {number}: {block.splitlines()[0]}")
    for page in (PAGE, TUTORIAL)
    for number, (kind, block) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
    if kind == "yaml" and not block.startswith("# facts.yaml")
]
FILES = [block for _, block in BLOCK.findall(TEXT)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One empty database of each kind; the rows of each example are rolled back."""
    if request.param == "postgresql":
        with on_postgres(request.getfixturevalue("postgres_uri")) as made:
            yield made
        return
    made = connect(f"sqlite:///{tmp_path_factory.mktemp('reference') / 'rules.db'}")
    migrate(made)
    yield made
    made.dispose()


def rows(subject: str, cell: str) -> str:
    """The given rows of a cell: the subject's own facts, or all rows if the subject is named among them."""
    whole = subject in YAML(typ="safe").load(f"{{{cell}}}")
    return f"{{{cell}}}" if whole else f"{{{subject}: {{{cell}}}}}"


@pytest.mark.parametrize(("subject", "word", "condition", "holds", "fails"), EXAMPLES)
def test_each_example_holds_where_the_page_says_so(
    database: Engine, subject: str, word: str, condition: str, holds: str, fails: str
) -> None:
    rule = rule_of(f"a:\n  {condition}", subject=subject)
    assert len(matched(database, rule, rows(subject, holds))) >= 1, word
    assert not fails or len(matched(database, rule, rows(subject, fails))) < subjects_given(subject, fails), word


def subjects_given(subject: str, cell: str) -> int:
    """How many rows of the subject a cell gives: one, and those that its customer brings."""
    given = YAML(typ="safe").load(f"{{{cell}}}")
    customer = given.get("customer", {}) if subject in given and subject != "customer" else {}
    return 1 + len(customer.get(f"{subject}s", []))


def test_every_row_of_an_example_table_is_read() -> None:
    rows_there = sum(len(table.splitlines()) - 2 for _, table in tables())
    assert len(EXAMPLES) == rows_there > 80


def shown(kind: Kind) -> set[str]:
    """The operators that the examples show for facts of a kind."""
    found: set[str] = set()
    for subject, table in tables():
        for _, condition, *_ in ROW.findall(table):
            for name, body in YAML(typ="safe").load(f"{{{condition}}}").items():
                fact = subjects()[subject].facts.get(name)
                if fact is not None and fact.kind is kind and isinstance(body, dict):
                    found |= set(body)
    return found


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.FLAG], ids=str)
def test_every_operator_of_every_kind_has_an_example(kind: Kind) -> None:
    assert set(OPERATORS[kind]) <= shown(kind)


def test_every_relation_test_and_group_has_an_example() -> None:
    conditions = " ".join(condition for _, table in tables() for _, condition, *_ in ROW.findall(table))
    assert [word for word in (*AGGREGATES, *MODIFIERS, *GROUPS) if not re.search(rf"\b{word}:", conditions)] == []


def test_every_key_is_explained() -> None:
    keys = {*RULE_KEYS, *WHEN_KEYS, *LIMIT_KEYS, *STEP_KEYS, *TEST_KEYS, *VOUCHER_TERMS, *map(str, Kind)}
    keys |= {key for step in STEP_KEYS.values() for key in step} | {*map(str, RuleStatus), *map(str, Purpose)}
    assert [key for key in sorted(keys) if f"`{key}`" not in TEXT and key not in ("moment", "money")] == []


def loaded(block: str, folder: Path) -> Rule:
    """The rule of a block; what a fragment leaves out is filled in. Lists and facts are those of the page."""
    (folder / "lists").mkdir(exist_ok=True)
    for name in ("vip", "staff"):
        csv = next(each for each in FILES if each.startswith("external_id,"))
        (folder / "lists" / f"{name}.csv").write_text(csv)
    facts = folder / "facts.yaml"
    facts.write_text(next(each for each in FILES if each.startswith("# facts.yaml")))
    keys = set(YAML(typ="safe").load(block))
    defaults = {"id": "case", "title": "A case", "purpose": "service", "for_each": "customer"}
    filled = "".join(f"{key}: {value}\n" for key, value in defaults.items() if key not in keys)
    filled += "" if "if" in keys else "if: {somebody: {email: present}}\n"
    filled += "" if "then" in keys else "then: [{send: late-order, by: sms}]\n"
    text = filled + block
    name = str(YAML(typ="safe").load(text)["id"])
    return load_text(text, name, folder, facts)


@pytest.mark.parametrize(("folder", "block"), BLOCKS)
def test_each_rule_on_the_pages_loads_and_runs(database: Engine, tmp_path: Path, folder: Path, block: str) -> None:
    rule = loaded(block, tmp_path)
    at = frame(read("2026-03-10 10:00 UTC", "now"), Complaints("now"))
    with reading(database) as connection:
        assert connection.execute(matching(rule, now=at.now, zone="UTC")).all() == []


PROVEN = [pytest.param(each.values[1], id=str(each.id)) for each in BLOCKS if "\ntests:\n" in str(each.values[1])]


@pytest.mark.parametrize("block", PROVEN)
def test_the_tests_of_the_rules_on_the_pages_pass(tmp_path: Path, block: str) -> None:
    rule = loaded(block, tmp_path)
    assert len(rule.tests) >= 2
    live = re.sub(r"^status: \w+.*\n", "", block, flags=re.M) + "status: live\n"
    (tmp_path / f"{rule.id}.yaml").write_text(live, encoding="utf-8")
    (tmp_path / "facts.yaml").unlink()
    assert load_folder(tmp_path).warnings == ()
    prover = Prover(settings_of())
    assert [outcome.differences for test in rule.tests if not (outcome := prover.prove(rule, test)).passed] == []
    prover.close()


def test_the_tables_of_words_are_those_of_the_code() -> None:
    assert renewed(PAGE) == TEXT, "run `make fix`"


def test_the_tables_name_every_word_once() -> None:
    made = facts_markdown(subjects())
    for subject in subjects().values():
        section = made.split(f"### {subject.name}\n")[1].split("\n### ")[0]
        named = re.findall(r"^\| `(\w+)` \|", section, re.M)
        assert named == [*(f.name for f in subject.facts.values() if not f.day_of), *subject.relations]


def test_what_the_tutorial_shows_of_a_wrong_rule_is_what_check_says(tmp_path: Path) -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    rule = next(block for kind, block in BLOCK.findall(text) if kind == "yaml")
    assert loaded(rule, tmp_path).id == "gold-thanks"
    wrong = rule.replace("    tier: gold\n", "    teir: gold\n", 1).replace("12 months}", "12 moons}", 1)
    with pytest.raises(RuleErrors) as refused:
        load_text(wrong, "gold-thanks")
    for problem in refused.value.problems:
        place = f"rules/catalog/{problem.path}:{problem.line}:{problem.column}"
        (shown,) = (line for line in text.splitlines() if line.startswith(f"{place}: {problem.said}; expected "))
        assert shown.endswith(f"did you mean {problem.meant}?" if problem.meant else problem.expected)
    assert len(refused.value.problems) == 2


def test_the_commands_of_the_tutorial_exist() -> None:
    typed = re.findall(r"^    beforehand (\w+)", TUTORIAL.read_text(encoding="utf-8"), re.M)
    known = {command.name for command in app.registered_commands}
    assert set(typed) == {"sample", "ingest", "check", "facts", "test", "preview", "plan", "run"} <= known
