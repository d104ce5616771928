"""Ramps in the database: the table of their life, splits that move nobody, and kills that leave nothing half."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import IntegrityError

from experiments import life, records, tables
from experiments.definition import Scope, State
from experiments.errors import (
    ExperimentChangedError,
    ExperimentInvalidError,
    ExperimentStateError,
    HoldoutBusyError,
    ModelBusyError,
    RampInvalidError,
    RampMovedError,
    RampRunsError,
    RampStateError,
)
from experiments.holdout import holdout_of, set_holdout
from experiments.ramp import moves, rows
from experiments.ramp.definition import (
    DEFAULT_SHARES,
    Guardrail,
    GuardrailKind,
    Ramp,
    Step,
    default_steps,
    split_of,
    validate_ramp,
)
from experiments.ramp.standing import OPEN, TRANSITIONS, Grounds, RampEventKind, RampState
from storage.database import open_database
from storage.leases import LeaseLostError, acquire, renew
from storage.revision import current_revision, list_changes

WHO = {"actor": "ada", "now_us": 1_000}
NAME = "v1-against-v2"
RAMP = Ramp(steps=default_steps())


def grounds(*reasons, now_us=2_000, evidence="{}"):
    return Grounds(reasons=reasons, evidence=evidence, actor="ramp", now_us=now_us)


@pytest.fixture
def tx(database):
    with database.write() as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def started(tx, make_experiment):
    records.create(tx, make_experiment(ramp=RAMP), **WHO)
    life.start(tx, NAME, **WHO)
    return rows.get_standing(tx, NAME)


def step_on(tx, **changes):
    """Advance from wherever it is."""
    seen = rows.get_standing(tx, NAME)
    moves.advance(tx, replace(seen, **changes), grounds("well"), etag=records.get(tx, NAME).etag)


def do(tx, kind):
    seen = rows.get_standing(tx, NAME)
    if kind is RampEventKind.ADVANCED:
        step_on(tx)
    elif kind in {RampEventKind.ROLLED_BACK, RampEventKind.ABORTED}:
        moves.end(tx, seen, kind, grounds("so it is"))
    elif kind is RampEventKind.COMPLETED:
        moves.complete(tx, seen, grounds("done"), etag=records.get(tx, NAME).etag)
    else:
        rows.note(tx, seen, kind, grounds("so it is"))


REACH = {
    RampState.RUNNING: (),
    RampState.HOLDING: (RampEventKind.HELD,),
    RampState.PAUSED: (RampEventKind.PAUSED,),
    RampState.COMPLETED: (RampEventKind.COMPLETED,),
    RampState.ROLLED_BACK: (RampEventKind.ROLLED_BACK,),
    RampState.ABORTED: (RampEventKind.ABORTED,),
}


@pytest.mark.parametrize("kind", [kind for kind in RampEventKind if kind is not RampEventKind.STARTED])
def test_each_event_leads_in_each_state_where_the_table_says(tmp_path_factory, make_experiment, kind):
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('life')}/turnout.db")
    for state in RampState:
        with database.write() as tx:
            records.create(tx, make_experiment(ramp=RAMP), **WHO)
            life.start(tx, NAME, **WHO)
            for each in REACH[state]:
                do(tx, each)
            assert rows.get_standing(tx, NAME).state is state
            before = current_revision(tx), rows.list_events(tx, NAME, limit_max=99)
            if (state, kind) in TRANSITIONS:
                do(tx, kind)
                assert rows.get_standing(tx, NAME).state is TRANSITIONS[state, kind]
                assert rows.list_events(tx, NAME, limit_max=99)[-1].kind is kind
            else:
                with pytest.raises(RampStateError):
                    do(tx, kind)
                assert (current_revision(tx), rows.list_events(tx, NAME, limit_max=99)) == before
            tx.rollback()
    database.close()


def test_the_candidate_gets_its_share_beside_a_control_of_the_same_size_and_nobody_moves(tx, started):
    assert started.step == 1
    before = records.get(tx, NAME).allocation
    for share in DEFAULT_SHARES:
        experiment = records.get(tx, NAME)
        coverage, control, candidate = split_of(share)
        assert experiment.coverage == coverage
        assert experiment.allocation.counts() == (
            round(coverage * control * 10_000),
            round(coverage * candidate * 10_000),
        )
        for old, new in zip(before.slots(), experiment.allocation.slots(), strict=True):
            assert old in {-1, new} or share == 1
            # Who had the candidate keeps it, to the end.
            assert old != 1 or new == 1
        before = experiment.allocation
        if share < 1:
            step_on(tx)
    assert [each.epoch for each in records.epochs(tx, NAME)] == list(range(1, 7))


def test_a_ramp_of_uneven_steps_gives_each_what_it_says(tx, make_experiment):
    shares = (0.2, 0.7, 0.75)
    ramp = Ramp(steps=tuple(Step(share) for share in shares))
    flipped = tuple(replace(each, control=not each.control) for each in make_experiment().variants)
    records.create(tx, make_experiment(ramp=ramp, variants=flipped), **WHO)
    life.start(tx, NAME, **WHO)
    for share in shares:
        assert records.get(tx, NAME).allocation.counts()[0] == round(share * 10_000)
        if share != shares[-1]:
            step_on(tx)
    do(tx, RampEventKind.COMPLETED)
    found = records.get(tx, NAME)
    assert (found.state, found.winner) == (State.RUNNING, ""), "a ramp that ends below 1 leaves the experiment running"
    records.set_split(tx, NAME, {"control": 0.5, "treatment": 0.5}, **WHO)


def test_a_step_is_taken_once_however_many_saw_that_it_was_due(tx, started):
    etag = records.get(tx, NAME).etag
    moves.advance(tx, started, grounds("well"), etag=etag)
    with pytest.raises(RampMovedError):
        moves.advance(tx, started, grounds("well"), etag=etag)
    with pytest.raises(RampMovedError):
        moves.advance(tx, started, grounds("well"), etag=records.get(tx, NAME).etag)
    assert rows.get_standing(tx, NAME).step == 2


def test_a_decision_on_an_experiment_that_has_changed_is_not_carried_out(tx, started):
    etag = records.get(tx, NAME).etag
    records.update(tx, replace(records.get(tx, NAME), owner="bob"), ["owner"], etag="", **WHO)
    with pytest.raises(RampMovedError, match="etag"):
        moves.advance(tx, started, grounds("well"), etag=etag)


def test_who_has_lost_the_lease_takes_no_step(tx, started):
    lease = acquire(tx, name="experiments.ramp.e", holder="one", duration_us=10, now_us=0)
    acquire(tx, name="experiments.ramp.e", holder="two", duration_us=10, now_us=20)
    with pytest.raises(LeaseLostError):
        renew(tx, lease, duration_us=10, now_us=25)
    assert started.step == 1


def test_the_shares_are_the_ramps_to_set_while_it_goes(tx, started):
    assert started.state in OPEN
    with pytest.raises(RampRunsError):
        records.set_split(tx, NAME, {"control": 0.3, "treatment": 0.7}, **WHO)
    with pytest.raises(RampRunsError):
        records.update(tx, replace(records.get(tx, NAME), coverage=1.0), ["coverage"], etag="", **WHO)
    do(tx, RampEventKind.ROLLED_BACK)
    assert records.get(tx, NAME).state is State.CONCLUDED


def with_ramp(tx, *steps, **changes):
    """Set a ramp as `UpdateExperiment` does."""
    ramp = Ramp(steps=tuple(map(Step, steps)))
    seen = records.get(tx, NAME)
    records.update(tx, replace(seen, ramp=ramp, **changes), ["ramp", *changes], etag=seen.etag, **WHO)
    return moves.begin(tx, NAME, **WHO)


@pytest.mark.parametrize(
    ("coverage", "shares", "steps", "counts"),
    [
        (1.0, (0.5, 0.5), (0.5, 1.0), [(5_000, 5_000), (0, 10_000)]),
        (1.0, (0.9, 0.1), (0.1, 0.5, 1.0), [(9_000, 1_000), (5_000, 5_000), (0, 10_000)]),
        (1.0, (1.0, 0.0), (0.01, 0.7), [(9_900, 100), (3_000, 7_000)]),
        (0.2, (0.5, 0.5), (0.1, 0.25), [(1_000, 1_000), (2_500, 2_500)]),
        (0.2, (0.2, 0.8), (0.2, 0.7), [(2_000, 2_000), (3_000, 7_000)]),
        (0.3, (0.9, 0.1), (0.05, 0.1, 0.6), [(2_500, 500), (2_000, 1_000), (4_000, 6_000)]),
    ],
)
def test_a_started_experiment_may_get_a_ramp_that_takes_the_candidate_from_nobody(
    tx, make_experiment, coverage, shares, steps, counts
):
    variants = tuple(replace(v, share=s) for v, s in zip(make_experiment().variants, shares, strict=True))
    records.create(tx, make_experiment(variants=variants, coverage=coverage), **WHO)
    life.start(tx, NAME, **WHO)
    before = records.get(tx, NAME).allocation
    with_ramp(tx, *steps)
    for number, wanted in enumerate(counts, 1):
        found = records.get(tx, NAME)
        assert (found.allocation.counts(), found.epoch) == (wanted, number + 1)
        for was, now in zip(before.slots(), found.allocation.slots(), strict=True):
            # Only the control's units may move, and nobody leaves.
            assert was in {now, -1} or (was, now) == (0, 1)
        before = found.allocation
        if number < len(steps):
            step_on(tx)
    events = [each.kind for each in rows.list_events(tx, NAME, limit_max=99)]
    assert events == [RampEventKind.STARTED, *[RampEventKind.ADVANCED] * (len(steps) - 1)]
    kinds = [change.kind for change in list_changes(tx, before_revision=None, limit_max=99)]
    assert "experiment.ramp_started" in kinds


def test_a_ramp_that_would_take_the_candidate_from_somebody_or_goes_already_is_not_set(tx, make_experiment):
    records.create(tx, make_experiment(), **WHO)
    with pytest.raises(ExperimentStateError):
        with_ramp(tx, 0.5)
    records.update(tx, make_experiment(ramp=None), ["ramp"], etag="", **WHO)
    life.start(tx, NAME, **WHO)
    with pytest.raises(RampInvalidError, match=r"has 0.5 of the units.* gives it 0.1"):
        with_ramp(tx, 0.1, 1.0)
    with pytest.raises(RampInvalidError, match="not taken off"):
        with_ramp_off(tx)
    with_ramp(tx, 0.5, 0.6)
    with pytest.raises(RampRunsError):
        with_ramp(tx, 0.5, 1.0)
    with pytest.raises(ExperimentChangedError):
        records.update(tx, replace(records.get(tx, NAME), ramp=RAMP), ["ramp"], etag="1", **WHO)


def with_ramp_off(tx):
    records.update(tx, replace(records.get(tx, NAME), ramp=None), ["ramp"], etag="", **WHO)
    moves.begin(tx, NAME, **WHO)


def test_an_experiment_whose_ramp_has_ended_below_all_units_may_get_another(tx, make_experiment):
    records.create(tx, make_experiment(), **WHO)
    life.start(tx, NAME, **WHO)
    with_ramp(tx, 0.6)
    do(tx, RampEventKind.COMPLETED)
    assert records.get(tx, NAME).state is State.RUNNING
    with_ramp(tx, 0.7, 1.0)
    standing = rows.get_standing(tx, NAME)
    assert (standing.state, standing.step) == (RampState.RUNNING, 1)
    assert records.get(tx, NAME).allocation.counts() == (3_000, 7_000)
    events = rows.list_events(tx, NAME, limit_max=99)
    assert [(each.number, each.kind) for each in events] == [
        (1, RampEventKind.STARTED),
        (2, RampEventKind.COMPLETED),
        (3, RampEventKind.STARTED),
    ]


def test_an_experiment_that_is_concluded_by_hand_takes_its_ramp_with_it(tx, started):
    life.conclude(tx, NAME, winner="treatment", reason="enough", **WHO)
    assert rows.get_standing(tx, started.experiment).state is RampState.ABORTED
    assert rows.list_events(tx, NAME, limit_max=9)[-1].reasons == ("enough",)


def test_each_event_is_kept_with_its_evidence_and_in_the_audit_and_cannot_be_changed(database, make_experiment):
    with database.write() as tx:
        records.create(tx, make_experiment(ramp=RAMP), **WHO)
        life.start(tx, NAME, **WHO)
        evidence = json.dumps({"units": [5, 7]})
        seen = rows.get_standing(tx, NAME)
        moves.advance(tx, seen, grounds("well", evidence=evidence), etag=records.get(tx, NAME).etag)
        found = rows.list_events(tx, NAME, limit_max=9)
        assert [(each.number, each.kind.value, each.step) for each in found] == [(1, "started", 1), (2, "advanced", 2)]
        assert (found[1].reasons, found[1].evidence, found[1].time_us) == (("well",), evidence, 2_000)
        (last,) = [
            each for each in list_changes(tx, before_revision=None, limit_max=9) if each.revision == found[1].revision
        ]
        assert (last.kind, last.actor) == ("experiment.ramp_advanced", "ramp")
        assert rows.list_events(tx, NAME, after=1, limit_max=9) == found[1:]
    with pytest.raises(IntegrityError), database.write() as tx:
        tx.execute(update(tables.experiment_ramp_events).values(step=3))


def test_a_process_that_is_killed_between_any_two_statements_of_a_step_has_done_all_of_it_or_nothing(
    tmp_path, make_experiment
):
    url = f"sqlite:///{tmp_path}/turnout.db"
    database = open_database(url)
    with database.write() as tx:
        records.create(tx, make_experiment(ramp=RAMP), **WHO)
        life.start(tx, NAME, **WHO)
    database.close()
    steps, statement = [], 0
    while not steps or steps[-1] == 1:
        statement += 1
        child = os.fork()
        if not child:
            _step_and_die(url, statement)
        os.waitpid(child, 0)
        steps.append(_whole_step(url))
    # It was killed before each statement, and the one time that it was not it stepped.
    assert statement > 8
    assert steps == [1] * (statement - 1) + [2]


def _step_and_die(url, statement):
    """Step as the gateway does, and die by SIGKILL before the n-th statement; never return."""
    database = open_database(url)
    left = [statement]

    def count(*_):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    with database.write() as tx:
        event.listen(tx.engine, "before_cursor_execute", count)
        event.listen(tx.engine, "commit", count)
        lease = acquire(tx, name="experiments.ramp.e", holder="one", duration_us=10, now_us=0)
        renew(tx, lease, duration_us=10, now_us=0)
        step_on(tx)
    os._exit(0)


def _whole_step(url):
    """Return the step, having seen that the split, the epoch and the events are that step's."""
    database = open_database(url)
    with database.read() as tx:
        standing, experiment = rows.get_standing(tx, NAME), records.get(tx, NAME)
        events = rows.list_events(tx, NAME, limit_max=9)
        epochs = records.epochs(tx, NAME)
    database.close()
    coverage, control, candidate = split_of(DEFAULT_SHARES[standing.step - 1])
    assert experiment.coverage == coverage
    assert experiment.shares == (control, candidate)
    assert experiment.epoch == standing.step == len(events) == len(epochs)
    assert experiment.allocation == epochs[-1]
    return standing.step


@pytest.mark.parametrize(
    "broken",
    [
        Ramp(steps=()),
        Ramp(steps=(Step(0.5), Step(0.5))),
        Ramp(steps=(Step(0.5), Step(0.1))),
        Ramp(steps=(Step(0.0),)),
        Ramp(steps=(Step(1.1),)),
        Ramp(steps=(Step(float("nan")),)),
        Ramp(steps=(Step(1.0, proven=True),)),
        Ramp(steps=(Step(0.5, minimum_time_us=-1),)),
        Ramp(steps=(Step(0.5, minimum_units=-1),)),
        Ramp(steps=(Step(1.0),), alpha=0.0),
        Ramp(steps=(Step(0.5),), promote=True),
        Ramp(steps=(Step(1.0),), guardrails=(Guardrail(GuardrailKind.LATENCY),) * 2),
        Ramp(steps=(Step(1.0),), guardrails=(Guardrail(GuardrailKind.ERROR_RATE, tolerance=1.0),)),
        Ramp(steps=(Step(1.0),), guardrails=(Guardrail(GuardrailKind.ERROR_RATE, limit_us=5),)),
        Ramp(steps=(Step(1.0),), guardrails=(Guardrail(GuardrailKind.LATENCY, ratio=0.5),)),
        Ramp(steps=(Step(1.0),), guardrails=(Guardrail(GuardrailKind.OUTPUT_RANGE),)),
        Ramp(steps=(Step(1.0),), guardrails=(Guardrail(GuardrailKind.OUTPUT_RANGE, output="p", lower=2, upper=1),)),
    ],
)
def test_a_ramp_that_breaks_a_rule_is_refused(broken):
    with pytest.raises(RampInvalidError):
        validate_ramp(broken)


def test_a_ramp_is_for_two_variants_whose_shares_it_sets(tx, make_experiment):
    third = replace(make_experiment().variants[1], variant="third", share=0.25)
    three = (
        *(replace(each, share=share) for each, share in zip(make_experiment().variants, (0.5, 0.25), strict=True)),
    )
    for changes in (
        {"variants": (*three, third)},
        {"variants": tuple(replace(v, share=s) for v, s in zip(make_experiment().variants, (0.9, 0.1), strict=True))},
        {"coverage": 0.5},
    ):
        with pytest.raises(ExperimentInvalidError, match=r"for 2: its end|give both variants 0.5"):
            records.create(tx, make_experiment(ramp=RAMP, **changes), **WHO)


def test_what_is_held_out_of_a_model_is_no_experiments(tx, make_experiment):
    held, revision = set_holdout(tx, "flight-delay", 0.1, **WHO)
    assert (held.places, held.share, revision) == (1_000, 0.1, current_revision(tx))
    assert holdout_of(tx, "flight-delay") == held
    assert holdout_of(tx, "another").share == 0
    records.create(tx, make_experiment(), **WHO)
    with pytest.raises(ModelBusyError, match="hold-out"):
        life.start(tx, NAME, **WHO)
    records.create(tx, make_experiment(id="most", scope=Scope(layer_share=0.9)), **WHO)
    assert life.start(tx, "most", **WHO).experiment.layer_first == 0
    with pytest.raises(HoldoutBusyError, match="most"):
        set_holdout(tx, "flight-delay", 0.2, **WHO)
    with pytest.raises(ExperimentChangedError):
        set_holdout(tx, "flight-delay", 0.05, etag="0", **WHO)
    for wrong in (-0.1, 1.1, 0.00005, float("nan")):
        with pytest.raises(ExperimentInvalidError):
            set_holdout(tx, "flight-delay", wrong, **WHO)
    set_holdout(tx, "flight-delay", 0.0, etag=held.etag, **WHO)
    life.conclude(tx, "most", **WHO)
    life.start(tx, NAME, **WHO)
