"""The journal under kill -9: real writers and a real compactor die at random moments, clients retry, nobody rests.

What is proved: every acknowledged event is seen exactly once at every moment, whatever dies; a request that is sent
again with the same request id is one event; neither compaction nor merging, erasure or retention beside it repeats a
record or takes one that it is not to take.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact
from gateway.journal.log import EventLog
from gateway.journal.recovery import seal_dead
from gateway.journal.rewriting import Rewriter, Subject
from gateway.journal.segment import HEADER_BYTES, NEW, list_segments

_HERE = Path(__file__).parent
_WRITERS = 2


def _start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(_HERE / script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    with contextlib.suppress(BrokenPipeError):  # a wave that it never read
        process.stdin.close()
    process.stdout.close()


@dataclass
class Ledger:
    """What the clients know: which requests were acknowledged, and which were sent more than once."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)

    def send(self, ids: list[str]) -> None:
        with self.lock:
            self.repeated |= self.sent & set(ids)
            self.sent |= set(ids)

    def acknowledge(self, ids: list[str]) -> None:
        with self.lock:
            self.acknowledged |= set(ids)

    def copy(self) -> set[str]:
        with self.lock:
            return set(self.acknowledged)


class Client(threading.Thread):
    """Sends waves to a worker, starts the worker again when it dies, and then sends the same wave again."""

    def __init__(
        self, state: Path, number: int, ledger: Ledger, *, seed: int, pause_s: float, stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._state = state
        self._name = f"worker-{number}"
        self._ledger = ledger
        self._random = random.Random(seed)  # noqa: S311  (seeded on purpose)
        self._pause_s = pause_s
        self._ended = stop
        self.process: subprocess.Popen[str] | None = None  # set while the worker is ready
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error
            raise

    def _work(self) -> None:
        process = self._worker()
        sent = 0
        while not self._ended.is_set():
            ids = [f"{self._name}-{sent + place}" for place in range(self._random.choice([1, 3, 32]))]
            sent += len(ids)
            again = self._random.random() < 0.02  # the reply was lost: sent once more although acknowledged
            while not self._ask(process, ids) or again:
                if process.poll() is not None or not again:
                    self.process = None
                    _end(process)
                    if self._random.random() < 0.5:  # else the compactor finds the orphan
                        seal_dead(self._state / "journal", self._name)
                    process = self._worker()
                else:
                    again = False
            self._ledger.acknowledge(ids)
            time.sleep(self._pause_s)
        self.process = None
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()

    def _worker(self) -> subprocess.Popen[str]:
        process = _start("writer_process.py", self._state / "journal", self._name)
        assert process.stdout.readline() == "ready\n"
        self.process = process
        return process

    def _ask(self, process: subprocess.Popen[str], ids: list[str]) -> bool:
        self._ledger.send(ids)
        try:
            process.stdin.write(json.dumps(ids) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return False
        return process.stdout.readline() == "ok\n"


def _check(log: EventLog, ledger: Ledger) -> None:
    """Every request that was acknowledged before the snapshot is one prediction and one outcome that belongs to it."""
    acknowledged = ledger.copy()
    with log.snapshot() as connection:
        query = "SELECT request_id FROM predictions WHERE unit_id <> 'erased'"
        predictions = [row[0] for row in connection.execute(query).fetchall()]
        joined = [row[0] for row in connection.execute("SELECT request_id FROM joined").fetchall()]
        twice = connection.execute(
            "SELECT request_id FROM all_predictions GROUP BY 1 HAVING count(*) > 1 "
            "UNION ALL SELECT request_id FROM all_outcomes GROUP BY 1 HAVING count(*) > 1"
        ).fetchall()
    with ledger.lock:
        sent, repeated = set(ledger.sent), set(ledger.repeated)
    for rows in (predictions, joined):
        assert len(set(rows)) == len(rows)
        assert acknowledged <= set(rows) <= sent
    assert {row[0] for row in twice} <= repeated


def _tend(folders: EventFolders) -> int:
    """Do once more all that the compactor did, and return how many predictions were still to be erased."""
    rewriter = Rewriter(folders)
    erased = rewriter.erase(Subject(unit_id="erased"))
    rewriter.retire({"gaps": 1}, 10 * 86_400_000_000)
    rewriter.merge(parts_min=2)
    rewriter.sweep()
    return erased.predictions


def _soak(state: Path, *, kills: int, seed: int, pause_s: float) -> dict[str, int]:
    chance = random.Random(seed)  # noqa: S311  (seeded on purpose)
    folders, ledger, stop = EventFolders(state), Ledger(), threading.Event()
    folders.journal.mkdir()
    clients = [
        Client(state, number, ledger, seed=seed + number, pause_s=pause_s, stop=stop) for number in range(_WRITERS)
    ]
    for client in clients:
        client.start()
    compactor = _start("tender_process.py", state)
    log = EventLog(state, held_bytes_max=200_000)
    killed = {"writer": 0, "compactor": 0}
    checks = 0
    try:
        while sum(killed.values()) < kills:
            time.sleep(chance.random() * 0.06)
            assert all(client.error is None for client in clients)
            victim = chance.choice([*clients, *clients, None])
            if victim is None:
                if not compactor.stdout.readline():  # it is up and has run at least once
                    raise AssertionError(f"the compactor ended by itself: {compactor.wait()}")
                time.sleep(chance.random() * 0.03)
                _end(compactor)
                compactor = _start("tender_process.py", state)
                killed["compactor"] += 1
            elif victim.process is not None:
                victim.process.send_signal(signal.SIGKILL)
                victim.process = None
                killed["writer"] += 1
            else:
                continue
            if chance.random() < 0.4:
                _check(log if chance.random() < 0.7 else EventLog(state), ledger)
                checks += 1
    finally:
        stop.set()
        for client in clients:
            client.join(timeout=60)
        _end(compactor)
    assert not any(client.is_alive() or client.error for client in clients)
    _check(log, ledger)
    _check(EventLog(state), ledger)
    done = compact(folders)
    assert done.failed == {}
    assert list_segments(folders.journal) == []
    erased = _tend(folders)
    unborn = [path for path in folders.journal.iterdir() if path.suffix == NEW]
    assert all(path.stat().st_size <= HEADER_BYTES for path in unborn)
    _check(log, ledger)
    _check(EventLog(state), ledger)
    counts = log.counts()
    assert counts.predictions == counts.joined_outcomes >= len(ledger.acknowledged) > 0
    assert counts.lost_predictions == 0  # the gap records were old
    return {
        "killed writers": killed["writer"],
        "killed compactors": killed["compactor"],
        "acknowledged": len(ledger.acknowledged),
        "sent more than once": len(ledger.repeated),
        "predictions": counts.predictions,
        "records": counts.records,
        "torn tails": len(list(folders.journal.glob("*.cut"))),
        "segments without a name": len(unborn),
        "checks under load": checks,
        "segments": len(list(folders.commits.iterdir())),
        "rewrites": len(list(folders.rewrites.iterdir())),
        "files": len(list(folders.events.rglob("*.parquet"))),
        "erased at the end": erased,
    }


def test_every_acknowledged_event_is_seen_once_through_ten_kills(tmp_path):
    sys.stdout.write(f"{_soak(tmp_path, kills=10, seed=3, pause_s=0.03)}\n")


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_every_acknowledged_event_is_seen_once_through_two_hundred_kills(tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.write(f"{_soak(tmp_path, kills=200, seed=seed, pause_s=0.02)}\n")
