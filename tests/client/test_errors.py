from __future__ import annotations

import copy

import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from turnout import errors, wire

TEXT = st.text(max_size=40)


@given(TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=5), st.integers(-(2**31), 2**31 - 1), TEXT)
def test_error_info_is_read_as_googleapis_writes_it(reason, domain, facts, code, message):
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=facts))
    other = any_pb2.Any()
    other.Pack(error_details_pb2.DebugInfo(stack_entries=["frame"], detail="x"))
    status = status_pb2.Status(code=code, message=message, details=[other, info])
    assert errors.read_error_info(status.SerializeToString()) == (reason, domain, facts, None)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_status_are_read_without_an_error(data):
    info = errors.read_error_info(data)
    assert info is None or isinstance(info, errors.ErrorInfo)


@given(st.data())
def test_a_status_that_is_cut_off_hides_nothing(data):
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="A_REASON", metadata={"k": "v"}))
    whole = status_pb2.Status(code=5, message="m", details=[detail]).SerializeToString()
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    error = errors.from_status("NOT_FOUND", "m", [(errors.DETAILS_KEY, part)])
    assert (error.code, error.message) == ("NOT_FOUND", "m")


@given(st.integers(0, 10**6), st.integers(0, 999_999_999))
def test_the_pause_of_a_retry_info_is_read_as_googleapis_writes_it(seconds, nanos):
    info, retry = any_pb2.Any(), any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="OVERLOADED"))
    retry.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds, nanos=nanos)))
    for details in ([info, retry], [retry, info]):
        found = errors.read_error_info(status_pb2.Status(details=details).SerializeToString())
        assert found.reason == "OVERLOADED"
        assert found.retry_after_s == seconds + nanos / 1e9


def test_a_status_without_error_info_has_none():
    assert errors.read_error_info(status_pb2.Status(code=5, message="m").SerializeToString()) is None


def test_fields_of_every_wire_type_are_read():
    data = bytes([8, 150, 1, 17, *range(8), 26, 2, 65, 66, 37, 1, 2, 3, 4])
    fields = [(number, v if isinstance(v, int) else bytes(v)) for number, v in wire.read_fields(memoryview(data))]
    assert fields == [(1, 150), (2, bytes(range(8))), (3, b"AB"), (4, b"\x01\x02\x03\x04")]


def test_negative_numbers_are_read():
    data = bytes([8]) + b"\xff" * 9 + b"\x01"
    ((_, value),) = wire.read_fields(memoryview(data))
    assert wire.read_number(value) == -1


@pytest.mark.parametrize("data", [b"\x0b", b"\x00", b"\x08", b"\x0a\x05ab", b"\x08" + b"\xff" * 11, b"\x11\x01"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(wire.WireError):
        list(wire.read_fields(memoryview(data)))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_ARGUMENT", errors.InvalidError),
        ("NOT_FOUND", errors.MissingError),
        ("ALREADY_EXISTS", errors.ExistsError),
        ("ABORTED", errors.ConflictError),
        ("FAILED_PRECONDITION", errors.PreconditionError),
        ("RESOURCE_EXHAUSTED", errors.ExhaustedError),
        ("DEADLINE_EXCEEDED", errors.ExpiredError),
        ("INTERNAL", errors.TurnoutError),
    ],
)
def test_the_code_picks_the_kind_of_error(code, kind):
    error = errors.from_status(code, "words")
    assert type(error) is kind
    assert (error.code, error.reason, str(error)) == (code, code, f"{code}: words")


def test_unavailable_without_a_reason_means_that_no_gateway_answered():
    assert type(errors.from_status("UNAVAILABLE", "connection refused")) is errors.UnreachableError


def test_an_error_can_be_copied_as_a_pool_of_processes_does():
    error = errors.MissingError("NOT_FOUND", "MODEL_NOT_SERVED", "no such model", {"model": "x"})
    again = copy.deepcopy(error)
    assert type(again) is errors.MissingError
    assert (again.code, again.reason, again.message, again.facts) == (*error.args[:3], {"model": "x"})
