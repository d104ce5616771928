"""What the client has: one prediction, a table of them, their outcomes; for threads and for asyncio.

pip install turnout pandas
python examples/client.py 127.0.0.1:8001
"""

import asyncio
import sys

import numpy as np
import pandas as pd

from turnout import AsyncClient, Client, errors
from turnout.client import Columns, Prediction

FLOWER = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)
TABLE = pd.DataFrame({"user": ["ann", "bob"], "a": [5.1, 6.3], "b": [3.5, 3.3], "c": [1.4, 6.0], "d": [0.2, 2.5]})


def ask(client: Client) -> Prediction:
    """Ask for one prediction, by name; a refusal says why in a word that programs can read."""
    try:
        answer = client.predict("iris", inputs={"flower": FLOWER}, unit_id="ann", timeout_s=1.0)
    except errors.MissingError as error:
        sys.exit(f"{error.reason}: {error.facts}")
    print(f"{answer.model} version {answer.version} {answer.variant} says {answer.outputs}")
    return answer


def ask_for_many(client: Client) -> list[str]:
    """Ask for a table of predictions, get a table, and return their request ids."""
    table = TABLE.astype(dict.fromkeys("abcd", "float32"))
    answers = client.predict_table("iris", table, Columns(inputs={"flower": list("abcd")}, unit_id="user"))
    print(answers.to_pandas().to_string())
    for part in answers.parts:
        print(f"version {part.version} answered rows {part.rows}")
    return answers.request_ids


async def ask_from_a_loop(address: str) -> None:
    """Do the same with the same names, in an event loop."""
    async with AsyncClient(address) as client:
        answer = await client.predict("iris", inputs={"flower": FLOWER})
        print(answer.request_id)


def main(address: str) -> None:
    """Ask, and record later what turned out to be right."""
    with Client(address) as client, client.outcome_buffer() as outcomes:
        for request_id in [ask(client).request_id, *ask_for_many(client)]:
            outcomes.record_outcome("correct", 1, request_id=request_id)
    asyncio.run(ask_from_a_loop(address))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001")
