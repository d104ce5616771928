from turnout.tensor.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ViewStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VIEW_STATUS_UNSPECIFIED: _ClassVar[ViewStatus]
    VIEW_STATUS_PRESENT: _ClassVar[ViewStatus]
    VIEW_STATUS_MISSING: _ClassVar[ViewStatus]
    VIEW_STATUS_STALE: _ClassVar[ViewStatus]
    VIEW_STATUS_UNAVAILABLE: _ClassVar[ViewStatus]
    VIEW_STATUS_GIVEN: _ClassVar[ViewStatus]
VIEW_STATUS_UNSPECIFIED: ViewStatus
VIEW_STATUS_PRESENT: ViewStatus
VIEW_STATUS_MISSING: ViewStatus
VIEW_STATUS_STALE: ViewStatus
VIEW_STATUS_UNAVAILABLE: ViewStatus
VIEW_STATUS_GIVEN: ViewStatus

class PredictRequest(_message.Message):
    __slots__ = ("model", "version", "alias", "entities", "unit_id", "event_time_us", "request_id", "attributes", "inputs", "features")
    class EntitiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    UNIT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_US_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    alias: str
    entities: _containers.ScalarMap[str, str]
    unit_id: str
    event_time_us: int
    request_id: str
    attributes: _containers.ScalarMap[str, str]
    inputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    features: _containers.ScalarMap[str, float]
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., alias: _Optional[str] = ..., entities: _Optional[_Mapping[str, str]] = ..., unit_id: _Optional[str] = ..., event_time_us: _Optional[int] = ..., request_id: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., inputs: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., features: _Optional[_Mapping[str, float]] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("request_id", "model", "version", "experiment", "variant", "outputs", "feature_status")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    FEATURE_STATUS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    version: int
    experiment: str
    variant: str
    outputs: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    feature_status: _containers.RepeatedCompositeFieldContainer[ViewReading]
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., experiment: _Optional[str] = ..., variant: _Optional[str] = ..., outputs: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., feature_status: _Optional[_Iterable[_Union[ViewReading, _Mapping]]] = ...) -> None: ...

class ViewReading(_message.Message):
    __slots__ = ("view", "status", "age_ms")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    view: str
    status: ViewStatus
    age_ms: int
    def __init__(self, view: _Optional[str] = ..., status: _Optional[_Union[ViewStatus, str]] = ..., age_ms: _Optional[int] = ...) -> None: ...
