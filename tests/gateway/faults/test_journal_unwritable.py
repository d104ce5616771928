"""A journal that takes nothing: predictions go on, the lost are counted, outcomes are refused, and it heals."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

import pytest

from turnout.outcomes.v1 import outcome_service_pb2 as pb

HEALED_WITHIN_S_MAX = 60.0


def _mount(*arguments):
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("nothing can be mounted here")


def _unmount(folder):
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def _full(journal):
    """Fill the disk of the journal."""
    stuffing = journal / "stuffing"
    with stuffing.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    stuffing.unlink()


@contextlib.contextmanager
def _read_only(journal):
    """Let the journal's folder take no writes, by a mount over it."""
    _mount("--bind", journal, journal)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(journal)], check=True)
        yield
    finally:
        _unmount(journal)


@pytest.fixture
def small(launch, tmp_path):
    """A gateway whose journal lies on a disk of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    journal = tmp_path / "state" / "journal"
    journal.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", journal)
    running = launch(tmp_path / "state", "--segment-age-max-s", "0.1", "--compact-interval-s", "0.2")
    try:
        yield running, journal
    finally:
        running.stop()
        _unmount(journal)


def _record(operator, request_id):
    """Return the status and the reason of one outcome."""
    outcome = pb.Outcome(request_id=request_id, name="late", value=1.0)
    (result,) = operator.record(outcome).results
    return result.status, result.reason


@pytest.mark.parametrize("trouble", [_full, _read_only], ids=["full disk", "read-only folder"])
def test_predictions_go_on_outcomes_are_refused_and_all_heals_by_itself(small, operate, trouble):
    gateway, journal = small
    operator = operate(gateway)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0)
    operator.start_experiment("m")
    operator.wait()
    answered = 0
    operator.predict("m", request_id="before", unit_id="u0")
    time.sleep(0.3)  # the segment is old: the next append begins another, which fails
    with trouble(journal):
        until = time.monotonic() + HEALED_WITHIN_S_MAX
        while _record(operator, "before") != (pb.OUTCOME_STATUS_UNAVAILABLE, "JOURNAL_UNAVAILABLE"):
            assert time.monotonic() < until
        for number in range(40):
            operator.predict("m", request_id=f"lost-{number}", unit_id=f"u{number}")
            answered += 1
        assert _record(operator, "lost-1")[0] == pb.OUTCOME_STATUS_UNAVAILABLE
    until = time.monotonic() + HEALED_WITHIN_S_MAX
    while _record(operator, "before")[0] != pb.OUTCOME_STATUS_RECORDED:
        assert time.monotonic() < until
        time.sleep(0.05)
    operator.predict("m", request_id="after", unit_id="u1")
    counts = operator.counts()
    assert (counts.lost_predictions, counts.predictions, counts.joined_outcomes) == (answered, 2, 1)
