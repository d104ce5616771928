"""Counts of what a worker answered, cheap enough to keep on the hot path."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.serving.request import Request

Label = tuple[str, int, str, str, str]
"""Model, version, experiment, variant, reason (empty when answered)."""


class Tally:
    """Counters that only grow; read by one thread while another adds, so a reader may see a count one wave old.

    Attributes
    ----------
    waves, wave_calls
        How many waves were walked, and how many calls were in them: their ratio is the mean wave.
    store_failures
        How many waves could not read the online store.
    outcomes
        How many outcomes were recorded.
    predictions
        How many predictions by label.
    """

    __slots__ = ("outcomes", "predictions", "store_failures", "wave_calls", "waves")

    def __init__(self) -> None:
        self.waves = 0
        self.wave_calls = 0
        self.store_failures = 0
        self.outcomes = 0
        self.predictions: dict[Label, int] = {}

    def count(self, wave: Sequence[Request]) -> None:
        """Count a wave of requests that have targets."""
        self.waves += 1
        self.wave_calls += len(wave)
        predictions = self.predictions
        for request in wave:
            target = request.target
            if target is not None:
                reason = "" if request.error is None else request.error.reason
                label = (request.model, target.slot.key.version, target.experiment, target.variant, reason)
                predictions[label] = predictions.get(label, 0) + 1
