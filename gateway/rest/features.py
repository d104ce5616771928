"""Running experiments for GrowthBook's kits: one document, with an entity tag."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from experiments.growthbook import features_document
from experiments.records import list_running
from gateway.web.told import Told

if TYPE_CHECKING:
    from gateway.web.told import Asked
    from storage.database import Database

PREFIX = "/api/features/"
"""Where GrowthBook's kits look, with a client key behind it, which says nothing here."""

RPC = "/turnout.experiments.v1.ExperimentService/ListExperiments"
"""The method whose role it takes."""


def answer_features(database: Database, asked: Asked) -> Told:
    """Return the document, or 304 for who has it."""
    with database.read() as tx:
        features = features_document(list_running(tx))
    body = json.dumps({"status": 200, "features": features}, ensure_ascii=False, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = {each.strip().removeprefix("W/") for each in asked.headers.get("If-None-Match", "").split(",")}
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in known or "*" in known:
        return Told(status=304, headers=headers)
    return Told(status=200, body=body, content_type="application/json", headers=headers)
