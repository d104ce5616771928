"""A step on a node of a Ray cluster: a child there does it within the same budget, and leaves its files here.

Steps are pure functions of the files in their folder and of a seed, so that it does not matter where they are done, or
whether twice: a node that dies in the middle is a child that was killed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.crew import SharedFolderError
from storage.errors import DomainError
from storage.ray_crew import RayCrew
from trainer.errors import StepFailedError
from trainer.runner import child
from trainer.runner.child import ClaimLostError, Ended
from trainer.runner.folder import JOB, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.records.policy import Budget

LIBRARIES = ("lightgbm", "onnx", "onnxruntime", "optuna", "scikit-learn", "scipy", "skl2onnx", "xgboost", "xgboost-cpu")
"""What must be the same on all nodes, so that a seed means the same there."""
_QUEUE_S_MAX = 600.0
"""How long a step may wait for a free processor of the cluster, and be done again by others, beyond its own time."""


@dataclass(frozen=True, slots=True)
class Errand:
    """A step for a node.

    Attributes
    ----------
    step, folder, budget
        What is done, where, and within what.
    job_digest
        Of the job's file: a folder of that name with another job is not the trainer's.
    """

    step: str
    folder: Path
    budget: Budget
    job_digest: str


def run_errand(errand: Errand) -> Ended:
    """Let a child of this node do a step; raises as `child.perform` does, and SharedFolderError."""
    job = errand.folder / JOB
    if not job.exists() or digest_of(job) != errand.job_digest:
        raise SharedFolderError(f"{errand.folder} is not the trainer's: all nodes must see its state folder")
    return child.perform(errand.step, errand.folder, errand.budget, connected=False, lost=lambda: False)


def perform(address: str, step: str, folder: Path, budget: Budget, *, lost: Callable[[], bool]) -> Ended:
    """Let a Ray cluster do a step and return how it ended; raises as `child.perform` does.

    Parameters
    ----------
    address
        Of the cluster's head, HOST:PORT; this machine is a node of it, and all nodes see the folder under its path.
    step, folder, budget, lost
        As `child.perform` takes them.
    """
    crew = RayCrew(address, run_s_max=budget.wall_time_s + _QUEUE_S_MAX, libraries=LIBRARIES)
    errand = Errand(step, folder.resolve(), budget, digest_of(folder / JOB))
    try:
        (ended,) = crew.run(run_errand, [errand], stopped=lost)
    except StepFailedError:
        raise
    except DomainError as error:
        if lost():
            raise ClaimLostError from error
        raise StepFailedError(f"the step '{step}' was not done: {error.message}", step=step) from error
    return ended
