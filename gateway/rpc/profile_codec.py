"""Profiles between the contract and the control plane."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gateway.control.profiling import Span
from gateway.errors import RequestMalformedError
from gateway.rpc import registry_codec
from turnout import resources
from turnout.features.v1 import feature_service_pb2 as pb

if TYPE_CHECKING:
    from features.profile import ColumnProfile, Profile
    from gateway.control.profiling import Profiling

_PREFIX = "PROFILE_ORIGIN_"
_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_BINS = 24


def profile_of(profiling: Profiling, request: pb.ProfileFeaturesRequest) -> Profile:
    """Return the profile that is asked for, or raise RequestMalformedError or what `Profiling` raises."""
    span = Span(
        start_us=request.start_us if request.HasField("start_us") else None,
        end_us=request.end_us if request.HasField("end_us") else None,
    )
    if request.name.startswith("models/"):
        model, number = registry_codec.version_key(request.name)
        if request.origin in {pb.PROFILE_ORIGIN_UNSPECIFIED, pb.PROFILE_ORIGIN_SERVING}:
            return profiling.serving(model, number, span)
        if request.origin == pb.PROFILE_ORIGIN_TRAINING:
            return profiling.training(model, number)
        raise RequestMalformedError("a version has the origins SERVING and TRAINING", field="origin")
    try:
        view = resources.view_id(request.name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=request.name[:128]) from error
    if request.origin in {pb.PROFILE_ORIGIN_UNSPECIFIED, pb.PROFILE_ORIGIN_ONLINE}:
        return profiling.online(view, span)
    if request.origin == pb.PROFILE_ORIGIN_OFFLINE:
        return profiling.offline(view, span)
    raise RequestMalformedError("a view has the origins ONLINE and OFFLINE", field="origin")


def profile_message(profile: Profile) -> pb.ProfileFeaturesResponse:
    """Return the profile's message."""
    return pb.ProfileFeaturesResponse(
        origin=pb.ProfileOrigin.Value(_PREFIX + profile.origin.upper()),
        rows=profile.rows,
        start_us=profile.start_us,
        end_us=profile.end_us,
        columns=[_column(name, column) for name, column in profile.columns.items()],
        statuses=[
            pb.ViewStatusCount(feature_view=resources.view_name(view), calls=calls)
            for view, calls in profile.statuses.items()
        ],
        profile_json=profile.to_json(),
    )


def _column(name: str, column: ColumnProfile) -> pb.ColumnProfile:
    message = pb.ColumnProfile(name=name, rows=column.rows, nulls=column.nulls, infinite=column.infinite)
    moments, sketch = column.moments, column.sketch
    if not moments.n:
        return message
    message.mean = moments.mean
    for field in ("deviation", "skewness", "kurtosis"):
        if math.isfinite(value := getattr(moments, field)):
            setattr(message, field, value)
    message.quantiles.extend(sketch.quantile(part) for part in _QUANTILES)
    message.rank_error = sketch.error / sketch.n
    edges = np.linspace(sketch.quantile(0.01), sketch.quantile(0.99), _BINS + 1)
    message.histogram.extend(np.diff(sketch.cdf(edges[1:-1]), prepend=0.0, append=1.0).tolist())
    message.top.extend(pb.FrequentValue(value=value, rows=rows) for value, rows in column.top.counts.items())
    return message
