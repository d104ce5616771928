"""The history of aliases, replayed, is the state: also when several move them at once."""

import random
import threading

import pytest

from registry.alias_history import alias_history
from registry.aliases import remove_alias, set_alias
from registry.champion import promote, rollback
from registry.errors import AliasMissingError, AliasMovedError, NoEarlierChampionError
from registry.models import create_model, get_model
from registry.records import Alias, Stage
from registry.versions import add_version, get_version

SEED = 20261124
MOVERS = 4
MOVES = 40
VERSIONS = 5
ALIASES = ("champion", "canary", "challenger")


@pytest.fixture
def five(database, draft):
    with database.write() as tx:
        create_model(tx, "fraud", actor="ada", now_us=1)
        for _ in range(VERSIONS):
            add_version(tx, draft(), actor="ada", now_us=1)
    return database


def replayed(moves):
    """Return where the aliases stand after these moves, oldest first, by what they say alone."""
    standing = {}
    for move in moves:
        before = standing.pop(move.alias, Alias(move.alias, 0, move.generation - 1))
        assert (before.version, before.generation) == (move.from_version, move.generation - 1)
        if not move.removed:
            standing[move.alias] = Alias(move.alias, move.to_version, move.generation, move.expires_us)
    return standing


def moved_at_random(database, seed, start, outcomes):
    """Move aliases at random, each time by the generation seen before, which another may have moved on since."""
    random_ = random.Random(seed)  # noqa: S311  (a seed that fails must fail again)
    start.wait()
    for step in range(MOVES):
        alias, number = random_.choice(ALIASES), random_.randint(1, VERSIONS)
        with database.read() as tx:
            seen = {each.alias: each.generation for each in get_model(tx, "fraud").aliases}.get(alias, 0)
        who = {"generation": seen, "actor": f"mover {seed}", "now_us": 10 + step}
        try:
            with database.write() as tx:
                kind = random_.random()
                if kind < 0.2 and alias != "champion":
                    move = remove_alias(tx, "fraud", alias, **who)
                elif kind < 0.4 and alias == "champion":
                    move = rollback(tx, "fraud", **who)
                elif alias == "champion":
                    move = promote(tx, "fraud", number, **who)
                else:
                    move = set_alias(tx, "fraud", number, alias=alias, **who)
            outcomes.append((alias, move.generation))
        except AliasMovedError:
            outcomes.append((alias, 0))
        except (AliasMissingError, NoEarlierChampionError):
            continue


def test_the_history_of_concurrent_moves_replays_to_the_present_state(five):
    outcomes = []
    start = threading.Barrier(MOVERS)
    movers = [
        threading.Thread(target=moved_at_random, args=(five, SEED + mover, start, outcomes)) for mover in range(MOVERS)
    ]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join()
    with five.read() as tx:
        moves = alias_history(tx, "fraud", limit_max=10**4)[::-1]
        standing = replayed(moves)
        assert standing == {each.alias: each for each in get_model(tx, "fraud").aliases}
        stages = {number: get_version(tx, "fraud", number).stage for number in range(1, VERSIONS + 1)}
    won = [(alias, generation) for alias, generation in outcomes if generation]
    assert len(won) == len(set(won)), "no generation was won twice"
    assert sorted(won) == sorted((move.alias, move.generation) for move in moves), "and no move was lost"
    in_production = {number for number, stage in stages.items() if stage == Stage.PRODUCTION}
    assert in_production == {standing["champion"].version}
