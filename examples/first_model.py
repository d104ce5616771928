"""Train a model that says whether an iris is a virginica, as ONNX: `python first_model.py sepals|petals FILE`."""

import sys
from pathlib import Path

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

VIRGINICA = 2
COLUMNS = {"sepals": [0, 1], "petals": [2, 3]}

kind, path = sys.argv[1:]
flowers, species = load_iris(return_X_y=True)
model = make_pipeline(make_column_transformer(("passthrough", COLUMNS[kind])), LogisticRegression())
model.fit(flowers.astype("float32"), (species == VIRGINICA).astype("int64"))

graph = to_onnx(model, initial_types=[("flower", FloatTensorType([None, 4]))], options={"zipmap": False})
Path(path).write_bytes(graph.SerializeToString())
