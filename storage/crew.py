"""Who does work that is cut into shares: this process alone, or many machines.

A share is done by a function of a module, so that it can be named on another machine, and told all it needs by its
task. What it makes is small, or lies in files that all machines see. Doing a share twice does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from storage.errors import DomainError, PreconditionError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Task = TypeVar("Task")
Made = TypeVar("Made")


class SharedFolderError(PreconditionError):
    """What other machines made is not here."""

    reason = "FOLDER_NOT_SHARED"


class CrewUnreachableError(UnavailableError):
    """The machines that would do shares of the work cannot be reached."""

    reason = "CREW_UNREACHABLE"


class CrewLostError(UnavailableError):
    """The machines that did shares of the work were lost before all were done."""

    reason = "CREW_LOST"


class CrewDiffersError(PreconditionError):
    """A machine that would do a share runs other code than this one."""

    reason = "CREW_DIFFERS"


class ShareFailedError(DomainError):
    """A share of the work failed by a fault of its own, and would again."""

    reason = "SHARE_FAILED"


class Crew(Protocol):
    """Does the shares of one piece of work."""

    @property
    def shares(self) -> int:
        """Into how many shares work is cut."""
        ...

    @property
    def rows_min(self) -> int:
        """Work on fewer rows is not worth cutting, and is done as one."""
        ...

    @property
    def threads(self) -> int:
        """How many threads a share may use; 0: as many as it would alone."""
        ...

    def run(self, work: Callable[[Task], Made], tasks: Sequence[Task]) -> list[Made]:
        """Return what the work makes of each task, in their order.

        Raises what the work raises of its own errors, or UnavailableError where shares cannot be done now. Then
        nothing is known of the others: what they made does not count.
        """
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """One process, this one, which does one share after the other: less memory at a time, and more to read."""

    shares: int = 1
    rows_min: int = 0
    threads: int = 0

    def run(self, work: Callable[[Task], Made], tasks: Sequence[Task]) -> list[Made]:
        """Do them here; see `Crew`."""
        return [work(task) for task in tasks]


ALONE = Alone()
