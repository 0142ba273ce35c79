"""Alert rules and dashboard ask for what the programs serve, and each alert is explained and tested."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml

from tests.support.served import FEW, served

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[3] / "deploy"
RUNBOOK = DEPLOY.parent / "docs" / "operations.md"
OF_PROMETHEUS: dict[str, dict[str, set[str]]] = {"up": {}, "ALERTS": {"alertname": set(), "alertstate": set()}}
BY_SCRAPING = {"job", "instance"}
JOBS = {"scheduler", "worker", "planner"}

SERVED = {**served(), **OF_PROMETHEUS}


def alerts() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "scheduler.json").read_text())
    return document


def dashboard_expressions() -> list[str]:
    document = dashboard()
    panels = [target["expr"] for panel in document["panels"] for target in panel.get("targets", ())]
    return panels + [each["expr"] for each in document["annotations"]["list"]]


def selectors(node: object) -> Iterator[Any]:
    """Every selector of series in a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        child = getattr(node, name, None)
        if child is not None:
            yield from selectors(child)
    for child in getattr(node, "args", ()):
        yield from selectors(child)


def faults(expression: str) -> list[str]:
    """What the expression asks for that nobody serves."""
    found = []
    # Grafana puts in an interval, and regular expressions for its variables
    for selector in selectors(promql_parser.parse(expression.replace("$__rate_interval", "1m"))):
        known = SERVED.get(selector.name)
        if known is None:
            found.append(f"no metric {selector.name}")
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in known and matcher.name not in BY_SCRAPING:
                found.append(f"{selector.name} has no label {matcher.name}")
            values = JOBS if matcher.name == "job" else known[matcher.name] if matcher.name in FEW else None
            if values is not None and not set(matcher.value.split("|")) <= values:
                found.append(f"{selector.name}: {matcher.name} is never {matcher.value}")
    return found


def test_the_check_notices_what_nobody_serves():
    assert faults("rate(scheduler_lateness_bucket[5m])") == ["no metric scheduler_lateness_bucket"]
    assert faults('scheduler_overdue_schedules{cluster="a"}') == ["scheduler_overdue_schedules has no label cluster"]
    assert faults('sum(scheduler_partition_state{state="runing"})') == [
        "scheduler_partition_state: state is never runing"
    ]
    with pytest.raises(ValueError, match="unclosed"):
        faults("sum(up")


def test_every_alert_asks_for_what_is_served():
    assert {alert["alert"]: faults(alert["expr"]) for alert in alerts() if faults(alert["expr"])} == {}


def test_every_panel_asks_for_what_is_served():
    expressions = dashboard_expressions()

    assert len(expressions) > 40
    assert {expression: faults(expression) for expression in expressions if faults(expression)} == {}
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            assert label in SERVED[metric]


def test_everything_that_is_served_by_us_is_on_the_dashboard_or_counts_for_one_that_is():
    shown = {selector.name for each in dashboard_expressions() for selector in _parsed(each)}
    families = {re.sub(r"_(bucket|sum|count|total|info)$", "", name) for name in shown}
    ours = {name for name in SERVED if name.startswith(("scheduler_", "worker_", "planner_", "kafka_scheduler_"))}

    missing = {re.sub(r"_(bucket|sum|count|total|info)$", "", name) for name in ours} - families
    assert missing == {
        "planner_sync_seconds",  # a detail of the planner's own
        "scheduler_schedules_topic_added_partitions",  # an alert says it
        "scheduler_standby_schedules",  # beside the partitions that are followed
        "scheduler_stuck_calls",  # likewise
        "worker_poll_age_seconds",  # likewise
    }


def _parsed(expression: str) -> Iterator[Any]:
    return selectors(promql_parser.parse(expression.replace("$__rate_interval", "1m")))


def test_panels_do_not_overlap_and_have_titles_of_their_own():
    taken: dict[tuple[int, int], str] = {}
    panels = dashboard()["panels"]
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert max(x for x, _ in taken) == 23
    for field in ("id", "title"):
        assert len({panel[field] for panel in panels}) == len(panels)


def test_every_panel_says_what_it_shows_in_which_unit_and_asks_the_chosen_source():
    document = dashboard()
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]

    assert [panel["title"] for panel in panels if not panel["description"].endswith(".")] == []
    assert [panel["title"] for panel in panels if not panel["fieldConfig"]["defaults"].get("unit")] == []
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert not document["editable"]  # the file is the truth


def test_the_dashboard_finds_its_provisioned_source_and_folder():
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/scheduler.yml").read_text())["providers"]
    compose = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]

    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"


def test_every_alert_is_explained_under_its_name():
    sections = re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)

    assert sections == [alert["alert"] for alert in alerts()]


def test_every_alert_says_what_is_wrong_and_how_urgent_it_is():
    for alert in alerts():
        assert set(alert["annotations"]) == {"summary", "description"}, alert["alert"]
        assert alert["labels"]["severity"] in ("page", "ticket"), alert["alert"]


def test_every_alert_has_a_case_in_which_it_fires():
    """`make check-alerts` runs the cases, with promtool."""
    cases = yaml.safe_load((DEPLOY / "prometheus" / "alerts.test.yml").read_text())["tests"]
    text = json.dumps([sample for case in cases for test in case["promql_expr_test"] for sample in test["exp_samples"]])

    assert [alert["alert"] for alert in alerts() if f'alertname=\\"{alert["alert"]}\\"' not in text] == []
