"""What each kind of trigger may be told, and in which range."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.records.policy import DAY_US, TriggerKind


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a range, both ends included."""

    lowest: float
    highest: float
    whole: bool = False

    def problem(self, value: object) -> str:
        """Return what is wrong with a value; empty when nothing is."""
        kinds = (int,) if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.lowest <= value <= self.highest:
            return f"is a {'whole ' if self.whole else ''}number from {self.lowest:g} to {self.highest:g}"
        return ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few texts."""

    names: tuple[str, ...]

    def problem(self, value: object) -> str:
        """Return what is wrong with a value; empty when nothing is."""
        return "" if value in self.names else f"is one of {', '.join(self.names)}"


_TIME = Number(1, 4_000 * DAY_US, whole=True)
_ROWS = Number(1, 10_000_000, whole=True)
_PART = Number(0, 1)
_ANY = Number(-1e12, 1e12)
_METRIC = Choice(("brier", "log_loss", "roc_auc", "accuracy", "f1", "mae", "rmse"))

_Settings = dict[str, Number | Choice]
_WINDOW: _Settings = {"window_us": _TIME, "rows_min": _ROWS}
_PERFORMANCE: _Settings = {
    "metric": _METRIC,
    "threshold": _ANY,
    "relative": _PART,
    "alpha": Number(1e-9, 0.5),
    **_WINDOW,
}

_SIGNIFICANCE: _Settings = {"alpha": Number(1e-9, 0.5), "floor": Number(0, 100)}

SETTINGS: dict[TriggerKind, _Settings] = {
    TriggerKind.PERFORMANCE: _PERFORMANCE,
    TriggerKind.ESTIMATED_PERFORMANCE: _PERFORMANCE,
    TriggerKind.DRIFT: {
        "numeric": Choice(("wasserstein", "ks", "psi", "jensen_shannon")),
        "categorical": Choice(("jensen_shannon", "chi_squared", "psi", "l_infinity")),
        **_SIGNIFICANCE,
        **_WINDOW,
    },
    TriggerKind.JOINT_DRIFT: {**_SIGNIFICANCE, **_WINDOW},
    TriggerKind.SKEW: _WINDOW,
    TriggerKind.MISSING: {**_SIGNIFICANCE, **_WINDOW},
    TriggerKind.VOLUME: {"labels": _ROWS},
    TriggerKind.TIME: {"age_us": _TIME},
    TriggerKind.DEFINITION: {},
    TriggerKind.CHANGE_POINT: {"alpha": Number(1e-9, 0.5), "margin": Number(0, 1e6), **_WINDOW},
}
"""The settings of each kind by name."""
