"""A verdict that can be computed again: from what was stored, by the engine that made it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.allocation import Allocation
from experiments.analysis.balance import BalanceCheck
from experiments.analysis.conclusions import Conclusions, Missingness, Watches, conclude
from experiments.analysis.decision import Decision, recommend
from experiments.analysis.evidence import Evidence
from experiments.analysis.findings import Comparison
from experiments.analysis.reasons import end_has_come
from experiments.analysis.stages import StageCheck
from experiments.analysis.stored import canonical, plain, rebuild
from experiments.analysis.watch import Watch
from experiments.definition import Experiment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENGINE = "turnout-statistics/3"
"""Raised whenever the same evidence may come to another verdict."""


_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an engine made of some evidence.

    Parameters
    ----------
    basis
        The JSON text of all that it was made of: engine, experiment, epochs, evidence, and the looks before.
    outcome
        The JSON text of what was made: comparisons, checks, and the decision.
    """

    conclusions: Conclusions
    decision: Decision
    basis: str
    outcome: str

    @property
    def engine(self) -> str:
        """The engine that made it."""
        made: str = json.loads(self.basis)["engine"]
        return made

    @property
    def digest(self) -> str:
        """The sha256 of basis and outcome: the identity of the verdict."""
        return digest_of(self.basis, self.outcome)


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict with what it was about.

    Parameters
    ----------
    epoch
        Of the newest split; 0 when none had been in force.
    """

    experiment: Experiment
    epoch: int
    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a stored verdict follows from what was stored with it.

    Parameters
    ----------
    same
        Whether each number and word came out again.
    engine
        Which engine had made it.
    differences
        Where it did not, at most 20 of them.
    """

    same: bool
    engine: str
    differences: tuple[str, ...]


def digest_of(basis: str, outcome: str) -> str:
    """Return the sha256 of what a verdict was made of and what was made."""
    return hashlib.sha256(f"{basis}\n{outcome}".encode()).hexdigest()


def reach_verdict(
    experiment: Experiment,
    epochs: Sequence[Allocation],
    evidence: Evidence,
    watches: Mapping[tuple[str, str], Watch],
) -> Verdict:
    """Return the verdict: a pure function of what was defined, what was seen, and the looks before."""
    conclusions = conclude(experiment, evidence, epochs, watches)
    decision = recommend(experiment, conclusions, evidence)
    basis = canonical(
        {
            "engine": ENGINE,
            "experiment": experiment,
            "epochs": tuple(epochs),
            "evidence": evidence,
            "watches": _listed(watches),
        }
    )
    outcome = canonical(
        {
            "comparisons": conclusions.comparisons,
            "stages": conclusions.stages,
            "balance": conclusions.balance,
            "missingness": conclusions.missingness,
            "watches": _listed(conclusions.watches),
            "decision": decision,
        }
    )
    return Verdict(conclusions, decision, basis, outcome)


def again(basis: str) -> Verdict:
    """Return the verdict that follows from a stored basis."""
    stored = json.loads(basis)
    return reach_verdict(
        rebuild(Experiment, stored["experiment"]),
        rebuild(tuple[Allocation, ...], stored["epochs"]),
        rebuild(Evidence, stored["evidence"]),
        watches_from(stored["watches"]),
    )


def as_told(basis: str, outcome: str) -> Told:
    """Return a stored verdict as it was told, by whatever engine; nothing is computed."""
    stored, made = json.loads(basis), json.loads(outcome)
    conclusions = Conclusions(
        comparisons=rebuild(tuple[Comparison, ...], made["comparisons"]),
        stages=rebuild(tuple[StageCheck, ...], made["stages"]),
        balance=rebuild(tuple[BalanceCheck, ...], made["balance"]),
        missingness=rebuild(tuple[Missingness, ...], made["missingness"]),
        watches=watches_from(made["watches"]),
    )
    return Told(
        experiment=rebuild(Experiment, stored["experiment"]),
        epoch=max((each["epoch"] for each in stored["epochs"]), default=0),
        evidence=rebuild(Evidence, stored["evidence"]),
        verdict=Verdict(conclusions, rebuild(Decision, made["decision"]), basis, outcome),
    )


def same_evidence(basis: str, experiment: Experiment, evidence: Evidence) -> bool:
    """Whether this engine made a stored verdict of the same definition and evidence, on the same side of a planned end.

    Counts must be equal; sums may differ by a billionth: a parallel scan adds in another order each time.
    """
    stored = json.loads(basis)
    if stored["engine"] != ENGINE or stored["experiment"] != json.loads(canonical(experiment)):
        return False
    before, now = stored["evidence"], json.loads(canonical(evidence))
    if end_has_come(experiment, before["elapsed_us"]) is not end_has_come(experiment, evidence.elapsed_us):
        return False
    return _alike({**before, "elapsed_us": 0}, {**now, "elapsed_us": 0})


def verify(basis: str, outcome: str, digest: str) -> Verification:
    """Return whether a stored verdict comes out again from what was stored with it."""
    found: list[str] = []
    if digest_of(basis, outcome) != digest:
        found.append("the digest is not that of what is stored: it was changed after it was stored")
    computed = again(basis)
    found.extend(_differences(json.loads(outcome), json.loads(computed.outcome), ""))
    return Verification(not found, json.loads(basis)["engine"], tuple(found[:20]))


def watches_of(outcome: str) -> Watches:
    """Return what the next look must know of a stored verdict."""
    return watches_from(json.loads(outcome)["watches"])


def watches_from(listed: Sequence[Any]) -> Watches:
    """Return what earlier looks left behind from its stored form."""
    return {(metric, variant): rebuild(Watch, watch) for metric, variant, watch in listed}


def _listed(watches: Mapping[tuple[str, str], Watch]) -> list[Any]:
    return [[metric, variant, plain(watch)] for (metric, variant), watch in sorted(watches.items())]


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        if one and all(isinstance(each, float) for each in (*one, *other)):
            scale = max(abs(each) for each in (*one, *other))
            return all(abs(a - b) <= _ROUNDING * scale for a, b in zip(one, other, strict=True))
        return all(_alike(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _differences(one: Any, other: Any, where: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [each for key in keys for each in _differences(one.get(key), other.get(key), f"{where}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            each
            for position, pair in enumerate(zip(one, other, strict=True))
            for each in _differences(*pair, f"{where}[{position}]")
        ]
    # NaN never equals itself, and is never stored; two infinities are the same.
    return [] if one == other else [f"{where.lstrip('.')}: stored {one!r}, computed {other!r}"]
