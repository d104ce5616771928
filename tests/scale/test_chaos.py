"""Several gateways on real servers while each piece is killed, cut off, slowed, filled or has a wrong clock."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from judge import judge
from leaders import watch
from network import Loopback, Namespaces, namespaces_allowed
from rig import STORES, Rig
from traffic import RAMP_STEPS, Traffic, furnish

SEED = 20260727
DISK_BYTES = 256 << 20
FLAGS = ("--sync-interval-ms", "0", "--webhook-private")


class Chaos:
    """Does one thing to a rig at a time, and undoes it."""

    def __init__(self, rig, traffic, *, hold_s):
        self.rig, self.traffic, self.hold_s = rig, traffic, hold_s
        self.full = []
        self.done = []

    def kill(self, name):
        self.rig.pieces[name].kill()
        self._hold()
        self.rig.restart(name)

    def part(self, one, other):
        self._ruled({(one, other): {"loss": 1.0}})

    def kill_control(self, name):
        """Kill a control plane alone: its workers are not told, nobody starts it again at once."""
        self.rig.pieces[name].process.kill()
        self._hold()
        self.kill(name)

    def kill_worker(self, name):
        for pid in json.loads((self.rig.state(name) / "ready.json").read_text())["pids"][1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._hold()

    def misdate(self, name, offset):
        """Let a gateway's clock be wrong from now on."""
        self.rig.pieces[name].kill()
        self.rig.pieces[name].extra = wrong_clock(offset)
        self.rig.restart(name)
        self._hold()

    def late(self):
        self._ruled({link: {"delay_ms": 200} for link in self._links()})

    def lossy(self):
        self._ruled({link: {"loss": 0.05} for link in self._links()})

    def slow(self):
        self._ruled({link: {"loss": 0.05, "delay_ms": 200} for link in self._links()})

    def _links(self):
        return [(gateway, other) for gateway in self.rig.names for other in (*STORES, "client")]

    def fill(self, name):
        began = time.monotonic()
        ballast = self.rig.state(name) / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(b"\0" * (1 << 16))
                file.flush()
        self._hold()
        ballast.unlink()
        time.sleep(2)  # writing goes on within a second
        self.full.append((began, time.monotonic()))

    def all(self):
        """Return all kinds of what can be done here, each as its instances: a function and its arguments."""
        names = self.rig.names
        kinds = [
            [(self.kill, (name,)) for name in (*names, *STORES)],
            [(self.kill_control, (name,)) for name in names],
            [(self.kill_worker, (name,)) for name in names],
        ]
        if wrong_clock("+0s"):
            kinds.append([(self.misdate, (names[-1], offset)) for offset in ("-600s", "+600s")])
        if self.rig.network.kind == "namespaces":
            pairs = itertools.combinations(("client", *names, *STORES), 2)
            kinds += [[(self.part, pair) for pair in pairs], [(self.late, ()), (self.lossy, ()), (self.slow, ())]]
            kinds.append([(self.fill, ("g2",))])
        return kinds

    def do(self, function, arguments):
        began = time.monotonic()
        function(*arguments)
        self.traffic.wait_for(20)
        self.done.append(f"{function.__name__} {' '.join(arguments)}".strip())
        print(f"{self.done[-1]}: {time.monotonic() - began:.1f} s, {len(self.traffic.failures)} failed", flush=True)

    def _hold(self):
        time.sleep(self.hold_s)

    def _ruled(self, rules):
        self.rig.network.rule(rules)
        self._hold()
        self.rig.network.rule({})


@contextlib.contextmanager
def running(gateways, network, *, step_s=1.0, **options):
    """Give a rig that runs the loop's first half, in a folder that is removed again."""
    with contextlib.ExitStack() as stack:
        stack.callback(network.close)
        folder = Path(tempfile.mkdtemp(prefix="turnout-rig-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        rig = Rig(folder, gateways=gateways, network=network, flags=FLAGS, **options)
        stack.callback(rig.close)
        if network.kind == "namespaces":
            rig.state("g2").mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", rig.state("g2")], check=True)
            stack.callback(subprocess.run, ["umount", "--lazy", rig.state("g2")], check=True)
        rig.start()
        watch(rig.database)
        furnish(rig, folder / "definitions", step_s=step_s)
        yield rig


def test_pieces_are_killed_and_parted_and_nothing_is_lost_doubled_or_wrong():
    network = Loopback() if namespaces_allowed() else Namespaces(["g1", "g2", *STORES])
    with running(2, network) as rig, Traffic(rig, SEED, rate_per_s=40, threads=2) as traffic:
        chaos = Chaos(rig, traffic, hold_s=0.3)
        traffic.wait_for(20)
        for name in (*STORES, "g1"):
            chaos.do(chaos.kill, (name,))
        for pair in () if network.kind == "loopback" else (("client", "g2"), ("g2", "postgresql")):
            chaos.do(chaos.part, pair)
        traffic.stop()
        assert judge(rig, traffic)["predictions"] > 60


def wrong_clock(offset):
    """Return the environment of a clock that is wrong by so much; none where there is nothing that gives it."""
    found = importlib.util.find_spec("libfaketime")
    if found is None:
        return {}
    library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


@pytest.mark.soak
@pytest.mark.parametrize(("seconds", "at_random"), [(0, False), (1800, True)], ids=["each-in-turn", "at-random"])
@pytest.mark.timeout(4000)
def test_whatever_fails_nothing_is_lost_doubled_or_wrong(seconds, at_random):
    why_not = namespaces_allowed()
    network = Loopback() if why_not else Namespaces(["g1", "g2", "g3", *STORES])
    print(f"network: {network.kind} {why_not}; seed {SEED}", flush=True)
    seconds = int(os.environ.get("TURNOUT_CHAOS_S", seconds))
    print("clocks: g3's is ten minutes off" if wrong_clock("+0s") else "clocks: all right, no libfaketime", flush=True)
    with running(3, network, step_s=max(1.0, seconds / RAMP_STEPS)) as rig:
        with Traffic(rig, SEED) as traffic:
            chaos = Chaos(rig, traffic, hold_s=3.0)
            traffic.wait_for(50)
            until, chance = time.monotonic() + seconds, random.Random(SEED)
            for each in [] if at_random else itertools.chain(*chaos.all()):
                chaos.do(*each)
            while at_random and time.monotonic() < until:
                chaos.hold_s = chance.uniform(0.5, 8.0)
                chaos.do(*chance.choice(chance.choice(chaos.all())))
        print(judge(rig, traffic, full=chaos.full), flush=True)
