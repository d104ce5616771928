"""Between experiments and the rows that hold them."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from experiments import tables
from experiments.allocation import Allocation
from experiments.definition import Experiment, State, Variant
from experiments.metric import Covariate, Direction, Metric, MetricKind, Role
from experiments.plan import Correction, Method, Plan, Spending
from experiments.ramp.definition import Guardrail, GuardrailKind, Ramp, Step
from experiments.scope import Scope, UnitKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, Row, Select, Table

_DEFINED = (
    "id",
    "model",
    "description",
    "owner",
    "coverage",
    "seed",
    "alpha",
    "minimum_units",
)
# What a metric has beside the columns of its table.
_METRIC_COLUMNS = ("metric", "kind", "outcome", "direction", "role", "output", "output_index")
_METRIC_OPTIONS = tuple(field.name for field in fields(Metric) if field.name not in _METRIC_COLUMNS)


def defined(experiment: Experiment) -> dict[str, Any]:
    """Return the columns of what was defined, but for the variants and metrics."""
    return {name: getattr(experiment, name) for name in _DEFINED} | {
        "plan": json.dumps(asdict(experiment.plan)),
        "scope": json.dumps(asdict(experiment.scope)),
        "ramp": "" if experiment.ramp is None else json.dumps(asdict(experiment.ramp)),
    }


def audited(experiment: Experiment, names: Collection[str]) -> dict[str, Any]:
    """Return these fields in values that JSON knows."""
    whole: dict[str, Any] = json.loads(json.dumps({name: _plain(getattr(experiment, name)) for name in names}))
    return whole


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def of_experiment(experiment: Experiment) -> dict[str, Any]:
    """Return the row of a new draft, but for its etag and its origin."""
    return defined(experiment) | {
        "state": State.DRAFT.value,
        "epoch": 0,
        "started_us": 0,
        "concluded_us": 0,
        "winner": "",
        "layer_first": 0,
    }


def of_variants(experiment: Experiment) -> list[dict[str, Any]]:
    """Return one row for each variant."""
    return [
        {"experiment": experiment.id, "position": position, **asdict(each)}
        for position, each in enumerate(experiment.variants)
    ]


def of_metrics(experiment: Experiment) -> list[dict[str, Any]]:
    """Return one row for each metric."""
    return [
        {
            "experiment": experiment.id,
            "position": position,
            **{name: getattr(each, name) for name in _METRIC_COLUMNS},
            "options": json.dumps({name: getattr(each, name) for name in _METRIC_OPTIONS}),
        }
        for position, each in enumerate(experiment.metrics)
    ]


def read(tx: Connection, query: Select[Any]) -> list[Experiment]:
    """Return the experiments that a query over `experiments` finds, in its order, in four queries however many."""
    found = tx.execute(query).all()
    ids = [row.id for row in found]
    variants = _grouped(tx, tables.experiment_variants, ids)
    metrics = _grouped(tx, tables.experiment_metrics, ids)
    allocations = _newest_epochs(tx, ids)
    return [
        Experiment(
            **{name: getattr(row, name) for name in _DEFINED},
            variants=tuple(_variant(each) for each in variants[row.id]),
            metrics=tuple(_metric(each) for each in metrics[row.id]),
            plan=_plan(row.plan),
            scope=_scope(row.scope),
            ramp=_ramp(row.ramp),
            state=State(row.state),
            epoch=row.epoch,
            etag=row.etag,
            created_us=row.created_us,
            started_us=row.started_us,
            concluded_us=row.concluded_us,
            winner=row.winner,
            layer_first=row.layer_first,
            allocation=allocations.get(row.id),
        )
        for row in found
    ]


def read_epochs(tx: Connection, experiment_id: str) -> list[Allocation]:
    """Return every split of the experiment, oldest first."""
    query = select(tables.experiment_epochs).where(tables.experiment_epochs.c.experiment == experiment_id)
    return [_allocation(row) for row in tx.execute(query.order_by(tables.experiment_epochs.c.epoch))]


def _newest_epochs(tx: Connection, ids: Collection[str]) -> dict[str, Allocation]:
    """Return the split of each experiment's present epoch; a draft has none."""
    epoch, experiment = tables.experiment_epochs, tables.experiments
    query = select(epoch).join(
        experiment, (epoch.c.experiment == experiment.c.id) & (epoch.c.epoch == experiment.c.epoch)
    )
    return {row.experiment: _allocation(row) for row in tx.execute(query.where(epoch.c.experiment.in_(ids)))}


def _grouped(tx: Connection, table: Table, ids: Collection[str]) -> dict[str, list[Row[Any]]]:
    query = select(table).where(table.c.experiment.in_(ids)).order_by(table.c.experiment, table.c.position)
    grouped: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in tx.execute(query):
        grouped[row.experiment].append(row)
    return grouped


def _allocation(row: Row[Any]) -> Allocation:
    return Allocation(
        epoch=row.epoch,
        shares=tuple(row.shares),
        runs=tuple((first, length, owner) for first, length, owner in row.runs),
    )


def _variant(row: Row[Any]) -> Variant:
    return Variant(variant=row.variant, version=row.version, share=row.share, control=row.control, alias=row.alias)


def _metric(row: Row[Any]) -> Metric:
    return Metric(
        metric=row.metric,
        kind=MetricKind(row.kind),
        outcome=row.outcome,
        direction=Direction(row.direction),
        role=Role(row.role),
        output=row.output,
        output_index=row.output_index,
        **_options(row.options),
    )


def _options(text: str) -> dict[str, Any]:
    options: dict[str, Any] = json.loads(text)
    if "covariate" in options:
        options["covariate"] = Covariate(options["covariate"])
    if "classes" in options:
        options["classes"] = tuple(options["classes"])
    return options


def _scope(text: str) -> Scope:
    given: dict[str, Any] = json.loads(text)
    if "unit" in given:
        given["unit"] = UnitKind(given["unit"])
    return Scope(**given)


def _ramp(text: str) -> Ramp | None:
    if not text:
        return None
    given: dict[str, Any] = json.loads(text)
    steps = tuple(Step(**each) for each in given.pop("steps"))
    guardrails = tuple(Guardrail(**{**each, "kind": GuardrailKind(each["kind"])}) for each in given.pop("guardrails"))
    return Ramp(steps=steps, guardrails=guardrails, **given)


def _plan(text: str) -> Plan:
    given: dict[str, Any] = json.loads(text)
    for name, kind in (("method", Method), ("correction", Correction), ("spending", Spending)):
        if given.get(name) is not None:
            given[name] = kind(given[name])
    return Plan(**given)
