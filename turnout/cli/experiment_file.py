"""Experiments as they are written in TOML.

The keys are the fields of the contract's Experiment, Variant, Metric, Plan and Ramp, but for two: ``experiment`` is the
id, and ``model`` the model's id. What the contract enumerates, such as ``kind`` and ``method``, goes by its short name
in lower case. ``coverage`` is 1 unless given. What is not known is refused; what it means is the gateway's to judge.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from turnout import resources
from turnout.cli.document import enum_name
from turnout.cli.literals import LiteralError
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2

if TYPE_CHECKING:
    from pathlib import Path

_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "whole number": (int,),
    "truth": (bool,),
    "table": (dict,),
    "list of texts": (list,),
}

_EXPERIMENT = {
    "description": "text",
    "owner": "text",
    "coverage": "number",
    "seed": "text",
    "alpha": "number",
    "minimum_units": "whole number",
    "layer_share": "number",
    "targeting": "table",
    "forced": "table",
}
_VARIANT = {"variant": "text", "version": "whole number", "alias": "text", "share": "number", "control": "truth"}
_METRIC = {
    "metric": "text",
    "outcome": "text",
    "output": "text",
    "output_index": "whole number",
    "margin": "number",
    "absolute_margin": "number",
    "minimum_effect": "number",
    "denominator": "text",
    "quantile": "number",
    "lower_cap": "number",
    "upper_cap": "number",
    "winsorize": "number",
    "window_us": "whole number",
    "missing_as_zero": "truth",
    "covariate_attribute": "text",
    "label": "text",
    "classes": "list of texts",
}
_RAMP = {"alpha": "number", "promote": "truth"}
_STEP = {
    "share": "number",
    "minimum_time_us": "whole number",
    "minimum_units": "whole number",
    "approval": "truth",
    "proven": "truth",
}
_GUARDRAIL = {
    "tolerance": "number",
    "limit_us": "whole number",
    "quantile": "number",
    "ratio": "number",
    "output": "text",
    "output_index": "whole number",
    "lower": "number",
    "upper": "number",
}
_PLAN = {
    "planned_units": "whole number",
    "looks": "whole number",
    "stratify_by": "text",
    "planned_end_us": "whole number",
}
_ENUMS: dict[str, Any] = {
    "unit": pb.UnitKind.DESCRIPTOR,
    "kind": pb.MetricKind.DESCRIPTOR,
    "direction": pb.Direction.DESCRIPTOR,
    "role": pb.MetricRole.DESCRIPTOR,
    "covariate": pb.Covariate.DESCRIPTOR,
    "method": pb.AnalysisMethod.DESCRIPTOR,
    "correction": pb.Correction.DESCRIPTOR,
    "spending": pb.Spending.DESCRIPTOR,
}
_GUARDRAILS = ramp_pb2.RampGuardrailKind.DESCRIPTOR
_METRIC_MUST = ("kind", "direction", "role")
_METRIC_MAY = ("covariate",)
_PLAN_MAY = ("method", "correction", "spending")


def read_experiment(path: Path) -> pb.CreateExperimentRequest:
    """Return the request that creates the experiment of a TOML file, or raise LiteralError."""
    return build_experiment(_document(path))


def read_ramp(path: Path) -> ramp_pb2.Ramp:
    """Return the ramp of a TOML file that has the table [ramp] and nothing else, or raise LiteralError."""
    document = _document(path)
    if set(document) != {"ramp"}:
        raise LiteralError(f"{path} has {', '.join(document) or 'nothing'}: expected one table, [ramp]")
    return _ramp(document["ramp"])


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LiteralError(f"{path} is not TOML: {error}") from error


def build_experiment(document: dict[str, Any]) -> pb.CreateExperimentRequest:
    """Return the request that creates an experiment, or raise LiteralError."""
    rest = dict(document)
    identity, model = (_text(rest, key) for key in ("experiment", "model"))
    variants = [_fields(one, _VARIANT, "variants") for one in _tables(rest, "variants")]
    metrics = [_metric(one) for one in _tables(rest, "metrics")]
    plan = _plan(rest.pop("plan", None))
    ramp = _ramp(rest.pop("ramp")) if "ramp" in rest else None
    # A ramp sets the shares: there is nothing to say of them.
    even = {} if ramp is None else {"share": 0.5}
    unit = _enum(_text(rest, "unit"), "unit") if "unit" in rest else pb.UNIT_KIND_UNSPECIFIED
    experiment = pb.Experiment(
        model=resources.model_name(model),
        variants=[pb.Variant(**{**even, **one}) for one in variants],
        metrics=metrics,
        plan=plan,
        ramp=ramp,
        unit=unit,
        **{"coverage": 1.0, **_fields(rest, _EXPERIMENT, "the experiment")},
    )
    return pb.CreateExperimentRequest(experiment_id=identity, experiment=experiment)


def _metric(table: dict[str, Any]) -> pb.Metric:
    rest = dict(table)
    keys = (*_METRIC_MUST, *(key for key in _METRIC_MAY if key in rest))
    numbers = {key: _enum(_text(rest, key), key) for key in keys}
    return pb.Metric(**_fields(rest, _METRIC, "metrics"), **numbers)


def _plan(table: Any) -> pb.Plan | None:
    if table is None:
        return None
    if not isinstance(table, dict):
        raise LiteralError("plan takes a table: [plan]")
    rest = dict(table)
    numbers = {key: _enum(_text(rest, key), key) for key in _PLAN_MAY if key in rest}
    return pb.Plan(**_fields(rest, _PLAN, "plan"), **numbers)


def _ramp(table: Any) -> ramp_pb2.Ramp:
    if not isinstance(table, dict):
        raise LiteralError("ramp takes a table: [ramp]")
    rest = dict(table)
    steps = [ramp_pb2.RampStep(**_fields(one, _STEP, "ramp.steps")) for one in _tables(rest, "steps")]
    guardrails = [_guardrail(one) for one in _tables(rest, "guardrails")]
    return ramp_pb2.Ramp(steps=steps, guardrails=guardrails, **_fields(rest, _RAMP, "ramp"))


def _guardrail(table: dict[str, Any]) -> ramp_pb2.RampGuardrail:
    rest = dict(table)
    kind = _enum(_text(rest, "kind"), "kind", _GUARDRAILS)
    return ramp_pb2.RampGuardrail(kind=kind, **_fields(rest, _GUARDRAIL, "ramp.guardrails"))


def _enum(text: str, key: str, kind: Any = None) -> Any:
    enum = kind or _ENUMS[key]
    names = {enum_name(enum, one.number).lower(): one.number for one in enum.values if one.number}
    if text not in names:
        raise LiteralError(f"{key} = {text!r} is not known: expected one of {', '.join(names)}")
    return names[text]


def _fields(table: dict[str, Any], known: dict[str, str], where: str) -> dict[str, Any]:
    for key, value in table.items():
        if key not in known:
            raise LiteralError(f"{where} has the unknown key {key!r}: expected {', '.join(known)}")
        if not isinstance(value, _KINDS[known[key]]) or (isinstance(value, bool) and known[key] != "truth"):
            raise LiteralError(f"{key} in {where} takes a {known[key]}, not {value!r}")
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise LiteralError(f"{key} in {where} takes a {known[key]}, not {value!r}")
    return table


def _tables(rest: dict[str, Any], key: str) -> list[dict[str, Any]]:
    tables = rest.pop(key, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise LiteralError(f"{key} takes tables: [[{key}]]")
    return tables


def _text(rest: dict[str, Any], key: str) -> str:
    value = rest.pop(key, None)
    if not isinstance(value, str):
        raise LiteralError(f"{key} takes a text and must be given")
    return value
