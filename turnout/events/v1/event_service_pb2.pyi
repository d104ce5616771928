from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    EVENT_KIND_PREDICTION: _ClassVar[EventKind]
    EVENT_KIND_OUTCOME: _ClassVar[EventKind]
    EVENT_KIND_GAP: _ClassVar[EventKind]
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_PREDICTION: EventKind
EVENT_KIND_OUTCOME: EventKind
EVENT_KIND_GAP: EventKind

class CountEventsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class CountEventsResponse(_message.Message):
    __slots__ = ("predictions", "failed_predictions", "outcomes", "joined_outcomes", "lost_predictions", "records")
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    FAILED_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    JOINED_OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    LOST_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    predictions: int
    failed_predictions: int
    outcomes: int
    joined_outcomes: int
    lost_predictions: int
    records: int
    def __init__(self, predictions: _Optional[int] = ..., failed_predictions: _Optional[int] = ..., outcomes: _Optional[int] = ..., joined_outcomes: _Optional[int] = ..., lost_predictions: _Optional[int] = ..., records: _Optional[int] = ...) -> None: ...

class TailEventsRequest(_message.Message):
    __slots__ = ("limit", "follow", "model")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    limit: int
    follow: bool
    model: str
    def __init__(self, limit: _Optional[int] = ..., follow: _Optional[bool] = ..., model: _Optional[str] = ...) -> None: ...

class TailEventsResponse(_message.Message):
    __slots__ = ("kind", "time_us", "json")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    kind: EventKind
    time_us: int
    json: str
    def __init__(self, kind: _Optional[_Union[EventKind, str]] = ..., time_us: _Optional[int] = ..., json: _Optional[str] = ...) -> None: ...
