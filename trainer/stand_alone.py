"""A candidate whose graph computes the set's transforms itself, so that it needs no gateway to be fed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from trainer.errors import ExportFailedError
from trainer.export import INPUT, Exported
from trainer.lineage import code_fingerprint, graph_fingerprint
from trainer.parity import probe_rows, runner
from trainer.transform_graph import RAW_INPUT, with_transforms

if TYPE_CHECKING:
    from trainer.publish import Candidate
    from trainer.table import TrainingTable

_ROWS_MAX = 20_000


def standing_alone(candidate: Candidate, table: TrainingTable) -> Candidate:
    """Return the candidate with its set's transforms in the graph, or raise ExportFailedError.

    It is bound to the set's definition without its transforms. That it answers as the candidate does is proved on the
    rows of the table that it was made of: each output is the same to the bit, where no logarithm or exponential
    stands in a transform.
    """
    raw = table.raw
    if raw is None:
        raise ExportFailedError(f"the feature set {table.feature_set} has no transforms", feature_set=table.feature_set)
    content = with_transforms(
        candidate.exported.content,
        INPUT,
        features=table.feature_names,
        raw=raw.columns,
        transforms=raw.transforms,
    )
    alone = Exported(content, "float64", RAW_INPUT, candidate.exported.output)
    inexact = any(name in str(transform.tree) for transform in raw.transforms for name in ("log(", "exp("))
    tolerance = candidate.certificate.tolerance if inexact else 0.0
    before, after = runner(candidate.exported)(table.rows[-_ROWS_MAX:]), runner(alone)(raw.rows[-_ROWS_MAX:])
    for name, said in before.items():
        if not np.allclose(after[name], said, rtol=0, atol=tolerance, equal_nan=True):
            raise ExportFailedError(f"the graph with its transforms gives another {name!r} than without", output=name)
    return replace(
        candidate,
        exported=alone,
        probe=probe_rows(alone, raw.rows[-_ROWS_MAX:]),
        definition=raw.definition,
        code_fingerprint=f"{code_fingerprint()} {graph_fingerprint(content)}",
    )
