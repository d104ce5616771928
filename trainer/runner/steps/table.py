"""The step `table`: the training table as of the run's time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from trainer.champion import find_champion
from trainer.errors import TrainingTableError
from trainer.records.rules import definition_of
from trainer.runner.batches import ROWS, even_part, rows_in, write_sorted
from trainer.runner.folder import finish
from trainer.runner.tables import CHAMPION_MODEL, OF_CHAMPION, TABLE, write
from trainer.table import downloaded
from turnout.control import Control

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainer.records.policy import Definition

Job = dict[str, Any]
_OTHER_ROWS = "champion-rows.parquet"


def run(job: Job, folder: Path) -> None:
    """Make the table as of the run's time, and the champion's own where that takes other features."""
    definition = definition_of(job["definition"])
    data = definition.data
    with Control(job["server"], actor=job["trainer"], timeout_s=job["timeout_s"]) as control:
        files = [TABLE]
        if definition.training.batches:
            files.append(ROWS)
        content, kept, fingerprint, order = _table(control, data.feature_set, job, definition, folder / ROWS)
        write(folder / TABLE, content)
        champion = find_champion(control, definition.model)
        if champion is not None:
            control.download_artifact(definition.model, champion.version, folder / CHAMPION_MODEL)
            files.append(CHAMPION_MODEL)
            if champion.feature_set not in ("", data.feature_set):
                other, theirs, _, _ = _table(control, champion.feature_set, job, definition, folder / _OTHER_ROWS)
                if other.num_rows != content.num_rows:
                    raise TrainingTableError("the champion's feature set gives another number of rows")
                write(folder / OF_CHAMPION, other)
                (folder / _OTHER_ROWS).unlink(missing_ok=True)
                files.append(OF_CHAMPION)
                champion = champion.with_features(theirs.features)
    result = {
        "rows": content.num_rows if not definition.training.batches else rows_in(folder / ROWS),
        "features": len(kept.features),
        "fingerprint": fingerprint,
        "feature_names": list(kept.features),
        "definition": kept.digest,
        "champion": None if champion is None else champion.document(),
        "drawn": order,
    }
    finish(folder, "table", result, files)


def _table(
    control: Control, feature_set: str, job: Job, definition: Definition, rows: Path
) -> tuple[pa.Table, Any, str, bool]:
    """Return the rows in an order of their own, the set's definition, the fingerprint, and whether some were drawn.

    Where the policy learns in batches all rows go to a file, and what is returned is an even part of them.
    """
    data, batches = definition.data, definition.training.batches
    end_us = job["as_of_us"] - data.label_delay_us
    start_us = end_us - data.window_us if data.window_us else None
    asked = {"label_sql": data.label_sql, "start_us": start_us, "end_us": end_us}
    with downloaded(control, feature_set, **asked) as (reader, kept, fingerprint):
        order = _order(reader.schema, kept.features)
        if batches:
            memory_bytes = definition.budget.memory_bytes
            count = write_sorted(rows, reader, order, rows_max=data.rows_max, memory_bytes=memory_bytes)
            return even_part(rows, batches.judged_rows), kept, fingerprint, count > data.rows_max
        content = reader.read_all()
    content = content.sort_by([(name, "ascending") for name in order])
    drawn = content.num_rows > data.rows_max
    if drawn:
        generator = np.random.default_rng(definition.training.seed)
        chosen = np.sort(generator.choice(content.num_rows, data.rows_max, replace=False))
        content = content.take(pa.array(chosen))
    return content, kept, fingerprint, drawn


def _order(schema: pa.Schema, features: Sequence[str]) -> list[str]:
    """Return what rows are sorted by: the time, and all that is said of them but the features, which sets differ in."""
    said = [
        name for name in schema.names if name not in set(features) and not pa.types.is_nested(schema.field(name).type)
    ]
    return ["event_time", *(name for name in said if name != "event_time")]
