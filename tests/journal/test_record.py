from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.errors import RecordUnreadableError
from gateway.journal.record import (
    Gap,
    Outcome,
    Output,
    Prediction,
    decode,
    encode,
    encode_prediction,
    fields,
    outputs_template,
)

_INT = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_LABELS = st.dictionaries(_TEXT, _TEXT, max_size=3)
_OUTPUT = st.builds(
    Output, name=_TEXT, dtype=_TEXT, shape=st.lists(st.integers(0, 9), max_size=3).map(tuple), data=st.binary()
)
_PREDICTION = st.builds(
    Prediction,
    request_id=_TEXT,
    time_us=_INT,
    event_time_us=_INT,
    model=_TEXT,
    version=_INT,
    digest=_TEXT,
    experiment=_TEXT,
    variant=_TEXT,
    epoch=_INT,
    propensity=st.floats(allow_nan=False),
    unit_id=_TEXT,
    entities=_LABELS,
    attributes=_LABELS,
    feature_set=_TEXT,
    features=st.binary(),
    view_status=st.binary(),
    view_age_ms=st.lists(_INT, max_size=4),
    outputs=st.lists(_OUTPUT, max_size=3),
    latency_us=_INT,
    status=_INT,
    reason=_TEXT,
    fallback=st.booleans(),
    run_us=_INT,
    run_rows=_INT,
    others_us=_INT,
)
_OUTCOME = st.builds(
    Outcome,
    request_id=_TEXT,
    unit_id=_TEXT,
    model=_TEXT,
    name=_TEXT,
    value=st.floats(allow_nan=False),
    event_time_us=_INT,
    outcome_id=_TEXT,
    time_us=_INT,
)
_GAP = st.builds(Gap, time_us=_INT, lost=st.dictionaries(_TEXT, st.integers(0, 2**62), max_size=3))


@given(_PREDICTION)
def test_a_prediction_put_together_from_shared_fields_is_the_prediction(record):
    values = [getattr(record, name) for name in Prediction.__struct_fields__]
    at = Prediction.__struct_fields__.index("outputs")
    outputs = outputs_template(record.outputs) % tuple(output.data for output in record.outputs)
    together = (
        values[0],
        fields(*values[1:10]),
        *values[10:at],
        msgspec.Raw(outputs),
        fields(*values[at + 1 :]),
    )
    assert encode_prediction(together) == encode(record)


@given(st.one_of(_PREDICTION, _OUTCOME, _GAP))
def test_a_record_survives_encoding(record):
    assert decode(encode(record)) == record


@given(_PREDICTION)
def test_a_record_with_fields_of_a_newer_release_is_read_without_them(record):
    payload = encode(record)
    fields = msgspec.msgpack.decode(payload[1:])
    newer = payload[:1] + msgspec.msgpack.encode([*fields, {"unknown": 1}, "more"])
    assert decode(newer) == record


def test_a_record_of_an_older_release_is_read_with_defaults():
    older = b"\x01" + msgspec.msgpack.encode(["id", 1, 2, "model", 3])
    assert decode(older) == Prediction(request_id="id", time_us=1, event_time_us=2, model="model", version=3)


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\x09\x90", b"\x01", b"\x01\x90", b"\x02\xa1x", b"\x03\x92\x01\x02"]
)
def test_bytes_that_are_no_record_are_refused(payload):
    with pytest.raises(RecordUnreadableError):
        decode(payload)
