"""A gateway's shipping and nothing else, killed where it is told to be.

Each line of standard input is a job, done by a child of its own, which is killed with SIGKILL; each line of standard
output says how it ended. A job writes records to a segment that nobody seals, and then dies; or it makes Parquet of the
segments, ships them to the bucket and fetches those of others, and dies when it reaches a step, or after a time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from gateway.control.erasing import Erasures
from gateway.control.sharing import Sharing
from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact
from gateway.journal.record import Outcome, Prediction, encode
from gateway.journal.recovery import seal_dead
from gateway.journal.shared.shared import SharedLog
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock
from storage.objects import Objects

_DAY_US = 86_400_000_000


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            _do(job)
            os._exit(0)
        if "after_s" in job:
            time.sleep(job["after_s"])
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _do(job: dict) -> None:
    folders = EventFolders(Path(job["folder"]))
    folders.journal.mkdir(parents=True, exist_ok=True)
    if job["do"] == "write":
        _write(folders, job["ids"])
        _die()
    left = job.get("times", 1)

    def after(step: str) -> None:
        nonlocal left
        left -= step == job.get("step")
        if left == 0:
            _die()

    seal_dead(folders.journal)
    after("sealed")
    done = compact(folders, after=after)
    assert not done.failed, done.failed
    Sharing(folders, SharedLog(folders, Objects(job["url"]), after=after)).exchange(Erasures(folders))


def _write(folders: EventFolders, ids: list[str]) -> None:
    clock = SystemClock()
    writer = JournalWriter(folders.journal, name="worker-0", clock=clock)
    for place, name in enumerate(ids):
        now_us = clock.now_us() - place % 2 * _DAY_US  # two days, two parts
        prediction = Prediction(
            request_id=name, time_us=now_us, event_time_us=now_us, model="delay", version=1, unit_id=name
        )
        outcome = Outcome(request_id=name, name="late", value=1.0, event_time_us=now_us, time_us=now_us)
        writer.append([encode(prediction), encode(outcome)])


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


main()
