"""Where artifacts are kept, by an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.artifacts import LocalArtifacts
from registry.errors import ArtifactUrlError

if TYPE_CHECKING:
    from pathlib import Path

    from registry.artifacts import ArtifactStore


def open_artifacts(url: str, folder: Path) -> ArtifactStore:
    """Return the store at an address, or raise ArtifactUrlError.

    Parameters
    ----------
    url
        ``s3://bucket/prefix?endpoint=…``; empty: the folder is the store.
    folder
        Where the files are on this machine. What unfinished puts left there is removed.
    """
    local = LocalArtifacts(folder)
    local.clear_incoming()
    if not url:
        return local
    try:  # loaded only where it is used
        from registry.bucket_artifacts import BucketArtifacts  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ArtifactUrlError("to keep artifacts in a bucket, install turnout[s3]") from error
    return BucketArtifacts(url, local)
