"""Gates: what a version of a model must have before it becomes the champion, decided by pure functions.

A gate is a document with a `kind` and its settings, kept with the model. Deciding takes the documents and the evidence
that the caller gathered, and gives a verdict with a sentence for each; nothing here reads or writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from registry.errors import GateInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.records import Version

GATES_MAX = 32
BLESSED = "BLESSED"
_AGREEING = frozenset({"AGREES", "AGREES_WITH_STEPS"})
Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version passes one gate, in a sentence, and what that rests on."""

    gate: Document
    passed: bool
    sentence: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the gates look at.

    Parameters
    ----------
    version, champion
        What is to become the champion, and what is; None where there is none yet.
    probe_passed
        Whether its probe rows give what they should on this runtime; None when it has none.
    probe_sentence
        What was found when they were replayed.
    approvals
        Who approved it by which role, the newest decision of each: (role, actor).
    trials
        What experiments and shadows say of it: documents with kind, name and units; an experiment's with its decision,
        a shadow's with its calls and how many of them failed.
    skew
        How many calls with its features were replayed for skew, and what was wrong with them; None when nobody did.
    evaluation
        How the training run that made it judged it beside the champion: run, verdict, reasons; None when no run did.
    """

    version: Version
    champion: Version | None = None
    probe_passed: bool | None = None
    probe_sentence: str = ""
    approvals: Sequence[tuple[str, str]] = ()
    trials: Sequence[Mapping[str, object]] = ()
    skew: tuple[int, Sequence[str]] | None = None
    evaluation: Mapping[str, object] | None = None


def check_gates(documents: object) -> list[dict[str, object]]:
    """Return the gates as they are kept, or raise GateInvalidError for one that is not known or does not fit."""
    if not isinstance(documents, Sequence) or isinstance(documents, str) or len(documents) > GATES_MAX:
        raise GateInvalidError(f"`gates` is a list of at most {GATES_MAX} gates", field="gates")
    return [_checked(document) for document in documents]


def decide(gates: Sequence[Document], evidence: Evidence) -> list[Verdict]:
    """Return the verdict of each gate, in order."""
    return [_KINDS[str(gate["kind"])].decide(gate, evidence) for gate in gates]


def _checked(document: object) -> dict[str, object]:
    if not isinstance(document, Mapping):
        raise GateInvalidError("a gate is an object with a `kind`", field="gates")
    kind = _KINDS.get(str(document.get("kind", "")))
    if kind is None:
        raise GateInvalidError(
            f"there is no gate of the kind {str(document.get('kind', ''))[:64]!r}; there are: {', '.join(_KINDS)}",
            field="gates.kind",
        )
    settings = {name: value for name, value in document.items() if name != "kind"}
    for name, value in settings.items():
        allowed = kind.settings.get(name)
        if allowed is None or not isinstance(value, allowed) or isinstance(value, bool):
            raise GateInvalidError(
                f"the gate {document['kind']!r} does not take `{name[:64]}` = {str(value)[:64]!r}; it takes: "
                f"{', '.join(kind.settings) or 'nothing'}",
                field=f"gates.{name[:64]}",
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise GateInvalidError(f"`{name}` is not a number", field=f"gates.{name}")
    missing = [name for name in kind.required if name not in settings]
    if missing:
        raise GateInvalidError(f"the gate {document['kind']!r} needs `{missing[0]}`", field=f"gates.{missing[0]}")
    kind.check(settings)
    return {"kind": document["kind"], **settings}


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of gate: what it takes, what of that it needs, and how it decides."""

    decide: Callable[[Document, Evidence], Verdict]
    settings: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    check: Callable[[Document], None] = lambda _settings: None


def _parity(gate: Document, evidence: Evidence) -> Verdict:
    certificate = evidence.version.facts.parity
    if not certificate:
        return Verdict(gate, False, "it has no parity certificate: publish it from the trainer, which makes one")
    verdict = str(certificate.get("verdict", ""))
    parts = [part for part in (certificate.get("real"), certificate.get("adversarial")) if isinstance(part, Mapping)]
    flips, rows = (sum(int(part.get(name, 0)) for part in parts) for name in ("label_flips", "rows"))
    facts = {"verdict": verdict, "label_flips": flips, "rows": rows}
    if verdict not in _AGREEING:
        return Verdict(gate, False, f"its parity certificate says {verdict or 'nothing'}", facts)
    largest = _number(gate, "flip_rate_max")
    if flips > largest * rows:
        return Verdict(gate, False, f"{flips} of {rows} labels flip at export; at most {largest:.3%} may", facts)
    return Verdict(gate, True, f"its outputs agree with the estimator's on {rows} rows", facts)


def _metric(gate: Document, evidence: Evidence) -> Verdict:
    name = str(gate["metric"])
    value = evidence.version.facts.metrics.get(name)
    facts: dict[str, object] = {"metric": name, "value": value}
    if value is None:
        return Verdict(gate, False, f"it has no metric `{name}`", facts)
    if "at_least" in gate and value < _number(gate, "at_least"):
        return Verdict(gate, False, f"`{name}` is {value:g}; it must be at least {gate['at_least']}", facts)
    if "at_most" in gate and value > _number(gate, "at_most"):
        return Verdict(gate, False, f"`{name}` is {value:g}; it must be at most {gate['at_most']}", facts)
    if "worse_at_most" in gate and evidence.champion is not None:
        return _against_champion(gate, name, value, evidence.champion.facts.metrics.get(name))
    return Verdict(gate, True, f"`{name}` is {value:g}", facts)


def _against_champion(gate: Document, name: str, value: float, champion: float | None) -> Verdict:
    facts = {"metric": name, "value": value, "champion": champion}
    if champion is None:
        return Verdict(gate, False, f"the champion has no metric `{name}` to compare with", facts)
    loss = champion - value if gate.get("direction", "increase") == "increase" else value - champion
    allowed = _number(gate, "worse_at_most")
    if loss > allowed:
        return Verdict(
            gate, False, f"`{name}` is {value:g} against {champion:g}: worse by {loss:g}, {allowed:g} is allowed", facts
        )
    return Verdict(gate, True, f"`{name}` is {value:g} against {champion:g}", facts)


def _probe(gate: Document, evidence: Evidence) -> Verdict:
    if evidence.probe_passed is None:
        return Verdict(gate, False, "it has no probe rows: publish it with some")
    return Verdict(gate, evidence.probe_passed, evidence.probe_sentence or "its probe rows were replayed")


def _feature_set(gate: Document, evidence: Evidence) -> Verdict:
    version, champion = evidence.version, evidence.champion
    if champion is None:
        return Verdict(gate, True, "there is no champion to compare with")
    facts = {"digest": version.feature_set_digest, "champion": champion.feature_set_digest}
    if version.feature_set_digest == champion.feature_set_digest:
        return Verdict(gate, True, "it reads the same features as the champion", facts)
    return Verdict(
        gate,
        False,
        f"it reads {version.feature_set or 'no set'}, another than the champion's {champion.feature_set}",
        facts,
    )


def _signed(gate: Document, evidence: Evidence) -> Verdict:
    signer = evidence.version.signed_by
    if not signer:
        return Verdict(gate, False, "nobody has signed it")
    if "by" in gate and gate["by"] != signer:
        return Verdict(gate, False, f"{signer!r} signed it, not {gate['by']!r}", {"signed_by": signer})
    return Verdict(gate, True, f"{signer!r} signed it", {"signed_by": signer})


def _check_trial(settings: Document) -> None:
    """Raise GateInvalidError for a trial that no experiment and no shadow can ever be."""
    kind = settings.get("of", "experiment")
    if kind not in _OF_TRIALS:
        raise GateInvalidError(f"a trial is `of` {' or '.join(_OF_TRIALS)}, not {str(kind)[:64]!r}", field="gates.of")
    if settings.get("decision", "any") not in {"any", "ship"}:
        raise GateInvalidError("the `decision` that a trial asks for is ship or any", field="gates.decision")
    for name in settings:
        if name in _OF_ONE_TRIAL and _OF_ONE_TRIAL[name] != kind:
            raise GateInvalidError(f"a trial of {kind} knows no `{name}`", field=f"gates.{name}")
    if not 0 <= _number(settings, "failed_share_max") <= 1:
        raise GateInvalidError("`failed_share_max` is a share: 0 to 1", field="gates.failed_share_max")


def _trial(gate: Document, evidence: Evidence) -> Verdict:
    wanted, units = str(gate.get("of", "experiment")), _number(gate, "units_min", 0)
    fitting = [
        trial for trial in evidence.trials if trial.get("kind") == wanted and _number(trial, "units", 0) >= units
    ]
    facts = {"trials": [dict(trial) for trial in evidence.trials]}
    if not fitting:
        return Verdict(gate, False, f"no {wanted} with at least {units:g} units has looked at it", facts)
    if wanted == "shadow":
        return _shadowed(gate, fitting[0], facts)
    good = [trial for trial in fitting if trial.get("decision") == "ship"]
    if gate.get("decision", "ship") == "ship" and not good:
        return Verdict(gate, False, f"no {wanted} says that it should ship", facts)
    return Verdict(gate, True, f"{wanted} {(good or fitting)[0].get('name')} looked at it", facts)


def _shadowed(gate: Document, trial: Document, facts: Document) -> Verdict:
    """Decide on what a shadow made of the calls that were answered."""
    calls, failed = int(_number(trial, "calls")), int(_number(trial, "failed"))
    largest = _number(gate, "failed_share_max")
    if failed > largest * calls:
        return Verdict(
            gate, False, f"it failed in {failed} of {calls} calls as a shadow; at most {largest:.3%} may", facts
        )
    return Verdict(gate, True, f"as a shadow it answered {calls - failed} of {calls} calls", facts)


def _approval(gate: Document, evidence: Evidence) -> Verdict:
    role, least = str(gate["role"]), int(_number(gate, "count", 1))
    people = sorted({actor for given, actor in evidence.approvals if given == role})
    facts = {"role": role, "approved_by": people}
    if len(people) < least:
        return Verdict(gate, False, f"{len(people)} of {least} approvals by {role!r} are there", facts)
    return Verdict(gate, True, f"approved by {', '.join(people)} as {role!r}", facts)


def _skew(gate: Document, evidence: Evidence) -> Verdict:
    if not evidence.version.feature_set:
        return Verdict(gate, True, "it reads no stored features")
    calls, findings = evidence.skew or (0, ())
    least = int(_number(gate, "calls_min", 1))
    facts = {"calls": calls, "findings": list(findings)}
    if calls < least:
        return Verdict(gate, False, f"its features were replayed for {calls} calls; at least {least} are needed", facts)
    if findings:
        return Verdict(gate, False, f"its features are skewed: {findings[0]}", facts)
    return Verdict(gate, True, f"its features are those of a recomputation in {calls} calls", facts)


def _evaluation(gate: Document, evidence: Evidence) -> Verdict:
    found = evidence.evaluation
    if found is None:
        return Verdict(gate, False, "no training run has judged it beside the champion")
    run, verdict, reasons = found.get("run"), found.get("verdict"), found.get("reasons")
    if verdict != BLESSED:
        why = "; ".join(map(str, reasons)) if isinstance(reasons, Sequence) and not isinstance(reasons, str) else ""
        return Verdict(gate, False, f"{run} says {verdict or 'nothing'}{': ' if why else ''}{why}", found)
    return Verdict(gate, True, f"{run} has blessed it", found)


def _number(gate: Document, name: str, default: float = 0.0) -> float:
    value = gate.get(name, default)
    return float(value) if isinstance(value, int | float) else default


_REAL = (int, float)
_OF_TRIALS = ("experiment", "shadow")
_OF_ONE_TRIAL = {"decision": "experiment", "failed_share_max": "shadow"}
_KINDS: dict[str, _Kind] = {
    "parity": _Kind(_parity, {"flip_rate_max": _REAL}),
    "metric": _Kind(
        _metric,
        {"metric": str, "at_least": _REAL, "at_most": _REAL, "worse_at_most": _REAL, "direction": str},
        ("metric",),
    ),
    "probe": _Kind(_probe),
    "feature_set": _Kind(_feature_set),
    "signed": _Kind(_signed, {"by": str}),
    "trial": _Kind(
        _trial, {"of": str, "units_min": _REAL, "decision": str, "failed_share_max": _REAL}, check=_check_trial
    ),
    "evaluation": _Kind(_evaluation),
    "skew": _Kind(_skew, {"calls_min": int}),
    "approval": _Kind(_approval, {"role": str, "count": int}, ("role",)),
}
