"""Skew replays between the contract and the control plane."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway.control.skew import ROWS_DEFAULT, ROWS_MAX, TOLERANCE_DEFAULT, Window
from gateway.errors import RequestMalformedError
from turnout import resources
from turnout.features.v1 import feature_service_pb2 as pb

if TYPE_CHECKING:
    from features.skew import ViewSkew
    from gateway.control.skew import Replayed


def window_of(request: pb.ReplaySkewRequest) -> Window:
    """Return which predictions are asked for, or raise RequestMalformedError."""
    if not 0 <= request.calls_max <= ROWS_MAX:
        raise RequestMalformedError(f"calls_max is 0 to {ROWS_MAX}", field="calls_max")
    return Window(
        start_us=request.start_us if request.HasField("start_us") else None,
        end_us=request.end_us if request.HasField("end_us") else None,
        rows_max=request.calls_max or ROWS_DEFAULT,
    )


def lag_of(request: pb.ReplaySkewRequest) -> int | None:
    """Return how far the store may stand behind, or raise RequestMalformedError."""
    if request.HasField("lag_us") and request.lag_us < 0:
        raise RequestMalformedError("lag_us is not negative", field="lag_us")
    return request.lag_us if request.HasField("lag_us") else None


def tolerance_of(request: pb.ReplaySkewRequest) -> float:
    """Return the tolerance, or raise RequestMalformedError."""
    if not request.HasField("tolerance"):
        return TOLERANCE_DEFAULT
    if not 0 <= request.tolerance < 1:
        raise RequestMalformedError("tolerance is from 0 to below 1", field="tolerance")
    return request.tolerance


def replay_message(found: Replayed) -> pb.ReplaySkewResponse:
    """Return what a replay found as a message."""
    return pb.ReplaySkewResponse(
        calls=found.calls,
        views=[_view_message(view) for view in found.views],
        findings=found.findings,
        outputs=[pb.OutputChange(**output) for output in found.outputs],
        outputs_reason=found.outputs_reason,
    )


def _view_message(view: ViewSkew) -> pb.ViewSkew:
    return pb.ViewSkew(
        feature_view=resources.view_name(view.view),
        calls=view.calls,
        compared_calls=view.compared,
        late_calls=view.late,
        missing_calls=view.missing,
        extra_calls=view.extra,
        ahead_calls=view.ahead,
        features=[
            pb.FeatureSkew(
                feature=one.name,
                compared_calls=one.compared,
                mismatched_calls=one.mismatched,
                smape=one.smape,
                ratio=one.ratio if math.isfinite(one.ratio) else None,
            )
            for one in view.features
        ],
    )
