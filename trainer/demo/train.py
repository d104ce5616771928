"""The training of the demo's two versions, a process of low priority: `python -m trainer.demo.train small|full`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer import table
from trainer.demo.replay import INTERVAL_US
from trainer.demo.scale import us_of
from trainer.demo.sender import MODEL
from trainer.fit import fit
from trainer.publish import prove, publish
from turnout.control import Control

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.fit import Classifier

_NICENESS = 10

# A row asks for the features as of the last refresh before its departure, as the replay will serve them. Learned from
# is only what has landed by now.
_LABELS = """
SELECT carrier, route, tailnum, origin, weekday, hour, distance, late AS label,
       make_timestamp(epoch_us(scheduled_time) // {interval_us} * {interval_us}) AS event_time
FROM flights
WHERE landed_time <= make_timestamp({now_us}) AND hash(flight_id) % {every} = 0
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a version is made.

    Attributes
    ----------
    feature_set
        What it takes.
    months
        Which months of 2013 it learns from: from the first to before the second.
    description
        What it is.
    estimator
        Makes the classifier.
    """

    feature_set: str
    months: tuple[int, int]
    description: str
    estimator: Callable[[], Classifier]


RECIPES = {
    "small": Recipe(
        feature_set="flight-delay-small",
        months=(1, 3),
        description="A small model: five features, the first two months.",
        estimator=lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    ),
    "full": Recipe(
        feature_set="flight-delay-full",
        months=(1, 7),
        description="Gradient boosting on all features and all months so far.",
        estimator=lambda: HistGradientBoostingClassifier(
            max_iter=100, max_leaf_nodes=31, learning_rate=0.08, early_stopping=False, random_state=7
        ),
    ),
}


def train(control: Control, recipe: Recipe, *, now_us: int, every: int, parents: list[int]) -> dict[str, object]:
    """Train and publish a version, and return what became of it as JSON knows it."""
    first, last = (us_of(datetime(2013, month, 1, tzinfo=UTC)) for month in recipe.months)
    rows = table.fetch(
        control,
        recipe.feature_set,
        label_sql=_LABELS.format(interval_us=INTERVAL_US, now_us=now_us, every=every),
        start_us=first,
        end_us=min(last, now_us),
    )
    fitted = fit(recipe.estimator(), rows)
    candidate = prove(fitted, rows)
    published = publish(control, MODEL, candidate, description=recipe.description, parents=parents)
    return {
        "version": published.version,
        "revision": published.revision,
        "algorithm": fitted.algorithm,
        "features": len(rows.feature_names),
        "rows": len(rows.labels),
        "metrics": fitted.metrics,
        "parity": {
            "verdict": candidate.certificate.verdict.value,
            "max_delta": candidate.certificate.real.max_delta,
            "rows": candidate.certificate.real.rows + candidate.certificate.adversarial.rows,
        },
    }


def main() -> None:
    """Train the version that the arguments name and print what became of it."""
    parser = argparse.ArgumentParser(prog="python -m trainer.demo.train")
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--control", required=True, help="the control port, host:port")
    parser.add_argument("--now-us", type=int, required=True, help="what has not landed by then is not known")
    parser.add_argument("--every", type=int, required=True, help="one flight in so many is learned from")
    parser.add_argument("--parent", type=int, action="append", default=[])
    arguments = parser.parse_args()
    os.nice(_NICENESS)  # predictions come first
    with Control(arguments.control, actor="trainer", timeout_s=300) as control:
        made = train(
            control,
            RECIPES[arguments.recipe],
            now_us=arguments.now_us,
            every=arguments.every,
            parents=arguments.parent,
        )
    sys.stdout.write(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
