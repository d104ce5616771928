"""One process of a load: `python -m turnout.load.sender PLAN PLACE`.

It says `ready` once its connections stand, and reads from its input when to begin (nanoseconds of the monotonic clock,
which is one for all processes of a machine). Then it says lines of JSON: how far it is, and at the end what became of
all calls.

Theory of operation
-------------------
Calls of an open loop are due at times that were fixed before the first of them, and each is counted from then on. So a
gateway that stands still for a while is seen by every call that was due meanwhile, and not by the one alone that waited
for it; and if this process is too slow, or holds a call back since too many are in flight, that counts too (and is
told apart: how late calls were sent). Calls are futures of grpcio: the main thread sends, each connection's own thread
hears of ends. A thread of Python wakes within a tenth of a millisecond, an event loop only at whole ones.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import threading
import time
from collections import deque
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc

from turnout import errors
from turnout.load.plan import Plan, read_bodies, share
from turnout.load.reach import Reach
from turnout.load.tally import OK, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

TELL_S = 0.25
CONNECT_S_MAX = 10.0
AFTER_S = 5.0
"""How long the last calls are waited for once their deadlines are over."""


class Sender:
    """Makes one process's share of the calls.

    Parameters
    ----------
    plan
        The load.
    place
        Which of its processes this is.
    """

    def __init__(self, plan: Plan, place: int) -> None:
        self._plan, self._place = plan, place
        reach = Reach(plan)
        self._metadata = reach.metadata
        self._channels = [reach.open() for _ in range(share(plan.connections, of=plan.processes, place=place))]
        self._methods = cycle([reach.method(each) for each in self._channels])
        bodies = read_bodies(Path(plan.bodies))
        self._bodies = cycle(bodies[(place + step * plan.processes) % len(bodies)] for step in range(len(bodies)))
        self._ended: deque[tuple[int, int, int, str]] = deque()
        self._room = threading.Semaphore(plan.in_flight_max)
        self._in_flight = 0
        self._none_left = threading.Condition()
        self._began_ns = 0
        self._until_ns = 0

    def connect(self) -> None:
        """Return once every connection stands, or after a while: what cannot be reached is then told by the calls."""
        until = time.monotonic() + CONNECT_S_MAX
        for each in self._channels:
            with contextlib.suppress(grpc.FutureTimeoutError):
                grpc.channel_ready_future(each).result(max(0.0, until - time.monotonic()))

    def send(self, began_ns: int) -> None:
        """Make the calls, and return once all of them ended."""
        plan = self._plan
        self._began_ns = began_ns
        self._until_ns = round((plan.warm_up_s + plan.seconds) * 1e9)
        time.sleep(max(0.0, (began_ns - time.monotonic_ns()) / 1e9))
        if plan.concurrency:
            for _ in range(share(plan.concurrency, of=plan.processes, place=self._place)):
                self._again()
        else:
            for due_ns in self._dues_ns():
                left_ns = began_ns + due_ns - time.monotonic_ns()
                if left_ns > 0:
                    time.sleep(left_ns / 1e9)
                self._room.acquire()
                self._call(due_ns)
        time.sleep(max(0.0, (began_ns + self._until_ns - time.monotonic_ns()) / 1e9))
        with self._none_left:
            self._none_left.wait_for(lambda: not self._in_flight, plan.timeout_s + AFTER_S)

    def take(self, tally: Tally) -> None:
        """Count what ended since the last time and was due once the warm-up was over."""
        warm_us = round(self._plan.warm_up_s * 1e6)
        calls = [self._ended.popleft() for _ in range(len(self._ended))]
        counted = [
            (due - warm_us, sent - warm_us, end - warm_us, said) for due, sent, end, said in calls if due >= warm_us
        ]
        epoch_us = (time.time_ns() - time.monotonic_ns() + self._began_ns) // 1000 + warm_us
        tally.record(counted, epoch_us, keep=self._plan.spans)

    def close(self) -> None:
        """End the connections."""
        for each in self._channels:
            each.close()

    def _dues_ns(self) -> Iterator[int]:
        """Yield when this process's calls are due, since the begin."""
        plan = self._plan
        if plan.poisson:
            chance = random.Random(f"{plan.seed}/{self._place}")  # noqa: S311  (arrivals, not secrets)
            due_ns = 0.0
            while (due_ns := due_ns + chance.expovariate(plan.rate_per_s / plan.processes) * 1e9) < self._until_ns:
                yield int(due_ns)
        else:
            for number in count(self._place, plan.processes):
                if (even_ns := int(number * 1e9 / plan.rate_per_s)) >= self._until_ns:
                    return
                yield even_ns

    def _again(self) -> None:
        """Make a closed loop's next call, which is due at once."""
        now_ns = time.monotonic_ns() - self._began_ns
        if now_ns < self._until_ns:
            self._call(now_ns)

    def _call(self, due_ns: int) -> None:
        with self._none_left:
            self._in_flight += 1
            method, body = next(self._methods), next(self._bodies)
        sent_ns = time.monotonic_ns() - self._began_ns
        call = method.future(body, timeout=self._plan.timeout_s, metadata=self._metadata)
        call.add_done_callback(lambda call: self._end(call, due_ns // 1000, sent_ns // 1000))

    def _end(self, call: grpc.Future[bytes], due_us: int, sent_us: int) -> None:
        ended_us = (time.monotonic_ns() - self._began_ns) // 1000
        self._ended.append((due_us, sent_us, ended_us, _status(call)))
        if self._plan.concurrency:
            self._again()
        else:
            self._room.release()
        with self._none_left:
            self._in_flight -= 1
            if not self._in_flight:
                self._none_left.notify()


def _status(call: grpc.Future[bytes]) -> str:
    """Return how a call ended: its status, and the reason that was told for a refusal."""
    if cast("grpc.Call", call).code() is grpc.StatusCode.OK:
        return OK
    error = errors.from_rpc(cast("grpc.RpcError", call))  # it is all three
    return f"{error.code} {error.reason}".rstrip()


def main() -> None:
    """Be one process of a load."""
    plan, place = Plan.of_text(Path(sys.argv[1]).read_text()), int(sys.argv[2])
    sender, tally = Sender(plan, place), Tally()
    sender.connect()
    _tell("ready", True)
    began_ns = int(sys.stdin.readline())
    sending = threading.Thread(target=sender.send, args=(began_ns,), daemon=True)
    sending.start()
    while sending.is_alive():
        sending.join(TELL_S)
        sender.take(tally)
        _tell("so_far", (tally.calls, tally.failed))
    sender.close()
    sender.take(tally)
    _tell("tally", tally.document())


def _tell(what: str, value: object) -> None:
    print(json.dumps({what: value}), flush=True)  # noqa: T201  (the parent reads it)


if __name__ == "__main__":
    main()
