"""BatchPredict: every row is what a call of its own would have been."""

from __future__ import annotations

import time
import uuid

import grpc
import numpy as np
import pytest

from turnout import errors
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

NOON_US = 1_357_041_600_000_000
CARRIERS = [f"C{number}" for number in range(40)]


def wait_until(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def same(one, other):
    """Say that two answers are the same in everything but their identities."""
    head = [(each.model, each.version, each.experiment, each.variant, each.views) for each in (one, other)]
    outputs = [
        [(name, array.dtype.name, array.shape, array.tobytes()) for name, array in each.outputs.items()]
        for each in (one, other)
    ]
    return head[0] == head[1] and outputs[0] == outputs[1]


def test_rows_are_answered_as_single_calls_are(client):
    rows = 300
    carriers = [[*CARRIERS, "nobody", None][row % 42] for row in range(rows)]
    units = [f"unit-{row}" if row % 7 else None for row in range(rows)]
    times = [NOON_US + row * 1_000_000 if row % 5 else None for row in range(rows)]
    winds = [row / 8 if row % 3 else None for row in range(rows)]
    rates = [0.75 if carriers[row] is None or row % 11 == 0 else None for row in range(rows)]
    counts = [12.0 if carriers[row] is None else None for row in range(rows)]
    batch = client.predict_batch(
        "bound",
        entities={"carrier": carriers},
        unit_ids=units,
        event_times_us=times,
        features={"wind": winds, "carrier.late_rate": rates, "carrier.flights": counts},
        attributes={"row": [str(row) for row in range(rows)]},
    )
    assert len(batch) == rows
    assert not batch.errors
    for row in range(rows):
        given = {"wind": winds[row], "carrier.late_rate": rates[row], "carrier.flights": counts[row]}
        single = client.predict(
            "bound",
            entities={"carrier": carriers[row]} if carriers[row] else None,
            unit_id=units[row],
            event_time_us=times[row],
            features={name: value for name, value in given.items() if value is not None},
        )
        assert same(batch[row], single), row
    assert {part.variant for part in batch.parts} >= {"control", "treatment"}
    assert {reading.status for answer in batch for reading in answer.views} == {"PRESENT", "MISSING", "STALE", "GIVEN"}


@pytest.mark.parametrize("model", ["m", "alone"])
def test_rows_of_tensors_are_answered_as_single_calls_are(client, model):
    given = np.random.default_rng(5).normal(size=(700, 4)).astype(np.float32)
    batch = client.predict_batch(model, inputs={"x": given})
    (part,) = batch.parts
    assert part.rows == list(range(700))
    assert np.array_equal(part.outputs["score"], given * (2 if model == "m" else 5))
    for row in range(0, 700, 50):
        assert same(batch[row], client.predict(model, inputs={"x": given[row : row + 1]}))


def test_what_is_wrong_with_a_row_is_told_of_that_row_alone(client):
    ids = ["one", "two words", "three", "one", "five"]
    batch = client.predict_batch("picking", inputs={"at": np.array([1, 2, 77, 4, 5])}, request_ids=ids)
    assert {row: (error.code, error.reason) for row, error in batch.errors.items()} == {
        1: ("INVALID_ARGUMENT", "REQUEST_MALFORMED"),
        2: ("INTERNAL", "MODEL_RUN_FAILED"),
        3: ("INVALID_ARGUMENT", "REQUEST_ID_REPEATED"),
    }
    assert [batch[row].outputs["score"].tolist() for row in (0, 4)] == [[[4, 5, 6, 7]], [[20, 21, 22, 23]]]
    assert batch[2] is batch.errors[2]
    assert [type(answer).__name__ for answer in batch[:2]] == ["Prediction", "InvalidError"]


def test_an_error_of_a_row_is_that_of_a_single_call(client):
    batch = client.predict_batch("bound", entities={"carrier": ["C1", None]}, unit_ids=["a", "b"])
    assert batch[0].version in {1, 2}
    with pytest.raises(errors.InvalidError) as single:
        client.predict("bound", unit_id="b")
    assert (batch[1].code, batch[1].reason, batch[1].message, batch[1].facts) == (
        single.value.code,
        single.value.reason,
        single.value.message,
        single.value.facts,
    )


def test_a_pin_holds_for_all_rows(client):
    batch = client.predict_batch("bound", entities={"carrier": CARRIERS}, version=1)
    assert [(answer.version, answer.experiment) for answer in batch] == [(1, "")] * 40
    missing = client.predict_batch("bound", entities={"carrier": CARRIERS}, version=77)
    assert {error.reason for error in missing} == {"VERSION_NOT_SERVED"}


def test_the_journal_holds_each_row_once_the_failed_too(client, many):
    mark = uuid.uuid4().hex
    ids = [f"{mark}-{row}" for row in range(600)]
    batch = client.predict_batch(
        "bound", entities={"carrier": [CARRIERS[row % 40] for row in range(600)]}, unit_ids=ids, request_ids=ids
    )
    failed = client.predict_batch("picking", inputs={"at": np.array([1, 77])}, request_ids=[f"{mark}-x", f"{mark}-y"])
    held = sorted(many.journal(*ids, *failed.request_ids))
    expected = [(ids[row], "bound", batch[row].version, batch[row].variant, ids[row], 0, "") for row in range(600)] + [
        (f"{mark}-x", "picking", 1, "", "", 0, ""),
        (f"{mark}-y", "picking", 1, "", "", 13, "MODEL_RUN_FAILED"),
    ]
    assert held == sorted(expected)


def test_a_batch_without_identities_gets_them(many):
    request = pb.BatchPredictRequest(model="bound", rows=3, entities=[pb.TextColumn(name="carrier", values=["C1"] * 3)])
    response = many.operator.predictions.BatchPredict(request, timeout=10)
    assert len(set(response.request_ids)) == 3
    assert len(many.journal(*response.request_ids)) == 3


def test_a_batch_past_the_limit_is_refused_whole(client, many):
    ids = [uuid.uuid4().hex for _ in range(2001)]
    with pytest.raises(errors.InvalidError) as caught:
        client.predict_batch("m", inputs={"x": np.ones((2001, 4), np.float32)}, request_ids=ids)
    assert caught.value.reason == "BATCH_TOO_LARGE"
    assert caught.value.facts == {"rows": "2001", "batch_rows_max": "2000"}
    assert "2000" in caught.value.message
    assert not many.journal(*ids)
    assert len(client.predict_batch("m", inputs={"x": np.ones((2000, 4), np.float32)})) == 2000


COLUMN = pb.TextColumn(name="carrier", values=["C1", "C2"])
FLOAT32 = tensor_pb2.DATA_TYPE_FLOAT32


@pytest.mark.parametrize(
    ("fields", "reason", "word"),
    [
        ({"model": ""}, "REQUEST_MALFORMED", "`model`"),
        ({"rows": 0}, "REQUEST_MALFORMED", "`rows`"),
        ({"rows": 3}, "REQUEST_MALFORMED", "2 values; the batch has 3 rows"),
        ({"version": -1}, "REQUEST_MALFORMED", "`version`"),
        ({"unit_ids": ["a"]}, "REQUEST_MALFORMED", "`unit_ids`"),
        ({"request_ids": ["a", "b", "c"]}, "REQUEST_MALFORMED", "`request_ids`"),
        ({"event_times_us": [1]}, "REQUEST_MALFORMED", "`event_times_us`"),
        ({"entities": [COLUMN, COLUMN]}, "REQUEST_MALFORMED", "same name"),
        ({"features": [pb.NumberColumn(name="wind", values=[1.0])]}, "REQUEST_MALFORMED", "`wind`"),
        ({"features": [pb.NumberColumn(name="wind", values=[1, 2], given=[True])]}, "REQUEST_MALFORMED", "given"),
        ({"inputs": [tensor_pb2.Tensor(name="x", data_type=FLOAT32, shape=[3, 4])]}, "INPUT_MISMATCH", "[2, …]"),
        ({"inputs": [tensor_pb2.Tensor(name="x", data_type=FLOAT32)]}, "INPUT_MISMATCH", "[2, …]"),
        ({"inputs": [tensor_pb2.Tensor(name="x", data_type=FLOAT32, shape=[2, -4])]}, "INPUT_MISMATCH", "[2, …]"),
        ({"inputs": [tensor_pb2.Tensor(name="x", data_type=FLOAT32, shape=[2, 4])]}, "INPUT_MISMATCH", "32"),
        ({"inputs": [tensor_pb2.Tensor(name="x", shape=[2, 4], data=b"1")]}, "INPUT_MISMATCH", "no type"),
    ],
)
def test_columns_that_make_no_table_are_refused_by_name(many, refusal, fields, reason, word):
    request = pb.BatchPredictRequest(**{"model": "bound", "rows": 2, "entities": [COLUMN], **fields})
    code, why, sentence = refusal(many.operator.predictions.BatchPredict, request, timeout=10)
    assert (code, why) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert word in sentence


def test_bytes_that_are_no_batch_are_refused(many, refusal):
    call = many.operator.data.unary_unary("/turnout.serving.v1.PredictionService/BatchPredict")
    assert refusal(call, b"\xff\xff", timeout=10)[1] == "REQUEST_MALFORMED"


def test_a_batch_past_its_deadline_ends_and_the_next_one_is_answered(client):
    with pytest.raises(errors.ExpiredError):
        client.predict_batch("slow", inputs={"x": np.ones((2000, 4), np.float32)}, timeout_s=0.2)
    assert len(client.predict_batch("slow", inputs={"x": np.ones((10, 4), np.float32)}, timeout_s=30)) == 10


def test_single_calls_are_answered_between_the_pieces_of_a_batch_and_a_cancelled_one_is_dropped(
    many, request_for, client
):
    tensor = tensor_pb2.Tensor(name="x", data_type=FLOAT32, shape=[2000, 4], data=bytes(32000))
    ids = [uuid.uuid4().hex for _ in range(2000)]
    request = pb.BatchPredictRequest(model="slow", rows=2000, inputs=[tensor], request_ids=ids)
    batch = many.operator.predictions.BatchPredict.future(request, timeout=60)  # many seconds' work
    wait_until(lambda: many.journal(*ids))
    assert many.operator.predictions.Predict(request_for("m"), timeout=30).version == 1
    assert not batch.done()
    batch.cancel()
    assert len(client.predict_batch("slow", inputs={"x": np.ones((10, 4), np.float32)}, timeout_s=30)) == 10
    assert 0 < len(many.journal(*ids)) < 2000
