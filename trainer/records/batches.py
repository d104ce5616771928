"""Whether a policy may learn in batches: what needs all rows at once does not go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.records.policy import Definition

ROWS_MIN, ROWS_MAX = 1_000, 1_000_000
PASSES_MAX = 100
JUDGED_ROWS_MIN = 1_000
_LIGHTGBM = "lightgbm."


def check_batches(definition: Definition, refuse: Callable[[str, str], NoReturn]) -> None:
    """Refuse learning in batches that cannot be, or that another setting does not go with."""
    training, batches = definition.training, definition.training.batches
    if batches is None:
        return
    if not ROWS_MIN <= batches.rows <= ROWS_MAX:
        refuse("training.batches.rows", f"is {batches.rows}; it is {ROWS_MIN} to {ROWS_MAX}")
    if not 1 <= batches.passes <= PASSES_MAX:
        refuse("training.batches.passes", f"is {batches.passes}; it is 1 to {PASSES_MAX}")
    if batches.judged_rows < JUDGED_ROWS_MIN:
        refuse("training.batches.judged_rows", f"is {batches.judged_rows}; it is at least {JUDGED_ROWS_MIN}")
    whole = {
        "training.balanced": training.balanced,
        "training.rows_per_rarest": training.rows_per_rarest,
        "training.search": training.search,
        "training.script": training.script,
        "data.folds": definition.data.folds > 1,
    }
    for name, given in whole.items():
        if given:
            refuse(name, "needs the whole table in memory, and `training.batches` is given")
    by_lightgbm = training.estimator is not None and training.estimator.path.startswith(_LIGHTGBM)
    if training.early_stopping_rounds and not by_lightgbm:
        refuse("training.early_stopping_rounds", "is for LightGBM where `training.batches` is given")
    if by_lightgbm and training.transformers:
        refuse("training.transformers", "change nothing for trees, and LightGBM takes batches as they are")
