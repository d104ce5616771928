"""The model that everything in the benchmark runs, and the request that asks it: 100 trees over 30 features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = 30
TREES = 100
ROWS = 2000
MODEL = "bench"
INPUT = "features"


def write_model(path: Path) -> None:
    """Fit the classifier on made-up rows and write it as ONNX with plain tensors for outputs."""
    # Imported here: the servers that are measured must not carry scikit-learn.
    from skl2onnx import to_onnx  # noqa: PLC0415
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415

    rows, labels = make_rows(ROWS)
    # As many rows as leave each tree its full size; early stopping would leave fewer trees.
    classifier = HistGradientBoostingClassifier(max_iter=TREES, early_stopping=False, random_state=0)
    classifier.fit(rows, labels)
    exported = to_onnx(
        classifier,
        initial_types=[(INPUT, FloatTensorType([None, FEATURES]))],
        options={id(classifier): {"zipmap": False}},
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    path.write_bytes(exported.SerializeToString())


def make_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and their labels, the same at every call."""
    random = np.random.default_rng(7)
    rows = random.normal(size=(count, FEATURES)).astype(np.float32)
    labels = (rows[:, 0] + rows[:, 1] * rows[:, 2] + random.normal(size=count) > 0).astype(np.int64)
    return rows, labels


def tensor_request(row: np.ndarray, *, unit: str = "") -> bytes:
    """Return a Predict request that gives its tensor."""
    tensor = tensor_pb2.Tensor(
        name=INPUT, data_type=tensor_pb2.DATA_TYPE_FLOAT32, shape=[1, FEATURES], data=row.astype("<f4").tobytes()
    )
    return pb.PredictRequest(model=MODEL, unit_id=unit, inputs=[tensor]).SerializeToString()


def entity_request(entities: dict[str, str], *, unit: str = "") -> bytes:
    """Return a Predict request whose features all come from the online store."""
    return pb.PredictRequest(model=MODEL, entities=entities, unit_id=unit).SerializeToString()


def batch_request(model: str, entities: dict[str, list[str]], units: list[str]) -> bytes:
    """Return a BatchPredict request whose features all come from the online store."""
    columns = [pb.TextColumn(name=name, values=values) for name, values in entities.items()]
    return pb.BatchPredictRequest(model=model, rows=len(units), entities=columns, unit_ids=units).SerializeToString()


def streamed(request: bytes) -> bytes:
    """Return a Predict request as a message of StreamPredict."""
    return pb.StreamPredictRequest(request=pb.PredictRequest.FromString(request)).SerializeToString()
