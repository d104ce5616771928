"""A first prediction, and what it turned out to be: `python first_prediction.py`, while the gateway serves."""

import sys

import numpy as np

from turnout import Client, errors

FLOWER = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)

try:
    with Client() as client:  # TURNOUT_DATA_SERVER, else 127.0.0.1:8001
        answer = client.predict("iris", unit_id="flower-1", inputs={"flower": FLOWER})
        chance = answer.outputs["probabilities"][0, 1]
        print(f"version {answer.version}: a virginica by {chance:.3f}")
        client.record_outcome("virginica", 0, request_id=answer.request_id)
except errors.TurnoutError as error:
    sys.exit(f"{error.reason}: {error.message}")
