"""Policies out of the contract's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.records.rules import definition_of
from turnout import plain, resources

if TYPE_CHECKING:
    from trainer.records.policy import Definition
    from turnout.trainer.v1 import policy_pb2

_KEPT = ("name", "paused", "pause_reason", "next_check_us", "etag", "create_time_us", "create_actor")
"""What of a policy's message is not its definition."""


def definition_in(message: policy_pb2.Policy) -> Definition:
    """Return what a policy's message defines, or raise PolicyInvalidError where a newer gateway defines more."""
    document = plain.document_of(message)
    for name in _KEPT:
        document.pop(name, None)
    document["model"] = resources.model_id(message.model)
    document["data"]["feature_set"] = resources.set_id(message.data.feature_set)
    return definition_of(document)
