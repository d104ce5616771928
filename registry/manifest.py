"""The manifest of a version: its substance as one canonical text, which publishers sign."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.probe import Probe
    from registry.records import Signature, Version, VersionFacts

FORMAT = "turnout.manifest/1"


def manifest(
    *, model: str, artifact_sha256: str, facts: VersionFacts, finite_inputs: Sequence[str], probe_digest: str
) -> bytes:
    """Return the canonical JSON of a version's substance.

    What the graph takes and gives follows from the artifact's bytes. The number is not in it: it is given when the
    version is added, after the publisher has signed.

    Parameters
    ----------
    probe_digest
        `digest_of_probe` of the probe rows; empty when there are none.
    """
    document = {
        "format": FORMAT,
        "model": model,
        "artifact_sha256": artifact_sha256,
        # What is empty is left out, so that a fact that nobody had thought of then leaves old manifests as they are.
        "facts": {name: value for name, value in asdict(facts).items() if value},
        "finite_inputs": sorted(finite_inputs),
        "probe": probe_digest,
    }
    return _canonical(document)


def with_probe(text: str, *, model: str, artifact_sha256: str, probe: Probe | None) -> bytes:
    """Return a manifest with these in the place of what it says of its model, its artifact and its probe rows."""
    named = {"model": model, "artifact_sha256": artifact_sha256, "probe": digest_of_probe(probe)}
    return _canonical({**json.loads(text), **named})


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def manifest_of(version: Version, probe_digest: str) -> bytes:
    """Return the manifest of a version that is in the registry."""
    return manifest(
        model=version.model,
        artifact_sha256=version.artifact_sha256,
        facts=version.facts,
        finite_inputs=finite_inputs(version.signature),
        probe_digest=probe_digest,
    )


def finite_inputs(signature: Signature) -> list[str]:
    """Return the names of the inputs that take finite numbers only."""
    return [spec.name for spec in signature.inputs if spec.finite]


def digest_of_probe(probe: Probe | None) -> str:
    """Return a digest of the rows, whatever file they are kept in; empty for none."""
    if probe is None:
        return ""
    digest = hashlib.sha256(f"{probe.tolerance!r}".encode())
    for side, arrays in (("inputs", probe.inputs), ("outputs", probe.outputs)):
        for name, array in sorted(arrays.items()):
            is_text = array.dtype.kind in "OUS"
            head = [side, name, "string" if is_text else array.dtype.name, list(array.shape)]
            content = json.dumps(array.ravel().tolist()).encode() if is_text else array.tobytes()
            digest.update(json.dumps(head).encode() + len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
