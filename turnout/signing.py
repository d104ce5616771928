"""Signing: keys of publishers, and the manifest of a version that is about to be published.

Needs the extra `signing`.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from turnout import resources, tensors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from turnout.registry.v1 import registry_service_pb2 as pb

FORMAT = "turnout.manifest/1"
TOLERANCE_DEFAULT = 1e-4
_DIRECTIONS = {1: "increase", 2: "decrease"}


class KeyUnusableError(ValueError):
    """The file holds no ed25519 private key, or there is one already where one should be made."""


def make_key(stem: Path | str) -> tuple[Path, Path]:
    """Make a pair of keys, `STEM.key` for the publisher alone and `STEM.pub` for gateways, and return their paths.

    Raises
    ------
    KeyUnusableError
        There is such a file already: it is not written over.
    """
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415  (the extra `signing`)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    private, public = Path(f"{stem}.key"), Path(f"{stem}.pub")
    try:
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
        with public.open("xb") as file:
            file.write(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    except FileExistsError as error:
        raise KeyUnusableError(f"{error.filename} exists: it is not written over") from error
    return private, public


def read_key(path: Path | str) -> Ed25519PrivateKey:
    """Return the private key in a PEM file, or raise KeyUnusableError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(Path(path).read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise KeyUnusableError(f"{path} holds no private key without a password, as `registry keygen` makes") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusableError(f"{path} holds a key of another kind than ed25519")
    return key


def manifest(head: pb.PublishHead) -> bytes:
    """Return the canonical JSON of what is published: the very bytes that the gateway makes of the version."""
    facts = head.facts
    told = {
        "description": facts.description,
        "algorithm": facts.algorithm,
        "framework": facts.framework,
        "parameters": dict(facts.parameters),
        "metrics": dict(facts.metrics),
        "data_fingerprint": facts.data_fingerprint,
        "code_fingerprint": facts.code_fingerprint,
        "parents": list(facts.parents),
        "feature_set": resources.set_id(facts.feature_set) if "/" in facts.feature_set else facts.feature_set,
        "parity": json.loads(facts.parity_json) if facts.parity_json else {},
        "tags": dict(facts.tags),
        "dataset": facts.dataset,
        "parents_elsewhere": [list(resources.parse_version(name)) for name in facts.parents_elsewhere],
        "metric_directions": {
            name: _DIRECTIONS[value] for name, value in facts.metric_directions.items() if value in _DIRECTIONS
        },
        "profile": json.loads(facts.profile_json) if facts.profile_json else {},
        "importance": json.loads(facts.importance_json) if facts.importance_json else {},
    }
    document = {
        "format": FORMAT,
        "model": resources.model_id(head.parent),
        "artifact_sha256": head.artifact_sha256,
        "facts": {name: value for name, value in told.items() if value},
        "finite_inputs": sorted(head.finite_inputs),
        "probe": _digest_of_probe(head.probe) if head.probe.inputs or head.probe.outputs else "",
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _digest_of_probe(probe: pb.Probe) -> str:
    tolerance = probe.tolerance if probe.HasField("tolerance") else TOLERANCE_DEFAULT
    digest = hashlib.sha256(f"{tolerance!r}".encode())
    for side, given in (("inputs", probe.inputs), ("outputs", probe.outputs)):
        for name, array in sorted(tensors.to_arrays(given).items()):
            is_text = array.dtype.kind in "OUS"
            head = [side, name, "string" if is_text else array.dtype.name, list(array.shape)]
            content = json.dumps(array.ravel().tolist()).encode() if is_text else array.tobytes()
            digest.update(json.dumps(head).encode() + len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
