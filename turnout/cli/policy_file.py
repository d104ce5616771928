"""Policies as they are written in TOML.

The keys are the fields of the contract's Policy, but for two: ``policy`` is the id, and ``model`` the model's id; so is
``data.feature_set`` the set's. What is not known is refused; what it means is the gateway's to judge.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from turnout import plain, resources
from turnout.cli.literals import LiteralError
from turnout.trainer.v1 import policy_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path


def read_policy(path: Path) -> pb.CreatePolicyRequest:
    """Return the request that creates the policy of a TOML file, or raise LiteralError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LiteralError(f"{path} is not TOML: {error}") from error
    policy_id = document.pop("policy", None)
    if not isinstance(policy_id, str):
        raise LiteralError("`policy` must be given: the policy's id")
    policy = policy_pb2.Policy()
    try:
        plain.fill(policy, document)
    except plain.PlainError as error:
        raise LiteralError(str(error)) from error
    policy.model = resources.model_name(policy.model)
    policy.data.feature_set = resources.set_name(policy.data.feature_set)
    return pb.CreatePolicyRequest(policy_id=policy_id, policy=policy)
