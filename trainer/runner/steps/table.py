"""The step `table`: the training table as of the run's time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from trainer.champion import find_champion
from trainer.errors import TrainingTableError
from trainer.records.rules import definition_of
from trainer.runner.folder import finish
from trainer.runner.tables import CHAMPION_MODEL, OF_CHAMPION, TABLE, write
from trainer.table import download
from turnout.control import Control

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.records.policy import Definition

Job = dict[str, Any]


def run(job: Job, folder: Path) -> None:
    """Make the table as of the run's time, and the champion's own where that takes other features."""
    definition = definition_of(job["definition"])
    data = definition.data
    with Control(job["server"], actor=job["trainer"], timeout_s=job["timeout_s"]) as control:
        content, kept, fingerprint, order = _table(control, data.feature_set, job, definition)
        write(folder / TABLE, content)
        champion = find_champion(control, definition.model)
        files = [TABLE]
        if champion is not None:
            control.download_artifact(definition.model, champion.version, folder / CHAMPION_MODEL)
            files.append(CHAMPION_MODEL)
            if champion.feature_set not in ("", data.feature_set):
                other, theirs, _, _ = _table(control, champion.feature_set, job, definition)
                if other.num_rows != content.num_rows:
                    raise TrainingTableError("the champion's feature set gives another number of rows")
                write(folder / OF_CHAMPION, other)
                files.append(OF_CHAMPION)
                champion = champion.with_features(theirs.features)
    result = {
        "rows": content.num_rows,
        "features": len(kept.features),
        "fingerprint": fingerprint,
        "feature_names": list(kept.features),
        "definition": kept.digest,
        "champion": None if champion is None else champion.document(),
        "drawn": order,
    }
    finish(folder, "table", result, files)


def _table(control: Control, feature_set: str, job: Job, definition: Definition) -> tuple[pa.Table, Any, str, bool]:
    """Return the rows in an order of their own, the set's definition, the fingerprint, and whether some were drawn."""
    data = definition.data
    end_us = job["as_of_us"] - data.label_delay_us
    content, kept, fingerprint = download(
        control,
        feature_set,
        label_sql=data.label_sql,
        start_us=end_us - data.window_us if data.window_us else None,
        end_us=end_us,
    )
    features = set(kept.features)
    said = [
        name
        for name in content.column_names
        if name not in features and not pa.types.is_nested(content.field(name).type)
    ]
    content = content.sort_by([(name, "ascending") for name in ("event_time", *(n for n in said if n != "event_time"))])
    drawn = content.num_rows > data.rows_max
    if drawn:
        generator = np.random.default_rng(definition.training.seed)
        chosen = np.sort(generator.choice(content.num_rows, data.rows_max, replace=False))
        content = content.take(pa.array(chosen))
    return content, kept, fingerprint, drawn
