"""The report as JUnit XML, which continuous integration reads: a suite a rule, a case a test."""

import xml.etree.ElementTree as ET

from beforehand.proving.prover import Outcome, Report, Unread

NOT_XML = dict.fromkeys(
    [code for code in (*range(32), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF) if code not in (9, 10, 13)],
    "\N{REPLACEMENT CHARACTER}",
)
"""Characters that XML 1.0 cannot hold."""


def junit(report: Report) -> str:
    """One document, with ``file`` and ``line`` of each test; a file that does not load is an error."""
    broken = len(report.unread)
    root = ET.Element("testsuites", {"name": "beforehand", **_counts(report.outcomes, broken)})
    for rule_id, outcomes in report.rules.items():
        suite = ET.SubElement(root, "testsuite", _suite(rule_id, report.paths[rule_id], outcomes, 0))
        for outcome in outcomes:
            _case(suite, outcome)
    for unread in report.unread:
        _unread(root, unread)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(name: str, path: str, outcomes: list[Outcome], errors: int) -> dict[str, str]:
    return {"name": _clean(name), "file": _clean(path), **_counts(outcomes, errors)}


def _counts(outcomes: list[Outcome], errors: int) -> dict[str, str]:
    return {
        "tests": str(len(outcomes) + errors),
        "failures": str(sum(not outcome.passed for outcome in outcomes)),
        "errors": str(errors),
        "skipped": "0",
        "time": f"{sum(outcome.seconds for outcome in outcomes):.3f}",
    }


def _case(suite: ET.Element, outcome: Outcome) -> None:
    place = {"file": _clean(outcome.path), "line": str(outcome.line), "time": f"{outcome.seconds:.3f}"}
    case = ET.SubElement(suite, "testcase", {"classname": outcome.rule_id, "name": _clean(outcome.test), **place})
    if not outcome.passed:
        said = [f"expected {outcome.expected}", f"got {outcome.got}", *outcome.differences, *outcome.because]
        failure = ET.SubElement(case, "failure", message=_clean(outcome.differences[0]), type="difference")
        failure.text = _clean("\n".join(said))


def _unread(root: ET.Element, unread: Unread) -> None:
    suite = ET.SubElement(root, "testsuite", _suite(unread.path, unread.path, [], 1))
    first = unread.problems[0]
    place = {"file": _clean(unread.path), "line": str(first.line), "time": "0.000"}
    case = ET.SubElement(suite, "testcase", {"classname": _clean(unread.path), "name": "the file loads", **place})
    error = ET.SubElement(case, "error", message=_clean(first.said), type="refused")
    error.text = _clean("\n".join(map(str, unread.problems)))


def _clean(text: str) -> str:
    return text.translate(NOT_XML)
