"""A provider for OpenFeature: a team that evaluates flags by its SDK reads the variants of Turnout's experiments.

A flag is an experiment. Its string is the variant of the unit, which is the context's targeting key; its integer is the
version that the variant serves; its object is all that is known of both. The gateway decides, as it does for
predictions: nothing is assigned here. It needs ``openfeature-sdk``, which the extra ``turnout[openfeature]`` brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from openfeature.exception import FlagNotFoundError, GeneralError, TargetingKeyMissingError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

from turnout import errors, resources
from turnout.experiments.v1 import experiment_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from openfeature.evaluation_context import EvaluationContext
    from openfeature.flag_evaluation import FlagValueType

    from turnout.control import Control

Value = TypeVar("Value")


class TurnoutProvider(AbstractProvider):
    """Asks a gateway for each evaluation.

    Parameters
    ----------
    control
        The control port's client; the provider closes it when it is shut down. Its token takes the role ``read``.
    timeout_s
        The deadline of an evaluation, in seconds.

    Examples
    --------
    >>> from openfeature import api
    >>> from turnout.control import Control
    >>> api.set_provider(TurnoutProvider(Control("127.0.0.1:8003")))
    >>> api.shutdown()
    """

    def __init__(self, control: Control, *, timeout_s: float = 2.0) -> None:
        super().__init__()
        self._control = control
        self._timeout_s = timeout_s

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata(name="Turnout")

    def shutdown(self) -> None:
        """End the connection."""
        self._control.close()

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return the unit's variant; the default for a unit that is not in the experiment."""
        found = self._assignment(flag_key, evaluation_context)
        return _details(found, found.variant or default_value)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Return the version that answers the unit; the default for a unit that is not in the experiment."""
        found = self._assignment(flag_key, evaluation_context)
        return _details(found, found.version if found.variant else default_value)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Return the variant, the version and the propensity; the default for a unit that is not in the experiment."""
        found = self._assignment(flag_key, evaluation_context)
        told: Mapping[str, FlagValueType] = {
            "variant": found.variant,
            "version": found.version,
            "propensity": found.propensity,
        }
        return _details(found, told if found.variant else default_value)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Refuse: which of several variants would be true is nobody's to guess."""
        raise TypeMismatchError(f"the experiment {flag_key!r} has variants: ask for its string")

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Refuse: a variant is no number."""
        raise TypeMismatchError(f"the experiment {flag_key!r} has variants: ask for its string")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def _assignment(self, flag_key: str, context: EvaluationContext | None) -> pb.GetAssignmentResponse:
        """Return what the gateway gives to the context's unit, or raise OpenFeature's error."""
        if context is None or not context.targeting_key:
            raise TargetingKeyMissingError("the unit is the context's targeting key, and there is none")
        attributes = {name: _text(value) for name, value in context.attributes.items() if _text(value)}
        try:
            request = pb.GetAssignmentRequest(
                name=resources.experiment_name(flag_key), unit_id=context.targeting_key, attributes=attributes
            )
            return self._control.experiments.GetAssignment(request, timeout=self._timeout_s)
        except (errors.MissingError, resources.ResourceNameError) as error:
            raise FlagNotFoundError(str(error)) from error
        except errors.TurnoutError as error:
            raise GeneralError(str(error)) from error


def _details(found: pb.GetAssignmentResponse, value: Value) -> FlagResolutionDetails[Value]:
    return FlagResolutionDetails(
        value=value,
        variant=found.variant or None,
        reason=Reason.SPLIT if found.variant else Reason.DEFAULT,
        flag_metadata={
            "explanation": found.explanation,
            "version": found.version,
            "bucket": found.bucket,
            "epoch": found.epoch,
            "propensity": found.propensity,
        },
    )


def _text(value: object) -> str:
    """Return an attribute as the text that targeting compares; empty for what is no text, number or truth value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else ""
