"""The records of the journal: one prediction, one outcome, one gap, or one shadow each.

A record is one byte that tells its kind and a MessagePack array of its fields in order. Fields are only ever appended,
each with a default: an older reader leaves out what it does not know, a newer one fills in what is not there. Nothing
is renamed in place, reordered or given another meaning.

This module is loaded by every worker: it imports nothing but msgspec and the errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.journal.errors import RecordUnreadableError

if TYPE_CHECKING:
    from collections.abc import Sequence

PREDICTION_KIND = 1
OUTCOME_KIND = 2
GAP_KIND = 3
SHADOW_KIND = 4


class Output(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One output tensor of a prediction.

    Attributes
    ----------
    name
        The output's name in the ONNX graph.
    dtype
        The element type as NumPy names it, for example ``float32``; ``string`` for text.
    shape
        The extents.
    data
        The elements, little-endian, row-major.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Prediction(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One call that got past its assignment, answered or failed.

    Attributes
    ----------
    request_id
        The identity. Of several records with one identity, readers keep the first.
    time_us
        When it was recorded, in microseconds since the Unix epoch.
    event_time_us
        When the event that is predicted on happened.
    model, version, digest
        What answered: the model's name, the version's number, its artifact's sha256 in hex.
    experiment, variant, epoch, propensity
        What chose the version: empty, empty, 0 and 1.0 outside an experiment.
    unit_id
        What was assigned; empty when the call names no unit.
    entities, attributes
        As the request gave them.
    feature_set
        The feature set that is bound to the version; empty when there is none.
    features
        The input row as served: float64, little-endian, in the order of the feature set.
    view_status
        One byte for each view of the set: 1 present, 2 missing, 3 stale, 4 unavailable, 5 given.
    view_age_ms
        The age of each view's value in milliseconds; -1 where there is none.
    outputs
        What the model answered; empty when it failed.
    latency_us
        From taking the call off the network to the append of this record.
    status
        The gRPC status code; 0 is OK.
    reason
        The machine-readable reason of a failure; empty when OK.
    fallback
        Whether the control answered because the variant's version was not loaded.
    run_us, run_rows
        What the version's runs for the calls of the wave that it answered took together, and how many rows they had; 0
        where none ran, and in records of before these fields.
    others_us
        How much of `latency_us` was runs of other versions for other calls of the wave.
    """

    request_id: str
    time_us: int
    event_time_us: int
    model: str
    version: int
    digest: str = ""
    experiment: str = ""
    variant: str = ""
    epoch: int = 0
    propensity: float = 1.0
    unit_id: str = ""
    entities: dict[str, str] = {}
    attributes: dict[str, str] = {}
    feature_set: str = ""
    features: bytes = b""
    view_status: bytes = b""
    view_age_ms: list[int] = []
    outputs: list[Output] = []
    latency_us: int = 0
    status: int = 0
    reason: str = ""
    fallback: bool = False
    run_us: int = 0
    run_rows: int = 0
    others_us: int = 0


class Outcome(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """One thing that happened later. Its identity is (request_id or unit_id, model, name, outcome_id).

    Attributes
    ----------
    request_id, unit_id
        What it is an outcome of; one of them is empty.
    model
        Whose prediction is meant when the subject is a unit; empty for any model.
    name, value
        For example ``late`` and 1.0.
    event_time_us
        When it happened.
    outcome_id
        Tells one outcome of a subject and name from another; empty only with a request id.
    time_us
        When it was recorded.
    label
        The category, where the value is none; the value is then no number.
    sequence
        Of several records with one identity the highest counts, and of those the first.
    """

    request_id: str = ""
    unit_id: str = ""
    model: str = ""
    name: str
    value: float
    event_time_us: int
    outcome_id: str = ""
    time_us: int
    label: str = ""
    sequence: int = 0


class Gap(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """Predictions that were answered and could not be journalled.

    Attributes
    ----------
    time_us
        When writing worked again.
    lost
        How many were lost, by ``experiment/variant``; the empty label stands for calls outside experiments.
    models
        The same predictions, by model.
    """

    time_us: int
    lost: dict[str, int]
    models: dict[str, int] = {}


class Shadow(msgspec.Struct, array_like=True, frozen=True, gc=False, kw_only=True):
    """What a version that serves nobody made of a call's inputs, once the call was answered by another one.

    It pairs with the prediction of the same request id. It is a kind of its own, so that whoever counts predictions
    cannot count it among them. Its identity is (request_id, version): of several, readers keep the first.

    Attributes
    ----------
    request_id
        The live prediction's.
    time_us
        When the shadow ran.
    event_time_us
        The live prediction's.
    model, version, digest
        What ran.
    live_version
        What answered the call.
    share
        The part of the calls that were sampled when this one was.
    unit_id, entities
        The live prediction's.
    feature_set, features, view_status, view_age_ms
        The shadow's input row, as a prediction has them. Where the live version has the same set it is the row that was
        served; else it was read from the store when the shadow ran.
    outputs
        What the shadow made of it; empty when it failed.
    run_us
        What its run took; its part of the run, where calls ran together.
    status, reason
        As a prediction has them.
    """

    request_id: str
    time_us: int
    event_time_us: int
    model: str
    version: int
    digest: str = ""
    live_version: int = 0
    share: float = 1.0
    unit_id: str = ""
    entities: dict[str, str] = {}
    feature_set: str = ""
    features: bytes = b""
    view_status: bytes = b""
    view_age_ms: list[int] = []
    outputs: list[Output] = []
    run_us: int = 0
    status: int = 0
    reason: str = ""


Record = Prediction | Outcome | Gap | Shadow

_encode = msgspec.msgpack.Encoder().encode
_DECODERS: dict[int, msgspec.msgpack.Decoder[Record]] = {
    PREDICTION_KIND: msgspec.msgpack.Decoder(Prediction),
    OUTCOME_KIND: msgspec.msgpack.Decoder(Outcome),
    GAP_KIND: msgspec.msgpack.Decoder(Gap),
    SHADOW_KIND: msgspec.msgpack.Decoder(Shadow),
}
_PREFIXES: dict[type[Record], bytes] = {
    Prediction: bytes([PREDICTION_KIND]),
    Outcome: bytes([OUTCOME_KIND]),
    Gap: bytes([GAP_KIND]),
    Shadow: bytes([SHADOW_KIND]),
}


def encode(record: Record) -> bytes:
    """Return the record's bytes."""
    return _PREFIXES[type(record)] + _encode(record)


# A prediction's head: its kind, and the array's length as MessagePack writes one of 16 to 65 535 elements.
_PREDICTION_HEAD = bytes([PREDICTION_KIND, 0xDC]) + len(Prediction.__struct_fields__).to_bytes(2, "big")


def fields(*values: object) -> msgspec.Raw:
    """Return fields that follow one another in several records, encoded once for all of them."""
    return msgspec.Raw(b"".join([_encode(value) for value in values]))


def outputs_template(outputs: Sequence[Output]) -> bytes:
    """Return the encoded `outputs` of a prediction, with ``%b`` wherever the elements of one go.

    What goes there has the length of the data that stands in `outputs`.
    """
    parts = [_encode([None] * len(outputs))[: -len(outputs) or None]]
    for output in outputs:
        # The data comes last in an output, and its bytes last in the data.
        prefix = _encode(output)[: -len(output.data) or None]
        parts += (prefix.replace(b"%", b"%%"), b"%b")
    return b"".join(parts)


def encode_prediction(values: tuple[object, ...]) -> bytes:
    """Return the bytes of the prediction that has these fields, in order; `fields` stand for as many as they hold.

    The hot path: what calls have in common is encoded once, and no Prediction is made. There are at most 15 values.
    """
    return _PREDICTION_HEAD + _encode(values)[1:]


def decode(payload: bytes) -> Record:
    """Return the record, or raise RecordUnreadableError for a kind that is not known or fields that do not fit."""
    if not payload:
        raise RecordUnreadableError("a record has at least one byte")
    decoder = _DECODERS.get(payload[0])
    if decoder is None:
        raise RecordUnreadableError(f"no record is of kind {payload[0]}; a newer release wrote it", kind=payload[0])
    try:
        return decoder.decode(memoryview(payload)[1:])
    except msgspec.MsgspecError as error:
        raise RecordUnreadableError(f"a record of kind {payload[0]} does not fit: {error}", kind=payload[0]) from error
