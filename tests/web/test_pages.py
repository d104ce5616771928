"""What the pages show, of a gateway that is furnished."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest

PAGES = (
    "/",
    "/models",
    "/models/delays",
    "/models/empty",
    "/models/delays/versions/2",
    "/experiments",
    "/experiments/canary",
    "/policies",
    "/policies/delays",
    "/policies/delays/runs/1",
    "/policies/delays/runs/2",
    "/experiments/draft",
    "/experiments/ramped",
    "/workers",
    "/changes",
    "/changes?resource=models/delays",
)
HOSTILE = "<script>alert('&\"')</script>"
_VOID = {"meta", "link", "input", "br", "hr", "rect", "line", "polyline", "polygon", "path"}


class Outline(HTMLParser):
    """Notes what a page is made of, and that each element is closed by its own tag."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_whole_and_has_nothing_that_could_run(reader, path):
    status, headers, text, _ = reader.open(path)
    assert status == 200
    outline = Outline(text)
    tags = [tag for tag, _ in outline.elements]
    assert tags.count("h1") == tags.count("main") == tags.count("header") == 1
    assert not {"script", "style", "iframe", "object"} & set(tags)
    for _, attributes in outline.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert all(each.get("href", "/").startswith(("/", "#")) for each in outline.all("a"))
    assert text.count("<table") <= text.count("<caption") + len(re.findall(r"<table><tr>", text))
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    assert HOSTILE not in text


def test_what_people_wrote_is_shown_as_they_wrote_it(reader):
    for path in ("/models/delays", "/experiments/canary"):
        text = reader.text(path)
        assert html.escape(HOSTILE) in text
        assert HOSTILE in Outline(text).text


def test_the_overview_shows_what_runs_and_what_answers(reader):
    outline = Outline(reader.text("/"))
    assert "Workers ready 1 of 1" in outline.text
    assert "control 0.6 · version 1, control" in outline.text
    labels = [each.get("aria-label", "") for each in outline.all("svg")]
    assert any(label.startswith("saved, deeper: ") for label in labels)
    assert {"/models/delays", "/experiments/canary"} <= {each["href"] for each in outline.all("a")}


def test_a_model_is_shown_with_its_history_its_shadow_and_what_the_workers_hold(reader):
    outline = Outline(reader.text("/models/delays"))
    assert "rollback too many false alarms" in outline.text
    assert "first look at 2" in outline.text
    assert "Which version had each alias, over time" in outline.text
    assert "version 4 (challenger)" in outline.text
    assert "HistGradientBoostingClassifier" in outline.text
    assert "no champion" in Outline(reader.text("/models")).text


def test_a_version_is_shown_with_its_signature_and_metrics(reader):
    text = Outline(reader.text("/models/delays/versions/2")).text
    assert "x float32 [any, 4]" in text
    assert "roc_auc 0.73" in text
    assert "version 1" in text


def test_an_experiment_is_shown_as_the_kept_looks_say(reader):
    outline = Outline(reader.text("/experiments/canary"))
    assert "Looks kept 5" in outline.text
    assert "The effect on saved over time" in outline.text
    assert "Nobody has looked at its data yet." in Outline(reader.text("/experiments/draft")).text


def test_a_ramp_that_has_not_begun_is_shown_as_it_will_be(reader):
    outline = Outline(reader.text("/experiments/planned"))
    assert "The ramp's shares. 3 steps" in [each.get("aria-label") for each in outline.all("svg")]
    assert "It begins when the experiment is started." in outline.text


def test_a_ramp_is_shown_with_its_steps_and_guardrails(reader):
    outline = Outline(reader.text("/experiments/ramped"))
    assert "step 1 of 3" in outline.text
    assert "The ramp's shares. Step 1 of 3" in [each.get("aria-label") for each in outline.all("svg")]
    assert "started" in outline.text


def test_a_policy_is_shown_with_drift_and_estimates_over_time_and_its_runs(reader):
    text = Outline(reader.text("/policies")).text
    assert "delays delays active" in text
    assert "refused" in text
    outline = Outline(reader.text("/policies/delays"))
    labels = [each.get("aria-label", "") for each in outline.all("svg")]
    small = [label for label in labels if "looks" in label]
    # What drifts stands first; a column that somebody named as he liked is shown by that name.
    assert small[0] == "carrier_delay_7d: wasserstein 0.125, floor 0.05; flagged in 3 of 8 looks"
    assert len(small) == 6
    assert any(HOSTILE in label for label in small)
    assert "brier, estimated and real, over time" in labels
    assert "1 of 6 columns drifted: carrier_delay_7d" in outline.text
    assert "no better" not in outline.text
    assert "brier is not shown to be better" in outline.text


def test_a_run_is_shown_with_its_steps_and_the_evidence_beside_the_champion(reader):
    text = Outline(reader.text("/policies/delays/runs/1")).text
    assert "not blessed on 4,200 rows that neither has learned from" in text
    assert "log_loss 4,200 0.52 0.505 -0.015 -0.021 to -0.009" in text
    assert "origin=JFK 4,200 0.15 0.158 +0.008 +0.002 to +0.014" in text
    assert "AGREES" in text
    assert "train done" in text
    assert "once more" in Outline(reader.text("/policies/delays/runs/2")).text


def test_the_workers_are_shown_with_what_they_hold(reader):
    text = Outline(reader.text("/workers")).text
    assert "What each worker holds" in text
    assert re.search(r"0 ready \d+ native|0 ready \d+ grpcio", text)
    assert "What runs in the shadow of answers" in text


def test_the_changes_are_shown_page_by_page_and_of_one_resource(reader):
    text = Outline(reader.text("/changes")).text
    assert "experiment.started" in text
    assert "admin-person" in text
    of_one = Outline(reader.text("/changes?resource=models/delays"))
    assert "experiment.started" not in of_one.text
    assert "alias.moved" in of_one.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/models/absent", 404),
        ("/models/delays/versions/99", 404),
        ("/models/delays/versions/x", 404),
        ("/models/A%20B", 404),
        ("/experiments/absent", 404),
        ("/policies/absent", 404),
        ("/policies/delays/runs/99", 404),
        ("/policies/delays/runs/x", 404),
        ("/../../etc/passwd", 404),
        ("/changes?page=nonsense", 400),
    ],
)
def test_what_is_not_there_is_told_without_particulars(reader, path, status):
    got, headers, text, _ = reader.open(path)
    assert got == status
    assert "Traceback" not in text
    assert "Content-Security-Policy" in headers


def test_a_reader_sees_no_form_that_changes_anything_and_an_administrator_does(reader, admin):
    assert 'name="verb" value="promote"' not in reader.text("/models/delays")
    assert 'name="verb" value="promote"' in admin.text("/models/delays")
    verbs = set(re.findall(r'name="verb" value="(\w+)"', admin.text("/experiments/canary")))
    assert {"look", "split", "pause", "conclude"} <= verbs
    assert set(re.findall(r'name="verb" value="(\w+)"', reader.text("/experiments/canary"))) == {"look"}


def test_health_and_metrics_are_answered_as_before(visitor, site):
    assert visitor.open("/healthz")[:1] == (200,)
    assert visitor.open("/metrics")[0] == 401
    bearer = {"Authorization": f"Bearer {site.tokens['read']}"}
    status, _, text, _ = visitor.open("/metrics", headers=bearer)
    assert status == 200
    assert "turnout_predictions_total" in text


def test_a_token_in_a_header_shows_pages_without_a_session(visitor, site):
    bearer = {"Authorization": f"Bearer {site.tokens['read']}"}
    status, _, text, _ = visitor.open("/experiments", headers=bearer)
    assert status == 200
    assert "canary" in text
