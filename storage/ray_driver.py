"""The child that speaks to a Ray cluster.

Each share is a task of one processor. Ray does one again whose process or node died. What a share raises is not tried
again: it is the answer.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import multiprocessing
import os
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from storage.crew import CrewDiffersError, CrewLostError, CrewUnreachableError, ShareFailedError
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from storage.ray_crew import Piece

RETRIES_MAX = 5
_PACKAGES = ("experiments", "features", "gateway", "storage", "trainer", "turnout")
_DISTRIBUTIONS = ("duckdb", "numpy", "pyarrow")
_SAID_MAX = 300


def drive(sending: Connection, piece: Piece) -> None:
    """Have the tasks done and send what was made of them, or the error; ends the process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    made: list[Any] = []
    error: DomainError | None = None
    try:
        _connect(piece.address, piece.connect_s_max)
        made = _carry_out(piece)
    except DomainError as raised:
        error = raised
    except RayError as raised:
        error = CrewLostError(f"the Ray cluster could not do all shares: {_line(raised)}", address=piece.address)
    sending.send((made, error))
    sending.close()
    os._exit(0)  # the shares that are still done are of no use, nor is a farewell to a cluster that may be gone


def _connect(address: str, s_max: int) -> None:
    """Join the cluster, or raise CrewUnreachableError; the alarm ends this process when that takes too long."""
    signal.alarm(s_max)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=s_max / 2).close()
        ray.init(address, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        cause = error.__cause__ or error
        raise CrewUnreachableError(
            f"the Ray cluster at {address} cannot be reached: {_line(cause)}", address=address
        ) from error
    signal.alarm(0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _carry_out(piece: Piece) -> list[Any]:
    """Return what is made of each task, or raise what the first one to fail raised."""
    node = ray.remote(on_node).options(num_cpus=1, max_retries=RETRIES_MAX)
    code = code_digest(piece.libraries)
    places = {node.remote(code, piece.work, task, piece.libraries): place for place, task in enumerate(piece.tasks)}
    made: list[Any] = [None] * len(piece.tasks)
    waiting = list(places)
    while waiting:
        done, waiting = ray.wait(waiting)
        for each in done:
            result, error = ray.get(each)
            if error is not None:
                raise error
            made[places[each]] = result
    return made


def on_node(
    code: str, work: Callable[[Any], Any], task: Any, libraries: tuple[str, ...] = ()
) -> tuple[Any, DomainError | None]:
    """Do one share, on a node; return what it made, or why it did not."""
    if code != code_digest(libraries):
        where = socket.gethostname()
        return None, CrewDiffersError(
            f"the Ray node {where} runs another Turnout or other libraries than who asks: install the same on all",
            node=where,
        )
    try:
        return work(task), None
    except DomainError as error:
        return None, error
    except Exception as error:  # noqa: BLE001  whatever it is, it is the answer
        return None, ShareFailedError(f"a share failed on {socket.gethostname()}: {_line(error)}")


@functools.cache
def code_digest(libraries: tuple[str, ...] = ()) -> str:
    """Return the digest of all that numbers hang on: hashes are the same within one release of DuckDB alone."""
    digest = hashlib.sha256()
    for name in (*_DISTRIBUTIONS, *libraries):
        digest.update(f"{name}=={_version(name)}\0".encode())
    root = Path(__file__).parents[1]
    for path in sorted(path for package in _PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _version(name: str) -> str:
    """Return the version of a distribution; empty where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _line(error: BaseException) -> str:
    """Return an error as one line: of a traceback the last, which is what was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:_SAID_MAX]}" if lines else type(error).__name__
