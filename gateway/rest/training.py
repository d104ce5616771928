"""A run that somebody else's machinery asks for: a webhook with a token, `POST /api/policies/{policy}/runs`."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway.access.access import require
from gateway.errors import RequestMalformedError
from gateway.rpc.authority import SUPERSEDE
from gateway.web.told import Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.access.caller import Caller
    from gateway.web.told import Asked
    from trainer.records.runs import Run

RPC = "/turnout.trainer.v1.TrainerService/StartRun"
"""The method whose role it takes."""

REASON = "a webhook asked for it"
_PATH = re.compile(r"/api/policies/([a-z][a-z0-9_-]*)/runs", re.ASCII)
_JSON = "application/json"


def policy_of(path: str) -> str:
    """Return the policy that a path asks a run of; empty when the path is something else."""
    found = _PATH.fullmatch(path)
    return found[1] if found else ""


def start_run(start: Callable[..., Run], policy: str, asked: Asked, caller: Caller) -> Told:
    """Make a run and say which, or raise DomainError.

    The body is JSON by its content type too, so that no page in somebody's browser can send it unasked.

    Parameters
    ----------
    start
        Makes the run.
    caller
        Who asks.
    """
    if asked.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _JSON:
        raise RequestMalformedError(f"the body is JSON: send it as Content-Type: {_JSON}")
    try:
        document = json.loads(asked.body or b"{}")
    except (ValueError, RecursionError) as error:
        raise RequestMalformedError(f"the body is not JSON: {str(error)[:200]}") from error
    document = document if isinstance(document, dict) else {}
    reason, supersede = document.get("reason") or REASON, document.get("supersede", False)
    if not isinstance(reason, str) or not isinstance(supersede, bool):
        raise RequestMalformedError("`reason` is a text, `supersede` true or false")
    if supersede:
        require(caller, SUPERSEDE)
    run = start(policy, reason=reason, supersede=supersede, actor=caller.name or "webhook")
    body = json.dumps({"name": run.name, "state": run.state.value}).encode()
    return Told(status=HTTPStatus.CREATED, body=body, content_type=_JSON)
