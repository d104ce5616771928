"""What the console draws of training: drift as small multiples, estimates beside what came true, a run's evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.web.html import Html, badge, el, join, link, table
from gateway.web.page import href
from turnout import resources
from turnout.report.svg import Plot, spread
from turnout.report.times import time_text, time_ticks
from turnout.report.words import enum_words
from turnout.trainer.v1 import policy_pb2, run_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

PANELS_MAX = 48
"""How many columns are drawn; the others are counted."""
FLOORS_SHOWN = 4.0
"""How many times the floor a panel is high; what is above is drawn at its edge."""
_WIDE, _TALL = 300.0, 60.0
_VERDICTS = {
    run_pb2.TRIGGER_VERDICT_FIRE: "bad",
    run_pb2.TRIGGER_VERDICT_QUIET: "good",
    run_pb2.TRIGGER_VERDICT_INSUFFICIENT: "wait",
}
_STATES = {
    run_pb2.RUN_STATE_QUEUED: "wait",
    run_pb2.RUN_STATE_RUNNING: "main",
    run_pb2.RUN_STATE_DEPLOYING: "main",
    run_pb2.RUN_STATE_PUBLISHED: "good",
    run_pb2.RUN_STATE_DEPLOYED: "good",
    run_pb2.RUN_STATE_ROLLED_BACK: "bad",
    run_pb2.RUN_STATE_FAILED: "bad",
}


class Drifted(NamedTuple):
    """How far a column was from its reference at one look."""

    time_us: int
    effect: float
    floor: float
    flagged: bool
    method: str


class Estimated(NamedTuple):
    """What a metric was estimated at at one look, and what it came to where labels had matured."""

    time_us: int
    metric: str
    estimate: float
    low: float
    high: float
    threshold: float
    real: tuple[float, float, float] | None


def policy_link(name: str) -> Html:
    """Return the link to a policy's page, by its resource name."""
    policy = resources.policy_id(name)
    return link(href("policies", policy), policy)


def run_link(name: str) -> Html:
    """Return the link to a run's page, by its resource name."""
    policy, number = resources.parse_run(name)
    return link(href("policies", policy, "runs", str(number)), f"run {number}")


def verdict_badge(verdict: run_pb2.TriggerVerdict.ValueType) -> Html:
    """Return what a trigger says."""
    words = enum_words(run_pb2.TriggerVerdict, verdict) if verdict else ""
    return badge(words, _VERDICTS.get(verdict, "")) if words else Html("")


def run_badge(state: run_pb2.RunState.ValueType) -> Html:
    """Return where a run stands."""
    return badge(enum_words(run_pb2.RunState, state), _STATES.get(state, ""))


def read(text: str) -> dict[str, Any]:
    """Return the JSON object in a text; an empty one where there is none."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def drift_of(checks: Sequence[run_pb2.Check]) -> dict[str, list[Drifted]]:
    """Return each column's looks, the oldest first; the columns that drift most now first."""
    columns: dict[str, list[Drifted]] = {}
    for check in checks:
        for each in check.evidence:
            if each.kind != policy_pb2.TRIGGER_KIND_DRIFT:
                continue
            for one in read(each.evidence_json).get("findings", ()):
                numbers = one.get("numbers", {})
                effect, floor = numbers.get("effect"), numbers.get("floor")
                if effect is not None and floor is not None:
                    looks = columns.setdefault(str(one["subject"]), [])
                    looks.append(
                        Drifted(check.end_time_us, float(effect), float(floor), bool(one["flagged"]), one["method"])
                    )
    for looks in columns.values():
        looks.sort()
    return dict(sorted(columns.items(), key=lambda item: (not item[1][-1].flagged, -height_of(item[1][-1]), item[0])))


def height_of(look: Drifted) -> float:
    """Return the effect in floors, so that all methods and columns have one scale; an effect itself without a floor."""
    return look.effect / look.floor if look.floor > 0 else look.effect


def drift_panels(columns: dict[str, list[Drifted]]) -> Html:
    """Return a small plot for each column, all of one scale: time across, the effect in floors upwards."""
    if not columns:
        return Html("")
    times = [look.time_us for looks in columns.values() for look in looks]
    ends = min(times), max(times)
    shown = list(columns.items())[:PANELS_MAX]
    panels = [el("li", _panel(name, looks, ends), class_="panel") for name, looks in shown]
    left = len(columns) - len(shown)
    more = el("p", f"And {left} columns more, which drift less.", class_="soft") if left else None
    return join(el("ul", panels, class_="panels"), more)


def _panel(name: str, looks: list[Drifted], ends: tuple[int, int]) -> Html:
    last = looks[-1]
    state = badge("drifted", "bad") if last.flagged else None
    words = f"{last.method.replace('_', ' ')} {last.effect:.3g}, floor {last.floor:.3g}"
    flagged = sum(look.flagged for look in looks)

    def across(time_us: int) -> float:
        return _WIDE if ends[0] == ends[1] else (time_us - ends[0]) / (ends[1] - ends[0]) * _WIDE

    def at(look: Drifted) -> str:
        up = min(height_of(look), FLOORS_SHOWN) / FLOORS_SHOWN
        return f"{across(look.time_us):.1f} {(1 - up) * _TALL:.1f}"

    floor = (1 - 1 / FLOORS_SHOWN) * _TALL
    svg = el(
        "svg",
        el("line", class_="zero", x1=0, x2=f"{_WIDE:.0f}", y1=f"{floor:.1f}", y2=f"{floor:.1f}"),
        el("polyline", class_="line arm-0", points=", ".join(at(look) for look in looks)),
        el("path", class_="dots firm arm-0", d="".join(f"M{at(look)}h0" for look in looks if not look.flagged)),
        el("path", class_="dots firm bad", d="".join(f"M{at(look)}h0" for look in looks if look.flagged)),
        class_="spark",
        viewBox=f"0 0 {_WIDE:.0f} {_TALL:.0f}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{name}: {words}; flagged in {flagged} of {len(looks)} looks",
    )
    return join(el("h3", name, " ", state), svg, el("p", el("small", words)))


def estimates_of(checks: Sequence[run_pb2.Check]) -> list[Estimated]:
    """Return what was estimated without labels, and what it came to, the oldest first; of the newest's metric."""
    found = []
    for check in checks:
        for each in check.evidence:
            numbers = read(each.evidence_json).get("numbers", {})
            given = [numbers.get(name) for name in ("estimate", "low", "high", "threshold")]
            if each.kind == policy_pb2.TRIGGER_KIND_ESTIMATED_PERFORMANCE and None not in given:
                said = [numbers.get(name) for name in ("real", "real_low", "real_high")]
                real = None if None in said else (float(said[0]), float(said[1]), float(said[2]))
                value, low, high, threshold = map(float, given)
                metric = str(numbers.get("metric", ""))
                found.append(Estimated(check.end_time_us, metric, value, low, high, threshold, real))
    found.sort(key=lambda each: each.time_us)
    return [each for each in found if each.metric == found[-1].metric]


def estimate_plot(estimates: Sequence[Estimated]) -> Html:
    """Return a metric's estimate with its band, what it came to with its interval, and the threshold, over time."""
    real = [(each.time_us, *each.real) for each in estimates if each.real is not None]
    values = [value for each in estimates for value in (*each[2:6], *(each.real or ()))]
    plot = Plot.over(spread([float(each.time_us) for each in estimates], margin=0.02), spread(values))
    plot.grid(x_text=time_text, y_text=lambda value: f"{value:.4g}", x_ticks=time_ticks(plot.x.low, plot.x.high))
    for style, points in (
        ("arm-1", [(each.time_us, each.estimate, each.low, each.high) for each in estimates]),
        ("arm-2", real),
    ):
        plot.area([(at, low) for at, _, low, _ in points], [(at, high) for at, _, _, high in points], f"band {style}")
        plot.line([(at, value) for at, value, _, _ in points], style)
        plot.dots([(at, value) for at, value, _, _ in points], f"firm {style}")
    plot.rule(estimates[-1].threshold, "threshold")
    metric = estimates[-1].metric
    legend = el(
        "ul",
        el("li", el("span", class_="key arm-1"), "estimated, without labels"),
        el("li", el("span", class_="key arm-2"), "what it came to, where labels have matured") if real else None,
        class_="legend",
    )
    svg = Html(plot.to_svg(f"{metric}, estimated and real, over time"))
    return join(el("div", svg, class_="scroll", role="region", aria_label=f"{metric} over time", tabindex="0"), legend)


def comparisons(caption: str, found: Sequence[tuple[str, dict[str, Any] | None]], *, other: str) -> Html:
    """Return how a candidate compares with another model: both metrics, the gain, and its interval."""
    rows = [
        (
            name,
            f"{one['rows']:,}",
            _number(one["candidate"]),
            _number(one["other"]),
            el("span", _signed(one["gain"]), class_=_side(one)),
            f"{_signed(one['lower'])} to {_signed(one['upper'])}",
        )
        for name, one in found
        if one
    ]
    heads = ("Compared", "Rows", "Candidate", other, "Gain", "Interval")
    return table(caption, heads, rows, numbers=(1, 2, 3, 4, 5)) if rows else Html("")


def _side(one: dict[str, Any]) -> str | None:
    lower, upper = one.get("lower"), one.get("upper")
    return "good" if lower is not None and lower > 0 else "bad" if upper is not None and upper < 0 else None


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _signed(value: float | None) -> str:
    return "not known" if value is None else f"{value:+.4g}"
