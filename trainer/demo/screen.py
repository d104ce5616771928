"""What the demo shows while it runs: a line for each thing done, and a bar for the replay."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console


class Screen:
    """The terminal while the demo runs.

    Parameters
    ----------
    console
        Where it is drawn. Where that is no terminal only the lines are written.
    """

    def __init__(self, console: Console) -> None:
        self._began_s = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            expand=True,
            disable=not console.is_terminal,
        )
        self._console = console
        self._work = self._progress.add_task("starting", total=None)
        self._replay = self._progress.add_task("replay", total=None, visible=False)

    @property
    def elapsed_s(self) -> float:
        """How long the demo has been running, in seconds."""
        return time.monotonic() - self._began_s

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def doing(self, what: str) -> None:
        """Say what is being done now."""
        self._progress.update(self._work, description=what)

    def done(self, what: str) -> None:
        """Write a line that stays."""
        self._console.print(f"[dim]{self.elapsed_s:6.1f} s[/dim]  {what}", highlight=False)

    def replayed(self, requests: int, total: int, where: str) -> None:
        """Move the replay's bar."""
        self._progress.update(
            self._replay, completed=requests, total=total, visible=True, description=f"replaying {where}"
        )
