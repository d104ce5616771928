"""Where units get lost on their way from the split to the analysis."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.sample_ratio import check_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from experiments.analysis.findings import NotEnoughData, SampleRatioCheck


class Stage(enum.StrEnum):
    """How far a unit came, each stage within the one before it."""

    ASSIGNED = "assigned"
    JOURNALLED = "journalled"
    SERVED = "served"
    MATURED = "matured"


_LOSS = {
    Stage.ASSIGNED: "the assignment itself does not give the shares",
    Stage.JOURNALLED: "predictions that were answered could not be journalled",
    Stage.SERVED: "predictions failed, or were answered by the control's version",
    Stage.MATURED: "outcomes did not come, or did not come yet",
}


@dataclass(frozen=True, slots=True)
class StageCheck:
    """Whether the units that came as far as a stage are split as the shares say.

    Parameters
    ----------
    units
        By variant, in the order of the definition.
    """

    stage: Stage
    units: tuple[int, ...]
    result: SampleRatioCheck | NotEnoughData

    @property
    def mismatch(self) -> bool:
        """Whether they are not."""
        return getattr(self.result, "mismatch", False)


def check_stages(
    observed: Mapping[Stage, Sequence[Sequence[int]]],
    propensities: Sequence[Sequence[float]],
    *,
    watched: bool,
) -> tuple[StageCheck, ...]:
    """Return the check of each stage, in their order.

    Parameters
    ----------
    observed
        For each stage and epoch, the units of each variant that came so far, each in the epoch it was first seen in.
    propensities, watched
        As `check_ratio` takes them.

    Notes
    -----
    Each stage is held against the propensities: arms that lose the same part of their units at a stage keep them. So
    the first stage that does not fit is the one where an arm loses more than the others.
    """
    return tuple(
        StageCheck(
            stage,
            tuple(sum(column) for column in zip(*observed[stage], strict=True)),
            check_ratio(observed[stage], propensities, watched=watched),
        )
        for stage in Stage
        if stage in observed
    )


def losing_stage(checks: Sequence[StageCheck]) -> StageCheck | None:
    """Return the first stage whose units are not split as the shares say; None when all are.

    Predictions that were lost are counted and their units are not known, so that `assigned` adds them to the units that
    were journalled. That is a test of nothing by itself, and tells only what a mismatch of `journalled` comes from.
    """
    known = {each.stage: each for each in checks}
    journalled, assigned = known.get(Stage.JOURNALLED), known.get(Stage.ASSIGNED)
    if journalled is not None and journalled.mismatch:
        explained = assigned is not None and not assigned.mismatch and assigned.units != journalled.units
        return journalled if explained or assigned is None else assigned
    return next((each for each in checks if each.mismatch and each.stage is not Stage.ASSIGNED), None)


def loss_sentence(lost: StageCheck, variants: Sequence[str]) -> str:
    """Return what an uneven stage says, in words and numbers."""
    counts = ", ".join(f"{name} {units}" for name, units in zip(variants, lost.units, strict=True))
    p_value = min(getattr(lost.result, "p_value", 1.0), getattr(lost.result, "sequential_p_value", 1.0))
    return (
        f"units are lost unevenly at the stage '{lost.stage.value}' ({counts}; p = {p_value:.2g}): "
        f"{_LOSS[lost.stage]}, "
        "more in one arm than in another; find out which are missing before anything else"
    )
