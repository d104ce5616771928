"""Experiments as the control plane keeps them: where models and experiments meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments import life, records
from experiments.definition import State
from experiments.errors import AliasUnresolvedError, ExperimentInvalidError
from experiments.explanation import Explanation, explain
from experiments.metric import MetricKind
from experiments.ramp import moves, rows
from experiments.ramp.definition import GuardrailKind
from experiments.ramp.standing import RampEventKind, RampState
from registry import champion, models, versions
from registry.clearance import NOTHING_KNOWN, Support
from registry.records import CHAMPION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from experiments.definition import Experiment, Variant
    from experiments.ramp.standing import Grounds, Standing
    from experiments.records import Changed
    from registry.records import Model, Version
    from storage.clock import Clock
    from storage.database import Database


SupportOf = Callable[[str, int], Support]
"""Gathers what is known of a model's version beyond the registry, for the gates of a promotion."""


def nothing_known(_model: str, _version: int) -> Support:
    """Return that nothing is known."""
    return NOTHING_KNOWN


class ExperimentControl:
    """Keeps experiments: one transaction for each change.

    Parameters
    ----------
    database, clock
        Where experiments and models are kept, and the time that changes are dated by.
    """

    def __init__(self, *, database: Database, clock: Clock, support_of: SupportOf = nothing_known) -> None:
        self._database = database
        self._clock = clock
        self._support_of = support_of

    def create(self, experiment: Experiment, *, actor: str) -> Changed:
        """Keep a new draft, its aliases resolved to versions for good.

        Raises
        ------
        ModelMissingError, AliasUnresolvedError, VersionMissingError
            There is no such model, alias or version.
        ExperimentInvalidError
            A metric's output is not one of every variant's version, or another rule of the definition is broken.
        """
        with self._database.write() as tx:
            resolved = resolve(tx, experiment)
            return records.create(tx, resolved, actor=actor, now_us=self._clock.now_us())

    def update(self, changed: Experiment, fields: Sequence[str], *, etag: str, actor: str) -> Changed:
        """Replace these fields with those of `changed`; raises as `create` and `experiments.records.update` do.

        A ramp that a started experiment gets begins with that: see `experiments.ramp.moves.begin`.
        """
        with self._database.write() as tx:
            present = records.get(tx, changed.id)
            if {"variants", "metrics"} & set(fields):
                wanted = {name: getattr(changed, name) for name in ("variants", "metrics") if name in fields}
                resolved = resolve(tx, replace(present, **wanted))
                changed = replace(changed, variants=resolved.variants)
            now_us = self._clock.now_us()
            done = records.update(tx, changed, fields, etag=etag, actor=actor, now_us=now_us)
            if "ramp" in fields and present.state is not State.DRAFT:
                return moves.begin(tx, changed.id, actor=actor, now_us=now_us)
            return done

    def delete(self, experiment_id: str, *, etag: str, actor: str) -> int:
        """Forget a draft and return the revision; raises as `experiments.life.delete` does."""
        with self._database.write() as tx:
            return life.delete(tx, experiment_id, etag=etag, actor=actor, now_us=self._clock.now_us())

    def get(self, experiment_id: str) -> Experiment:
        """Return the experiment, or raise ExperimentMissingError."""
        with self._database.read() as tx:
            return records.get(tx, experiment_id)

    def list_page(self, *, after: str, limit_max: int) -> list[Experiment]:
        """Return at most `limit_max` experiments by id, those whose id comes after `after`."""
        with self._database.read() as tx:
            return records.list_page(tx, after=after, limit_max=limit_max)

    def start(self, experiment_id: str, *, actor: str) -> Changed:
        """Begin to assign units; raises as `experiments.life.start` does."""
        with self._database.write() as tx:
            return life.start(tx, experiment_id, actor=actor, now_us=self._clock.now_us())

    def pause(self, experiment_id: str, *, reason: str, actor: str) -> Changed:
        """Give its units the champion until it is resumed; raises as `experiments.life.archive` does."""
        with self._database.write() as tx:
            return life.pause(tx, experiment_id, reason=reason, actor=actor, now_us=self._clock.now_us())

    def resume(self, experiment_id: str, *, reason: str, actor: str) -> Changed:
        """Assign its units as before; raises as `experiments.life.archive` does."""
        with self._database.write() as tx:
            return life.resume(tx, experiment_id, reason=reason, actor=actor, now_us=self._clock.now_us())

    def archive(self, experiment_id: str, *, reason: str, actor: str) -> Changed:
        """Close a concluded experiment to every change; raises as `experiments.life.archive` does."""
        with self._database.write() as tx:
            return life.archive(tx, experiment_id, reason=reason, actor=actor, now_us=self._clock.now_us())

    def set_split(self, experiment_id: str, shares: Mapping[str, float], *, etag: str, actor: str) -> Changed:
        """Change the shares; raises as `experiments.records.set_split` does."""
        with self._database.write() as tx:
            return records.set_split(tx, experiment_id, shares, etag=etag, actor=actor, now_us=self._clock.now_us())

    def conclude(self, experiment_id: str, *, winner: str, promote: bool, reason: str, actor: str) -> Changed:
        """End the experiment and, when asked to, make the winner's version the champion in the same transaction.

        Raises
        ------
        ExperimentMissingError, ExperimentStateError, VariantUnknownError
            As `experiments.life.conclude`.
        ExperimentInvalidError
            There is no winner to promote.
        """
        if promote and not winner:
            raise ExperimentInvalidError("there is no winner to promote: name one, or conclude without promoting")
        support = self._support(experiment_id, winner) if promote else NOTHING_KNOWN
        with self._database.write() as tx:
            now_us = self._clock.now_us()
            changed = life.conclude(tx, experiment_id, winner=winner, reason=reason, actor=actor, now_us=now_us)
            if not promote:
                return changed
            return _promoted(tx, changed, support=support, reason=reason, actor=actor, now_us=now_us)

    def complete_ramp(
        self, seen: Standing, grounds: Grounds, *, etag: str, prove: Callable[[Connection], None]
    ) -> Changed:
        """End a ramp after its last step and, where it says so, make the candidate the champion with that.

        One that was held is released with that, or stays held.

        Parameters
        ----------
        prove
            Raises unless the caller may still do this.

        Raises
        ------
        RampMovedError
            The ramp or its experiment has changed since it was seen.
        GatesNotPassedError
            The registry does not let the candidate become the champion. Nothing was changed.
        """
        experiment = self.get(seen.experiment)
        promote = moves.ramp_of(experiment).promote
        winner = experiment.treatments[0].variant
        support = self._support(seen.experiment, winner) if promote else NOTHING_KNOWN
        with self._database.write() as tx:
            prove(tx)
            if seen.state is RampState.HOLDING:
                rows.note(tx, seen, RampEventKind.RELEASED, grounds)
                seen = rows.get_standing(tx, seen.experiment)
            changed = moves.complete(tx, seen, grounds, etag=etag)
            if not promote:
                return changed
            return _promoted(tx, changed, support=support, reason="", actor=grounds.actor, now_us=grounds.now_us)

    def _support(self, experiment_id: str, winner: str) -> Support:
        """Return what is known of the winner's version, of which this very experiment says that it should ship."""
        experiment = self.get(experiment_id)
        support = self._support_of(experiment.model, experiment.variant(winner).version)
        trials = [
            {**trial, "decision": "ship"} if trial.get("name") == experiment_id else trial for trial in support.trials
        ]
        return replace(support, trials=trials)

    def explain(
        self, experiment_id: str, unit: str, *, attributes: Mapping[str, str]
    ) -> tuple[Experiment, Explanation]:
        """Return which variant a unit gets and why, or raise ExperimentMissingError or UnitMissingError."""
        with self._database.read() as tx:
            experiment = records.get(tx, experiment_id)
            running = [
                each
                for each in records.list_holding(tx, experiment.model)
                if each.state is State.RUNNING and each.id != experiment.id
            ]
        return experiment, explain(experiment, unit, attributes=attributes, others=running)


def resolve(tx: Connection, experiment: Experiment) -> Experiment:
    """Return the experiment with its aliases resolved, or raise where a version or an output is missing."""
    model = models.get_model(tx, experiment.model)
    variants = tuple(_resolved(model, each) for each in experiment.variants)
    found = [versions.get_version(tx, model.id, each.version) for each in variants]
    _check_outputs(experiment, found)
    return replace(experiment, variants=variants)


def _resolved(model: Model, variant: Variant) -> Variant:
    """Return the variant with its version, or raise when it names none, or both a number and an alias."""
    if not variant.alias:
        return variant
    if variant.version:
        raise ExperimentInvalidError(f"the variant {variant.variant!r} gives a version and an alias: give one of them")
    for each in model.aliases:
        if each.alias == variant.alias:
            return replace(variant, version=each.version)
    raise AliasUnresolvedError(
        f"the model {model.id!r} has no alias {variant.alias[:80]!r}", model=model.id, alias=variant.alias[:80]
    )


def _promoted(tx: Connection, concluded: Changed, *, support: Support, reason: str, actor: str, now_us: int) -> Changed:
    """Make the winner's version the champion unless it is, and return the change with the revision that holds it."""
    experiment = concluded.experiment
    version = experiment.variant(experiment.winner).version
    if champion_of(tx, experiment.model) == version:
        return concluded
    move = champion.promote(
        tx,
        experiment.model,
        version,
        reason=reason or f"won the experiment {experiment.id}",
        evidence={"experiment": experiment.id, "variant": experiment.winner},
        support=support,
        actor=actor,
        now_us=now_us,
    )
    return replace(concluded, revision=move.revision)


def champion_of(tx: Connection, model_id: str) -> int:
    """Return the version that is the champion; 0 when none is."""
    found = [each.version for each in models.get_model(tx, model_id).aliases if each.alias == CHAMPION]
    return found[0] if found else 0


def _check_outputs(experiment: Experiment, arms: Sequence[Version]) -> None:
    """Raise ExperimentInvalidError when a version can never give what a metric or a guardrail is computed from."""
    for version in arms:
        for metric in experiment.metrics:
            if metric.reads_output:
                last = metric.output_index + max(len(metric.classes), 1) - 1
                # An output of one element is the number of the class.
                alone = metric.output_index if metric.kind is MetricKind.ACCURACY else last
                _check_output(f"the metric {metric.metric!r}", metric.output, (last, alone), version)
        for each in () if experiment.ramp is None else experiment.ramp.guardrails:
            if each.kind is GuardrailKind.OUTPUT_RANGE:
                index = each.output_index
                _check_output(f"the guardrail {each.name!r}", each.output, (index, index), version)


def _check_output(what: str, output: str, lasts: tuple[int, int], version: Version) -> None:
    """Check one output.

    Parameters
    ----------
    lasts
        The last element that is needed, and the one that is where the output has but one.
    """
    outputs = {each.name: each for each in version.signature.outputs}
    spec = outputs.get(output)
    if spec is None:
        raise ExperimentInvalidError(
            f"{what} needs the output {output[:80]!r}; version {version.number} gives {', '.join(outputs)}",
            version=version.number,
        )
    if spec.dtype == "string":
        raise ExperimentInvalidError(
            f"{what} needs numbers; the output {output!r} of version {version.number} is text", version=version.number
        )
    # The first extent counts rows; the others say how many elements one row has, unless one is left open.
    row = spec.shape[1:]
    elements = 1
    for extent in row:
        elements *= extent
    last = lasts[1] if elements == 1 else lasts[0]
    if all(extent >= 0 for extent in row) and last >= elements:
        raise ExperimentInvalidError(
            f"{what} needs element {last} of {output!r}; a row of version {version.number} has {elements}",
            version=version.number,
        )
