"""The certificate of parity: how closely a graph agrees with its estimator, and on what."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from trainer.errors import ParityRefusedError


class Verdict(StrEnum):
    """What the comparison says."""

    AGREES = "AGREES"
    AGREES_WITH_STEPS = "AGREES_WITH_STEPS"
    DISAGREES = "DISAGREES"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a set of rows compares.

    Attributes
    ----------
    rows
        How many were compared.
    max_delta, mean_delta
        The largest and the mean difference of a probability; of a number in standard deviations of what the estimator
        says of real rows, or where it says what lies further off, as a part of that distance.
    beyond_tolerance
        Rows with a difference above the tolerance.
    label_flips
        Rows that got another label although the estimator's two best classes lie further apart than the tolerance.
    ties
        Rows that got another label where they do not.
    worst
        The rows that differ most, those beyond the tolerance alone: their values, and what the two said.
    """

    rows: int
    max_delta: float
    mean_delta: float
    beyond_tolerance: int
    label_flips: int
    ties: int
    worst: tuple[WorstRow, ...] = ()


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row that differs: its values, what the estimator says of it, and what the graph does; as text."""

    values: tuple[str, ...]
    estimator: tuple[str, ...]
    graph: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """How closely a graph agrees with its estimator, and where that was found.

    Attributes
    ----------
    verdict
        DISAGREES on any flip of a real or an adversarial row, when more than one of those in a thousand differs by more
        than the tolerance, or when of those next to splits more than one in fifty flips or in twenty differs.
    reason
        Why, as a sentence; empty for AGREES.
    tolerance
        The largest difference that passes.
    dtype
        The element type of the graph's input.
    real, adversarial, splits
        The comparison on rows of the training table, on rows made from them to provoke, and on rows next to the splits
        of trees.
    left_out
        Kinds of adversarial rows that do not count, and why: what the estimator itself refuses, missing values where no
        real row has any (an estimator's answer to those is an accident of its code), and the ends of float32 where the
        two differ.
    versions
        The libraries that took part.
    """

    verdict: Verdict
    reason: str
    tolerance: float
    dtype: str
    real: Agreement
    adversarial: Agreement
    splits: Agreement
    left_out: dict[str, str]
    versions: dict[str, str]

    @property
    def flips(self) -> int:
        """How many real and adversarial rows got another label."""
        return self.real.label_flips + self.adversarial.label_flips

    def to_json(self) -> str:
        """Return the certificate as a JSON object."""
        return json.dumps(asdict(self), sort_keys=True)

    def require(self) -> None:
        """Raise ParityRefusedError unless the verdict passes."""
        if self.verdict is Verdict.DISAGREES:
            raise ParityRefusedError(
                f"the ONNX graph does not answer as the estimator does: {self.reason}",
                label_flips=self.flips,
                max_delta=max(self.real.max_delta, self.adversarial.max_delta),
            )
