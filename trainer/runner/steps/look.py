"""What triggers judge, gathered over the contract: the champion, what it was trained on, and the rows since."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.answers import columns, of_graph
from trainer.champion import find_champion
from trainer.errors import TrainingTableError
from trainer.records.policy import DAY_US, Task, TriggerKind
from trainer.records.rules import definition_of
from trainer.runner.folder import finish
from trainer.runner.tables import folds_of
from trainer.table import download, training_table
from trainer.triggers.catalogue import trigger_of
from trainer.triggers.stored import Labelled, Rows, StatusCount, Stored
from turnout import resources
from turnout.control import Control
from turnout.errors import TurnoutError
from turnout.features.v1 import feature_service_pb2 as features_pb
from turnout.registry.v1 import registry_service_pb2 as registry_pb

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.champion import Champion
    from trainer.records.policy import Definition
    from trainer.table import TrainingTable

WINDOW_US = 7 * DAY_US
ROWS_MAX = 20_000
"""How many rows a trigger looks at, of the reference and of the window: a fair sample of more."""
ORDER_WINDOWS = 4
"""With how many windows before it a window's feature lookups are compared."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What all triggers of a policy share."""

    control: Control
    definition: Definition
    champion: Champion
    graph: bytes
    now_us: int
    reference: TrainingTable | None
    digest: str
    profile: dict[str, object]
    seen: dict[int, TrainingTable | None] = field(default_factory=dict)
    """The rows since a time, which several triggers look at."""

    def since(self, start_us: int) -> TrainingTable | None:
        """Return the rows from a time until now, None where there are none; a label that is not due is not known."""
        if start_us not in self.seen:
            found, _ = _rows(self.control, self.definition, start_us, self.now_us)
            due_us = self.now_us - self.definition.data.label_delay_us
            self.seen[start_us] = None if found is None else _known_labels(found, due_us)
        return self.seen[start_us]


def run(job: dict[str, Any], folder: Path) -> None:
    """Let each trigger of a policy judge what is known now."""
    definition, now_us = definition_of(job["definition"]), job["now_us"]
    evidence = []
    with Control(job["server"], actor=job["trainer"], timeout_s=job["timeout_s"]) as control:
        known = _known(control, definition, job, folder)
        for trigger in definition.triggers:
            window_us = int(trigger.settings.get("window_us", WINDOW_US))
            stored = Stored(now_us=now_us) if known is None else _stored(known, trigger.kind, window_us)
            found = trigger_of(trigger.kind, trigger.settings).judge(stored).document()
            evidence.append(
                {
                    "kind": trigger.kind.value,
                    "verdict": found["verdict"],
                    "sentence": found["reason"],
                    "evidence": found,
                }
            )
    finish(folder, "look", {"evidence": evidence}, [])


def _known(control: Control, definition: Definition, job: dict[str, Any], folder: Path) -> _Known | None:
    """Return what is known of the version that serves; None where none does."""
    champion = find_champion(control, definition.model)
    if champion is None:
        return None
    path = folder / "champion.onnx"
    control.download_artifact(definition.model, champion.version, path)
    made_as_of_us = job["champion_as_of_us"] or champion.published_us
    end_us = made_as_of_us - definition.data.label_delay_us
    start_us = end_us - definition.data.window_us if definition.data.window_us else None
    reference, digest = _rows(control, definition, start_us, end_us)
    name = resources.version_name(definition.model, champion.version)
    facts = control.registry.GetVersion(registry_pb.GetVersionRequest(name=name)).version.facts
    profile = json.loads(facts.profile_json or "{}")
    return _Known(control, definition, champion, path.read_bytes(), job["now_us"], reference, digest, profile)


def _stored(known: _Known, kind: TriggerKind, window_us: int) -> Stored:
    """Return what one kind of trigger is to judge; what it does not look at is left out."""
    champion, reference = known.champion, known.reference
    since_us = int(reference.event_time_us.max()) + 1 if reference is not None else champion.published_us
    recent = known.since(since_us if kind is TriggerKind.VOLUME else known.now_us - window_us)
    skew, calls = _skew(known, window_us) if kind is TriggerKind.SKEW else (None, 0)
    lookups = kind is TriggerKind.MISSING
    from_us = known.now_us - window_us
    return Stored(
        now_us=known.now_us,
        published_us=champion.published_us,
        metrics=champion.metrics,
        reference=known.profile,
        reference_rows=None if reference is None else _columns(known, reference),
        window=None if recent is None else _columns(known, recent),
        reference_labelled=None if reference is None else _held_out(known, reference),
        labelled=None if recent is None else _labelled(known, recent),
        statuses=_statuses(known, from_us, known.now_us) if lookups else (),
        reference_statuses=_statuses(known, from_us - ORDER_WINDOWS * window_us, from_us) if lookups else (),
        skew=skew,
        skew_calls=calls,
        new_labels=0 if recent is None else int(np.isfinite(recent.labels).sum()),
        trained_on_digest=champion.trained_on,
        current_digest=known.digest,
    )


def _rows(
    control: Control, definition: Definition, start_us: int | None, end_us: int
) -> tuple[TrainingTable | None, str]:
    """Return the rows of a time, None where there are none, and the digest of the set's definition."""
    data = definition.data
    content, kept, fingerprint = download(
        control, data.feature_set, label_sql=data.label_sql, start_us=start_us, end_us=end_us
    )
    try:
        table = training_table(
            content, feature_set=data.feature_set, feature_names=kept.features, fingerprint=fingerprint
        )
    except TrainingTableError:
        if content.num_rows:
            raise
        return None, kept.digest
    order = np.argsort(table.event_time_us, kind="stable")
    if len(order) > ROWS_MAX:
        order = order[np.linspace(0, len(order) - 1, ROWS_MAX).round().astype(np.int64)]
    rows, labels, times = table.rows[order], table.labels[order], table.event_time_us[order]
    return type(table)(
        table.feature_set, table.feature_names, rows, labels, times, fingerprint, kept.digest
    ), kept.digest


def _known_labels(table: TrainingTable, until_us: int) -> TrainingTable:
    """Return a table whose labels are not known where they are of a later time: a source may say them before."""
    return replace(table, labels=np.where(table.event_time_us <= until_us, table.labels, np.nan))


def _scores(known: _Known, rows: Any) -> Any:
    if known.champion.feature_set != known.definition.data.feature_set:
        width = (len(rows),) if known.definition.training.task is not Task.MULTICLASS else (len(rows), 1)
        return np.full(width, np.nan)  # it takes other features: what it said is not known here
    return of_graph(known.graph, rows, known.definition.training.task)


def _columns(known: _Known, table: TrainingTable) -> Rows:
    features = {name: table.rows[:, at] for at, name in enumerate(table.feature_names)}
    said = columns(_scores(known, table.rows), known.definition.training.task)
    return Rows({**features, "label": table.labels, **said})


def _labelled(known: _Known, table: TrainingTable) -> Labelled:
    return Labelled(_scores(known, table.rows), table.labels, table.event_time_us)


def _held_out(known: _Known, table: TrainingTable) -> Labelled | None:
    """Return the reference's rows that judged the version, not those that it learned from."""
    try:
        at = folds_of(table.event_time_us, known.definition)[-1].test
    except TrainingTableError:
        return None
    return Labelled(_scores(known, table.rows[at]), table.labels[at], table.event_time_us[at])


def _statuses(known: _Known, start_us: int, end_us: int) -> tuple[StatusCount, ...]:
    """Return how the lookups ended of the calls that the champion answered in a time."""
    if not known.champion.feature_set:
        return ()
    request = features_pb.ProfileFeaturesRequest(
        name=resources.version_name(known.definition.model, known.champion.version),
        origin=features_pb.PROFILE_ORIGIN_SERVING,
        start_us=start_us,
        end_us=end_us,
    )
    found = known.control.features.ProfileFeatures(request).statuses
    return tuple(StatusCount(resources.view_id(each.feature_view), dict(each.calls)) for each in found)


def _skew(known: _Known, window_us: int) -> tuple[tuple[str, ...] | None, int]:
    request = features_pb.ReplaySkewRequest(
        version=resources.version_name(known.definition.model, known.champion.version),
        start_us=known.now_us - window_us,
        end_us=known.now_us,
    )
    try:
        found = known.control.features.ReplaySkew(request)
    except TurnoutError as error:
        if error.code not in ("FAILED_PRECONDITION", "NOT_FOUND"):
            raise
        return None, 0
    return tuple(found.findings), found.calls
