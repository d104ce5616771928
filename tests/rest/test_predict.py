"""JSON answers are the gRPC answers, bit for bit, and refusals are the same refusals."""

from __future__ import annotations

import http.client
import json

import numpy as np
import pytest

from turnout import errors

ROWS = {
    "bool": [[True, False, True]],
    "int8": [[-128, 0, 127]],
    "int16": [[-32768, 0, 32767]],
    "int32": [[-(2**31), 0, 2**31 - 1]],
    "int64": [[-(2**63), 2**53 + 1, 2**63 - 1]],
    "uint8": [[0, 1, 255]],
    "uint16": [[0, 1, 65535]],
    "uint32": [[0, 1, 2**32 - 1]],
    "uint64": [[0, 2**53 + 1, 2**64 - 1]],
    "float16": [[0.1, -65504.0, 5.96e-8]],
    "float32": [[0.1, 3.4e38, 1e-45]],
    "float64": [[0.1, 1.7e308, 5e-324]],
    "string": [["", "größe \U0001f686", 'a"\\\n']],
}
INFER = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64", "string": "BYTES"}


def arrays():
    return {name: np.array(rows, object if name == "string" else name) for name, rows in ROWS.items()}


def bits(name, array):
    return array.tolist() if name == "string" else array.tobytes()


def test_predict_gives_every_dtype_the_bits_that_grpc_gives(place):
    inputs = [{"name": name, "data_type": name, "values": rows} for name, rows in ROWS.items()]
    status, _, told = place.ask("POST", "/v1/models/echo:predict", {"inputs": inputs}, role="predict")
    assert status == 200, told
    with place.client() as client:
        answer = client.predict("echo", inputs=arrays())
    assert [each["name"] for each in told["outputs"]] == list(answer.outputs)
    for each in told["outputs"]:
        name = each["name"].removeprefix("same_")
        found = np.array(each["values"], object if name == "string" else name).reshape(each["shape"])
        assert bits(name, found) == bits(name, answer.outputs[each["name"]])
    assert (told["model"], told["version"], len(told["request_id"])) == ("echo", "1", 36)


def test_infer_gives_every_datatype_the_bits_that_grpc_gives(place):
    inputs = [
        {"name": name, "datatype": INFER.get(name, name.upper()), "shape": [1, 3], "data": rows[0]}
        for name, rows in ROWS.items()
    ]
    status, _, told = place.ask("POST", "/v2/models/echo/infer", {"id": "mine", "inputs": inputs}, role="predict")
    assert status == 200, told
    assert (told["model_name"], told["model_version"], told["id"]) == ("echo", "1", "mine")
    assert "turnout_request_id" in told["parameters"]
    for each in told["outputs"]:
        name = each["name"].removeprefix("same_")
        found = np.array([each["data"]], object if name == "string" else name)
        assert bits(name, found) == bits(name, arrays()[name])


def test_what_json_has_no_number_for_is_text(place):
    inputs = [{"name": name, "data_type": name, "values": rows} for name, rows in ROWS.items() if name != "float32"]
    inputs.append({"name": "float32", "data_type": "float32", "values": [["NaN", "Infinity", "-Infinity"]]})
    _, _, told = place.ask("POST", "/v1/models/echo:predict", {"inputs": inputs})
    (found,) = (each for each in told["outputs"] if each["name"] == "same_float32")
    assert found["values"] == ["NaN", "Infinity", "-Infinity"]


def test_a_batch_is_answered_row_by_row_as_grpc_does(place):
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    document = {"rows": 4, "inputs": [{"name": "x", "data_type": "FLOAT32", "values": x.tolist()}]}
    status, _, told = place.ask("POST", "/v1/models/scaled:batchPredict", document)
    assert status == 200, told
    with place.client() as client:
        answers = client.predict_batch("scaled", inputs={"x": x}, alias="champion")
    (part,) = told["parts"]
    assert part["rows"] == answers.parts[0].rows
    assert part["outputs"][0]["values"] == answers.parts[0].outputs["y"].ravel().tolist()


def test_outcomes_are_recorded_one_by_one(place):
    outcomes = [{"request_id": "r", "name": "saved", "value": 1}, {"request_id": "r", "name": "saved", "value": "NaN"}]
    status, _, told = place.ask("POST", "/v1/outcomes:record", {"outcomes": outcomes}, role="outcomes")
    assert status == 200, told
    assert [each["status"] for each in told["results"]] == ["OUTCOME_STATUS_RECORDED", "OUTCOME_STATUS_INVALID"]


def test_metadata_and_health_are_the_protocols(place):
    status, _, told = place.ask("GET", "/v2/models/scaled", role="predict")
    assert status == 200
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert place.ask("GET", "/v2", role="predict")[2]["name"] == "turnout"
    assert place.ask("GET", "/v2/health/live", role=None)[0] == 200
    assert place.ask("GET", "/v2/health/ready", role=None)[0] == 200
    assert place.ask("GET", "/v2/models/scaled/versions/1/ready")[0] == 200
    assert place.ask("GET", "/v2/models/nothing/ready")[0] == 404


REFUSED = [
    ("nothing", {}),
    ("scaled", {"version": 99}),
    ("scaled", {"inputs": {}}),
    ("scaled", {"inputs": {"x": np.float64([[1, 2]])}}),
    ("scaled", {"inputs": {"x": np.float32([[1, 2, 3]])}}),
]


@pytest.mark.parametrize(("model", "said"), REFUSED)
def test_a_refusal_has_the_reason_the_sentence_and_the_facts_that_grpc_has(place, model, said):
    with place.client() as client, pytest.raises(errors.TurnoutError) as raised:
        client.predict(model, **said)
    document = {key: value for key, value in said.items() if key != "inputs"}
    document["inputs"] = [
        {"name": name, "data_type": str(array.dtype), "values": array.tolist()}
        for name, array in said.get("inputs", {}).items()
    ]
    status, headers, told = place.ask("POST", f"/v1/models/{model}:predict", document)
    expected = raised.value
    assert headers["Content-Type"] == "application/problem+json"
    assert (told["code"], told["reason"], told["detail"]) == (expected.code, expected.reason, expected.message)
    assert told["facts"] == expected.facts
    assert status == told["status"] == {"NOT_FOUND": 404, "INVALID_ARGUMENT": 400}[expected.code]


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"data_type": "float32", "values": [[1, "two"]]}, "no float32"),
        ({"data_type": "float32", "values": [[1, True]]}, "no float32"),
        ({"data_type": "int8", "values": [1, 128]}, "int8 does not hold"),
        ({"data_type": "int8", "values": [1, 1.5]}, "no int8"),
        ({"data_type": "float32", "values": [1, 1e39]}, "float32 does not hold"),
        ({"data_type": "float32", "values": [[1], [2, 3]]}, "differ in length"),
        ({"data_type": "float32", "values": [1, 2, 3], "shape": [1, 2]}, "do not fill"),
        ({"data_type": "float32", "values": [1], "shape": [-1]}, "do not fill"),
        ({"data_type": "float32", "values": 1}, "no list"),
        ({"values": [1]}, "no `data_type`"),
        ({"data_type": "float32", "values": [1], "data": "AAAA"}, "one of the two"),
        ({"data_type": "float32", "nonsense": 1}, "nonsense"),
        (7, "a tensor is an object"),
    ],
)
def test_nothing_is_rounded_or_guessed(place, tensor, words):
    given = {"name": "x", **tensor} if isinstance(tensor, dict) else tensor
    status, _, told = place.ask("POST", "/v1/models/scaled:predict", {"inputs": [given]})
    assert status == 400, told
    assert words in told["detail"]


@pytest.mark.parametrize("role", ["outcomes", "read", None])
def test_the_same_tokens_are_asked_for(place, role):
    status, headers, told = place.ask("POST", "/v1/models/scaled:predict", {}, role=role)
    assert (status, told["reason"]) == ((403, "ROLE_MISSING") if role else (401, "CREDENTIALS_MISSING"))
    assert headers["WWW-Authenticate"] == (None if role else "Bearer")


def test_what_http_itself_knows_to_be_wrong_is_said_in_the_same_form(place):
    for verb, path, body, status, reason in (
        ("POST", "/v1/nowhere", "{}", 404, "PATH_UNKNOWN"),
        ("GET", "/v1/models/scaled:predict", None, 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/v2/models/scaled", None, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/v1/models/scaled:predict", "{", 400, "REQUEST_MALFORMED"),
        ("POST", "/v1/models/scaled:predict", '{"inputs": NaN}', 400, "REQUEST_MALFORMED"),
        ("POST", "/v1/models/scaled:predict", "[" * 100_000, 400, "REQUEST_MALFORMED"),
        ("POST", "/v1/models/scaled:predict", "[]", 400, "REQUEST_MALFORMED"),
        ("POST", "/v1/models/scaled:predict", '{"event_time_us": "x"}', 400, "REQUEST_MALFORMED"),
    ):
        found, _, told = place.ask(verb, path, body=body)
        assert (found, told["reason"], told["status"]) == (status, reason, status), (path, told)
    assert place.ask("POST", "/v2/models/scaled/infer", {}, headers={"Turnout-Timeout-Ms": "0"})[0] == 400


def test_a_connection_is_kept_until_a_body_is_too_long_to_be_read(place):
    connection = http.client.HTTPConnection("127.0.0.1", place.gateway.http, timeout=30)
    said = {"Authorization": f"Bearer {place.tokens['predict']}"}
    for number in range(3):
        body = json.dumps({"inputs": [{"name": "x", "data_type": "float32", "values": [[number, 1]]}], "version": 1})
        connection.request("POST", "/v1/models/scaled:predict", body, said)
        answer = connection.getresponse()
        assert json.loads(answer.read())["outputs"][0]["values"] == [number, 1]
        assert not answer.will_close
    connection.putrequest("POST", "/v1/models/scaled:predict")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.will_close) == (413, True)
    connection.close()
