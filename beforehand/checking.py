"""Checks a rule set as a whole: the files, what is suspicious in them, and the templates that they name."""

from pathlib import Path

from messaging.rendering import Templates
from rules.checks import sends, suspicions
from rules.errors import Problem, RuleErrors
from rules.loader import Rule, load_folder


def check(rules: Path, templates: Templates, facts: Path | None = None) -> tuple[int, list[Problem]]:
    """Load the rules of a folder (or one file) and say all that is wrong: how many rules, and the problems.

    Warnings are among the problems (``problem.warning``). Nothing is raised for what is wrong in a file.
    """
    try:
        loaded = load_folder(rules, facts)
    except RuleErrors as refused:
        return 0, list(refused.problems)
    found = list(loaded.warnings)
    for rule in loaded.rules.values():
        found += suspicions(rule)
        found += template_problems(rule, templates)
    return len(loaded.rules), sorted(found)


def template_problems(rule: Rule, templates: Templates) -> list[Problem]:
    """What is wrong with the templates that a rule names, each at the step that names it."""
    found: list[Problem] = []
    for step, voucher, (line, column) in sends(rule.terms.steps, rule.root.get("then")):
        wrong = templates.problems(step.template, step.by, subject=rule.terms.subject, voucher=voucher)
        found += [Problem(rule.path, line, column, f"template '{step.template}': {problem}") for problem in wrong]
    return found
