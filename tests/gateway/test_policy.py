import dataclasses
import math

import pytest

from gateway.models.policy import (
    RETRIES_MAX,
    RETRY_PAUSE_S,
    RETRY_PAUSE_S_MAX,
    Failure,
    Ready,
    Scene,
    Wanted,
    failed_again,
    next_step,
)
from gateway.models.slots import VersionKey

MB = 1_000_000


def key(version, model="m"):
    return VersionKey(model, version)


def want(version, model="m", *, spec="s", size_bytes=MB):
    return Wanted(key(version, model), spec, size_bytes)


def ready(*keys, spec="s", size_bytes=MB):
    return {each: Ready(spec, size_bytes) for each in keys}


def failed(each, *, spec="s", tries=1, retry_at=math.inf):
    return {each: Failure(spec, tries, retry_at, "broken")}


def scene(wanted=(), **fields):
    return Scene(wanted=wanted, **{"ready": {}, "failed": {}, "answering": set(), **fields})


def test_loads_what_is_wanted_the_most_urgent_first_and_one_at_a_time():
    wanted = [want(2), want(1)]
    assert next_step(scene(wanted)).load == want(2)
    assert next_step(scene(wanted, loading=want(2))).load is None
    assert next_step(scene(wanted, ready=ready(key(2)))).load == want(1)
    assert next_step(scene(wanted, ready=ready(key(1), key(2)))).load is None


def test_does_not_let_go_of_what_answers():
    assert next_step(scene([want(2)], ready=ready(key(1)), answering={key(1)})).unload == ()


def test_does_not_let_go_of_what_answers_when_the_successor_failed():
    there = scene([want(2)], ready=ready(key(1)), failed=failed(key(2)), answering={key(1)})
    assert (next_step(there).unload, next_step(there).load) == ((), None)


def test_lets_go_when_the_successor_answers():
    assert next_step(scene([want(2)], ready=ready(key(1), key(2)), answering={key(2)})).unload == (key(1),)


def test_lets_go_of_what_does_not_answer_although_another_loads_or_failed():
    for rest in ({"loading": want(3)}, {"failed": failed(key(3))}):
        there = scene([want(3), want(2)], ready=ready(key(1), key(2)), answering={key(2)}, **rest)
        assert next_step(there).unload == (key(1),)


def test_lets_go_of_a_model_that_is_not_wanted_at_all():
    assert next_step(scene([], ready=ready(key(1), key(2, "n")))).unload == (key(1), key(2, "n"))


def test_goes_back_to_an_earlier_version():
    there = scene([want(1)], ready=ready(key(2)), answering={key(2)})
    assert (next_step(there).load, next_step(there).unload) == (want(1), ())


def test_one_model_does_not_hold_up_another():
    failures = failed(key(2))
    assert next_step(scene([want(2), want(7, "n")], failed=failures)).load == want(7, "n")


def test_abandons_a_load_that_is_not_wanted_any_more_and_begins_no_other_meanwhile():
    step = next_step(scene([want(3)], loading=want(2)))
    assert (step.abandon, step.load, step.settled) == (True, None, False)
    assert not next_step(scene([want(2)], loading=want(2))).abandon


def test_other_settings_are_loaded_beside_what_answers():
    there = scene([want(1, spec="new")], ready=ready(key(1), spec="old"), answering={key(1)})
    step = next_step(there)
    assert (step.load, step.unload, step.settled) == (want(1, spec="new"), (), False)
    assert next_step(dataclasses.replace(there, loading=want(1, spec="old"))).abandon


def test_a_failure_counts_for_the_settings_that_failed_only():
    failures = failed(key(1), spec="old")
    assert next_step(scene([want(1, spec="old")], failed=failures)).load is None
    assert next_step(scene([want(1, spec="new")], failed=failures)).load == want(1, spec="new")


def test_tries_again_when_it_is_time():
    there = scene([want(1)], failed=failed(key(1), retry_at=5.0), now=4.0)
    step = next_step(there)
    assert (step.load, step.look_again_at, step.settled) == (None, 5.0, True)
    assert next_step(dataclasses.replace(there, now=5.0)).load == want(1)


def test_is_settled_when_everything_was_tried_once():
    assert not next_step(scene([want(1)])).settled
    assert not next_step(scene([want(1)], loading=want(1))).settled
    assert next_step(scene([want(1)], loading=want(1), failed=failed(key(1), retry_at=0.0))).settled
    assert next_step(scene([want(1)], ready=ready(key(1)))).settled
    assert next_step(scene()).settled


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_retries_are_bounded_and_their_pauses_grow_and_are_spread(chance):
    failure, pauses = None, []
    for _ in range(RETRIES_MAX + 1):
        failure = failed_again(want(1), failure, reason="broken", now=100.0, chance=chance)
        pauses.append(failure.retry_at - 100.0)
    assert pauses.pop() == math.inf
    assert pauses == [min(RETRY_PAUSE_S * 2**tries, RETRY_PAUSE_S_MAX) * (1 - chance / 2) for tries in range(5)]


def test_another_spec_starts_to_count_anew():
    spent = Failure("old", RETRIES_MAX + 1, math.inf, "broken")
    assert failed_again(want(1, spec="new"), spent, reason="", now=0.0, chance=0.5).tries == 1


@pytest.mark.parametrize(("bytes_max", "fits"), [(0, True), (3 * MB, True), (3 * MB - 1, False)])
def test_loads_within_the_memory_only_and_says_both_sizes(bytes_max, fits):
    there = scene([want(2)], ready=ready(key(1), size_bytes=2 * MB), answering={key(1)}, bytes_max=bytes_max)
    step = next_step(there)
    assert step.load == (want(2) if fits else None)
    assert step.unload == ()
    assert step.settled is not fits
    if not fits:
        assert "1.0 MB" in step.refused[key(2)]
        assert "2.0 MB are held" in step.refused[key(2)]


def test_what_there_is_no_memory_for_holds_up_nothing_smaller():
    wanted = [want(1, size_bytes=9 * MB), want(1, "n")]
    step = next_step(scene(wanted, bytes_max=2 * MB))
    assert (step.load, list(step.refused)) == (want(1, "n"), [key(1)])


def test_waits_for_the_memory_of_what_leaves():
    # The version before the last goes first; its memory is free only when it is drained.
    there = scene([want(3), want(2)], ready=ready(key(1), key(2)), answering={key(2)}, bytes_max=2 * MB)
    step = next_step(there)
    assert (step.load, step.unload, step.refused, step.settled) == (None, (key(1),), {}, False)
    there = dataclasses.replace(there, ready=ready(key(2)), leaving_bytes=MB)
    assert next_step(there).load is None
    assert next_step(dataclasses.replace(there, leaving_bytes=0)).load == want(3)
