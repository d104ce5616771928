from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExperimentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPERIMENT_STATE_UNSPECIFIED: _ClassVar[ExperimentState]
    EXPERIMENT_STATE_DRAFT: _ClassVar[ExperimentState]
    EXPERIMENT_STATE_RUNNING: _ClassVar[ExperimentState]
    EXPERIMENT_STATE_CONCLUDED: _ClassVar[ExperimentState]

class MetricKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_KIND_UNSPECIFIED: _ClassVar[MetricKind]
    METRIC_KIND_MEAN: _ClassVar[MetricKind]
    METRIC_KIND_SQUARED_ERROR: _ClassVar[MetricKind]
    METRIC_KIND_ABSOLUTE_ERROR: _ClassVar[MetricKind]
    METRIC_KIND_LOG_LOSS: _ClassVar[MetricKind]
    METRIC_KIND_ACCURACY: _ClassVar[MetricKind]

class Direction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTION_UNSPECIFIED: _ClassVar[Direction]
    DIRECTION_INCREASE: _ClassVar[Direction]
    DIRECTION_DECREASE: _ClassVar[Direction]

class MetricRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_ROLE_UNSPECIFIED: _ClassVar[MetricRole]
    METRIC_ROLE_SUCCESS: _ClassVar[MetricRole]
    METRIC_ROLE_GUARDRAIL: _ClassVar[MetricRole]
    METRIC_ROLE_MONITORING: _ClassVar[MetricRole]

class Recommendation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECOMMENDATION_UNSPECIFIED: _ClassVar[Recommendation]
    RECOMMENDATION_SHIP: _ClassVar[Recommendation]
    RECOMMENDATION_KEEP: _ClassVar[Recommendation]
    RECOMMENDATION_CONTINUE: _ClassVar[Recommendation]
    RECOMMENDATION_INVESTIGATE: _ClassVar[Recommendation]
EXPERIMENT_STATE_UNSPECIFIED: ExperimentState
EXPERIMENT_STATE_DRAFT: ExperimentState
EXPERIMENT_STATE_RUNNING: ExperimentState
EXPERIMENT_STATE_CONCLUDED: ExperimentState
METRIC_KIND_UNSPECIFIED: MetricKind
METRIC_KIND_MEAN: MetricKind
METRIC_KIND_SQUARED_ERROR: MetricKind
METRIC_KIND_ABSOLUTE_ERROR: MetricKind
METRIC_KIND_LOG_LOSS: MetricKind
METRIC_KIND_ACCURACY: MetricKind
DIRECTION_UNSPECIFIED: Direction
DIRECTION_INCREASE: Direction
DIRECTION_DECREASE: Direction
METRIC_ROLE_UNSPECIFIED: MetricRole
METRIC_ROLE_SUCCESS: MetricRole
METRIC_ROLE_GUARDRAIL: MetricRole
METRIC_ROLE_MONITORING: MetricRole
RECOMMENDATION_UNSPECIFIED: Recommendation
RECOMMENDATION_SHIP: Recommendation
RECOMMENDATION_KEEP: Recommendation
RECOMMENDATION_CONTINUE: Recommendation
RECOMMENDATION_INVESTIGATE: Recommendation

class Experiment(_message.Message):
    __slots__ = ("name", "model", "description", "owner", "variants", "coverage", "seed", "metrics", "alpha", "minimum_units", "state", "epoch", "etag", "create_time_us", "start_time_us", "conclude_time_us", "winner")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_UNITS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    START_TIME_US_FIELD_NUMBER: _ClassVar[int]
    CONCLUDE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    WINNER_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    description: str
    owner: str
    variants: _containers.RepeatedCompositeFieldContainer[Variant]
    coverage: float
    seed: str
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    alpha: float
    minimum_units: int
    state: ExperimentState
    epoch: int
    etag: str
    create_time_us: int
    start_time_us: int
    conclude_time_us: int
    winner: str
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., description: _Optional[str] = ..., owner: _Optional[str] = ..., variants: _Optional[_Iterable[_Union[Variant, _Mapping]]] = ..., coverage: _Optional[float] = ..., seed: _Optional[str] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., alpha: _Optional[float] = ..., minimum_units: _Optional[int] = ..., state: _Optional[_Union[ExperimentState, str]] = ..., epoch: _Optional[int] = ..., etag: _Optional[str] = ..., create_time_us: _Optional[int] = ..., start_time_us: _Optional[int] = ..., conclude_time_us: _Optional[int] = ..., winner: _Optional[str] = ...) -> None: ...

class Variant(_message.Message):
    __slots__ = ("variant", "version", "alias", "share", "control")
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    variant: str
    version: int
    alias: str
    share: float
    control: bool
    def __init__(self, variant: _Optional[str] = ..., version: _Optional[int] = ..., alias: _Optional[str] = ..., share: _Optional[float] = ..., control: _Optional[bool] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("metric", "kind", "outcome", "output", "output_index", "direction", "role")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_INDEX_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    metric: str
    kind: MetricKind
    outcome: str
    output: str
    output_index: int
    direction: Direction
    role: MetricRole
    def __init__(self, metric: _Optional[str] = ..., kind: _Optional[_Union[MetricKind, str]] = ..., outcome: _Optional[str] = ..., output: _Optional[str] = ..., output_index: _Optional[int] = ..., direction: _Optional[_Union[Direction, str]] = ..., role: _Optional[_Union[MetricRole, str]] = ...) -> None: ...

class CreateExperimentRequest(_message.Message):
    __slots__ = ("experiment_id", "experiment")
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    experiment: Experiment
    def __init__(self, experiment_id: _Optional[str] = ..., experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class CreateExperimentResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class GetExperimentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetExperimentResponse(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ...) -> None: ...

class ListExperimentsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListExperimentsResponse(_message.Message):
    __slots__ = ("experiments", "next_page_token")
    EXPERIMENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    experiments: _containers.RepeatedCompositeFieldContainer[Experiment]
    next_page_token: str
    def __init__(self, experiments: _Optional[_Iterable[_Union[Experiment, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StartExperimentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class StartExperimentResponse(_message.Message):
    __slots__ = ("experiment", "revision")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    revision: int
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class SetTrafficSplitRequest(_message.Message):
    __slots__ = ("name", "shares", "etag")
    class SharesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    shares: _containers.ScalarMap[str, float]
    etag: str
    def __init__(self, name: _Optional[str] = ..., shares: _Optional[_Mapping[str, float]] = ..., etag: _Optional[str] = ...) -> None: ...

class SetTrafficSplitResponse(_message.Message):
    __slots__ = ("experiment", "revision", "moved_share")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MOVED_SHARE_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    revision: int
    moved_share: float
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., revision: _Optional[int] = ..., moved_share: _Optional[float] = ...) -> None: ...

class ConcludeExperimentRequest(_message.Message):
    __slots__ = ("name", "winner", "promote", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WINNER_FIELD_NUMBER: _ClassVar[int]
    PROMOTE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    winner: str
    promote: bool
    reason: str
    def __init__(self, name: _Optional[str] = ..., winner: _Optional[str] = ..., promote: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class ConcludeExperimentResponse(_message.Message):
    __slots__ = ("experiment", "revision")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    experiment: Experiment
    revision: int
    def __init__(self, experiment: _Optional[_Union[Experiment, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class AnalyzeExperimentRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class AnalyzeExperimentResponse(_message.Message):
    __slots__ = ("name", "counts", "comparisons", "sample_ratio", "outcomes_analyzed", "time_us")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    COMPARISONS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATIO_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_ANALYZED_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    name: str
    counts: _containers.RepeatedCompositeFieldContainer[VariantCount]
    comparisons: _containers.RepeatedCompositeFieldContainer[Comparison]
    sample_ratio: SampleRatio
    outcomes_analyzed: int
    time_us: int
    def __init__(self, name: _Optional[str] = ..., counts: _Optional[_Iterable[_Union[VariantCount, _Mapping]]] = ..., comparisons: _Optional[_Iterable[_Union[Comparison, _Mapping]]] = ..., sample_ratio: _Optional[_Union[SampleRatio, _Mapping]] = ..., outcomes_analyzed: _Optional[int] = ..., time_us: _Optional[int] = ...) -> None: ...

class VariantCount(_message.Message):
    __slots__ = ("variant", "units", "predictions", "matured_units", "failed_predictions", "fallback_predictions")
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    MATURED_UNITS_FIELD_NUMBER: _ClassVar[int]
    FAILED_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    variant: str
    units: int
    predictions: int
    matured_units: int
    failed_predictions: int
    fallback_predictions: int
    def __init__(self, variant: _Optional[str] = ..., units: _Optional[int] = ..., predictions: _Optional[int] = ..., matured_units: _Optional[int] = ..., failed_predictions: _Optional[int] = ..., fallback_predictions: _Optional[int] = ...) -> None: ...

class Comparison(_message.Message):
    __slots__ = ("metric", "variant", "estimate", "not_enough_data")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    NOT_ENOUGH_DATA_FIELD_NUMBER: _ClassVar[int]
    metric: str
    variant: str
    estimate: Estimate
    not_enough_data: str
    def __init__(self, metric: _Optional[str] = ..., variant: _Optional[str] = ..., estimate: _Optional[_Union[Estimate, _Mapping]] = ..., not_enough_data: _Optional[str] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("control_mean", "treatment_mean", "difference", "lower", "upper", "confidence", "p_value", "control_units", "treatment_units", "method", "degrees_of_freedom")
    CONTROL_MEAN_FIELD_NUMBER: _ClassVar[int]
    TREATMENT_MEAN_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    CONTROL_UNITS_FIELD_NUMBER: _ClassVar[int]
    TREATMENT_UNITS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    DEGREES_OF_FREEDOM_FIELD_NUMBER: _ClassVar[int]
    control_mean: float
    treatment_mean: float
    difference: float
    lower: float
    upper: float
    confidence: float
    p_value: float
    control_units: int
    treatment_units: int
    method: str
    degrees_of_freedom: float
    def __init__(self, control_mean: _Optional[float] = ..., treatment_mean: _Optional[float] = ..., difference: _Optional[float] = ..., lower: _Optional[float] = ..., upper: _Optional[float] = ..., confidence: _Optional[float] = ..., p_value: _Optional[float] = ..., control_units: _Optional[int] = ..., treatment_units: _Optional[int] = ..., method: _Optional[str] = ..., degrees_of_freedom: _Optional[float] = ...) -> None: ...

class SampleRatio(_message.Message):
    __slots__ = ("check", "not_enough_data")
    CHECK_FIELD_NUMBER: _ClassVar[int]
    NOT_ENOUGH_DATA_FIELD_NUMBER: _ClassVar[int]
    check: SampleRatioCheck
    not_enough_data: str
    def __init__(self, check: _Optional[_Union[SampleRatioCheck, _Mapping]] = ..., not_enough_data: _Optional[str] = ...) -> None: ...

class SampleRatioCheck(_message.Message):
    __slots__ = ("chi_square", "p_value", "mismatch")
    CHI_SQUARE_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    MISMATCH_FIELD_NUMBER: _ClassVar[int]
    chi_square: float
    p_value: float
    mismatch: bool
    def __init__(self, chi_square: _Optional[float] = ..., p_value: _Optional[float] = ..., mismatch: _Optional[bool] = ...) -> None: ...

class GetRecommendationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetRecommendationResponse(_message.Message):
    __slots__ = ("recommendation", "variant", "reasons", "analysis")
    RECOMMENDATION_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    recommendation: Recommendation
    variant: str
    reasons: _containers.RepeatedScalarFieldContainer[str]
    analysis: AnalyzeExperimentResponse
    def __init__(self, recommendation: _Optional[_Union[Recommendation, str]] = ..., variant: _Optional[str] = ..., reasons: _Optional[_Iterable[str]] = ..., analysis: _Optional[_Union[AnalyzeExperimentResponse, _Mapping]] = ...) -> None: ...

class GetAssignmentRequest(_message.Message):
    __slots__ = ("name", "unit_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit_id: str
    def __init__(self, name: _Optional[str] = ..., unit_id: _Optional[str] = ...) -> None: ...

class GetAssignmentResponse(_message.Message):
    __slots__ = ("variant", "version", "bucket", "epoch", "propensity", "explanation")
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    variant: str
    version: int
    bucket: int
    epoch: int
    propensity: float
    explanation: str
    def __init__(self, variant: _Optional[str] = ..., version: _Optional[int] = ..., bucket: _Optional[int] = ..., epoch: _Optional[int] = ..., propensity: _Optional[float] = ..., explanation: _Optional[str] = ...) -> None: ...
