"""The texts of a held run: its rule as it was when it was held, and who wrote what customers would read."""

import hashlib

from sqlalchemy import Connection, update

from beforehand.passes.authors import authors_of
from beforehand.passes.house import policy_of, version_of
from beforehand.wiring import App
from messaging.guards.brake import held_run
from messaging.held import HeldRunView, runs
from models.database import reading, writing
from rules.errors import RuleErrors
from rules.loader import Rule


def rule_of_run(app: App, connection: Connection, run: HeldRunView) -> Rule | None:
    """The rule as it was when its run was held; None where its text is not kept or cannot be read any more."""
    try:
        return version_of(app, connection, run.rule_id, run.version)
    except RuleErrors:
        return None


def texts_of(app: App, rule: Rule) -> str:
    """A digest of the templates that a rule sends, as they are now."""
    return policy_of(app).digest_of(sorted(runs.templates_in(rule.terms)))


def shown_by(run: HeldRunView, texts: str | None) -> str:
    """A word for what is asked of a run with these texts: another one where they change, or where it stops again."""
    asked = (run.id, run.state.value, run.decided_at and run.decided_at.isoformat(), texts)
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:10]


def text_authors_of(app: App, run: HeldRunView) -> list[str]:
    """Who wrote the templates of a run, as they were asked about first; empty where nobody knows.

    Asks git where nobody has yet, which takes its time: never call it within a transaction. The frames that all
    templates share are not asked about: whoever wrote those could approve nothing any more.
    """
    if run.text_authors is not None:
        return run.text_authors
    with reading(app.engine) as connection:
        rule = rule_of_run(app, connection, run)
    folders = [app.settings.templates / name for name in sorted(runs.templates_in(rule.terms))] if rule else []
    return sorted(set(authors_of(path for folder in folders for path in sorted(folder.rglob("*"))).values()))


def keep_text_authors(app: App, run: HeldRunView) -> None:
    """Keep who wrote a run's templates with it, once for each text that is asked about."""
    if run.text_authors is not None:
        return
    authors = text_authors_of(app, run)
    mine = update(held_run).where(held_run.c.id == run.id, held_run.c.texts == run.texts)
    with writing(app.engine) as connection:
        connection.execute(mine.values(text_authors=authors))
