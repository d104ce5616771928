"""What shares cost, here and on a Ray cluster: `python bench/crews.py HOST:PORT [MILLIONS]`.

First what a run on the cluster costs that does nothing, and each further task of it. Then the first analysis of so many
predictions and outcomes: as one, in shares one after the other by one thread, and in as many shares on the cluster. Of
a share it tells the CPU time, a part of which, reading all events, is the same however many shares there are.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from analysis_scale import DAYS, NOW_US, PREDICTIONS_A_UNIT, QUERY_BYTES_MAX, experiment, write_day

from gateway.control.reducing.reducer import Reducer
from gateway.journal.commits import EventFolders
from gateway.journal.log import EventLog
from storage.crew import ALONE, Alone
from storage.ray_crew import RayCrew

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storage.crew import Crew, Made, Task

SHARES = (2, 4, 8)
TASKS = 100


class Timed:
    """A crew that tells of each share how much CPU time it took where it was done."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.shares, self.rows_min, self.threads = crew.shares, 0, 1
        self.cpu_s: list[float] = []

    def run(self, work: Callable[[Task], Made], tasks: Sequence[Task]) -> list[Made]:
        """Do them by the crew."""
        found = self._crew.run(partial(timed, work), tasks)
        self.cpu_s = [cpu_s for _, cpu_s in found]
        return [made for made, _ in found]


def timed(work: Callable[[Task], Made], task: Task) -> tuple[Made, float]:
    """Do a share; return how much CPU time it took as well."""
    began = time.process_time()
    made = work(task)
    return made, time.process_time() - began


def nothing(number: int) -> int:
    """Do nothing."""
    return number


def main() -> None:
    """Measure and print."""
    address, millions = sys.argv[1], float(sys.argv[2] if len(sys.argv) > 2 else 1)
    for count in (1, TASKS, TASKS):
        began = time.perf_counter()
        RayCrew(address).run(nothing, range(count))
        sys.stdout.write(f"{count} tasks that do nothing: {time.perf_counter() - began:.2f} s\n")
    state = Path(tempfile.mkdtemp(prefix="turnout-crews-"))
    try:
        folders = EventFolders(state)
        folders.journal.mkdir()
        total = int(millions * 1e6)
        for day in range(DAYS):
            write_day(folders, day, day * (total // DAYS), total // DAYS, max(1, total // PREDICTIONS_A_UNIT))
        _judge(state, "as one", ALONE)
        for shares in SHARES:
            _judge(state, f"{shares} shares here", Timed(Alone(shares=shares)))
        for shares in SHARES:
            _judge(state, f"{shares} shares on Ray", Timed(RayCrew(address, shares=shares)))
    finally:
        shutil.rmtree(state)


def _judge(state: Path, what: str, crew: Crew) -> None:
    shutil.rmtree(EventFolders(state).reductions, ignore_errors=True)
    began, used = time.perf_counter(), time.process_time()
    events = EventLog(state, query_bytes_max=QUERY_BYTES_MAX)
    evidence = Reducer(events, crew=crew).evidence(experiment(), now_us=NOW_US)
    own = f"; CPU of the shares {', '.join(f'{each:.2f}' for each in crew.cpu_s)}" if isinstance(crew, Timed) else ""
    sys.stdout.write(
        f"{what:16} {time.perf_counter() - began:6.2f} s, {time.process_time() - used:6.2f} s CPU here{own}"
        f"  ({evidence.outcomes_analyzed} outcomes)\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    # By its name in a module, so that nodes find it.
    from crews import main as measure

    measure()
