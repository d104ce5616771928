from gateway.models.policy import LoadState, next_step
from gateway.models.slots import VersionKey

READY, LOADING, FAILED, DRAINING = LoadState.READY, LoadState.LOADING, LoadState.FAILED, LoadState.DRAINING


def key(version, model="m"):
    return VersionKey(model, version)


def test_loads_what_is_wanted_in_order():
    assert next_step([key(2), key(1)], {}).load == key(2)
    assert next_step([key(2), key(1)], {key(2): READY}).load == key(1)


def test_does_not_try_a_failed_version_again():
    assert next_step([key(2)], {key(2): FAILED}).load is None


def test_lets_go_when_the_successor_answers():
    assert next_step([key(2)], {key(1): READY, key(2): READY}).unload == (key(1),)


def test_does_not_let_go_while_the_successor_loads():
    assert next_step([key(2)], {key(1): READY, key(2): LOADING}).unload == ()
    assert next_step([key(2)], {key(1): READY}).unload == ()


def test_does_not_let_go_when_the_successor_failed():
    assert next_step([key(2)], {key(1): READY, key(2): FAILED}).unload == ()


def test_lets_go_of_a_model_that_is_not_wanted_at_all():
    assert next_step([], {key(1): READY, key(2): FAILED}).unload == (key(1), key(2))


def test_one_model_does_not_hold_up_another():
    states = {key(1): READY, key(2): READY, key(1, "n"): READY, key(2, "n"): FAILED}
    assert next_step([key(2), key(2, "n")], states).unload == (key(1),)


def test_what_drains_is_left_alone():
    assert next_step([key(2)], {key(1): DRAINING, key(2): READY}).unload == ()
