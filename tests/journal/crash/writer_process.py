"""A worker's journal and nothing else: takes waves of request ids on stdin, answers each when it is appended."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway.journal.record import Gap, Outcome, Prediction, encode
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

_DAY_US = 86_400_000_000


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    clock = SystemClock()
    writer = JournalWriter(
        folder, name=name, clock=clock, segment_bytes_max=30_000, segment_age_max_s=0.5, sync_interval_ms=5
    )
    answer = sys.stdout.write
    answer("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        payloads = []
        for request_id in json.loads(line):
            time_us = clock.now_us() + (len(request_id) % 2) * _DAY_US  # several days, several parts
            prediction = Prediction(
                request_id=request_id,
                time_us=time_us,
                event_time_us=time_us,
                model=f"model-{len(request_id) % 2}",
                version=1,
                entities={"carrier": "UA"},
                features=bytes(80),
            )
            outcome = Outcome(request_id=request_id, name="late", value=1.0, event_time_us=time_us, time_us=time_us)
            payloads += [encode(prediction), encode(outcome)]
        # What is erased again and again, among what must stay.
        erased = Prediction(
            request_id=f"erased-{name}-{clock.now_us()}",
            time_us=1,
            event_time_us=1,
            model="model-0",
            version=1,
            unit_id="erased",
        )
        old = Gap(time_us=1, lost={"": 1})
        payloads += [encode(erased), encode(old)]
        writer.append(payloads)
        answer("ok\n")
        sys.stdout.flush()
    writer.close()


main()
