"""A Ray cluster that does shares, asked by a process of its own for each piece of work.

Ray ends the process that speaks to a cluster when the cluster is gone, and waits for ever for one that does not answer.
So neither the control plane nor a trainer speaks to it: a child does, which is given its time, and whose death is an
error like others.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from storage.crew import CrewLostError, CrewUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

SHARES = 16
ROWS_MIN = 50_000_000
RUN_S_MAX = 3600.0
CONNECT_S_MAX = 30
LOST_S_MAX = 20
_STOPPED_POLL_S = 0.1

Task = TypeVar("Task")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of work for a cluster: what the child is told; see `RayCrew`."""

    address: str
    connect_s_max: int
    work: Callable[[Any], Any]
    tasks: Sequence[Any]
    libraries: tuple[str, ...]


class RayCrew:
    """The nodes of a Ray cluster, each with this release of Turnout and this machine's folders under their paths.

    Parameters
    ----------
    address
        Of the cluster's head, HOST:PORT; this machine is a node of it.
    shares
        Into how many shares work is cut; at best as many as the cluster has processors, or a multiple.
    rows_min
        Work on fewer rows is done here.
    run_s_max
        How long all shares together may take.
    connect_s_max
        How long the cluster may take to answer.
    libraries
        What else the nodes must have in the same version as this machine, or lack as it does.
    """

    threads = 1

    def __init__(
        self,
        address: str,
        *,
        shares: int = SHARES,
        rows_min: int = ROWS_MIN,
        run_s_max: float = RUN_S_MAX,
        connect_s_max: int = CONNECT_S_MAX,
        libraries: Sequence[str] = (),
    ) -> None:
        self._libraries = tuple(libraries)
        self._address = address
        self.shares = shares
        self.rows_min = rows_min
        self._run_s_max = run_s_max
        self._connect_s_max = connect_s_max

    def run(
        self, work: Callable[[Task], Made], tasks: Sequence[Task], *, stopped: Callable[[], bool] | None = None
    ) -> list[Made]:
        """Return what the work makes of each task, in their order; see `storage.crew.Crew`.

        Parameters
        ----------
        work, tasks
            What is done, and of what.
        stopped
            Whether nobody waits for it any more: the cluster ends what it does then.

        Raises
        ------
        CrewUnreachableError, CrewLostError
            The cluster does not answer, or was lost, or took too long. Shares whose process or node died were done
            again before by others, a few times.
        CrewDiffersError
            A node runs other code.
        ShareFailedError
            The work failed for a reason that is none of its own errors.
        """
        context = multiprocessing.get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        piece = Piece(self._address, self._connect_s_max, work, list(tasks), self._libraries)
        child = context.Process(target=_drive, args=(sending, piece), daemon=True)
        with receiving:
            child.start()
            sending.close()
            try:
                answer = receiving.recv() if self._comes(receiving, stopped) else None
            except EOFError:  # the child has died
                child.join()
                raise self._lost(child.exitcode) from None
            finally:
                child.kill()
                child.join()
        if answer is None:
            raise CrewLostError(
                f"the Ray cluster at {self._address} did not do {len(tasks)} shares within {self._run_s_max:g} s",
                address=self._address,
            )
        made, error = answer
        if error is not None:
            raise error
        results: list[Made] = made
        return results

    def _comes(self, receiving: Connection, stopped: Callable[[], bool] | None) -> bool:
        """Wait for the answer, and return whether it came in time."""
        if stopped is None:
            return receiving.poll(self._run_s_max)
        until = time.monotonic() + self._run_s_max
        while not receiving.poll(_STOPPED_POLL_S):
            if stopped():
                raise CrewLostError("nobody waits for the work any more", address=self._address)
            if time.monotonic() > until:
                return False
        return True

    def _lost(self, exit_code: int | None) -> CrewLostError | CrewUnreachableError:
        """Return what it means that the child died; Ray has told the log."""
        if exit_code == -signal.SIGALRM:
            return CrewUnreachableError(
                f"the Ray cluster at {self._address} does not answer; is this machine a node of it?",
                address=self._address,
            )
        return CrewLostError(
            f"the Ray cluster at {self._address} was lost before all shares were done (exit {exit_code})",
            address=self._address,
        )


def _drive(sending: Connection, piece: Piece) -> None:  # pragma: no cover  (in a child)
    """Be the child: it alone loads Ray."""
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(LOST_S_MAX))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    importlib.import_module("storage.ray_driver").drive(sending, piece)
