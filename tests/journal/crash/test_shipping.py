"""Shipping under kill -9, to a real S3-compatible store: every acknowledged event at every gateway exactly once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gateway.journal.log import EventLog

STEPS = ("sealed", "part", "synced", "committed", "deleted", "put", "shipped", "fetched")
NAMES = ("a", "b", "dead")


class Shippers:
    """Gateways' folders, and the process that does their jobs."""

    def __init__(self, folder, url):
        self._folder, self._url = folder, url
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("shipper_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.written = []

    def state(self, name):
        return self._folder / name

    def write(self, name, count):
        """Have a gateway take so many events and die."""
        ids = [f"{name}{len(self.written) + place}" for place in range(count)]
        assert self._ask(do="write", folder=str(self.state(name)), ids=ids) == -signal.SIGKILL
        self.written += ids

    def ship(self, name, **death):
        """Have a gateway ship and fetch; return whether it was killed on the way."""
        code = self._ask(do="ship", folder=str(self.state(name)), url=self._url, **death)
        assert code in (0, -signal.SIGKILL), code
        return code != 0

    def recover(self, name):
        turnout = Path(sys.executable).with_name("turnout")
        command = [turnout, "events", "recover", str(self.state(name)), "--events", self._url, "--json"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def check(self, name, *, whole):
        """Each event that this gateway knows is there once; all that were written are, where it is `whole`."""
        with EventLog(self.state(name)).snapshot() as log:
            for relation in ("all_predictions", "all_outcomes", "joined"):
                seen = Counter(row[0] for row in log.execute(f"SELECT request_id FROM {relation}").fetchall())
                assert not [each for each, count in seen.items() if count > 1], (name, relation)
                assert set(seen) <= set(self.written)
                if whole:
                    assert set(seen) == set(self.written), (name, relation, set(self.written) - set(seen))

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, **job):
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@pytest.fixture
def shippers(tmp_path, bucket_server, bucket_credentials):  # noqa: ARG001  (they are found in the environment)
    made = Shippers(tmp_path, bucket_server.create())
    yield made
    made.close()


@pytest.mark.parametrize(
    ("rounds", "seed"), [(1, 5), pytest.param(20, None, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_whatever_step_it_is_killed_at_every_event_is_everywhere_once(shippers, rounds, seed):
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    chance = random.Random(seed)  # noqa: S311  (seeded on purpose)
    killed = Counter()
    for each in range(rounds):
        for step in (*STEPS, "anywhere"):
            name = chance.choice(NAMES)
            for _ in range(chance.randrange(1, 3)):
                shippers.write(name, chance.randrange(1, 6))
            if step == "fetched":
                other = NAMES[NAMES.index(name) - 1]
                shippers.write(other, 1)
                shippers.ship(other)
            death = {"after_s": chance.uniform(0.0, 0.25)} if step == "anywhere" else {"step": step}
            killed[step] += shippers.ship(name, times=1 if each == 0 else chance.choice((1, 1, 2)), **death)
        shippers.check(chance.choice(NAMES), whole=False)
        for name in NAMES[: 2 if each == rounds - 1 else 3]:
            shippers.ship(name)
    recovered = shippers.recover("dead")
    assert (recovered["open_segments"], recovered["waiting_segments"], recovered["failing_segments"]) == (0, 0, {})
    for name in ("a", "b", "dead", "late"):
        shippers.ship(name)
        shippers.check(name, whole=True)
    sys.stdout.write(f"seed {seed}: {dict(killed)}, {len(shippers.written)} events, {recovered}\n")
    assert all(killed[step] for step in STEPS), killed
