from __future__ import annotations

import math
import random
from collections import Counter
from concurrent import futures

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from sqlalchemy import select, update

from experiments import tables
from experiments.assignment import bucket_of
from experiments.definition import validate
from experiments.errors import ExperimentInvalidError
from gateway.control.experiments import ExperimentControl
from gateway.control.judge import ExperimentJudge
from gateway.control.ramps import RampControl
from gateway.journal.log import EventLog
from gateway.journal.record import Gap, Outcome, Output, Prediction, encode
from gateway.journal.writer import JournalWriter
from gateway.rpc import experiment_codec
from gateway.rpc.experiment_service import ExperimentService
from registry import aliases, champion, models, versions
from registry.alias_history import alias_history
from registry.records import Signature, TensorSpec, VersionDraft, VersionFacts
from storage.clock import SystemClock
from storage.revision import current_revision, list_changes
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import experiment_service_pb2_grpc as pb_grpc
from turnout.experiments.v1 import ramp_pb2

NAME = "experiments/v1-against-v2"


@pytest.fixture
def flight_delay(database):
    """A model with three versions: the first is the champion, the third gives one number instead of two."""
    with database.write() as tx:
        models.create_model(tx, "flight-delay", actor="ada", now_us=1)
        for number, shape in enumerate([(-1, 2), (-1, 2), (-1, 1)]):
            signature = Signature(
                (TensorSpec("x", "float32", (-1, 3)),),
                (TensorSpec("probabilities", "float32", shape), TensorSpec("label", "string", (-1,))),
            )
            draft = VersionDraft("flight-delay", f"{number:064x}", 10, signature, VersionFacts())
            versions.add_version(tx, draft, actor="ada", now_us=2)
        champion.promote(tx, "flight-delay", 1, actor="ada", now_us=3)
        aliases.set_alias(tx, "flight-delay", 2, alias="challenger", actor="ada", now_us=4)


class AheadClock(SystemClock):
    """The system's time, and so much more as a test needs to have passed."""

    ahead_us = 0

    def now_us(self):
        return super().now_us() + self.ahead_us


@pytest.fixture
def clock():
    return AheadClock()


@pytest.fixture
def stub(tmp_path, database, flight_delay, clock):  # noqa: ARG001  (the model must be there first)
    control = ExperimentControl(database=database, clock=clock)
    judge = ExperimentJudge(database=database, clock=clock, events=EventLog(tmp_path), look_every_ms=0)
    ramps = RampControl(database=database, clock=clock, known=lambda _: None)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    pb_grpc.add_ExperimentServiceServicer_to_server(ExperimentService(control, judge, ramps), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.ExperimentServiceStub(channel)
    server.stop(grace=None).wait()


def brier(**changes):
    values = {
        "metric": "brier",
        "kind": pb.METRIC_KIND_SQUARED_ERROR,
        "outcome": "late",
        "output": "probabilities",
        "output_index": 1,
        "direction": pb.DIRECTION_DECREASE,
        "role": pb.METRIC_ROLE_SUCCESS,
    }
    return pb.Metric(**values | changes)


def request(experiment_id="v1-against-v2", **changes):
    values = {
        "model": "models/flight-delay",
        "variants": [
            pb.Variant(variant="control", alias="champion", share=0.5, control=True),
            pb.Variant(variant="treatment", version=2, share=0.5),
        ],
        "coverage": 1.0,
        "metrics": [brier()],
        "minimum_units": 50,
    }
    return pb.CreateExperimentRequest(experiment_id=experiment_id, experiment=pb.Experiment(**values | changes))


def defined(create):
    return experiment_codec.definition(create.experiment, identity=create.experiment_id)


@pytest.fixture
def running(stub):
    stub.CreateExperiment(request())
    return stub.StartExperiment(pb.StartExperimentRequest(name=NAME)).experiment


def refused(call, message):
    """Return the status and the reason that a call is refused with."""
    with pytest.raises(grpc.RpcError) as raised:
        call(message)
    trailer = dict(raised.value.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(trailer)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "turnout"
    return raised.value.code(), info.reason


def write_more(folder, numbers):
    write_events(folder, hashed, units=numbers, seed=4, name="more")


def write_events(folder, assign, *, units, lost=0, seed=3, name="test", epoch=1):
    """Journal predictions and outcomes of units: the treatment is surer of what comes."""
    generator = np.random.default_rng(seed)
    records = [Gap(time_us=9, lost={"v1-against-v2/treatment": lost})] if lost else []
    for number in range(units) if isinstance(units, int) else units:
        variant = assign(f"u{number}")
        late = float(generator.random() < 0.3)
        sure = (0.9 if variant == "treatment" else 0.6) + float(generator.normal(0, 0.03))
        probability = np.float32([1 - sure, sure] if late else [sure, 1 - sure])
        records.append(
            Prediction(
                request_id=f"r{number}",
                time_us=number,
                event_time_us=number,
                model="flight-delay",
                version=2 if variant == "treatment" else 1,
                experiment="v1-against-v2",
                variant=variant,
                epoch=epoch,
                propensity=0.5,
                unit_id=f"u{number}",
                outputs=[Output("probabilities", "float32", (1, 2), probability.tobytes())],
            )
        )
        records.append(
            Outcome(
                unit_id=f"u{number}",
                model="flight-delay",
                name="late",
                value=late,
                event_time_us=number + 5,
                outcome_id="landed",
                time_us=number + 5,
            )
        )
    writer = JournalWriter(folder / "journal", name=name, sync_interval_ms=1000, clock=SystemClock())
    writer.append([encode(record) for record in records])
    writer.close()


def hashed(unit):
    return "control" if bucket_of("v1-against-v2", unit) < 5000 else "treatment"


def test_an_alias_is_resolved_at_creation_and_frozen(database, stub):
    created = stub.CreateExperiment(request()).experiment
    assert created.name == NAME
    assert created.state == pb.EXPERIMENT_STATE_DRAFT
    assert [(each.version, each.alias) for each in created.variants] == [(1, "champion"), (2, "")]
    assert (created.alpha, created.minimum_units, created.seed) == (0.05, 50, "v1-against-v2")
    with database.write() as tx:
        champion.promote(tx, "flight-delay", 2, actor="bob", now_us=9)
    found = stub.GetExperiment(pb.GetExperimentRequest(name=NAME)).experiment
    assert found == created


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"model": "models/nothing"}, grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        ({"model": "flight-delay"}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED"),
        ({"coverage": 0.0}, grpc.StatusCode.INVALID_ARGUMENT, "SHARES_INVALID"),
        ({"metrics": []}, grpc.StatusCode.INVALID_ARGUMENT, "EXPERIMENT_INVALID"),
        ({"metrics": [brier(kind=0)]}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED"),
        ({"metrics": [brier(direction=0)]}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED"),
        ({"metrics": [brier(output="nothing")]}, grpc.StatusCode.INVALID_ARGUMENT, "EXPERIMENT_INVALID"),
        ({"metrics": [brier(output="label")]}, grpc.StatusCode.INVALID_ARGUMENT, "EXPERIMENT_INVALID"),
        ({"metrics": [brier(output_index=2)]}, grpc.StatusCode.INVALID_ARGUMENT, "EXPERIMENT_INVALID"),
    ],
)
def test_a_definition_is_checked_against_the_model(stub, change, code, reason):
    assert refused(stub.CreateExperiment, request(**change)) == (code, reason)
    assert not stub.ListExperiments(pb.ListExperimentsRequest()).experiments


@pytest.mark.parametrize(
    ("treatment", "code", "reason"),
    [
        ({"version": 9}, grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"),
        ({"alias": "nobody"}, grpc.StatusCode.NOT_FOUND, "ALIAS_NOT_FOUND"),
        ({"alias": "challenger", "version": 2}, grpc.StatusCode.INVALID_ARGUMENT, "EXPERIMENT_INVALID"),
        ({}, grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"),
        ({"version": 3}, grpc.StatusCode.INVALID_ARGUMENT, "EXPERIMENT_INVALID"),
        ({"version": 2, "share": 0.4}, grpc.StatusCode.INVALID_ARGUMENT, "SHARES_INVALID"),
    ],
)
def test_each_arm_is_checked_against_the_model(stub, treatment, code, reason):
    arms = [
        pb.Variant(variant="control", version=1, share=0.5, control=True),
        pb.Variant(**{"variant": "treatment", "share": 0.5} | treatment),
    ]
    assert refused(stub.CreateExperiment, request(variants=arms)) == (code, reason)


def test_experiments_are_listed_by_page(stub):
    for name in ("b", "a", "c"):
        stub.CreateExperiment(request(name))
    first = stub.ListExperiments(pb.ListExperimentsRequest(page_size=2))
    rest = stub.ListExperiments(pb.ListExperimentsRequest(page_size=2, page_token=first.next_page_token))
    assert [each.name for each in first.experiments] == ["experiments/a", "experiments/b"]
    assert [each.name for each in rest.experiments] == ["experiments/c"]
    assert rest.next_page_token == ""


def test_a_start_says_at_which_revision_it_holds(database, stub, running):
    assert (running.state, running.epoch) == (pb.EXPERIMENT_STATE_RUNNING, 1)
    with database.read() as tx:
        assert list_changes(tx, before_revision=None, limit_max=1)[0].kind == "experiment.started"
    stub.CreateExperiment(request("second"))
    start = pb.StartExperimentRequest(name="experiments/second")
    assert refused(stub.StartExperiment, start) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_BUSY")


def test_a_split_is_guarded_by_its_etag(stub, running):
    split = pb.SetTrafficSplitRequest(name=NAME, shares={"control": 0.2, "treatment": 0.8}, etag=running.etag)
    changed = stub.SetTrafficSplit(split)
    assert changed.moved_share == pytest.approx(0.3)
    assert changed.experiment.epoch == 2
    assert changed.revision == int(changed.experiment.etag)
    assert refused(stub.SetTrafficSplit, split) == (grpc.StatusCode.ABORTED, "EXPERIMENT_CHANGED")


def test_a_draft_is_updated_by_its_mask_and_deleted(stub):
    made = stub.CreateExperiment(request()).experiment
    new = pb.Experiment(
        name=NAME,
        owner="ada",
        alpha=0.01,
        variants=[
            pb.Variant(variant="control", version=1, share=0.8, control=True),
            pb.Variant(variant="other", alias="challenger", share=0.2),
        ],
    )
    ask = pb.UpdateExperimentRequest(experiment=new, update_mask={"paths": ["owner", "variants"]}, etag=made.etag)
    found = stub.UpdateExperiment(ask).experiment
    assert (found.owner, found.alpha) == ("ada", made.alpha)
    assert [(each.variant, each.version, each.share) for each in found.variants] == [
        ("control", 1, 0.8),
        ("other", 2, 0.2),
    ]
    assert refused(stub.UpdateExperiment, ask) == (grpc.StatusCode.ABORTED, "EXPERIMENT_CHANGED")
    for paths in ([], ["nothing"], ["plan.looks"]):
        ask = pb.UpdateExperimentRequest(experiment=new, update_mask={"paths": paths})
        assert refused(stub.UpdateExperiment, ask) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    bad = pb.Experiment(name=NAME, metrics=[brier(output_index=2)])
    ask = pb.UpdateExperimentRequest(experiment=bad, update_mask={"paths": ["metrics"]})
    assert refused(stub.UpdateExperiment, ask) == (grpc.StatusCode.INVALID_ARGUMENT, "EXPERIMENT_INVALID")
    assert stub.GetExperiment(pb.GetExperimentRequest(name=NAME)).experiment == found
    stub.DeleteExperiment(pb.DeleteExperimentRequest(name=NAME, etag=found.etag))
    assert not stub.ListExperiments(pb.ListExperimentsRequest()).experiments


def test_a_scope_goes_through_the_contract_and_back(stub):
    meant = {"all": [{"attribute": "age", "range": {"from": 18}}, {"not": {"attribute": "app", "prefix": "beta"}}]}
    asked = request(forced={"tester": "treatment"}, layer_share=0.25, unit=pb.UNIT_KIND_REQUEST)
    asked.experiment.targeting.update(meant)
    found = stub.CreateExperiment(asked).experiment
    assert json_format.MessageToDict(found.targeting) == meant
    assert (dict(found.forced), found.layer_share, found.unit) == ({"tester": "treatment"}, 0.25, pb.UNIT_KIND_REQUEST)
    half = pb.UpdateExperimentRequest(experiment=found, update_mask={"paths": ["targeting"]})
    assert refused(stub.UpdateExperiment, half) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    whole = {"paths": ["unit", "targeting", "forced", "layer_share"]}
    new = pb.Experiment(name=NAME, layer_share=0.5)
    changed = stub.UpdateExperiment(pb.UpdateExperimentRequest(experiment=new, update_mask=whole)).experiment
    assert (changed.HasField("targeting"), dict(changed.forced), changed.layer_share) == (False, {}, 0.5)
    stub.StartExperiment(pb.StartExperimentRequest(name=NAME))
    for name, share in (("beside", 0.5), ("too-many", 0.1)):
        stub.CreateExperiment(request(name, layer_share=share))
    stub.StartExperiment(pb.StartExperimentRequest(name="experiments/beside"))
    late = pb.StartExperimentRequest(name="experiments/too-many")
    assert refused(stub.StartExperiment, late) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_BUSY")


@pytest.mark.parametrize("wrong", [{}, {"attribute": "a"}, {"sometimes": []}, {"attribute": "a", "equals": 7}])
def test_a_condition_that_cannot_be_asked_is_refused_at_the_door(stub, wrong):
    asked = request()
    asked.experiment.targeting.update(wrong)
    asked.experiment.targeting.SetInParent()
    assert refused(stub.CreateExperiment, asked) == (grpc.StatusCode.INVALID_ARGUMENT, "TARGETING_INVALID")


def test_a_forced_unit_is_not_compared_and_a_request_is_a_unit_of_its_own(tmp_path, stub):
    asked = request(forced={"u1": "treatment"}, unit=pb.UNIT_KIND_REQUEST)
    stub.CreateExperiment(asked)
    stub.StartExperiment(pb.StartExperimentRequest(name=NAME))
    write_events(tmp_path, hashed, units=300)
    whole = stub.AnalyzeExperiment(pb.AnalyzeExperimentRequest(name=NAME))
    assert sum(each.units for each in whole.counts) == 300
    write_events(tmp_path, lambda _: "treatment", units=range(900, 950), name="forced", epoch=0)
    again = stub.AnalyzeExperiment(pb.AnalyzeExperimentRequest(name=NAME))
    assert again.counts == whole.counts


def test_an_experiment_is_paused_resumed_concluded_and_archived(stub, running):
    paused = stub.PauseExperiment(pb.PauseExperimentRequest(name=NAME, reason="a fault")).experiment
    assert (paused.state, paused.epoch) == (pb.EXPERIMENT_STATE_PAUSED, running.epoch)
    told = stub.GetAssignment(pb.GetAssignmentRequest(name=NAME, unit_id="u1"))
    assert told.variant == ""
    assert "is paused, so that the champion answers" in told.explanation
    again = pb.PauseExperimentRequest(name=NAME)
    assert refused(stub.PauseExperiment, again) == (grpc.StatusCode.FAILED_PRECONDITION, "EXPERIMENT_STATE")
    resumed = stub.ResumeExperiment(pb.ResumeExperimentRequest(name=NAME)).experiment
    assert resumed.state == pb.EXPERIMENT_STATE_RUNNING
    early = pb.ArchiveExperimentRequest(name=NAME)
    assert refused(stub.ArchiveExperiment, early) == (grpc.StatusCode.FAILED_PRECONDITION, "EXPERIMENT_STATE")
    stub.ConcludeExperiment(pb.ConcludeExperimentRequest(name=NAME))
    assert stub.ArchiveExperiment(early).experiment.state == pb.EXPERIMENT_STATE_ARCHIVED
    late = pb.UpdateExperimentRequest(experiment=pb.Experiment(name=NAME), update_mask={"paths": ["owner"]})
    assert refused(stub.UpdateExperiment, late) == (grpc.StatusCode.FAILED_PRECONDITION, "EXPERIMENT_STATE")


def test_what_is_missing_or_misnamed_is_refused(stub):
    missing = pb.GetExperimentRequest(name="experiments/nothing")
    assert refused(stub.GetExperiment, missing) == (grpc.StatusCode.NOT_FOUND, "EXPERIMENT_NOT_FOUND")
    misnamed = pb.GetExperimentRequest(name="nothing")
    assert refused(stub.GetExperiment, misnamed) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


@pytest.mark.usefixtures("running")
def test_an_analysis_without_events_says_so(stub):
    analysis = stub.AnalyzeExperiment(pb.AnalyzeExperimentRequest(name=NAME))
    assert [each.variant for each in analysis.counts] == ["control", "treatment"]
    assert "control has 0 units" in analysis.comparisons[0].not_enough_data
    assert analysis.sample_ratio.WhichOneof("result") == "not_enough_data"
    advice = stub.GetRecommendation(pb.GetRecommendationRequest(name=NAME))
    assert advice.recommendation == pb.RECOMMENDATION_CONTINUE
    assert advice.reasons


@pytest.mark.usefixtures("running")
def test_a_better_treatment_is_found_and_shipped(tmp_path, database, stub):
    write_events(tmp_path, hashed, units=600, lost=2)
    advice = stub.GetRecommendation(pb.GetRecommendationRequest(name=NAME))
    assert (advice.recommendation, advice.variant) == (pb.RECOMMENDATION_SHIP, "treatment")
    analysis = advice.analysis
    assert sum(each.units for each in analysis.counts) == 600
    assert sum(each.matured_units for each in analysis.counts) == 600
    assert analysis.counts[1].lost_predictions == 2
    assert analysis.outcomes_analyzed == 600
    assert analysis.time_us > 0
    estimate = analysis.comparisons[0].estimate
    assert estimate.method == "welch_sequence"
    assert estimate.relative.lift == pytest.approx(estimate.difference / estimate.control_mean)
    assert estimate.posterior.chance_to_win > 0.999
    assert advice.status == pb.RECOMMENDATION_STATUS_DECIDED
    assert advice.confidence > 0.999
    assert advice.average_improvement == pytest.approx(-estimate.relative.lift)
    assert estimate.upper < 0
    assert estimate.control_mean == pytest.approx(0.16, abs=0.02)
    assert estimate.treatment_mean == pytest.approx(0.01, abs=0.01)
    assert not analysis.sample_ratio.check.mismatch
    assert analysis.sample_ratio.check.degrees_of_freedom == 1
    assert "significantly better" in advice.reasons[0]
    assert "2 could not be journalled" in advice.reasons[-1]

    done = stub.ConcludeExperiment(
        pb.ConcludeExperimentRequest(name=NAME, winner="treatment", promote=True, reason="better Brier score"),
        metadata=[("turnout-actor", "ada")],
    )
    assert (done.experiment.state, done.experiment.winner) == (pb.EXPERIMENT_STATE_CONCLUDED, "treatment")
    with database.read() as tx:
        assert done.revision == current_revision(tx)
        (move,) = alias_history(tx, "flight-delay", alias="champion", limit_max=1)
        assert models.get_model(tx, "flight-delay").aliases[1].version == 2
    assert (move.actor, move.reason) == ("ada", "better Brier score")
    assert move.evidence == {"experiment": "v1-against-v2", "variant": "treatment"}


@pytest.mark.usefixtures("running")
def test_units_that_came_otherwise_than_the_split_says_are_investigated(tmp_path, stub):
    write_events(tmp_path, lambda unit: "control" if int(unit[1:]) % 3 else "treatment", units=600)
    advice = stub.GetRecommendation(pb.GetRecommendationRequest(name=NAME))
    assert advice.recommendation == pb.RECOMMENDATION_INVESTIGATE
    assert advice.analysis.sample_ratio.check.mismatch


@pytest.mark.usefixtures("running")
def test_concluding_for_the_champion_moves_no_alias(database, stub):
    stub.ConcludeExperiment(pb.ConcludeExperimentRequest(name=NAME, winner="control", promote=True))
    with database.read() as tx:
        assert len(alias_history(tx, "flight-delay", alias="champion", limit_max=10)) == 1


def test_there_is_nothing_to_promote_without_a_winner(stub, running):
    conclude = pb.ConcludeExperimentRequest(name=NAME, promote=True)
    assert refused(stub.ConcludeExperiment, conclude) == (grpc.StatusCode.INVALID_ARGUMENT, "EXPERIMENT_INVALID")
    assert stub.GetExperiment(pb.GetExperimentRequest(name=NAME)).experiment == running


def test_an_assignment_is_explained_through_the_experiments_life(stub):
    stub.CreateExperiment(request(coverage=0.6))
    ask = pb.GetAssignmentRequest(name=NAME, unit_id="N14228")
    assert bucket_of("v1-against-v2", "N14228") == 4959
    draft = stub.GetAssignment(ask)
    assert (draft.variant, draft.bucket) == ("", 4959)
    assert "assigns nobody yet" in draft.explanation
    stub.StartExperiment(pb.StartExperimentRequest(name=NAME))
    outside = stub.GetAssignment(ask)
    assert (outside.variant, outside.version) == ("", 0)
    assert "to no variant: the experiment covers 0.6 of all units" in outside.explanation
    inside = next(f"u{n}" for n in range(100) if 5000 <= bucket_of("v1-against-v2", f"u{n}") < 8000)
    got = stub.GetAssignment(pb.GetAssignmentRequest(name=NAME, unit_id=inside))
    assert (got.variant, got.version, got.epoch, got.propensity) == ("treatment", 2, 1, 0.5)
    assert f"{inside!r} falls into bucket {got.bucket}" in got.explanation
    assert "gives that slot to treatment" in got.explanation
    stub.ConcludeExperiment(pb.ConcludeExperimentRequest(name=NAME))
    after = stub.GetAssignment(pb.GetAssignmentRequest(name=NAME, unit_id=inside))
    assert after.variant == ""
    assert "is concluded, so that the champion answers" in after.explanation
    nobody = pb.GetAssignmentRequest(name=NAME)
    assert refused(stub.GetAssignment, nobody) == (grpc.StatusCode.INVALID_ARGUMENT, "UNIT_MISSING")


@pytest.mark.usefixtures("running")
def test_a_kept_verdict_is_computed_again_and_a_changed_one_is_found(tmp_path, database, stub):
    write_events(tmp_path, hashed, units=300)
    first = stub.GetRecommendation(pb.GetRecommendationRequest(name=NAME))
    again = stub.GetRecommendation(pb.GetRecommendationRequest(name=NAME))
    # Nothing new has come, so that it is one look, and the same verdict to the last word.
    assert (first.analysis.look, again.analysis.look) == (1, 1)
    assert again == first
    write_more(tmp_path, range(300, 600))
    later = stub.GetRecommendation(pb.GetRecommendationRequest(name=NAME))
    assert later.analysis.look == 2
    assert later.digest != first.digest
    # The second look has the first behind it: its interval lies within.
    one, two = (each.analysis.comparisons[0].estimate for each in (first, later))
    assert one.lower <= two.lower < two.upper <= one.upper
    verified = stub.VerifyExperiment(pb.VerifyExperimentRequest(name=NAME)).looks
    assert [(each.look, each.same, each.digest) for each in verified] == [
        (1, True, first.digest),
        (2, True, later.digest),
    ]
    looks = tables.experiment_looks
    with database.write() as tx:
        told = tx.execute(select(looks.c.outcome).where(looks.c.look == 2)).scalar_one()
        tx.execute(update(looks).where(looks.c.look == 2).values(outcome=told.replace('"ship"', '"keep"')))
    changed = stub.VerifyExperiment(pb.VerifyExperimentRequest(name=NAME, look=2)).looks
    assert not changed[0].same
    assert "digest" in changed[0].differences[0]
    assert changed[0].differences[1] == "decision.recommendation: stored 'keep', computed 'ship'"
    missing = pb.VerifyExperimentRequest(name=NAME, look=9)
    assert refused(stub.VerifyExperiment, missing)[1] == "EXPERIMENT_INVALID"


@pytest.mark.usefixtures("running")
def test_a_look_soon_after_another_is_answered_and_not_kept_unless_it_says_something_new(tmp_path, database):
    judge = ExperimentJudge(database=database, clock=SystemClock(), events=EventLog(tmp_path), look_every_ms=3_600_000)
    assert judge.analyze("v1-against-v2").look == 1
    write_events(tmp_path, hashed, units=300)
    shipping = judge.analyze("v1-against-v2")
    assert (shipping.look, shipping.verdict.decision.recommendation) == (2, "ship")
    write_more(tmp_path, range(300, 600))
    again = judge.analyze("v1-against-v2")
    assert (again.look, again.verdict.decision.recommendation) == (0, "ship")
    assert sum(each.units for each in again.evidence.counts) == 600
    assert len(judge.verify("v1-against-v2", look=0)) == 2


@pytest.mark.usefixtures("running")
def test_another_method_is_answered_and_not_kept(tmp_path, stub):
    write_events(tmp_path, hashed, units=300)
    fixed = stub.AnalyzeExperiment(pb.AnalyzeExperimentRequest(name=NAME, method=pb.ANALYSIS_METHOD_FIXED))
    assert (fixed.comparisons[0].estimate.method, fixed.look) == ("welch", 0)
    assert not stub.VerifyExperiment(pb.VerifyExperimentRequest(name=NAME)).looks
    watched = stub.AnalyzeExperiment(pb.AnalyzeExperimentRequest(name=NAME))
    assert watched.look == 1
    widths = [each.comparisons[0].estimate.upper - each.comparisons[0].estimate.lower for each in (fixed, watched)]
    assert widths[0] < widths[1]


@pytest.mark.usefixtures("running")
def test_the_sample_size_comes_from_the_experiments_own_units(tmp_path, stub):
    early = stub.EstimateSampleSize(pb.EstimateSampleSizeRequest(name=NAME, effect=0.01))
    assert not early.HasField("units")
    assert "control has 0 units" in early.not_enough_data
    write_events(tmp_path, hashed, units=600)
    ask = pb.EstimateSampleSizeRequest(name=NAME, effect=0.001, method=pb.ANALYSIS_METHOD_FIXED)
    size = stub.EstimateSampleSize(ask)
    assert size.units > 600
    assert size.remaining_units == size.units - 600
    assert size.minimum_effect > 0.001
    # By hand: (1.96 + 0.84)^2 (v / 0.5 + v / 0.5) / effect^2.
    given = pb.EstimateSampleSizeRequest(effect=0.1, variance=1.0, units=3140)
    answer = stub.EstimateSampleSize(given)
    assert answer.units == 3140
    assert answer.minimum_effect == pytest.approx(0.1, rel=1e-3)
    nothing = stub.EstimateSampleSize(pb.EstimateSampleSizeRequest(variance=1.0))
    assert not nothing.HasField("units")
    assert "effect of nothing" in nothing.not_enough_data
    unknown = pb.EstimateSampleSizeRequest(name=NAME, metric="speed")
    assert refused(stub.EstimateSampleSize, unknown)[1] == "EXPERIMENT_INVALID"


EXTREMES = [0.0, 1.0, 0.5, -1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 1e-200, 1e-17, 1 - 2**-53, 1e12]


def test_a_size_asked_by_any_number_is_a_number_a_reason_or_a_refusal(stub):
    rng = random.Random(7)  # noqa: S311  (no secret)
    told = Counter()
    for _ in range(1500):
        real = {
            name: rng.choice([usual, usual, rng.choice(EXTREMES)])
            for name, usual in (("effect", 0.1), ("variance", 1), ("treatment_share", 0), ("alpha", 0), ("power", 0))
        }
        units = rng.choice([0, 1, 2, 1000, -1, 2**63 - 1, -(2**63)])
        asked = pb.EstimateSampleSizeRequest(**real, units=units, method=rng.choice(pb.AnalysisMethod.values()))
        call = stub.EstimateSampleSize.future(asked)
        if (error := call.exception()) is not None:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, asked
            told["refused"] += 1
        else:
            size = call.result()
            asks = ("units", "minimum_effect") if units else ("units",)
            given = [getattr(size, name) for name in asks if size.HasField(name)]
            assert bool(size.not_enough_data) == (len(given) < len(asks)), asked
            assert all(math.isfinite(number) and number > 0 for number in given), asked
            told["reason" if size.not_enough_data else "number"] += 1
    assert min(told["refused"], told["reason"], told["number"]) > 20


@pytest.mark.usefixtures("running")
def test_units_that_are_split_anew_show_no_effect(tmp_path, stub):
    write_events(tmp_path, hashed, units=600)
    replay = stub.ReplayExperiment(pb.ReplayExperimentRequest(name=NAME, replays=300))
    assert replay.metric == "brier"
    assert 250 < replay.units < 350
    assert replay.replays == 300
    assert replay.expected_p_value > 1e-3
    assert replay.uniform_p_value > 1e-3
    few = stub.ReplayExperiment(pb.ReplayExperimentRequest(name=NAME, replays=5))
    assert "20 are the fewest" in few.not_enough_data


def test_the_plan_and_all_of_a_metric_are_kept(stub):
    metric = brier(
        kind=pb.METRIC_KIND_RATIO, output="", denominator="asked", margin=0.0, absolute_margin=0.5, minimum_effect=0.01,
        lower_cap=-1.0, upper_cap=9.0, winsorize=0.99, window_us=10, missing_as_zero=True,
        covariate=pb.COVARIATE_ATTRIBUTE, covariate_attribute="incumbent", output_index=0,
    )  # fmt: skip
    plan = pb.Plan(
        method=pb.ANALYSIS_METHOD_GROUP_SEQUENTIAL, correction=pb.CORRECTION_BENJAMINI_HOCHBERG, planned_units=4000,
        looks=3, spending=pb.SPENDING_POWER, stratify_by="carrier",
    )  # fmt: skip
    made = stub.CreateExperiment(request(metrics=[metric], plan=plan)).experiment
    assert made == stub.GetExperiment(pb.GetExperimentRequest(name=NAME)).experiment
    assert made.plan == plan
    assert list(made.metrics) == [metric]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan": pb.Plan(method=pb.ANALYSIS_METHOD_GROUP_SEQUENTIAL)}, "needs planned_units"),
        ({"plan": pb.Plan(looks=51)}, "looks is 51"),
        ({"metrics": [brier(kind=pb.METRIC_KIND_RATIO)]}, "names a denominator"),
        ({"metrics": [brier(kind=pb.METRIC_KIND_QUANTILE, quantile=1.5)]}, "quantile 1.5"),
        ({"metrics": [brier(winsorize=0.2)]}, "winsorize"),
        ({"metrics": [brier(missing_as_zero=True)]}, "give a window"),
        ({"metrics": [brier(lower_cap=2, upper_cap=1)]}, "caps"),
        ({"metrics": [brier(covariate=pb.COVARIATE_ATTRIBUTE)]}, "covariate_attribute"),
        ({"metrics": [brier(kind=pb.METRIC_KIND_LATENCY)]}, "no outcome"),
        ({"metrics": [brier(margin=-1)]}, "margin"),
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused_with_words(changes, words):
    numbered = [pb.Variant(variant=f"v{n}", version=n, share=0.5, control=n == 1) for n in (1, 2)]
    with pytest.raises(ExperimentInvalidError, match=words):
        validate(defined(request(**{"seed": "s", "variants": numbered} | changes)))


def ramp_request(**changes):
    asked = request(**changes)
    asked.experiment.coverage = 1
    asked.experiment.ramp.CopyFrom(ramp_pb2.Ramp(promote=True))
    return asked


def test_a_ramp_begins_with_its_experiment_and_follows_what_people_say(stub):
    made = stub.CreateExperiment(ramp_request()).experiment
    assert [step.share for step in made.ramp.steps] == [0.01, 0.05, 0.1, 0.25, 0.5, 1.0]
    assert len(made.ramp.guardrails) == 3
    assert refused(stub.GetRamp, pb.GetRampRequest(name=NAME)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "RAMP_NOT_FOUND",
    )
    started = stub.StartExperiment(pb.StartExperimentRequest(name=NAME)).experiment
    assert started.coverage == pytest.approx(0.02)
    assert [variant.share for variant in started.variants] == [0.5, 0.5]
    ramp = stub.GetRamp(pb.GetRampRequest(name=NAME)).ramp
    assert (ramp.state, ramp.step, ramp.steps, ramp.share) == (ramp_pb2.RAMP_STATE_RUNNING, 1, 6, 0.01)
    assert refused(
        stub.SetTrafficSplit, pb.SetTrafficSplitRequest(name=NAME, shares={"control": 0.5, "treatment": 0.5})
    ) == (grpc.StatusCode.FAILED_PRECONDITION, "RAMP_RUNS")
    paused = stub.PauseRamp(pb.PauseRampRequest(name=NAME, reason="lunch")).ramp
    assert (paused.state, list(paused.reasons)) == (ramp_pb2.RAMP_STATE_PAUSED, ["lunch"])
    assert refused(stub.PauseRamp, pb.PauseRampRequest(name=NAME)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "RAMP_STATE",
    )
    assert stub.ResumeRamp(pb.ResumeRampRequest(name=NAME)).ramp.state == ramp_pb2.RAMP_STATE_RUNNING
    assert refused(stub.ApproveRampStep, pb.ApproveRampStepRequest(name=NAME, step=2)) == (
        grpc.StatusCode.ABORTED,
        "RAMP_MOVED",
    )
    assert stub.ApproveRampStep(pb.ApproveRampStepRequest(name=NAME, step=1)).ramp.approved
    gone = stub.AbortRamp(pb.AbortRampRequest(name=NAME, reason="no"))
    assert gone.ramp.state == ramp_pb2.RAMP_STATE_ABORTED
    assert stub.GetExperiment(pb.GetExperimentRequest(name=NAME)).experiment.state == pb.EXPERIMENT_STATE_CONCLUDED
    page = stub.ListRampEvents(pb.ListRampEventsRequest(name=NAME, page_size=3))
    rest = stub.ListRampEvents(pb.ListRampEventsRequest(name=NAME, page_token=page.next_page_token))
    kinds = [ramp_pb2.RampEventKind.Name(each.kind)[16:] for each in (*page.events, *rest.events)]
    assert kinds == ["STARTED", "PAUSED", "RESUMED", "APPROVED", "ABORTED"]


def test_what_a_fault_reaches_is_said_before_the_ramp_begins(stub):
    stub.CreateExperiment(ramp_request())
    small = stub.PreviewRamp(pb.PreviewRampRequest(name=NAME, rise=0.05)).bounds
    large = stub.PreviewRamp(pb.PreviewRampRequest(name=NAME, rise=0.5)).bounds
    assert len(small) == len(large) == 5 * 3 + 1
    for less, more in zip(large, small, strict=True):
        assert 0 < less.units < more.units
    assert not stub.PreviewRamp(pb.PreviewRampRequest(name=NAME, rise=0.001)).bounds[0].units
    for wrong in ({"rise": -1.0}, {"baseline": 1.0}, {"confidence": 1.0}, {"variance": -1.0}):
        assert refused(stub.PreviewRamp, pb.PreviewRampRequest(name=NAME, **wrong)) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "RAMP_INVALID",
        )


def test_a_ramp_that_can_never_be_judged_is_refused_at_the_door(stub):
    asked = ramp_request()
    asked.experiment.ramp.guardrails.add(kind=ramp_pb2.RAMP_GUARDRAIL_KIND_OUTPUT_RANGE, output="no such output")
    assert refused(stub.CreateExperiment, asked) == (grpc.StatusCode.INVALID_ARGUMENT, "EXPERIMENT_INVALID")
    asked = ramp_request()
    asked.experiment.ramp.guardrails.add()
    assert refused(stub.CreateExperiment, asked) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


def test_a_model_holds_units_out(stub):
    assert stub.GetHoldout(pb.GetHoldoutRequest(model="models/flight-delay")).share == 0
    held = stub.SetHoldout(pb.SetHoldoutRequest(model="models/flight-delay", share=0.25))
    assert (held.share, stub.GetHoldout(pb.GetHoldoutRequest(model="models/flight-delay")).etag) == (0.25, held.etag)
    stub.CreateExperiment(request())
    assert refused(stub.StartExperiment, pb.StartExperimentRequest(name=NAME)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MODEL_BUSY",
    )
    assert refused(stub.SetHoldout, pb.SetHoldoutRequest(model="models/nobody", share=0.25)) == (
        grpc.StatusCode.NOT_FOUND,
        "MODEL_NOT_FOUND",
    )


def test_what_is_not_settled_at_the_planned_end_is_stopped(stub, clock):
    asked = request()
    asked.experiment.plan.planned_end_us = clock.now_us() + 3_600_000_000
    stub.CreateExperiment(asked)
    stub.StartExperiment(pb.StartExperimentRequest(name=NAME))
    before = stub.GetRecommendation(pb.GetRecommendationRequest(name=NAME))
    assert before.recommendation == pb.RECOMMENDATION_CONTINUE
    clock.ahead_us = 3_600_000_000
    after = stub.GetRecommendation(pb.GetRecommendationRequest(name=NAME))
    assert (after.recommendation, after.reasons[0][:23]) == (pb.RECOMMENDATION_STOP, "the planned end has com")
