"""The dashboard and the alert rules, against the metrics of a gateway that has done some of everything."""

import json
import re

import promql_parser
import pytest
import yaml

from gateway.telemetry.families import FAMILIES, Kind

EVERYWHERE = {"instance", "job", "le"}
SUFFIXES = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count"), Kind.SUMMARY: ("_sum", "_count")}
SERIES = {name + suffix: family for name, family in FAMILIES.items() for suffix in SUFFIXES.get(family.kind, ("",))}


def rules(root):
    document = yaml.safe_load((root / "deploy/prometheus/alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels(root):
    return json.loads((root / "deploy/grafana/turnout.json").read_text())["panels"]


def expressions(root):
    """Return every expression, as Prometheus gets it."""
    queries = [target["expr"] for panel in panels(root) for target in panel.get("targets", ())]
    for name, instead in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$model", ".*")):
        queries = [query.replace(name, instead) for query in queries]
    return [rule["expr"] for rule in rules(root)] + queries


def selectors(expression):
    """Return the metrics and labels that a parsed expression selects by, and the labels that it groups by."""
    found, grouped = [], set()
    stack = [promql_parser.parse(expression)]
    while stack:
        node = stack.pop()
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
            grouped |= set(modifier.labels)
        for part in ("lhs", "rhs", "expr", "param", "vector_selector", "vs"):
            child = getattr(node, part, None)
            if isinstance(child, promql_parser.Expr):
                stack.append(child)
        stack.extend(getattr(node, "args", None) or ())
    return found, grouped


def test_every_expression_names_metrics_and_labels_that_exist(root):
    checked = 0
    for expression in expressions(root):
        found, grouped = selectors(expression)
        # What the tree gave is all that the text names.
        assert {name for name, _ in found} - {"up"} == set(re.findall(r"\bturnout_\w+", expression)), expression
        for name, labels in found:
            if name == "up":
                continue
            assert name in SERIES, (name, expression)
            known = {*SERIES[name].labels, *EVERYWHERE}
            assert labels <= known, (labels - known, expression)
            checked += 1
        known = {label for name, _ in found if name != "up" for label in SERIES[name].labels} | EVERYWHERE
        assert grouped <= known, (grouped - known, expression)
    assert checked > 60


def test_a_quantile_is_taken_of_buckets_only(root):
    for expression in expressions(root):
        for inside in re.findall(r"histogram_quantile\([\d.]+, (.*)", expression):
            assert re.search(r"turnout_\w+_bucket\{?", inside), expression
            assert re.search(r"by \([^)]*\ble\)", inside), expression


def test_every_alert_has_its_page(root):
    headings = set(re.findall(r"^### (\w+)$", (root / "docs/operations.md").read_text(), re.MULTILINE))
    named = {rule["alert"] for rule in rules(root)}
    assert named == headings
    for rule in rules(root):
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        _, grouped = selectors(rule["expr"])
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        if grouped:
            assert used <= grouped, rule["alert"]


def test_panels_have_titles_of_their_own_and_do_not_overlap(root):
    shown = panels(root)
    assert len({panel["title"] for panel in shown}) == len({panel["id"] for panel in shown}) == len(shown)
    taken = set()
    for panel in shown:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_what_the_dashboard_shows_is_on_a_gateways_metrics(root, gateway, operator_of, metrics_of):
    operator = operator_of(gateway)
    operator.publish("scaled", 1, alias="champion")
    operator.publish("scaled", 2, alias="challenger")
    operator.start_experiment("scaled")
    operator.predict("scaled", unit_id="u-1")
    operator.close()
    text = metrics_of(gateway).text
    told = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    for expression in expressions(root):
        for name, _ in selectors(expression)[0]:
            assert name == "up" or re.sub(r"_(bucket|sum|count)$", "", name) in told or name in told, name
    shown = set(re.findall(r"^(turnout_\w+)", text, re.MULTILINE))
    for name in ("turnout_prediction_seconds_bucket", "turnout_predictions_total", "turnout_journal_records_total"):
        assert name in shown


@pytest.mark.parametrize("wrong", ["sum by (model rate(turnout_x[5m])", "rate(turnout_x)", "turnout_x{model=}"])
def test_the_parser_refuses_what_prometheus_would(wrong):
    with pytest.raises(ValueError, match=r".+"):
        promql_parser.parse(wrong)
