"""Write clients/vectors.json anew: requests as plain values, and the bytes that every client must make of them.

The cases are `CASES` below and the bytes are those of the Python client. Numbers stand as text, so that no reader of
JSON rounds them; the elements of FLOAT16 are their bits. Keys of maps are in rising order, and no value of a map is
its type's zero: there alone libraries of protobuf may lawfully write one message in two ways.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from turnout.prediction import Ask

FILE = Path(__file__).parents[1] / "clients" / "vectors.json"

_TENSORS: dict[str, list[str]] = {
    "BOOL": ["true", "false", "true"],
    "INT8": ["-128", "-1", "127"],
    "INT16": ["-32768", "-2", "32767"],
    "INT32": ["-2147483648", "-3", "2147483647"],
    "INT64": ["-9223372036854775808", "9007199254740993", "9223372036854775807"],
    "UINT8": ["0", "128", "255"],
    "UINT16": ["0", "513", "65535"],
    "UINT32": ["0", "16909060", "4294967295"],
    "UINT64": ["0", "72623859790382856", "18446744073709551615"],
    "FLOAT16": ["15360", "49152", "31744"],
    "FLOAT32": ["0.1", "-0.0", "1e-45", "3.4028234663852886e+38", "Infinity", "-Infinity"],
    "FLOAT64": ["0.1", "-0.0", "5e-324", "1.7976931348623157e+308", "Infinity", "-Infinity"],
    "STRING": ["", "plain", "zwölf Boxkämpfer", "日本", "🚂", "a\u0000b"],
}


def _input(dtype: str, values: list[str], shape: list[int], name: str = "x") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": [str(extent) for extent in shape], "values": values}


CASES: list[dict[str, Any]] = [
    *(
        {"case": dtype, "model": "m", "request_id": "r", "inputs": [_input(dtype, values, [1, len(values)])]}
        for dtype, values in _TENSORS.items()
    ),
    {"case": "scalar", "model": "m", "request_id": "r", "inputs": [_input("FLOAT64", ["2.5"], [])]},
    {"case": "no rows", "model": "m", "request_id": "r", "inputs": [_input("INT64", [], [0, 3])]},
    {
        "case": "two inputs",
        "model": "m",
        "request_id": "r",
        "inputs": [
            _input("FLOAT32", [str(step) for step in range(200)], [100, 2], "long"),
            _input("INT32", ["7"], [1], "short"),
        ],
    },
    {"case": "entity", "model": "delay", "request_id": "r", "entities": {"carrier": "UA"}},
    {
        "case": "everything",
        "model": "delay",
        "request_id": "0193a2f0-0000-7000-8000-000000000001",
        "version": "300",
        "entities": {"carrier": "UA", "origin": "EWR", "ünit": "wörd"},
        "unit_id": "flight-1",
        "event_time_us": "1385296800000000",
        "attributes": {"channel": "web", "country": "NZ"},
        "features": {"distance": "1400.0", "dewpoint": "-0.5", "tiny": "5e-324"},
        "inputs": [_input("STRING", ["x"], [1, 1])],
    },
    {"case": "alias", "model": "delay", "request_id": "r", "alias": "challenger", "unit_id": "u"},
    {"case": "time before the epoch", "model": "m", "request_id": "r", "unit_id": "u", "event_time_us": "-1"},
]


def array_of(tensor: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return the array that an input of a case describes."""
    dtype, values = tensor["dtype"], tensor["values"]
    shape = [int(extent) for extent in tensor["shape"]]
    if dtype == "STRING":
        return np.array(values, dtype=object).reshape(shape)
    if dtype == "BOOL":
        return np.array([value == "true" for value in values]).reshape(shape)
    if dtype == "FLOAT16":
        return np.array([int(value) for value in values], np.uint16).view(np.float16).reshape(shape)
    kind = float if dtype.startswith("FLOAT") else int
    return np.array([kind(value) for value in values], np.dtype(dtype.lower())).reshape(shape)


def bytes_of(case: dict[str, Any]) -> bytes:
    """Return the request of a case as the Python client sends it, keys of maps in rising order."""
    ask = Ask(
        entities=case.get("entities"),
        unit_id=case.get("unit_id"),
        version=int(case["version"]) if "version" in case else None,
        alias=case.get("alias"),
        inputs={one["name"]: array_of(one) for one in case.get("inputs", ())},
        features={name: float(value) for name, value in case.get("features", {}).items()},
        attributes=case.get("attributes"),
        event_time_us=int(case["event_time_us"]) if "event_time_us" in case else None,
        request_id=case["request_id"],
    )
    return ask.message(case["model"]).SerializeToString(deterministic=True)


def text() -> str:
    """Return what the file holds."""
    cases = [
        {name: dict(sorted(value.items())) if isinstance(value, dict) else value for name, value in case.items()}
        for case in CASES
    ]
    lines = [json.dumps(case | {"bytes": bytes_of(case).hex()}, ensure_ascii=True) for case in cases]
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    FILE.write_text(text())
    sys.exit(0)
