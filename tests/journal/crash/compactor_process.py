"""A compactor that never rests: says how many segments it committed after each run."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact


def main() -> None:
    folders = EventFolders(Path(sys.argv[1]))
    while True:
        done = compact(folders)
        if done.failed:
            sys.exit(f"failed: {done.failed}")
        sys.stdout.write(f"{len(done.committed)}\n")
        sys.stdout.flush()
        time.sleep(0.002)


main()
