import itertools
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.registry.v1 import registry_service_pb2 as rpb

SETTLE_S = 8.0


@dataclass(frozen=True)
class Reign:
    """A version's time as the champion: it may answer from the promotion's call until its successor is applied."""

    version: int
    since: float
    until: float


def reigns_of(first, moves, ended):
    """Return the reigns of the version that was there first and of (version, called, applied) after it."""
    started = [(first, 0.0), *((version, called) for version, called, _ in moves)]
    over = [*(applied for _, _, applied in moves), ended]
    return [Reign(version, since, until) for (version, since), until in zip(started, over, strict=True)]


def wrong_answers(answers, reigns):
    """Return the answers of versions that were not live at any time between the question and the answer."""
    return [
        answer
        for answer in answers
        if not any(
            reign.version == answer.version and answer.asked <= reign.until and answer.answered >= reign.since
            for reign in reigns
        )
    ]


def resident_bytes(pids):
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


def moved(operator, model, version):
    """Promote a version; return it with the times of the call and of the last worker's report."""
    called = time.monotonic()
    operator.promote(model, version)
    return version, called, time.monotonic()


@pytest.fixture(scope="module", params=["native", "grpcio"])
def swapping(launch, tmp_path_factory, request):
    running = launch(tmp_path_factory.mktemp("swap") / "state", "--transport", request.param, workers=2)
    yield running
    running.stop()


@pytest.fixture
def model():
    """Return a name that no other test uses: they share a gateway."""
    return f"m-{uuid.uuid4().hex}"


@pytest.mark.parametrize(
    ("promotions", "rate_per_s", "ballast", "versions"),
    [
        # Back and forth between two, which both stay loaded; and in a round of three, where each move loads and closes.
        (6, 150, 0, (1, 2)),
        (6, 150, 100_000, (1, 2, 3)),
        pytest.param(50, 500, 2_000_000, (1, 2), marks=pytest.mark.soak),
        pytest.param(50, 500, 2_000_000, (1, 2, 3), marks=pytest.mark.soak),
    ],
    ids=["short-two", "short-three", "soak-two", "soak-three"],
)
def test_promotions_under_load_fail_no_call_and_answer_only_from_live_versions(
    swapping, operate, load, model, promotions, rate_per_s, ballast, versions
):
    operator = operate(swapping)
    for number in versions:
        operator.publish(model, number * 2.0, alias="champion" if number == 1 else "", ballast=ballast)
    order = itertools.cycle((*versions[1:], versions[0]))
    moves = [moved(operator, model, version) for version in itertools.islice(order, 2 * len(versions))]
    first, moves = moves[-1][0], []
    workers = swapping.pids[1:]
    with load(swapping.data_address, model, rate_per_s=rate_per_s, connections=8) as calls:
        calls.wait_for(2 * rate_per_s if ballast > 1_000_000 else 30)
        before = resident_bytes(workers)
        for version in itertools.islice(order, promotions):
            moves.append(moved(operator, model, version))
            calls.wait_for(rate_per_s // 10)
        if ballast > 1_000_000:
            time.sleep(SETTLE_S)
        after = resident_bytes(workers)
    applied = sorted(applied - called for _, called, applied in moves)
    worst = sorted(answer.answered - answer.asked for answer in calls.answers)[int(len(calls.answers) * 0.99)]
    print(  # noqa: T201
        f"{promotions} promotions, {len(calls.answers)} answers, {len(calls.retries)} retries; applied after "
        f"{applied[len(applied) // 2] * 1e3:.0f} ms (median), {applied[-1] * 1e3:.0f} ms (worst); p99 "
        f"{worst * 1e3:.1f} ms; resident {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB after"
    )
    assert calls.failures == []
    assert wrong_answers(calls.answers, reigns_of(first, moves, time.monotonic())) == []
    assert [answer for answer in calls.answers if answer.scale != answer.version * 2.0] == []
    assert {answer.version for answer in calls.answers} == set(versions)
    if ballast > 1_000_000:
        assert abs(after - before) <= 0.1 * before


def test_the_check_of_answers_has_teeth(swapping, operate, load, model):
    """An answer of a version that was retired, or not promoted yet, is found."""
    operator = operate(swapping)
    operator.publish(model, 2.0, alias="champion")
    operator.publish(model, 4.0)
    operator.wait()
    with load(swapping.data_address, model) as calls:
        calls.wait_for(20)
        move = moved(operator, model, 2)
        calls.wait_for(20)
    ended = time.monotonic()
    assert wrong_answers(calls.answers, reigns_of(1, [move], ended)) == []
    version, called, applied = move
    late = [(version, called + 3600, applied + 3600)]
    assert {answer.version for answer in wrong_answers(calls.answers, reigns_of(1, late, ended))} == {2}
    early = [(version, called - 3600, applied - 3600)]
    assert {answer.version for answer in wrong_answers(calls.answers, reigns_of(1, early, ended))} == {1}


def states_of(operator, model, version):
    """Return the state of a version in each worker."""
    return [
        loaded.state
        for worker in operator.status().workers
        for loaded in worker.versions
        if (loaded.model, loaded.version) == (model, version)
    ]


def standings(operator, model):
    """Return where version 2 stands in each worker, and why."""
    return [
        (loaded.state, loaded.reason)
        for worker in operator.status().workers
        for loaded in worker.versions
        if (loaded.model, loaded.version) == (model, 2)
    ]


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.chmod(0o600)
    path.write_bytes(data)


SPOILED = {"damaged": flip_a_byte, "gone": Path.unlink}


def spoil(state, sha256, how):
    """Damage or remove an artifact on the disk."""
    SPOILED[how](state / "artifacts" / "sha256" / sha256[:2] / sha256)


@pytest.mark.parametrize("how", SPOILED)
def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving(swapping, operate, load, model, how):
    operator = operate(swapping)
    operator.publish(model, 2.0, alias="champion")
    bad = operator.publish(model, 4.0).version
    operator.wait()
    spoil(swapping.state, bad.artifact_sha256, how)
    with load(swapping.data_address, model) as calls:
        calls.wait_for(20)
        operator.promote(model, 2)
        calls.wait_for(40)
        assert [state for state, _ in standings(operator, model)] == [apb.LOAD_STATE_FAILED] * 2
        assert all(f"is {how}" in reason for _, reason in standings(operator, model))
        assert operator.predict(model).version == 1
        repaired = time.monotonic()
        # Publishing the same bytes again does not trust what lies there: the file is whole again.
        assert list(operator.publish(model, 4.0, alias="champion").same_bytes_as) == [2]
        operator.wait()
        assert operator.predict(model).version == 3
        calls.wait_for(20)
    assert calls.failures == []
    answered = {(answer.version, answer.scale) for answer in calls.answers}
    # The champion in between heals by itself once its bytes are whole, if it is tried again before its successor.
    assert answered - {(2, 4.0)} == {(1, 2.0), (3, 4.0)}
    assert {answer.version for answer in calls.answers if answer.answered < repaired} == {1}


@pytest.mark.parametrize(
    ("promotions", "rate_per_s"), [(10, 150), pytest.param(200, 1000, marks=pytest.mark.soak)], ids=["short", "soak"]
)
def test_loads_that_fail_for_a_time_fail_no_call_and_heal_by_themselves(
    swapping, operate, load, model, promotions, rate_per_s
):
    operator = operate(swapping)
    digests = [operator.publish(model, number * 2.0).version.artifact_sha256 for number in (1, 2, 3)]
    operator.promote(model, 3)
    failed = 0
    with load(swapping.data_address, model, rate_per_s=rate_per_s, connections=8) as calls:
        calls.wait_for(20)
        for number in range(promotions):
            version = number % 3 + 1
            artifact = swapping.state / "artifacts" / "sha256" / digests[version - 1][:2] / digests[version - 1]
            aside = artifact.with_suffix(".away")
            if number % 5 == 4:
                artifact.rename(aside)
            operator.promote(model, version)
            if aside.exists():
                assert operator.predict(model).version == (version - 2) % 3 + 1
                assert states_of(operator, model, version) == [apb.LOAD_STATE_FAILED] * 2
                aside.rename(artifact)
                failed += 1
            until = time.monotonic() + 20
            while states_of(operator, model, version) != [apb.LOAD_STATE_READY] * 2:
                assert time.monotonic() < until, operator.status()
                time.sleep(0.02)
            calls.wait_for(rate_per_s // 20)
    assert failed == promotions // 5
    assert calls.failures == calls.retries == []
    assert [answer for answer in calls.answers if answer.scale != answer.version * 2.0] == []
    assert {answer.version for answer in calls.answers} == {1, 2, 3}


def test_a_gateway_starts_with_the_version_before_one_that_cannot_be_loaded(launch, operate, tmp_path):
    first = launch(tmp_path / "state")
    operator = operate(first)
    for model in SPOILED:
        operator.publish(model, 2.0, alias="champion")
        bad = operator.publish(model, 4.0, ballast=len(model)).version
        spoil(first.state, bad.artifact_sha256, model)
        operator.promote(model, 2)
        assert operator.predict(model).version == 1
    first.kill()
    second = launch(tmp_path / "state")
    operator = operate(second)
    for model in SPOILED:
        assert [state for state, _ in standings(operator, model)] == [apb.LOAD_STATE_FAILED]
        assert operator.predict(model).version == 1
    # What cannot be loaded holds up nobody else.
    operator.publish("other", 3.0, alias="champion")
    operator.wait()
    assert operator.predict("other").version == 1
    rolled = operator.registry.RollbackModel(rpb.RollbackModelRequest(name="models/damaged"))
    operator.wait(rolled.revision)
    assert operator.predict("damaged").version == 1
    assert second.stop() == 0
