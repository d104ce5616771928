"""A compactor that tends Parquet as well and never rests: it merges, erases, retires and sweeps.

Says how many segments it committed after each run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from gateway.control.compaction import Compactor
from gateway.journal.rewriting import Rewriter, Subject
from storage.clock import SystemClock

_ERASED = 7
"""Of so many runs one erases."""


def main() -> None:
    compactor = Compactor(Path(sys.argv[1]), SystemClock(), kept_days={"gaps": 1})
    run = 0

    def work(rewriter: Rewriter, _erasures: object) -> None:
        rewriter.merge(parts_min=2)
        if run % _ERASED == 0:
            rewriter.erase(Subject(unit_id="erased"))

    while True:
        run += 1
        done = compactor.tend(work)
        if done.failed:
            sys.exit(f"failed: {done.failed}")
        sys.stdout.write(f"{len(done.committed)}\n")
        sys.stdout.flush()
        time.sleep(0.002)


main()
