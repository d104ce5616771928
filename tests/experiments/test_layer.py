"""Several experiments of one model beside each other, and who is in which."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from experiments import life, records
from experiments.allocation import allocate, grow, resplit
from experiments.assignment import assignment_document, compile_assignment
from experiments.definition import Scope, State, UnitKind
from experiments.errors import ExperimentInvalidError, ModelBusyError, SharesInvalidError
from experiments.explanation import explain
from experiments.layer import Layer, free_run
from storage.database import open_database

WHO = {"actor": "ada", "now_us": 1_000}
UNITS = [f"unit-{n}" for n in range(100_000)]


def fnv1a(text):
    """Hash as the FNV page publishes it, over the UTF-8 bytes."""
    value = 2166136261
    for byte in text.encode("utf-8"):
        value = (value ^ byte) * 16777619 % 2**32
    return value


def growthbook(seed, unit):
    """Return the place in [0, 1) by version 2 of GrowthBook's published hash."""
    return fnv1a(str(fnv1a(seed + unit))) % 10000 / 10000


@pytest.fixture(scope="module")
def one_database(tmp_path_factory):
    opened = open_database(f"sqlite:///{tmp_path_factory.mktemp('layer')}/turnout.db")
    yield opened
    opened.close()


@pytest.fixture
def tx(one_database):
    with one_database.write() as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def run(tx, make_experiment):
    """Create and start an experiment of the model."""

    def start(name, *, scope=None, **changes):
        given = make_experiment(id=name, seed=name, scope=scope or Scope(), **changes)
        records.create(tx, given, **WHO)
        return life.start(tx, name, **WHO).experiment

    return start


def layer_of(*experiments):
    documents = [json.loads(json.dumps(assignment_document(each))) for each in experiments]
    return Layer("flight-delay", [compile_assignment(each) for each in documents])


def test_no_unit_is_in_two_experiments_and_each_is_where_an_oracle_says(run):
    names = {"first": 0.3, "second": 0.25, "third": 0.4}
    running = {name: run(name, scope=Scope(layer_share=share)) for name, share in names.items()}
    assert [each.layer_first for each in running.values()] == [0, 3000, 5500]
    layer = layer_of(*running.values())
    alone = {name: layer_of(each) for name, each in running.items()}
    found = Counter()
    for unit in UNITS:
        place = growthbook("layer:flight-delay", unit)
        holder = next((name for name, end in (("first", 0.3), ("second", 0.55), ("third", 0.95)) if place < end), None)
        expected = holder and (holder, "control" if growthbook(holder, unit) < 0.5 else "treatment")
        got = layer.assign(unit, "r", {})
        assert (got and (got.experiment, got.variant)) == expected
        # Each experiment by itself says the same: there is no unit that two of them would take.
        takers = [name for name, own in alone.items() if own.assign(unit, "r", {}) is not None]
        assert takers == ([holder] if holder else [])
        found[holder] += 1
        assert got is None or layer.arms[got.index] is got
    for name, share in {**names, None: 0.05}.items():
        assert abs(found[name] / len(UNITS) - share) < 5 * (share * (1 - share) / len(UNITS)) ** 0.5


def test_the_split_within_an_experiment_is_independent_of_the_place_in_the_layer(run):
    layer = layer_of(run("first", scope=Scope(layer_share=0.5)), run("second", scope=Scope(layer_share=0.5)))
    table = np.zeros((2, 2))
    for unit in UNITS:
        got = layer.assign(unit, "r", {})
        table[int(got.experiment == "second"), int(got.variant == "treatment")] += 1
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_an_experiment_gets_units_only_where_they_are_free(tx, run, make_experiment):
    run("first", scope=Scope(layer_share=0.5))
    run("second", scope=Scope(layer_share=0.3))
    records.create(tx, make_experiment(id="third", scope=Scope(layer_share=0.3)), **WHO)
    with pytest.raises(ModelBusyError, match=r"0\.2 of them are free"):
        life.start(tx, "third", **WHO)
    life.pause(tx, "first", **WHO)
    with pytest.raises(ModelBusyError):
        life.start(tx, "third", **WHO)
    life.conclude(tx, "first", **WHO)
    assert life.start(tx, "third", **WHO).experiment.layer_first == 0
    assert [each.id for each in records.list_holding(tx, "flight-delay")] == ["second", "third"]


def test_the_lowest_free_run_is_found_and_else_the_longest():
    assert free_run([], 10_000) == (0, 10_000)
    assert free_run([(0, 100), (300, 50)], 200) == (100, 200)
    assert free_run([(300, 50), (0, 100)], 201) == (350, 9650)
    assert free_run([(0, 10_000)], 1) == (0, 0)
    assert free_run([(0, 4000), (4500, 5500)], 600) == (4000, 500)


def test_one_whole_experiment_costs_no_more_than_its_bucket(run):
    plain = run("plain")
    assert layer_of(plain).sole is not None
    for scope in (
        Scope(layer_share=0.5),
        Scope(unit=UnitKind.REQUEST),
        Scope(forced={"u": "control"}),
        Scope(targeting={"attribute": "a", "equals": "b"}),
    ):
        assert layer_of(replace(plain, scope=scope)).sole is None


def test_only_calls_that_are_meant_are_in_the_experiment(run):
    meant = {"attribute": "country", "in": ["DE", "FR"]}
    layer = layer_of(run("targeted", scope=Scope(targeting=meant)))
    for unit in UNITS[:500]:
        assert layer.assign(unit, "r", {"country": "IT"}) is None
        assert layer.assign(unit, "r", {}) is None
        assert layer.assign(unit, "r", {"country": "FR"}).experiment == "targeted"


def test_a_forced_unit_gets_its_variant_whatever_else_is_said_and_is_in_no_epoch(run):
    scope = Scope(
        forced={"tester": "treatment", "other": "control"},
        layer_share=0.01,
        targeting={"attribute": "country", "equals": "DE"},
    )
    layer = layer_of(run("forcing", scope=scope), run("beside", scope=Scope(layer_share=0.9)))
    got = layer.assign("tester", "r", {})
    assert (got.experiment, got.variant, got.epoch, got.propensity) == ("forcing", "treatment", 0, 1.0)
    assert layer.arms[got.index] is got
    assert layer.assign("other", "r", {}).variant == "control"
    assert [arm.index for arm in layer.arms] == list(range(len(layer.arms)))


def test_a_unit_is_forced_by_one_experiment(tx, run, make_experiment):
    run("first", scope=Scope(forced={"tester": "control"}, layer_share=0.5))
    second = make_experiment(id="second", scope=Scope(forced={"tester": "treatment"}, layer_share=0.5))
    records.create(tx, second, **WHO)
    with pytest.raises(ModelBusyError, match="forces the unit 'tester' too"):
        life.start(tx, "second", **WHO)


def test_an_experiment_of_requests_assigns_each_request_by_itself(run):
    layer = layer_of(run("requests", scope=Scope(unit=UnitKind.REQUEST)))
    found = Counter(layer.assign("one-unit", f"r{n}", {}).variant for n in range(4000))
    assert abs(found["control"] - 2000) < 5 * 1000**0.5
    assert {layer.assign("", "r7", {}).variant, layer.assign("any", "r7", {}).variant} == {
        "control" if growthbook("requests", "r7") < 0.5 else "treatment"
    }


@pytest.mark.parametrize(
    "wrong",
    [
        Scope(layer_share=0),
        Scope(layer_share=1.5),
        Scope(layer_share=0.00015),
        Scope(layer_share=float("nan")),
        Scope(forced={"u": "nobody"}),
        Scope(forced={"": "control"}),
        Scope(forced={f"u{n}": "control" for n in range(1001)}),
    ],
)
def test_a_scope_that_breaks_a_rule_is_refused(tx, make_experiment, wrong):
    with pytest.raises(ExperimentInvalidError):
        records.create(tx, make_experiment(scope=wrong), **WHO)


@pytest.mark.parametrize("seed", range(5))
def test_growing_coverage_moves_nobody_even_after_the_shares_changed(seed):
    generator = np.random.default_rng(seed)
    splits = [tuple(0.1 + 0.6 * each for each in generator.dirichlet([1] * 4).tolist()) for _ in range(3)]
    held = allocate(splits[0], coverage=0.01)
    for number, coverage in enumerate((0.02, 0.1, 0.37, 0.5, 1.0)):
        if number in {1, 3}:
            held = resplit(held, splits[1 if number == 1 else 2])
        after = grow(held, coverage=coverage)
        assert after.epoch == held.epoch + 1
        assert all(old in {-1, new} for old, new in zip(held.slots(), after.slots(), strict=True))
        total = sum(after.counts())
        assert abs(total - coverage * 10_000) <= 4
        # As near to the shares as the smaller number of slots was.
        off = [abs(count - share * sum(held.counts())) for count, share in zip(held.counts(), held.shares, strict=True)]
        for count, share in zip(after.counts(), after.shares, strict=True):
            assert abs(count - share * total) <= max(*off, 4)
        held = after
    with pytest.raises(SharesInvalidError):
        grow(held, coverage=0.5)


def test_from_1_to_100_percent_no_unit_moves(tx, run):
    found = run("growing", coverage=0.01)
    before = dict.fromkeys(UNITS[:20000])
    for coverage in (0.02, 0.05, 0.3, 0.9, 1.0):
        found = records.update(tx, replace(found, coverage=coverage), ["coverage"], etag="", **WHO).experiment
        table = layer_of(found).sole
        for unit, had in before.items():
            got = table.assign(unit)
            assert had is None or had == got.variant
            before[unit] = got.variant if got else None
    assert None not in before.values()
    assert [each.epoch for each in records.epochs(tx, "growing")] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(SharesInvalidError):
        records.update(tx, replace(found, coverage=0.5), ["coverage"], etag="", **WHO)


def test_it_is_said_why_a_unit_gets_what_it_gets(tx, run):
    meant = {"attribute": "country", "equals": "DE"}
    first = run("first", scope=Scope(layer_share=0.5, targeting=meant, forced={"tester": "control"}))
    second = run("second", scope=Scope(layer_share=0.5))

    def why(unit, **attributes):
        return explain(first, unit, attributes=attributes, others=[second])

    inside = next(unit for unit in UNITS if growthbook("layer:flight-delay", unit) < 0.5)
    beside = next(unit for unit in UNITS if growthbook("layer:flight-delay", unit) >= 0.5)
    assert why(inside, country="DE").assigned.experiment == "first"
    assert "which has 0.5 of the experiment's units" in why(inside, country="DE").sentence
    assert why(inside).assigned is None
    assert "are not those that first is for" in why(inside).sentence
    assert why(beside, country="DE").assigned is None
    assert "first holds 0 to 4999: second holds it" in why(beside).sentence
    assert why("tester").assigned.variant == "control"
    assert "is forced to control" in why("tester").sentence
    paused = life.pause(tx, "first", **WHO).experiment
    assert paused.state is State.PAUSED
    assert explain(paused, inside, attributes={}, others=[]).assigned is None
