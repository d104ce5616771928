"""Ask about 600 flowers, and say of each what it really was: `python first_traffic.py`, while the gateway serves."""

import os
from collections import Counter

from sklearn.datasets import load_iris

from turnout import Client

VIRGINICA = 2

flowers, species = load_iris(return_X_y=True)
flowers = flowers.astype("float32")
variants: Counter[str] = Counter()

with Client(os.environ.get("TURNOUT_DATA_SERVER", "127.0.0.1:8001")) as client:
    for number in range(600):
        row = number % len(flowers)
        answer = client.predict("iris", unit_id=f"flower-{number}", inputs={"flower": flowers[row : row + 1]})
        client.record_outcome("virginica", float(species[row] == VIRGINICA), request_id=answer.request_id)
        variants[answer.variant] += 1

print(dict(variants))
