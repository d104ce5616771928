import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from registry.alias_history import alias_history, champion_line, line_of
from registry.aliases import set_alias
from registry.champion import promote, rollback
from registry.desired import desired_versions
from registry.errors import AliasMovedError, NameInvalidError, NoEarlierChampionError, VersionMissingError
from registry.models import create_model, get_model
from registry.records import Alias, Stage
from registry.versions import add_version, get_version
from storage.revision import current_revision


@pytest.fixture
def five(database, draft):
    """Return the database with a model of five versions."""
    with database.write() as tx:
        create_model(tx, "fraud", actor="ada", now_us=1)
        for _ in range(5):
            add_version(tx, draft(), actor="ada", now_us=1)
    return database


def promoted(database, *numbers):
    for number in numbers:
        with database.write() as tx:
            promote(tx, "fraud", number, actor="ada", now_us=2)


def rolled_back(database, number=None):
    with database.write() as tx:
        return rollback(tx, "fraud", number=number, actor="ada", now_us=3).to_version


def stages(database):
    with database.read() as tx:
        return {number: get_version(tx, "fraud", number).stage for number in range(1, 6)}


def test_a_promotion_moves_the_champion_and_both_stages(five):
    promoted(five, 1, 2)
    with five.read() as tx:
        assert get_model(tx, "fraud").aliases == (Alias("champion", 2, 2),)
    assert stages(five) == {
        1: Stage.STAGING,
        2: Stage.PRODUCTION,
        3: Stage.DEVELOPMENT,
        4: Stage.DEVELOPMENT,
        5: Stage.DEVELOPMENT,
    }


def test_promoting_the_champion_keeps_it_in_production(five):
    promoted(five, 1, 1)
    assert stages(five)[1] == Stage.PRODUCTION


def test_the_history_says_who_when_from_where_to_where_and_why(five):
    promoted(five, 1)
    with five.write() as tx:
        promote(tx, "fraud", 2, reason="better", evidence={"lift": 0.1}, actor="bob", now_us=9)
        set_alias(tx, "fraud", 3, alias="challenger", actor="bob", now_us=10)
    with five.read() as tx:
        newest, move, _ = alias_history(tx, "fraud", limit_max=9)
        assert (newest.alias, newest.from_version, newest.to_version) == ("challenger", 0, 3)
        assert (move.generation, move.from_version, move.to_version) == (2, 1, 2)
        assert (move.actor, move.time_us, move.reason, move.evidence) == ("bob", 9, "better", {"lift": 0.1})
        assert [each.generation for each in alias_history(tx, "fraud", alias="champion", limit_max=9)] == [2, 1]
        page = alias_history(tx, "fraud", before_revision=newest.revision, limit_max=1)
        assert page == [move]


@pytest.mark.parametrize("statement", ["UPDATE alias_moves SET actor = 'x'", "DELETE FROM alias_moves"])
def test_the_history_cannot_be_rewritten(five, statement):
    promoted(five, 1)
    with five.write() as tx, pytest.raises(IntegrityError, match="append-only"):
        tx.execute(text(statement))


def test_a_move_with_an_old_generation_changes_nothing(five):
    promoted(five, 1, 2)
    with five.read() as tx:
        before = current_revision(tx)
    with five.write() as tx, pytest.raises(AliasMovedError) as refused:
        promote(tx, "fraud", 3, generation=1, actor="ada", now_us=2)
    assert refused.value.facts["generation"] == "2"
    with five.read() as tx:
        assert current_revision(tx) == before
        assert get_model(tx, "fraud").aliases == (Alias("champion", 2, 2),)


def test_of_concurrent_moves_with_the_same_generation_exactly_one_wins(five):
    promoted(five, 1)
    won, lost = [], []
    start = threading.Barrier(4)

    def moving(number):
        start.wait()
        try:
            with five.write() as tx:
                won.append(promote(tx, "fraud", number, generation=1, actor="ada", now_us=2).to_version)
        except AliasMovedError:
            lost.append(number)

    threads = [threading.Thread(target=moving, args=(number,)) for number in (2, 3, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)
    with five.read() as tx:
        assert get_model(tx, "fraud").aliases == (Alias("champion", won[0], 2),)
    assert [number for number, stage in stages(five).items() if stage == Stage.PRODUCTION] == won


def test_generation_0_means_that_the_alias_must_not_exist_yet(five):
    with five.write() as tx:
        set_alias(tx, "fraud", 1, alias="canary", generation=0, actor="ada", now_us=1)
        with pytest.raises(AliasMovedError):
            set_alias(tx, "fraud", 2, alias="canary", generation=0, actor="ada", now_us=1)


def test_going_back_twice_goes_back_twice(five):
    promoted(five, 1, 2, 3)
    assert (rolled_back(five), rolled_back(five)) == (2, 1)
    with pytest.raises(NoEarlierChampionError):
        rolled_back(five)


def test_promoting_an_earlier_version_can_be_rolled_back(five):
    promoted(five, 1, 2, 1)
    assert rolled_back(five) == 2


def test_a_rollback_goes_to_any_former_champion_but_to_no_other_version(five):
    promoted(five, 1, 2, 3)
    assert rolled_back(five, 1) == 1
    assert rolled_back(five, 3) == 3
    with pytest.raises(NoEarlierChampionError, match="never was"):
        rolled_back(five, 4)


def test_a_rollback_is_a_move_with_a_generation_of_its_own(five):
    promoted(five, 1, 2)
    rolled_back(five)
    with five.read() as tx:
        move = alias_history(tx, "fraud", limit_max=1)[0]
    assert (move.generation, move.from_version, move.to_version, move.rollback) == (3, 2, 1, True)
    assert stages(five)[2] == Stage.STAGING


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1))
def test_the_line_ends_with_the_present_champion_and_never_repeats_it(moves):
    line = line_of(moves)
    assert line[-1] == moves[-1][0]
    assert all(before != after for before, after in itertools.pairwise(line))


def test_a_rollback_undoes_the_promotion_before_it(five):
    promoted(five, 1, 2)
    with five.read() as tx:
        before = champion_line(tx, "fraud")
    promoted(five, 3)
    rolled_back(five)
    with five.read() as tx:
        assert champion_line(tx, "fraud") == before


@pytest.mark.parametrize("alias", ["latest", "", "Champion", "a/b", "1st"])
def test_an_alias_cannot_be_called_anything(five, alias):
    with five.write() as tx, pytest.raises(NameInvalidError):
        set_alias(tx, "fraud", 1, alias=alias, actor="ada", now_us=1)


def test_an_alias_names_only_what_exists(five):
    with five.write() as tx, pytest.raises(VersionMissingError):
        promote(tx, "fraud", 6, actor="ada", now_us=1)


def test_the_desired_set_is_what_aliases_name_the_former_champion_and_the_pinned(five):
    promoted(five, 1, 2)
    with five.write() as tx:
        create_model(tx, "idle", actor="ada", now_us=1)
        set_alias(tx, "fraud", 3, alias="challenger", actor="ada", now_us=1)
    with five.read() as tx:
        (desired,) = desired_versions(tx, pinned={"fraud": {5, 99}, "unknown": {1}})
    assert (desired.model, desired.champion, desired.previous_champions) == ("fraud", 2, (1,))
    assert desired.aliases == {"champion": 2, "challenger": 3}
    assert [version.number for version in desired.versions] == [1, 2, 3, 5]


@pytest.mark.parametrize(("previous_max", "resident"), [(0, [5]), (1, [4, 5]), (2, [3, 4, 5]), (9, [2, 3, 4, 5])])
def test_as_many_former_champions_are_desired_as_asked_for(five, previous_max, resident):
    promoted(five, 2, 5, 3, 4, 5)
    with five.read() as tx:
        (desired,) = desired_versions(tx, previous_max=previous_max)
    assert [version.number for version in desired.versions] == resident
    assert list(desired.previous_champions) == [4, 3, 2][:previous_max]


def test_after_a_rollback_what_was_rolled_back_from_is_no_longer_desired(five):
    promoted(five, 1, 2, 3)
    rolled_back(five)
    with five.read() as tx:
        (desired,) = desired_versions(tx)
    assert [version.number for version in desired.versions] == [1, 2]
