"""Steps of training runs in a folder, as a trainer hands them to a child or to a cluster."""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow as pa

from trainer.runner.folder import JOB, finish
from trainer.runner.tables import TABLE, write

NAMES = ["shop.price", "shop.crowd"]
LEARNS = {
    "estimator": {"path": "sklearn.tree.DecisionTreeClassifier"},
    "seed": 4,
    "search": {"trials": 3, "space": {"max_depth": {"low": 2, "high": 5}}},
}
# The first time it says who it is and never ends; the second time it is no graph.
ENDLESS_ONCE = """
import os, sys, time
if not os.path.exists({mark!r}):
    open({mark!r}, "w").write(str(os.getpgrp()))
    time.sleep(600)
sys.exit("the second time")
"""


def hand_over(folder, training):
    """Leave in a folder what the step `train` needs."""
    folder.mkdir()
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(1_200, 2)).round(2)
    label = (rows[:, 0] - rows[:, 1] + generator.normal(0, 0.5, 1_200) > 0).astype(float)
    times = pa.array(np.arange(1_200) * 60_000_000).cast(pa.timestamp("us"))
    columns = {name: rows[:, at] for at, name in enumerate(NAMES)}
    write(folder / TABLE, pa.table({**columns, "event_time": times, "label": label}))
    finish(folder, "table", {"feature_names": NAMES, "fingerprint": "f", "definition": "d", "champion": None}, [TABLE])
    definition = {"model": "m", "data": {"feature_set": "shop", "label_sql": "SELECT 1"}, "training": training}
    job = {"run": "", "reason": "to see", "definition": definition, "allowed": ["sklearn"], "champion_recipe": None}
    script = folder.parent / "script.py"
    script.write_text(ENDLESS_ONCE.format(mark=str(folder.parent / "mark")))
    (folder / JOB).write_text(json.dumps(job | {"scripts": {"own": [sys.executable, str(script)]}}))
    return folder
