"""What the step `train` works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.records.policy import Definition, Task, Training
    from trainer.table import TrainingTable


@dataclass(frozen=True, slots=True)
class Given:
    """A job with its table.

    Attributes
    ----------
    job, folder, definition
        The job as its trainer wrote it, where it leaves its files, and the policy: the candidate's, or the champion's.
    table
        The rows.
    """

    job: dict[str, Any]
    folder: Path
    definition: Definition
    table: TrainingTable

    @property
    def training(self) -> Training:
        """What learns."""
        return self.definition.training

    @property
    def task(self) -> Task:
        """What is learned."""
        return self.definition.training.task
