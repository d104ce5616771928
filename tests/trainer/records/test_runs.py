"""Runs and checks: one run of a model at a time, for whoever holds the newest token, and nothing after its end."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import update

from storage.leases import LeaseLostError
from storage.revision import list_changes
from storage.schema import leases
from trainer.records import checks, claims, moves, runs
from trainer.records.errors import PolicyPausedError, RunOpenError, RunStateError, StepInvalidError
from trainer.records.life import FINISHING, OPEN, RunState, Step, check_move
from trainer.records.policies import create_policy, get_policy, pause_policy
from trainer.records.policy import Budget, CheckSchedule
from trainer.records.schedule import Past, next_check_us, refusal

NOW_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
FIRES = [{"kind": "time", "verdict": "FIRE", "sentence": "it is old", "evidence": {}}]
QUIET = [{"kind": "time", "verdict": "QUIET", "sentence": "it is young", "evidence": {}}]


@pytest.fixture
def tx(database, define):
    with database.write() as tx:
        create_policy(tx, "petals", define(), actor="ada", now_us=NOW_US, chance=0)
        create_policy(tx, "stems", define(), actor="ada", now_us=NOW_US, chance=0)
        yield tx


def start(tx, policy="petals", *, now_us=NOW_US, **options):
    return moves.start_run(tx, policy, reason="why not", actor="ada", now_us=now_us, **options)


def claim(tx, trainer="t1", *, now_us=NOW_US):
    return claims.claim_run(tx, trainer, now_us=now_us)


def let_claims_expire(tx):
    tx.execute(update(leases).values(expires_us=1))


def finish(tx, state, *, version=0, now_us=NOW_US):
    run, token = claim(tx)
    if version:
        claims.note_version(tx, run.policy, run.number, version, now_us=now_us)
    held = claims.hold(tx, run.policy, run.number, token)
    return claims.finish_run(tx, held, state, ["so it is"], experiment="", now_us=now_us)


def test_from_each_state_only_the_listed_ones_are_reached():
    reached = {state: {other for other in RunState if _moves(state, other)} for state in RunState}
    assert {state for state, following in reached.items() if following} == OPEN
    assert reached[RunState.DEPLOYING] == {"deployed", "rolled_back", "refused", "cancelled"}
    assert reached[RunState.RUNNING] >= FINISHING
    assert not reached[RunState.QUEUED] & FINISHING


def _moves(state, other):
    try:
        check_move("run", state, other)
    except RunStateError:
        return False
    return True


def test_a_model_has_one_run_at_a_time_over_all_its_policies(tx):
    start(tx)
    for policy in ("petals", "stems"):
        with pytest.raises(RunOpenError):
            start(tx, policy)
    newer = start(tx, "stems", supersede=True)
    assert runs.get_run(tx, "petals", 1).state is RunState.SUPERSEDED
    assert [run.name for run in runs.open_runs(tx)] == [newer.name]


def test_a_run_with_traffic_is_not_superseded(tx):
    start(tx)
    finish(tx, RunState.DEPLOYING, version=1)
    with pytest.raises(RunOpenError):
        start(tx, supersede=True)


def test_of_two_trainers_one_gets_the_run_and_the_other_when_it_is_gone(tx):
    start(tx)
    run, first = claim(tx, "t1")
    assert run.state is RunState.RUNNING
    assert claim(tx, "t2") is None
    let_claims_expire(tx)
    with pytest.raises(LeaseLostError):
        claims.hold(tx, "petals", 1, first)
    taken, second = claim(tx, "t2")
    assert (taken.trainer, second) == ("t2", first + 1)
    with pytest.raises(LeaseLostError):
        claims.hold(tx, "petals", 1, first)
    assert claims.hold(tx, "petals", 1, second).name == run.name


def test_a_trainer_that_is_started_again_takes_its_own_run_at_once(tx):
    start(tx)
    _, first = claim(tx, "t1")
    _, second = claim(tx, "t1")
    with pytest.raises(LeaseLostError):
        claims.hold(tx, "petals", 1, first)
    claims.hold(tx, "petals", 1, second)


@pytest.mark.parametrize("how", ["cancelled", "superseded"])
def test_whoever_works_on_a_run_that_was_ended_is_refused(tx, how):
    start(tx)
    run, token = claim(tx)
    if how == "cancelled":
        moves.end_run(tx, run, RunState.CANCELLED, ["no"], actor="ada", now_us=NOW_US)
    else:
        start(tx, "stems", supersede=True)
    with pytest.raises(LeaseLostError):
        claims.hold(tx, "petals", 1, token)
    with pytest.raises(LeaseLostError):
        claims.published_by(tx, "petals", 1, token, model="iris")


def test_steps_come_in_order_and_what_is_done_stays_as_it_was(tx):
    start(tx)
    run, _ = claim(tx)

    def report(step, **options):
        return claims.report_step(tx, run, step, **{"done": True, "message": "", "now_us": NOW_US, **options})

    with pytest.raises(RunStateError):
        report(Step.TRAIN)
    report(Step.TABLE, done=False)
    report(Step.TABLE, done=False)
    report(Step.TABLE, result='{"rows": 5}')
    report(Step.TABLE, result='{"rows": 6}')
    (step,) = report(Step.TABLE, done=False).steps
    assert (step.done, step.result, step.attempts) == (True, '{"rows": 5}', 2)
    for result in ("[]", "no", '{"a": "' + "x" * claims.RESULT_BYTES_MAX + '"}'):
        with pytest.raises(StepInvalidError):
            report(Step.TRAIN, result=result)
    kinds = [event.kind for event in runs.events_of(tx, "petals", 1, after=0, limit_max=100)]
    assert kinds == ["queued", "claimed", "step_begun", "step_begun", "step_done"]


def test_a_trainer_cannot_end_a_run_as_it_pleases(tx):
    start(tx)
    run, _ = claim(tx)
    for state in (RunState.CANCELLED, RunState.SUPERSEDED, RunState.PUBLISHED, RunState.DEPLOYED, RunState.QUEUED):
        with pytest.raises(RunStateError):
            claims.finish_run(tx, run, state, [], experiment="", now_us=NOW_US)
    assert claims.finish_run(tx, run, RunState.REFUSED, ["worse"], experiment="", now_us=NOW_US).findings == ("worse",)
    with pytest.raises(RunStateError):
        moves.end_run(tx, runs.get_run(tx, "petals", 1), RunState.FAILED, [], actor="", now_us=NOW_US)


def test_a_version_belongs_to_the_model_of_its_run(tx):
    start(tx)
    run, token = claim(tx)
    with pytest.raises(RunStateError):
        claims.published_by(tx, "petals", 1, token, model="other")
    assert claims.published_by(tx, "petals", 1, token, model=run.model) == 0
    claims.note_version(tx, "petals", 1, 7, now_us=NOW_US)
    assert claims.published_by(tx, "petals", 1, token, model=run.model) == 7


def check_once(tx, evidence, *, now_us):
    check, _, token = checks.claim_check(tx, "t1", now_us=now_us, chance=0)
    return checks.finish_check(tx, check.policy, check.number, token, evidence=evidence, failure="", now_us=now_us)


def test_a_check_is_due_at_its_time_and_made_once(tx):
    pause_policy(tx, "stems", reason="", actor="ada", now_us=NOW_US)
    assert checks.claim_check(tx, "t1", now_us=NOW_US + HOUR_US - 1, chance=0) is None
    check, policy, token = checks.claim_check(tx, "t1", now_us=NOW_US + HOUR_US, chance=0)
    assert (policy.id, check.dry_run, policy.next_check_us) == ("petals", False, NOW_US + 2 * HOUR_US)
    assert checks.claim_check(tx, "t2", now_us=NOW_US + HOUR_US, chance=0) is None
    let_claims_expire(tx)
    again, _, newer = checks.claim_check(tx, "t2", now_us=NOW_US + HOUR_US, chance=0)
    assert (again, newer) == (check, token + 1)
    with pytest.raises(LeaseLostError):
        checks.finish_check(tx, "petals", 1, token, evidence=FIRES, failure="", now_us=NOW_US)
    done = checks.finish_check(tx, "petals", 1, newer, evidence=FIRES, failure="", now_us=NOW_US)
    assert (done.run, runs.get_run(tx, "petals", 1).trigger) == (1, "time")


def test_a_look_that_fires_makes_no_run(tx):
    checks.ask_check(tx, "petals", actor="ada", now_us=NOW_US)
    done = check_once(tx, FIRES, now_us=NOW_US)
    assert (done.verdict, done.run, done.sentence) == ("FIRE", 0, "time fires; this was only a look")


def test_a_trigger_makes_no_run_beside_another_and_none_in_the_cooldown(tx):
    pause_policy(tx, "stems", reason="", actor="ada", now_us=NOW_US)
    at = (NOW_US + hour * HOUR_US for hour in itertools.count(1))
    assert check_once(tx, QUIET, now_us=next(at)).sentence == "no trigger fires"
    assert check_once(tx, FIRES, now_us=next(at)).run == 1
    assert "petals/runs/1 is queued" in check_once(tx, FIRES, now_us=next(at)).sentence
    finish(tx, RunState.REFUSED, now_us=NOW_US + 4 * HOUR_US - 1)
    assert "cooldown" in check_once(tx, FIRES, now_us=next(at)).sentence
    assert check_once(tx, FIRES, now_us=next(at)).run == 2
    finish(tx, RunState.DEPLOYED, version=3, now_us=NOW_US + 5 * HOUR_US)
    assert runs.made_by(tx, "petals") == {"time": (2, 1)}


def test_a_check_that_could_not_be_made_says_why_and_is_over(tx):
    checks.ask_check(tx, "petals", actor="ada", now_us=NOW_US)
    check, _, token = checks.claim_check(tx, "t1", now_us=NOW_US, chance=0)
    done = checks.finish_check(
        tx, check.policy, check.number, token, evidence=[], failure="no such table", now_us=NOW_US
    )
    assert (done.done, done.verdict, done.sentence) == (True, "", "no such table")


def test_a_policy_whose_runs_keep_failing_is_paused_and_says_so(tx):
    for _ in range(5):
        start(tx)
        finish(tx, RunState.FAILED)
    policy = get_policy(tx, "petals")
    assert policy.paused
    assert policy.pause_reason == "5 runs in a row failed, the last by: so it is"
    with pytest.raises(PolicyPausedError):
        start(tx)


def test_who_wants_to_be_told_is_told_of_each_turn_once(tx):
    start(tx, trigger="time")
    finish(tx, RunState.DEPLOYED, version=4)
    told = [change.kind for change in list_changes(tx, before_revision=None, limit_max=50)][::-1]
    assert [kind for kind in told if kind.startswith("training.")] == [
        "training.triggered",
        "training.started",
        "training.blessed",
        "training.deployed",
    ]


def test_runs_are_paged_newest_first_without_gaps(tx):
    names = []
    for number in range(1, 8):
        start(tx, "petals" if number % 2 else "stems", now_us=NOW_US + number // 3)
        names.append(runs.open_runs(tx)[0].name)
        finish(tx, RunState.REFUSED)
    found, before = [], None
    while page := runs.list_runs(tx, before=before, limit_max=2):
        found += page
        before = (page[-1].created_us, page[-1].policy, page[-1].number)
    assert sorted(run.name for run in found) == sorted(names)
    assert [run.created_us for run in found] == sorted((run.created_us for run in found), reverse=True)


def test_the_next_check_is_by_cron_or_interval_and_a_little_later_by_chance():
    six = 1_700_028_000_000_000  # 2023-11-15 06:00 UTC
    cron = CheckSchedule(cron="30 6 * * *")
    assert next_check_us(cron, after_us=six, chance=0) == six + 30 * 60_000_000
    assert next_check_us(cron, after_us=six, chance=0.5) == six + 30 * 60_000_000 + 30_000_000
    assert (
        next_check_us(CheckSchedule(interval_us=HOUR_US, jitter_us=10), after_us=six, chance=0.5) == six + HOUR_US + 5
    )
    assert next_check_us(CheckSchedule(), after_us=six, chance=0) == 0


def test_the_budget_of_a_day_counts_the_runs_of_triggers():
    budget = Budget(runs_per_day=2, cooldown_us=0)
    made = (NOW_US - 25 * HOUR_US, NOW_US - HOUR_US)
    assert refusal(budget, Past(ended_us=NOW_US, triggered_us=made), now_us=NOW_US) == ""
    assert "2 runs" in refusal(budget, Past(ended_us=NOW_US, triggered_us=(*made, NOW_US)), now_us=NOW_US)
