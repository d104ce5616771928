import pytest

from storage.leases import LeaseLostError, acquire, release, renew


def taken(database, holder, now_us, duration_us=100):
    with database.write() as tx:
        return acquire(tx, name="compaction", holder=holder, duration_us=duration_us, now_us=now_us)


def test_one_holder_at_a_time_until_the_lease_expires(database):
    first = taken(database, "a", now_us=0)
    assert first is not None
    assert taken(database, "b", now_us=99) is None
    second = taken(database, "b", now_us=100)
    assert second is not None
    assert second.token > first.token


def test_a_holder_that_lost_its_lease_cannot_renew_it(database):
    first = taken(database, "a", now_us=0)
    taken(database, "b", now_us=200)
    with database.write() as tx, pytest.raises(LeaseLostError):
        renew(tx, first, duration_us=100, now_us=210)


def test_an_expired_lease_cannot_be_renewed_even_when_nobody_took_it(database):
    first = taken(database, "a", now_us=0)
    with database.write() as tx, pytest.raises(LeaseLostError):
        renew(tx, first, duration_us=100, now_us=100)


def test_a_renewed_lease_lasts_longer(database):
    first = taken(database, "a", now_us=0)
    with database.write() as tx:
        assert renew(tx, first, duration_us=100, now_us=50).expires_us == 150
    assert taken(database, "b", now_us=120) is None


def test_a_released_lease_goes_to_the_next_at_once_with_a_larger_token(database):
    first = taken(database, "a", now_us=0)
    with database.write() as tx:
        release(tx, first)
    second = taken(database, "b", now_us=1)
    assert second.token == first.token + 1


def test_a_late_release_does_not_take_the_lease_from_another(database):
    first = taken(database, "a", now_us=0)
    taken(database, "b", now_us=200)
    with database.write() as tx:
        release(tx, first)
    assert taken(database, "c", now_us=210) is None


def test_a_restarted_holder_gets_its_lease_anew_and_fences_its_former_self(database):
    first = taken(database, "a", now_us=0)
    second = taken(database, "a", now_us=10)
    assert second.token == first.token + 1
    with database.write() as tx, pytest.raises(LeaseLostError):
        renew(tx, first, duration_us=100, now_us=20)
