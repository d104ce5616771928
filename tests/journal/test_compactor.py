from __future__ import annotations

import os
import threading
import time

from gateway.control.compaction import NICENESS, Compactor
from storage.clock import SystemClock


def test_the_compactor_gives_way_and_nobody_else_does(tmp_path):
    stop = threading.Event()
    compactor = Compactor(tmp_path, SystemClock(), interval_s=0.01)
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=compactor.run, args=(stop,))
    thread.start()
    try:
        until = time.monotonic() + 30
        while compactor.facts().runs == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert compactor.facts().runs > 0
        assert os.getpriority(os.PRIO_PROCESS, thread.native_id) == max(NICENESS, before)
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
    finally:
        stop.set()
        thread.join()
