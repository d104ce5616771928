from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest

from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.report import html
from turnout.report.effect import Reading, effect_plot
from turnout.report.forest import Effect, forest_plot
from turnout.report.growth import growth_plot
from turnout.report.quality import quality
from turnout.report.svg import WIDTH, Axis, Plot, nice_step, spread
from turnout.report.times import time_text, time_ticks

HOUR_US = 3_600_000_000
JUNE_US = 1_370_044_800_000_000  # 2013-06-01 00:00


def drawn(svg):
    return ET.fromstring(svg)  # noqa: S314  # written by us a moment ago


def test_ticks_are_round_and_within_the_axis():
    axis = Axis(0.013, 0.97, 0, 100)
    assert axis.ticks(5) == [0.2, 0.4, 0.6, 0.8]
    assert axis.at(0.013) == 0
    assert axis.at(0.97) == pytest.approx(100)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_ticks_keep_their_digits_at_any_scale(scale):
    assert Axis(0.0, 7 * scale, 0, 1).ticks(4) == pytest.approx([each * scale for each in (0, 2, 4, 6)], rel=1e-12)


@pytest.mark.parametrize(("step", "nice"), [(0.11, 0.2), (1, 1), (2.1, 2.5), (2.6, 5), (77, 100)])
def test_steps_are_nice(step, nice):
    assert nice_step(step) == pytest.approx(nice)


@pytest.mark.parametrize("values", [[3.0], [1e15, 1e15], [-2e-12, -2e-12], [float("nan"), 3.0], [1.4e15, 1.4e15 + 1]])
def test_an_axis_is_never_empty(values):
    low, high = spread(values)
    assert low < values[-1] < high
    assert Plot.over((low, high), (low, high)).x.ticks(5)


def test_an_axis_without_values_is_from_zero_to_one():
    assert spread([]) == pytest.approx((-0.05, 1.05))


@pytest.mark.parametrize("reach_us", [0, 1, 3_000_000, 50 * 60_000_000, 30 * HOUR_US, 400 * 24 * HOUR_US])
def test_moments_on_an_axis_are_few_and_no_two_neighbours_have_one_name(reach_us):
    low, high = spread([JUNE_US + 1_234_567, JUNE_US + 1_234_567 + reach_us])
    ticks = time_ticks(low, high)
    assert len(ticks) <= 13
    assert all(low <= each <= high for each in ticks)
    names = [time_text(each) for each in ticks]
    assert all(one != other for one, other in itertools.pairwise(names))


def test_a_midnight_is_named_by_its_day():
    assert time_text(JUNE_US) == "1 Jun"
    assert time_text(JUNE_US + 14.5 * HOUR_US) == "14:30"


def test_an_effect_is_a_line_in_its_band_and_stays_in_the_plot():
    readings = [Reading(JUNE_US + at * HOUR_US, -0.03, -0.03 - 2 / at**2, -0.03 + 2 / at**2) for at in range(1, 20)]
    root = drawn(effect_plot([("arm-1", readings)], title="An <effect>", decided_us=JUNE_US + 5 * HOUR_US))
    assert root.get("aria-label") == "An <effect>"
    (band,) = [each for each in root if each.tag == "polygon"]
    points = [tuple(map(float, each.split(","))) for each in band.get("points").split()]
    assert len(points) == 2 * len(readings)
    assert all(0 <= x <= WIDTH and 0 <= y <= 300 for x, y in points)
    assert "decided" in [each.text for each in root]


def test_a_forest_has_a_row_for_each_effect_and_words_where_there_is_no_number():
    effects = [
        Effect("brier, treatment", (-0.05, -0.08, -0.02), "-5 %", "good"),
        Effect("latency, treatment", (9.0, -90.0, 99.0), "+900 %", "open"),
        Effect("m" * 90, None, "not enough data", "open"),
    ]
    root = drawn(forest_plot(effects, title="Effects"))
    assert len([each for each in root if each.get("class", "").startswith("whisker")]) == 2
    words = [each.text for each in root if each.tag == "text"]
    assert "not enough data" in words
    assert max(map(len, words)) <= 40
    zero = next(float(each.get("x1")) for each in root if each.get("class") == "rule")
    first = next(each for each in root if each.get("class") == "square good")
    assert float(first.get("x")) + 4 < zero  # less is to the left of no difference


def test_nothing_to_draw_is_a_plot_without_marks():
    for svg in (effect_plot([], title="t"), forest_plot([], title="t"), growth_plot([], title="t")):
        assert not [each for each in drawn(svg) if each.tag in {"polyline", "polygon", "path"}]


def test_a_single_look_is_a_dot():
    root = drawn(growth_plot([("arm-0", [(JUNE_US, 7.0)])], title="Units"))
    assert [each.get("class") for each in root if each.tag == "path"] == ["dots firm arm-0"]


def test_no_element_carries_a_style_so_that_a_strict_content_policy_shows_all():
    effects = effect_plot([("arm-1", [Reading(JUNE_US, 1.0, 0.0, 2.0)])], title="t")
    page = html.figure(effects, html.keys([("arm-1", "treatment")])) + html.table(["a"], [["<b>"]], numbers=[0])
    assert "style=" not in page
    assert "&lt;b&gt;" in page


def test_an_uneven_split_and_missing_outcomes_are_said_in_red():
    experiment = pb.Experiment(variants=[pb.Variant(variant="a", control=True), pb.Variant(variant="b")])
    lost = pb.SampleRatio(check=pb.SampleRatioCheck(mismatch=True, p_value=1e-30, sequential_p_value=1e-20))
    analysis = pb.AnalyzeExperimentResponse(
        stages=[pb.Stage(stage="served", units=[900, 500], sample_ratio=lost)],
        balance=[pb.Balance(what="age", variant="b", p_value=1e-9, imbalance=True)],
        maturity=[pb.Maturity(metric="m", variant="b", matured_units=1, missing_units=3, uneven=True)],
    )
    text = quality(experiment, analysis)
    assert text.count('<p class="bad">') == 3
    assert "at the stage served" in text
    assert "&lt; 1e-12" in text
    assert "3 (75.0%)" in text
    fine = quality(experiment, pb.AnalyzeExperimentResponse())
    assert "No check found a flaw" in fine
