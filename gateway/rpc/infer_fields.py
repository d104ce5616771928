"""What a ModelInfer call says besides its tensors: parameters and metadata that are named `turnout...`.

The protocol has no places for entities, units and identities, but lets a request carry parameters, and gRPC lets any
call carry metadata. Each is read as the field of Predict that it stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import RequestMalformedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.inference.grpc_service_pb2 import InferParameter
    from gateway.transport.port import Metadata

_PARAMETER, _METADATA = "turnout_", "turnout-"
_KINDS = ("entity", "attribute", "feature")
_NOT_OURS = frozenset({"turnout-actor"})
"""Metadata that says who is calling; it is read elsewhere."""

_REFUSED = frozenset({"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "classification"})
_REFUSED_PREFIXES = ("triton_", "shared_memory_")
_TIME_CHARS_MAX = 19
"""As many as 63 bits take."""


class InferFields:
    """The fields of Predict that a ModelInfer call gave."""

    __slots__ = ("attributes", "entities", "event_time_us", "features", "request_id", "unit_id")

    def __init__(self) -> None:
        self.entities: dict[str, str] = {}
        self.attributes: dict[str, str] = {}
        self.features: dict[str, float] = {}
        self.unit_id = ""
        self.request_id = ""
        self.event_time_us: int | None = None

    def read_metadata(self, metadata: Metadata) -> None:
        """Take over what the metadata says; the keys are in lower case, as gRPC has them."""
        for key, value in metadata:
            if not key.startswith(_METADATA) or key in _NOT_OURS:
                continue
            if not isinstance(value, str):
                raise _wrong_type(key, "text")
            kind, _, name = key.removeprefix(_METADATA).partition("-")
            if kind in _KINDS:
                self._put_named(kind, name, _number(key, value) if kind == "feature" else value, key)
            elif key == "turnout-event-time-us":
                self._put("event_time_us", _time(key, value), key)
            else:
                self._put(key.removeprefix(_METADATA).replace("-", "_"), value, key)

    def read_parameters(self, parameters: Mapping[str, InferParameter]) -> None:
        """Take over what the request's parameters say; they count more than the metadata."""
        for key, parameter in parameters.items():
            value = value_of(parameter)
            if not key.startswith(_PARAMETER):
                refuse_unserved(key, value)
                continue
            kind, _, name = key.removeprefix(_PARAMETER).partition("_")
            if kind in _KINDS:
                self._put_named(kind, name, value, key)
            else:
                self._put(key.removeprefix(_PARAMETER), value, key)

    def _put_named(self, kind: str, name: str, value: object, key: str) -> None:
        if not name:
            raise RequestMalformedError(f"`{key}` names no {kind}; say `{key}<name>`", parameter=key)
        if kind == "feature":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _wrong_type(key, "a number")
            self.features[name] = float(value)
        elif not isinstance(value, str):
            raise _wrong_type(key, "text")
        elif kind == "entity":
            self.entities[name] = value
        else:
            self.attributes[name] = value

    def _put(self, field: str, value: object, key: str) -> None:
        if field == "event_time_us":
            if isinstance(value, bool) or not isinstance(value, int) or value >= 1 << 63:
                raise _wrong_type(key, "a whole number of microseconds")
            self.event_time_us = value
        elif field in {"unit_id", "request_id"}:
            if not isinstance(value, str):
                raise _wrong_type(key, "text")
            setattr(self, field, value)
        else:
            known = ", ".join(f"`turnout_{kind}_<name>`" for kind in _KINDS)
            raise RequestMalformedError(
                f"`{key}` is not known; known are {known}, `turnout_unit_id`, `turnout_request_id` and "
                "`turnout_event_time_us`",
                parameter=key,
            )


def value_of(parameter: InferParameter) -> object:
    """Return a parameter's value; None when it has none."""
    choice = parameter.WhichOneof("parameter_choice")
    return None if choice is None else getattr(parameter, choice)


def refuse_unserved(key: str, value: object) -> None:
    """Raise RequestMalformedError for a parameter that asks for an extension that is not served.

    Ignoring it would answer another question than the one that was asked. A value of zero asks for nothing.
    """
    if value and (key in _REFUSED or key.startswith(_REFUSED_PREFIXES)):
        raise RequestMalformedError(
            f"the parameter `{key}` asks for an extension that is not served"
            + ("; set a deadline on the call" if key == "timeout" else ""),
            parameter=key,
        )


def _wrong_type(key: str, expected: str) -> RequestMalformedError:
    return RequestMalformedError(f"`{key}` must be {expected}", parameter=key, expected=expected)


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise _wrong_type(key, "a number") from None


def _time(key: str, value: str) -> int:
    if not value.isascii() or not value.removeprefix("-").isdigit() or len(value) > _TIME_CHARS_MAX:
        raise _wrong_type(key, "a whole number of microseconds")
    return int(value)
