"""The replay, a client process: departures in time order as predictions, landings as outcomes.

`python -m trainer.demo.replay` reads commands and writes reports, a JSON object a line each. A command
`{"until_us": T}` lets it replay up to T; `{"rate_per_s": R}` changes its pace from the next interval on;
`{"finish": true}` ends it: the flights that are still in the air land, and the samples are written. A report is
`{"state", "now_us", "until_us", "requests", "failed", "acknowledged", "refused", "failures"}` with the state `running`,
`waiting` (for a command, with all before `until_us` replayed) or `finished`.

At the beginning of each replayed interval the gateway's clock moves there and the online features are refreshed as of
then; its departures follow at an even pace; then the outcomes of all that has landed are recorded.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from trainer.demo.departures import by_interval, read_departures
from trainer.demo.landings import Landings
from trainer.demo.sender import Senders
from turnout.client import Client
from turnout.control import Control
from turnout.features.v1 import feature_service_pb2 as features_pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.demo.departures import Departure

INTERVAL_US = 3 * 3600 * 1_000_000
"""How often the online features are refreshed, in replayed time; training asks for features as of then, too."""

SAMPLES_FILE = "samples.parquet"
_REFRESHERS = 2
_HOUR_US = 3600 * 1_000_000
_CLOCK_STEP_US = 10 * 60 * 1_000_000


@dataclass(slots=True)
class Leash:
    """How far the replay may go, and how fast, as told on standard input; a rate of 0: none was told."""

    commands: queue.Queue[dict[str, Any]]
    until_us: int = 0
    finishing: bool = False
    rate_per_s: float = 0.0

    @classmethod
    def held_by_stdin(cls) -> Leash:
        """Return a leash that a thread lengthens as commands come; the end of the input is `finish`."""
        leash = cls(queue.Queue())

        def listen() -> None:
            for line in sys.stdin:
                leash.commands.put(json.loads(line))
            leash.commands.put({"finish": True})

        threading.Thread(target=listen, daemon=True).start()
        return leash

    def take(self, *, wait: bool) -> None:
        """Take the commands that have come; with `wait` at least one."""
        while wait or not self.commands.empty():
            command = self.commands.get()
            self.until_us = max(self.until_us, int(command.get("until_us", 0)))
            self.finishing = self.finishing or bool(command.get("finish"))
            self.rate_per_s = float(command.get("rate_per_s", self.rate_per_s))
            wait = False


class Replay:
    """Walks through the departures.

    Parameters
    ----------
    control
        The gateway's control port.
    senders
        Ask for the predictions.
    landings
        Record the outcomes.
    clock_step_us
        How far replayed time goes within an interval before the gateway's clock is moved.
    """

    def __init__(
        self, control: Control, senders: Senders, landings: Landings, *, clock_step_us: int = _CLOCK_STEP_US
    ) -> None:
        self._clock_step_us = clock_step_us
        self._control = control
        self._senders = senders
        self._landings = landings
        self._clock_us = 0
        page = control.features.ListFeatureViews(features_pb.ListFeatureViewsRequest())
        self._views = [view.name for view in page.feature_views]
        self._refreshers = ThreadPoolExecutor(_REFRESHERS)

    def interval(self, begin_us: int, departures: list[Departure], *, rate_per_s: float = 0.0) -> None:
        """Replay one interval, at another pace when one is given."""
        if rate_per_s:
            self._senders.pace(rate_per_s)
        self._advance(begin_us)
        self._refresh(begin_us)
        for departure in departures:
            if departure.scheduled_us - self._clock_us >= self._clock_step_us:
                self._advance(departure.scheduled_us)
            self._landings.expect(departure, self._senders.ask(departure))
        # An outcome may come before its prediction, but here none does: it is the answered ones that have outcomes.
        self._senders.settle()
        self._advance(max(self._clock_us, departures[-1].scheduled_us))
        self._landings.record(self._clock_us)
        self.report("running")

    def land(self) -> None:
        """Let everything land that is still in the air."""
        self._senders.settle()
        self._advance(max(self._clock_us, self._landings.last_us))
        self._landings.record(self._clock_us)

    def report(self, state: str, *, until_us: int = 0) -> None:
        """Write a report."""
        seen = self._senders.seen
        report = {
            "state": state,
            "now_us": self._clock_us,
            "until_us": until_us,
            "requests": len(seen.rows),
            "failed": seen.failed,
            "acknowledged": self._landings.acknowledged,
            "refused": self._landings.refused,
            "failures": seen.failures,
        }
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()

    def _refresh(self, until_us: int) -> None:
        """Bring every view's online values to what is known by then; views side by side, since each is a query."""
        requests = [features_pb.MaterializeRequest(feature_views=[view], until_us=until_us) for view in self._views]
        list(self._refreshers.map(self._control.features.Materialize, requests))

    def _advance(self, now_us: int) -> None:
        self._clock_us = self._control.advance_clock(now_us)


def run(replay: Replay, leash: Leash, intervals: Iterator[tuple[int, list[Departure]]]) -> None:
    """Replay the intervals as far as the leash allows, until told to finish."""
    for begin_us, departures in intervals:
        leash.take(wait=False)
        while begin_us >= leash.until_us and not leash.finishing:
            replay.report("waiting", until_us=leash.until_us)
            leash.take(wait=True)
        if leash.finishing:
            break
        replay.interval(begin_us, departures, rate_per_s=leash.rate_per_s)
    while not leash.finishing:
        replay.report("waiting", until_us=leash.until_us)
        leash.take(wait=True)
    replay.land()


def main() -> None:
    """Replay the departures that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m trainer.demo.replay")
    parser.add_argument("--data", required=True, help="the data port, host:port")
    parser.add_argument("--control", required=True, help="the control port, host:port")
    parser.add_argument("--sources", type=Path, required=True, help="the folder of the Parquet files")
    parser.add_argument("--out", type=Path, required=True, help="the folder that gets the samples")
    parser.add_argument("--start-us", type=int, required=True)
    parser.add_argument("--end-us", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--every", type=int, default=1, help="one departure in so many is asked about")
    parser.add_argument("--interval-h", type=int, default=INTERVAL_US // _HOUR_US, help="between two refreshes")
    parser.add_argument("--clock-step-us", type=int, default=_CLOCK_STEP_US, help="of the clock within an interval")
    arguments = parser.parse_args()
    departures = read_departures(
        arguments.sources, start_us=arguments.start_us, end_us=arguments.end_us, every=arguments.every
    )
    leash = Leash.held_by_stdin()
    with (
        Control(arguments.control, actor="replay") as control,
        Client(arguments.data) as client,
        Senders(arguments.data, rate_per_s=arguments.rate) as senders,
    ):
        replay = Replay(control, senders, Landings(client), clock_step_us=arguments.clock_step_us)
        run(replay, leash, by_interval(departures, interval_us=arguments.interval_h * _HOUR_US))
        pq.write_table(senders.seen.table(), arguments.out / SAMPLES_FILE)
        replay.report("finished")


if __name__ == "__main__":
    main()
