"""The Connect protocol answers what gRPC answers and refuses what gRPC refuses; only pages of listed sites may call."""

from __future__ import annotations

import base64
import gzip
import http.client
import json

import numpy as np
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2

from gateway.bootstrap.sources import read_settings
from gateway.errors import SettingInvalidError
from turnout import errors
from turnout.outcomes.v1 import outcome_service_pb2 as outcomes
from turnout.serving.v1 import prediction_service_pb2 as serving
from turnout.tensors import to_tensors

PREDICT = "/turnout.serving.v1.PredictionService/Predict"
RECORD = "/turnout.outcomes.v1.OutcomeService/RecordOutcomes"
INFER = "/inference.GRPCInferenceService"
LISTED, UNLISTED = "https://app.example.com", "https://evil.example.com"
JSON, PROTO = "application/json", "application/proto"


def request(model="scaled", x=((1, 2),), **fields):
    tensors = to_tensors({"x": np.array(x, np.float32)})
    return serving.PredictRequest(model=model, unit_id="u", alias="champion", inputs=tensors, **fields)


@pytest.fixture(scope="module")
def ask(place):
    """Return a function that sends bytes and gives the status, the headers and the bytes of the answer."""

    def ask(path, body=b"", *, verb="POST", content_type=PROTO, role="predict", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", place.gateway.http, timeout=30)
        said = {"Authorization": f"Bearer {place.tokens[role]}"} if role else {}
        said |= {"Content-Type": content_type} if content_type else {}
        connection.request(verb, path, body, said | {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = answer.status, answer.headers, answer.read()
        connection.close()
        return found

    return ask


def told(answer):
    """Return the status, the code and the reason of an error."""
    status, headers, body = answer
    document = json.loads(body)
    assert headers["Content-Type"] == JSON
    infos = [each for each in document.get("details", ()) if each["type"] == "google.rpc.ErrorInfo"]
    if not infos:
        return status, document["code"], ""
    (info,) = infos
    value = info["value"] + "=" * (-len(info["value"]) % 4)
    assert info["value"] == value.rstrip("=")
    read = error_details_pb2.ErrorInfo.FromString(base64.b64decode(value))
    assert read.domain == "turnout"
    assert info["debug"]["reason"] == read.reason
    return status, document["code"], read.reason


def test_both_forms_of_a_message_are_answered_as_grpc_answers(place, ask):
    status, headers, body = ask(PREDICT, request().SerializeToString(), connect_protocol_version="1")
    assert (status, headers["Content-Type"]) == (200, PROTO)
    by_proto = serving.PredictResponse.FromString(body)
    said = json_format.MessageToJson(request())
    status, headers, body = ask(PREDICT, said, content_type="application/json; charset=utf-8")
    assert (status, headers["Content-Type"]) == (200, JSON)
    by_json = json_format.Parse(body, serving.PredictResponse())
    assert json.loads(body)["outputs"][0]["dataType"] == "DATA_TYPE_FLOAT32"  # protobuf's own JSON
    with place.client() as client:
        by_grpc = client.predict("scaled", unit_id="u", alias="champion", inputs={"x": np.float32([[1, 2]])})
    expected = to_tensors(by_grpc.outputs)
    assert list(by_proto.outputs) == list(by_json.outputs) == expected
    assert by_proto.version == by_json.version == by_grpc.version


def test_every_unary_call_of_the_data_port_is_there_and_what_a_newer_client_says_is_left_out(ask):
    one = outcomes.Outcome(name="saved", value=1, request_id="by-connect")
    body = outcomes.RecordOutcomesRequest(outcomes=[one]).SerializeToString()
    status, _, body = ask(RECORD, body, role="outcomes")
    (result,) = outcomes.RecordOutcomesResponse.FromString(body).results
    assert (status, result.status) == (200, outcomes.OUTCOME_STATUS_RECORDED)
    status, _, body = ask(f"{INFER}/ModelReady", '{"name": "scaled", "ofTomorrow": 1}', content_type=JSON)
    assert (status, json.loads(body)) == (200, {"ready": True})
    status, _, body = ask(f"{INFER}/ServerLive", "{}", content_type=JSON, role=None)
    assert (status, json.loads(body)) == (200, {"live": True})


@pytest.mark.parametrize(("model", "x"), [("nothing", ((1, 2),)), ("scaled", ((1, 2, 3),))])
def test_a_refusal_has_the_code_the_sentence_and_the_details_that_grpc_has(place, ask, model, x):
    with place.client() as client, pytest.raises(errors.TurnoutError) as raised:
        client.predict(model, unit_id="u", alias="champion", inputs={"x": np.array(x, np.float32)})
    answer = ask(PREDICT, request(model, x).SerializeToString())
    expected = raised.value
    status = {"NOT_FOUND": 404, "INVALID_ARGUMENT": 400}[expected.code]
    assert told(answer) == (status, expected.code.lower(), expected.reason)
    document = json.loads(answer[2])
    assert document["message"] == expected.message
    assert document["details"][0]["debug"].get("metadata", {}) == expected.facts


def test_the_same_tokens_are_asked_for(ask):
    body = request().SerializeToString()
    answer = ask(PREDICT, body, role=None)
    assert told(answer) == (401, "unauthenticated", "CREDENTIALS_MISSING")
    assert answer[1]["WWW-Authenticate"] == "Bearer"
    assert told(ask(PREDICT, body, role="outcomes")) == (403, "permission_denied", "ROLE_MISSING")
    assert told(ask(RECORD, role="predict")) == (403, "permission_denied", "ROLE_MISSING")
    with_wrong = ask(PREDICT, body, role=None, authorization="Bearer turnout_wrong")
    assert told(with_wrong)[:2] == (401, "unauthenticated")


def test_a_deadline_holds_and_one_that_is_none_is_refused(ask):
    shape = to_tensors({"shape": np.array([3000, 3000], np.int64)})
    body = serving.PredictRequest(model="slow", unit_id="u", inputs=shape).SerializeToString()
    assert told(ask(PREDICT, body, connect_timeout_ms="100"))[:2] == (504, "deadline_exceeded")
    for said in ("0", "-1", "1.5", "", "12345678901"):
        assert told(ask(PREDICT, body, connect_timeout_ms=said)) == (400, "invalid_argument", "REQUEST_MALFORMED")
    longest = ask(PREDICT, request().SerializeToString(), connect_timeout_ms="9999999999")
    assert longest[0] == 200


def test_what_is_not_of_the_protocol_is_refused_in_its_form(ask):
    body = request().SerializeToString()
    missing = ask(f"{PREDICT}s", body)
    assert told(missing) == (404, "unimplemented", "")
    assert told(ask("/turnout.serving.v1.PredictionService/StreamPredict", body))[:2] == (404, "unimplemented")
    assert told(ask("/turnout.registry.v1.RegistryService/ListModels", role="admin"))[:2] == (404, "unimplemented")
    answer = ask(PREDICT, verb="GET")
    assert (told(answer)[0], answer[1]["Allow"]) == (405, "POST")
    for content_type in ("application/connect+proto", "text/plain", "application/grpc-web+proto", None):
        answer = ask(PREDICT, body, content_type=content_type)
        assert (told(answer)[0], answer[1]["Accept-Post"]) == (415, f"{JSON}, {PROTO}")
    assert told(ask(PREDICT, body, connect_protocol_version="2"))[:2] == (400, "invalid_argument")
    assert told(ask(PREDICT, b"\xff\xff\xff"))[1] == "invalid_argument"
    for text in ("{", "[]", '{"model": 7}', '{"eventTimeUs": "x"}', '{"inputs": NaN}', "[" * 100_000):
        answer = ask(PREDICT, text, content_type=JSON)
        assert told(answer) == (400, "invalid_argument", "REQUEST_MALFORMED"), text[:50]


def test_bodies_may_be_compressed_but_hold_no_more_than_others_do(ask):
    many = np.zeros((1000, 2), np.float32)
    body = request(x=many).SerializeToString()
    status, headers, packed = ask(PREDICT, gzip.compress(body), content_encoding="gzip", accept_encoding="br, gzip")
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert len(packed) < 500
    (output,) = serving.PredictResponse.FromString(gzip.decompress(packed)).outputs
    assert output.data == many.tobytes()
    _, headers, plain = ask(PREDICT, body)
    assert (headers["Content-Encoding"], headers["Vary"].split(", ")[0]) == (None, "Accept-Encoding")
    assert serving.PredictResponse.FromString(plain).outputs[0] == output
    bomb = gzip.compress(bytes(17 << 20))
    assert told(ask(PREDICT, bomb, content_encoding="gzip"))[:2] == (429, "resource_exhausted")
    for broken in (b"no gzip", gzip.compress(body)[:-4], gzip.compress(body) + b"more"):
        assert told(ask(PREDICT, broken, content_encoding="gzip"))[1:] == ("invalid_argument", "REQUEST_MALFORMED")
    assert told(ask(PREDICT, body, content_encoding="zstd"))[:2] == (501, "unimplemented")
    assert told(ask(PREDICT, content_length=str(1 << 40)))[:2] == (413, "resource_exhausted")


def test_a_browser_is_told_which_pages_may_call_before_anybody_is_asked_for_a_token(ask):
    asks = {"access_control_request_method": "POST", "access_control_request_headers": "authorization,content-type"}
    for path in (PREDICT, "/v1/models/scaled:predict", "/v2/models/scaled/infer", "/api/features/key"):
        status, headers, body = ask(path, verb="OPTIONS", content_type=None, role=None, origin=LISTED, **asks)
        assert (status, body, headers["Access-Control-Allow-Origin"]) == (204, b"", LISTED)
        assert headers["Vary"] == "Origin"
        assert headers["Content-Length"] is None
        assert "Authorization" in headers["Access-Control-Allow-Headers"]
        assert headers["Access-Control-Allow-Credentials"] is None
        status, headers, _ = ask(path, verb="OPTIONS", content_type=None, role=None, origin=UNLISTED, **asks)
        assert (status, headers["Access-Control-Allow-Origin"]) == (403, None)
    status, headers, _ = ask(PREDICT, request().SerializeToString(), origin=LISTED)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, LISTED)
    _, headers, _ = ask(PREDICT, role=None, origin=LISTED)  # the page is told why
    assert headers["Access-Control-Allow-Origin"] == LISTED
    status, headers, _ = ask("/api/features/key", verb="GET", role="read", origin=LISTED)
    assert (status, headers["Access-Control-Expose-Headers"].split(", ")[0]) == (200, "ETag")


def test_a_page_that_is_not_listed_makes_no_prediction_and_records_nothing(ask):
    for origin in (UNLISTED, "null", f"{LISTED}.evil.com", f"{LISTED}:8443", LISTED.replace("https", "http")):
        for path in (PREDICT, "/v1/models/scaled:predict", "/v1/outcomes:record"):
            status, headers, body = ask(path, b"{}", content_type="text/plain", role="admin", origin=origin)
            assert (status, json.loads(body)["reason"]) == (403, "ORIGIN_NOT_ALLOWED")
            assert headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize(
    "said", ["app.example.com", f"{LISTED}/", f"{LISTED},null", "https://*.example.com", "HTTPS://a"]
)
def test_what_is_no_origin_is_refused_before_a_gateway_starts(said, tmp_path):
    with pytest.raises(SettingInvalidError, match="--http-origins has"):
        read_settings(["--state", str(tmp_path), "--http-origins", said])
