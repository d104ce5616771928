"""Making a slot of a version: read, check, replay, warm up. Nothing here runs on the pipeline's thread."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.plan import compile_plan
from gateway.errors import VersionUnloadableError
from gateway.models.replay import replay
from gateway.models.session import Session
from gateway.models.slots import Slot, VersionKey
from registry.deployment import Deployment
from registry.errors import SignatureInvalidError, SignatureMissingError
from registry.manifest import with_probe
from registry.probe import Probe, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry.keys import TrustedKeys

STACK_SIZES = (2, 3, 4, 5, 8, 13, 16, 32, 64)
"""The sizes at which stacking must change no bit."""

_CHUNK_BYTES = 1 << 20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_WARM_RUNS = 3


def load_slot(
    key: VersionKey, entry: Mapping[str, Any], go_on: Callable[[], None], *, keys: TrustedKeys | None = None
) -> Slot:
    """Return a slot that is ready to answer, or raise a DomainError that says why there is none.

    Parameters
    ----------
    key
        Which version.
    entry
        The version's part of the desired set: ``digest``, ``path``, ``bytes``, ``probe_path`` (None when there never
        was one), ``feature_set``, ``feature_input``, ``finite``, ``plan``, ``session`` (its settings; without, the
        defaults), ``manifest`` and ``signature`` (empty when nobody signed it).
    go_on
        Is called between the steps; raises when the version is not wanted any more.
    keys
        Whose signatures are taken; None where none is demanded.

    Notes
    -----
    The file's digest is checked at every load; the probe rows must give the outputs that were published with them, on
    this host, before the version answers its first call. What it takes is the growth of the process meanwhile, and at
    least the length of its file.
    """
    path = Path(entry["path"])
    check_digest(path, entry["digest"])
    probe = _probe(entry.get("probe_path"))
    if keys is not None and keys.required:
        check_signature(key, entry, probe, keys)
    go_on()
    resident_before = resident_bytes()
    settings = entry.get("session")
    deployment = Deployment.from_document(settings) if settings else Deployment()
    session = Session(path, deployment)
    go_on()
    for shapes in deployment.warm_up:
        _warm_up(session, dict(shapes))
        go_on()
    plan = entry.get("plan")
    if plan:
        check_plan(entry, plan, session)
    stackable = False
    if probe is not None:
        for _ in range(_WARM_RUNS):
            replay(session, probe)
            go_on()
        stackable = deployment.stack_rows_max > 1 and stacking_is_exact(
            session, probe, tolerance=deployment.stack_tolerance
        )
    return Slot(
        key,
        digest=entry["digest"],
        session=session,
        plan=compile_plan(plan) if plan else None,
        feature_set=entry.get("feature_set", ""),
        feature_input=entry.get("feature_input", ""),
        stackable=stackable,
        stack_rows_max=deployment.stack_rows_max,
        size_bytes=max(entry.get("bytes", 0), resident_bytes() - resident_before),
        finite=frozenset(entry.get("finite", ())),
    )


def resident_bytes() -> int:
    """Return how much memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def _probe(path: str | None) -> Probe | None:
    if path is None:
        return None
    try:
        return decode(Path(path).read_bytes())
    except OSError as error:
        raise VersionUnloadableError(f"the probe rows cannot be read: {_why(error)}") from error


def check_digest(path: Path, digest: str) -> None:
    """Raise VersionUnloadableError unless the file's sha256 is the digest."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                found.update(chunk)
    except OSError as error:
        raise VersionUnloadableError(f"the artifact {digest[:12]}… cannot be read: {_why(error)}") from error
    if found.hexdigest() != digest:
        raise VersionUnloadableError(f"the artifact {digest[:12]}… is damaged: its bytes have another sha256")


def check_plan(entry: Mapping[str, Any], plan: Mapping[str, Any], session: Session) -> None:
    """Raise VersionUnloadableError unless the plan is of the definition that the version is bound to, and fits it."""
    bound = f"{plan['set']}@{plan['digest']}"
    if bound != entry["feature_set"]:
        raise VersionUnloadableError(f"it is bound to the feature set {entry['feature_set']} and was given {bound}")
    name, width = entry["feature_input"], len(plan["features"])
    shapes = [spec.shape for spec in session.inputs if spec.name == name]
    if shapes != [(-1, width)]:
        raise VersionUnloadableError(
            f"its feature set {plan['set']} has {width} features, and its input {name!r} takes {shapes or 'nothing'}"
        )


def check_signature(key: VersionKey, entry: Mapping[str, Any], probe: Probe | None, keys: TrustedKeys) -> None:
    """Raise VersionUnloadableError unless a trusted key signed what is about to be loaded, under this name."""
    signature = bytes.fromhex(entry.get("signature", ""))
    text = entry.get("manifest") or "{}"
    try:
        keys.signer_of(with_probe(text, model=key.model, artifact_sha256=entry["digest"], probe=probe), signature)
    except (SignatureMissingError, SignatureInvalidError) as error:
        raise VersionUnloadableError(f"its signature is refused: {error.message}") from error


def _why(error: OSError) -> str:
    return "it is gone from the store" if isinstance(error, FileNotFoundError) else str(error.strerror)


def stacking_is_exact(session: Session, probe: Probe, *, tolerance: float = 0.0) -> bool:
    """Return whether running rows together gives, bit by bit or within a tolerance, what running each alone gives.

    Only graphs whose inputs and outputs all have a free first dimension and elements of a fixed width can be stacked.
    """
    if any(
        not port.shape or port.shape[0] != -1 or port.dtype == "string" for port in session.inputs + session.outputs
    ):
        return False
    rows = min(probe.rows, STACK_SIZES[-1])
    alone = [_run(session, _rows(probe, np.array([row]))) for row in range(rows)]
    for size in STACK_SIZES:
        # A probe with fewer rows than the size is taken round and round.
        picks = np.arange(size) % rows
        together = _run(session, _rows(probe, picks))
        for name, array in together.items():
            if len(array) != size:
                return False
            expected = np.concatenate([alone[pick][name] for pick in picks])
            if array.tobytes() != expected.tobytes() and not _is_close(array, expected, tolerance):
                return False
    return True


def _is_close(array: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    return bool(tolerance) and np.allclose(array, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def _warm_up(session: Session, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Run zeros of these shapes; of an input that is not named, the smallest that it takes."""
    unknown = shapes.keys() - {port.name for port in session.inputs}
    if unknown:
        raise VersionUnloadableError(f"the warm-up names inputs that the graph has not: {', '.join(sorted(unknown))}")
    feeds: dict[str, np.ndarray] = {}
    for port in session.inputs:
        shape = shapes.get(port.name, tuple(max(1, extent) for extent in port.shape))
        feeds[port.name] = np.full(shape, "") if port.dtype == "string" else np.zeros(shape, port.dtype)
    for _ in range(_WARM_RUNS):
        try:
            session.run(feeds)
        except Exception as error:  # ONNX Runtime's errors share no base but this one
            raise VersionUnloadableError(f"the warm-up fails: {str(error)[:200]}") from error


def _rows(probe: Probe, picks: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(np.asarray(array)[picks]) for name, array in probe.inputs.items()}


def _run(session: Session, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    try:
        arrays = session.run(dict(inputs))
    except Exception as error:  # ONNX Runtime's errors share no base but this one
        raise VersionUnloadableError(f"the version fails on its probe rows: {str(error)[:200]}") from error
    return {port.name: array for port, array in zip(session.outputs, arrays, strict=True)}
