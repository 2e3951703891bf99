"""The generated parts of the pages: ``python -m tests.docs.pages`` (``make fix``) writes them anew, tests hold them."""

import re
from pathlib import Path

from beforehand.settings import settings_markdown
from messaging.quiet_laws import laws_markdown
from rules.facts import subjects
from rules.json_schema import schema_text
from rules.reference import facts_markdown
from tests.docs import metric_families

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "rules" / "catalog" / "rule.schema.json"
REFERENCE = ROOT / "docs" / "reference"
MADE = {
    REFERENCE / "rules.md": ("facts", lambda: facts_markdown(subjects())),
    REFERENCE / "settings.md": ("settings", settings_markdown),
    REFERENCE / "quiet-hours.md": ("laws", laws_markdown),
    REFERENCE / "metrics.md": ("metrics", metric_families.markdown),
}


def renewed(page: Path) -> str:
    """The text of a page with what lies between its markers written anew. Raises ValueError without markers."""
    name, make = MADE[page]
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = page.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{page.name} needs {begin} and {end}, once each")
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{make()}\n\n{end}", text, flags=re.S)


if __name__ == "__main__":
    for each in MADE:
        each.write_text(renewed(each), encoding="utf-8")
    SCHEMA.write_text(schema_text(subjects()), encoding="utf-8")
