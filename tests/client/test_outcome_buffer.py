"""A buffer of outcomes loses nothing: against a real server that answers as it is told."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import grpc
import pytest

from turnout import AsyncClient, Client, errors
from turnout.client import Outcome
from turnout.outcome_queue import OutcomesRefusedError, OutcomesUnsentError
from turnout.outcomes.v1 import outcome_service_pb2

RECORDED, INVALID, UNAVAILABLE = 1, 2, 3


class AsyncAsSync:
    """An AsyncClient with a buffer, as one calls Client with one: the same tests prove both."""

    def __init__(self, address, **options):
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(address, **options)

    def outcome_buffer(self, **options):
        self._buffer = self._client.outcome_buffer(**options)
        return self

    def __getattr__(self, name):
        method = getattr(self._buffer, name)
        return lambda *args, **kwargs: self._loop.run_until_complete(method(*args, **kwargs))

    def __len__(self):
        return len(self._buffer)

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        try:
            self._loop.run_until_complete(self._client.close())
        finally:
            self._loop.close()


@pytest.fixture(params=[Client, AsyncAsSync], ids=["threads", "asyncio"])
def colour(request):
    return request.param


def answer(*statuses):
    results = [outcome_service_pb2.OutcomeResult(status=one, message="why", reason="WHY") for one in statuses]
    return outcome_service_pb2.RecordOutcomesResponse(results=results)


def ids_of(script):
    return [outcome.request_id for request in script.recorded for outcome in request.outcomes]


def test_outcomes_are_recorded_in_batches_and_all_of_them_by_the_end_of_the_client(colour, address, script):
    with colour(address) as client:
        buffer = client.outcome_buffer(batch_max=10)
        for number in range(95):
            buffer.record_outcome("late", 1, request_id=f"r{number}")
    assert ids_of(script) == [f"r{number}" for number in range(95)]
    sizes = [len(request.outcomes) for request in script.recorded]
    assert max(sizes) == 10
    assert len(sizes) < 30
    assert all(one.event_time_us for request in script.recorded for one in request.outcomes)


def test_what_failed_or_could_not_be_written_is_sent_again(colour, address, script, refuse):
    def flaky(request, context):
        if len(script.recorded) == 1:
            refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY")
        if len(script.recorded) == 2:
            return answer(RECORDED, UNAVAILABLE, RECORDED)
        return answer(*[RECORDED] * len(request.outcomes))

    script.on_record = flaky
    with colour(address) as client:
        buffer = client.outcome_buffer(batch_max=3)
        for name in "abc":
            buffer.record_outcome("late", 1, request_id=name)
        buffer.flush()
        assert len(buffer) == 0
    assert ids_of(script) == [*"abc", *"abc", "b"]


def test_what_is_refused_for_good_is_raised_once_and_stands_in_nobodys_way(colour, address, script):
    script.on_record = lambda request, _context: answer(
        *[INVALID if one.request_id == "b" else RECORDED for one in request.outcomes]
    )
    with colour(address) as client:
        buffer = client.outcome_buffer()
        for name in "abc":
            buffer.record_outcome("late", 1, request_id=name)
        with pytest.raises(OutcomesRefusedError, match="WHY") as raised:
            buffer.flush()
        buffer.flush()
    assert [(one.request_id, result.reason) for one, result in raised.value.refused] == [("b", "WHY")]


def test_whoever_wants_to_be_told_of_refusals_is_told(colour, address, script):
    script.on_record = lambda request, _context: answer(*[INVALID] * len(request.outcomes))
    told = []
    with colour(address) as client:
        buffer = client.outcome_buffer(on_refused=lambda outcome, _result: told.append(outcome.request_id))
        buffer.record_outcome("late", 1, request_id="a")
    assert told == ["a"]


def test_a_full_buffer_makes_one_wait_and_at_the_end_gives_back_what_could_not_be_recorded(
    colour, address, script, refuse
):
    script.on_record = lambda _request, context: refuse(context, grpc.StatusCode.UNAVAILABLE, "JOURNAL_UNAVAILABLE")
    with colour(address, attempts_max=1) as client:
        buffer = client.outcome_buffer(outcomes_max=2, batch_max=2)
        buffer.record_outcome("late", 1, request_id="a")
        buffer.record_outcome("late", 1, request_id="b")
        with pytest.raises(errors.ExhaustedError) as full:
            buffer.record_outcome("late", 1, request_id="c", timeout_s=0.3)
        with pytest.raises(OutcomesUnsentError, match="JOURNAL_UNAVAILABLE") as unsent:
            buffer.close(timeout_s=0.5)
        assert full.value.reason == "BUFFER_FULL"
        assert sorted(one.request_id for one in unsent.value.outcomes) == ["a", "b"]
        script.on_record = None
        with pytest.raises(ValueError, match="closed"):
            buffer.record_outcome("late", 1, request_id="d")


def test_an_outcome_that_can_never_be_sent_is_refused_where_it_is_added(colour, address):
    with colour(address) as client:
        buffer = client.outcome_buffer()
        with pytest.raises(ValueError, match="give one of them"):
            buffer.record_outcome("late", 1)


PROGRAMS = {
    "ends": "",
    "exits": "sys.exit(3)",
    "fails": "raise RuntimeError('on purpose')",
}
THREADS = """
import sys
from turnout import Client
buffer = Client({address!r}).outcome_buffer(wait_s=60)
for n in range(25):
    buffer.record_outcome("late", 1, request_id=f"r{{n}}")
{ending}
"""
TASKS = """
import asyncio, sys
from turnout import AsyncClient
async def main():
    buffer = AsyncClient({address!r}).outcome_buffer(wait_s=60)
    for n in range(25):
        await buffer.record_outcome("late", 1, request_id=f"r{{n}}")
    {ending}
asyncio.run(main())
"""


@pytest.mark.parametrize("program", [THREADS, TASKS], ids=["threads", "asyncio"])
@pytest.mark.parametrize("ending", PROGRAMS)
def test_a_program_that_ends_without_closing_anything_has_lost_nothing(address, script, program, ending):
    code = program.format(address=address, ending=PROGRAMS[ending] or "pass")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == {"ends": 0, "exits": 3, "fails": 1}[ending], done.stderr
    assert sorted(ids_of(script)) == sorted(f"r{n}" for n in range(25))


def test_threads_share_a_buffer(address, script):
    with Client(address) as client, client.outcome_buffer(batch_max=50, outcomes_max=100) as buffer:

        def record(part):
            for number in range(200):
                buffer.add(Outcome("late", 1, request_id=f"{part}-{number}"))

        threads = [threading.Thread(target=record, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ids_of(script)) == sorted(f"{part}-{number}" for part in range(4) for number in range(200))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_neither_sends_what_its_parent_holds_nor_keeps_it_from_being_sent(address, script):
    with Client(address) as client:
        buffer = client.outcome_buffer(wait_s=60)
        buffer.record_outcome("late", 1, request_id="parents")
        child = os.fork()
        if child == 0:
            try:
                buffer.add(Outcome("late", 1, request_id="childs"))
                code = 1
            except errors.ForkedClientError:
                buffer.close()
                code = 0
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    assert ids_of(script) == ["parents"]
