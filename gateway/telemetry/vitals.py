"""What a process uses of its machine."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.telemetry.meter import Meter

_PROC = Path("/proc/self")


def put_vitals(meter: Meter, process: str) -> None:
    """Put this process's processor time, memory and descriptors into a meter; the latter two where /proc tells them."""
    meter.put("turnout_process_cpu_seconds_total", (process,), time.process_time())
    with contextlib.suppress(OSError):
        pages = int((_PROC / "statm").read_text().split()[1])
        meter.put("turnout_process_resident_memory_bytes", (process,), pages * os.sysconf("SC_PAGE_SIZE"))
        meter.put("turnout_process_open_fds", (process,), sum(1 for _ in (_PROC / "fd").iterdir()))
