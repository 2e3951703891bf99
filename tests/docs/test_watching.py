"""Alerts, dashboard and the metrics page name what exists; promtool, where it is installed, takes them as they are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from beforehand import ROOT
from beforehand.sight.metrics import names_of
from models.vocabulary import Channel, HeldState, OutcomeClass
from tests.docs.metric_families import families
from tests.docs.pages import REFERENCE, renewed

PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTS, ALERTS_TEST = PROMETHEUS / "alerts.yaml", PROMETHEUS / "alerts_test.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "beforehand.json"
PAGE = REFERENCE / "metrics.md"
HOW_TO = ROOT / "docs" / "how-to" / "watch-it.md"
NAME = re.compile(r"\b(?:beforehand|process)_\w+")


def alerts() -> dict[str, Mapping[str, Any]]:
    groups = YAML(typ="safe").load(ALERTS)["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every query, of alerts and panels, with where it stands."""
    yield from ((name, rule["expr"]) for name, rule in alerts().items())
    yield from ((panel["title"], target["expr"]) for panel in panels() for target in panel["targets"])
    yield from ((each["name"], each["expr"]) for each in dashboard()["annotations"]["list"])


def labels_of() -> dict[str, set[str]]:
    """The labels of each metric, by the names under which its series are kept."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.M)
    found = {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels in rows}
    for name, kind, _ in rows:
        if kind == "histogram":
            found |= {f"{name}_{end}": found[name] | {"le"} for end in ("bucket", "sum", "count")}
    return found


def promtool(*said: str) -> subprocess.CompletedProcess[str]:
    if (found := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed")
    return subprocess.run([found, *said], capture_output=True, text=True, cwd=ROOT)


def test_the_page_is_that_of_the_code() -> None:
    assert renewed(PAGE) == PAGE.read_text(encoding="utf-8"), "run `make fix`"


def test_every_query_asks_for_metrics_that_exist() -> None:
    known = set(names_of(families()))
    asked = {(where, name) for where, query in expressions() for name in NAME.findall(query)}
    assert len(asked) > 60
    assert {(where, name) for where, name in asked if name not in known} == set()


def test_every_query_asks_for_labels_that_exist() -> None:
    known, theirs = labels_of(), {"job", "instance"}
    for where, query in expressions():
        for name, picked in re.findall(r"(beforehand_\w+)(?:\{([^}]*)\})?", query):
            used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", picked))
            assert used <= known[name] | theirs, (where, name)
        grouped = {word.strip() for found in re.findall(r"\bby \(([^)]*)\)", query) for word in found.split(",")}
        possible = set().union(*(known[name] for name in NAME.findall(query) if name in known), theirs)
        assert grouped <= possible, where


def test_every_word_that_a_query_picks_is_one_of_ours() -> None:
    words = {"state": set(HeldState), "channel": set(Channel), "outcome": set(OutcomeClass)}
    for where, query in expressions():
        for label, picked in re.findall(r'\b(state|channel|outcome)(?:=~|!=|=)"([^"$]*)"', query):
            assert set(picked.split("|")) <= words[label], where


def test_each_alert_says_what_it_is_and_where_to_read_on() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-")
        for head in re.findall(r"^#+ (.+)$", HOW_TO.read_text(encoding="utf-8"), re.M)
    }
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["for"], name
        said = rule["annotations"]
        assert said["summary"], name
        assert said["description"].endswith("."), name
        path, _, anchor = said["runbook"].partition("#")
        assert (ROOT / path).is_file(), name
        if anchor:
            assert anchor in anchors, name


def test_each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = YAML(typ="safe").load(ALERTS_TEST)["tests"]
    asked = [(each["alertname"], bool(each["exp_alerts"])) for test in tests for each in test["alert_rule_test"]]
    assert sorted(asked) == sorted((name, fires) for name in alerts() for fires in (True, False))


def test_promtool_takes_the_alerts() -> None:
    ran = promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"SUCCESS: {len(alerts())} rules found" in ran.stdout


def test_the_alerts_fire_on_what_they_say() -> None:
    ran = promtool("test", "rules", str(ALERTS_TEST))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_takes_the_configuration() -> None:
    ran = promtool("check", "config", str(PROMETHEUS / "prometheus.yaml"))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:query:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$job", "x")}
        for number, (_, query) in enumerate(expressions())
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    ran = promtool("check", "rules", str(file))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = dashboard()
    assert (board["title"], board["uid"]) == ("Beforehand", "beforehand")
    assert board["schemaVersion"] >= 39
    assert {each["name"] for each in board["templating"]["list"]} == {"datasource", "job"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    sections = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert sections == [
        "Is it well", "What was sent", "What was withheld, and why", "Latency", "Unknown", "Providers", "Clocks",
    ]  # fmt: skip
    for panel in panels():
        assert panel["type"] in ("stat", "timeseries", "table"), panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["targets"], panel["title"]
        assert [target["refId"] for target in panel["targets"]] == ["A", "B", "C", "D"][: len(panel["targets"])]


def test_no_panel_lies_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_gauges_of_the_database_are_never_added_up_over_processes() -> None:
    for where, query in expressions():
        for name in re.findall(r"sum(?: by \([^)]*\))? ?\((beforehand_\w+)", query):
            assert name.endswith(("_total", "_bucket", "_count", "_sum")), where
