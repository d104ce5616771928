"""Lineage and comparisons."""

import numpy as np
import pytest

from gateway.control.lineage import periods
from gateway.models.difference import difference
from registry import aliases, champion, lineage, models, versions
from registry.alias_history import alias_history
from registry.compare import (
    FeatureChanges,
    MetricChange,
    ValueChange,
    compare_versions,
    feature_changes,
    other_inputs,
)
from registry.records import Signature, TensorSpec, VersionFacts
from turnout.registry.v1 import comparison_pb2, taint_pb2
from turnout.registry.v1 import registry_service_pb2 as pb
from turnout.tensors import to_tensors

WHO = {"actor": "ada", "now_us": 100}


@pytest.fixture
def family(database, draft):
    """Return a database with 1 → 2 → 4, 1 → 3 → 4, and 4 → another model's 1."""
    with database.write() as tx:
        models.create_model(tx, "fraud", **WHO)
        models.create_model(tx, "score", **WHO)
        for parents in ((), (1,), (1,), (2, 3)):
            versions.add_version(tx, draft(facts=VersionFacts(parents=parents)), **WHO)
        versions.add_version(tx, draft("score", facts=VersionFacts(parents_elsewhere=(("fraud", 4),))), **WHO)
    return database


def test_ancestors_and_descendants_are_found_once_at_any_depth(family):
    with family.read() as tx:
        one, four = (versions.get_version(tx, "fraud", number) for number in (1, 4))
        child = versions.get_version(tx, "score", 1)
        assert [each.number for each in lineage.ancestors(tx, four)] == [1, 2, 3]
        assert [(each.model, each.number) for each in lineage.descendants(tx, one)] == [
            ("fraud", 2),
            ("fraud", 3),
            ("fraud", 4),
            ("score", 1),
        ]
        above = lineage.ancestors(tx, child)
        assert len(above) == 4
        relations = {(each.number, each.parent_number) for each in lineage.relations(tx, [child, *above])}
    assert relations == {(2, 1), (3, 1), (4, 2), (4, 3), (1, 4)}


def test_the_times_of_an_alias_follow_from_its_moves(family):
    with family.write() as tx:
        for number, time_us in ((1, 10), (2, 20), (1, 30)):
            champion.promote(tx, "fraud", number, actor="ada", now_us=time_us)
        aliases.set_alias(tx, "fraud", 1, alias="canary", actor="bob", now_us=15)
        aliases.remove_alias(tx, "fraud", "canary", actor="bob", now_us=18)
        moves = alias_history(tx, "fraud", limit_max=99)
    assert [(each.alias, each.start_us, each.end_us) for each in periods(moves, 1)] == [
        ("champion", 10, 20),
        ("canary", 15, 18),
        ("champion", 30, 0),
    ]


def test_a_comparison_guesses_no_direction(family, draft):
    first = VersionFacts(
        parameters={"depth": "3", "rate": "0.1"},
        metrics={"auc": 0.8, "loss": 0.4, "gain": 0.0},
        metric_directions={"auc": "increase"},
        data_fingerprint="a",
    )
    second = VersionFacts(
        parameters={"depth": "5", "trees": "100"},
        metrics={"auc": 0.84, "loss": 0.3, "gain": 1.0, "recall": 0.5},
        metric_directions={"auc": "increase"},
        data_fingerprint="b",
    )
    wide = Signature((TensorSpec("x", "float64", (-1, 3)),), (TensorSpec("y", "float32", (-1, 1)),))
    with family.write() as tx:
        before, _ = versions.add_version(tx, draft(facts=first), actor="ada", now_us=1000)
        after, _ = versions.add_version(tx, draft(facts=second, signature=wide), actor="ada", now_us=1700)
    found = compare_versions(before, after)
    assert found.parameters == (
        ValueChange("depth", "3", "5"),
        ValueChange("rate", "0.1", None),
        ValueChange("trees", None, "100"),
    )
    auc, gain, loss, recall = found.metrics
    assert (auc.direction, auc.better, auc.percent) == ("increase", True, pytest.approx(5.0))
    assert (loss.direction, loss.better) == ("", None)
    assert (gain.change, gain.percent) == (1.0, None)
    assert recall == MetricChange("recall", None, 0.5, None, None, "", None)
    assert found.signature == (ValueChange("input x", "float32[-1, 3]", "float64[-1, 3]"),)
    assert (found.data_changed, found.code_changed, found.time_between_us) == (True, None, 700)


def test_answers_differ_by_rows_numbers_and_labels():
    nan = float("nan")
    numbers = difference("p", np.array([[0.1], [nan], [0.5]]), np.array([[0.1], [nan], [0.7]]))
    assert numbers == {
        "output": "p",
        "rows": 3,
        "equal_rows": 2,
        "max_delta": pytest.approx(0.2),
        "mean_delta": pytest.approx(0.2 / 3),
    }
    labels = difference("label", np.array(["a", "b"], object), np.array(["a", "c"], object))
    assert labels == {"output": "label", "rows": 2, "equal_rows": 1, "flips": 1}


def test_versions_are_compared_by_their_answers_to_the_probe_rows(served, make_graph, np32):
    x = np32([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    weights = np32([[1], [2], [3]])
    served.publish(make_graph(), inputs={"x": x}, outputs={"y": x @ weights})
    served.publish(make_graph(weights=weights + np32([[0], [1], [0]])))
    request = {"before": "models/fraud/versions/1", "after": "models/fraud/versions/2"}
    answer = served.stub.CompareVersions(comparison_pb2.CompareVersionsRequest(**request, predictions=True))
    (found,) = answer.predictions
    assert (found.output, found.rows, found.equal_rows, found.max_delta) == ("y", 3, 2, 1.0)
    answer = served.stub.CompareVersions(
        comparison_pb2.CompareVersionsRequest(**request, rows=to_tensors({"x": np32([[0, 5, 0]])}))
    )
    assert answer.predictions[0].rows == 4
    assert answer.predictions[0].max_delta == 5.0
    assert not served.kept()[0].name.startswith("put-")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_predictions_are_not_compared_without_rows_or_a_common_input(served, make_graph, np32):
    served.publish(make_graph())
    served.publish(make_graph())
    request = {"before": "models/fraud/versions/1", "after": "models/fraud/versions/2"}
    answer = served.stub.CompareVersions(comparison_pb2.CompareVersionsRequest(**request, predictions=True))
    assert (answer.same_artifact, answer.predictions_reason) == (True, "neither has probe rows, and no rows were given")
    served.publish(make_graph(weights=np32([[1], [1]])), model="other")
    answer = served.stub.CompareVersions(
        comparison_pb2.CompareVersionsRequest(
            before="models/fraud/versions/1",
            after="models/other/versions/1",
            rows=to_tensors({"x": np32([[1, 1, 1]])}),
        )
    )
    reason = "they take other inputs: 'x' is float32[-1, 3] against float32[-1, 2]"
    assert answer.predictions_reason == reason


def test_rows_that_do_not_fit_are_said(served, make_graph, np32):
    served.publish(make_graph())
    name = "models/fraud/versions/1"
    rows = to_tensors({"x": np32([[1, 1]])})
    answer = served.stub.CompareVersions(comparison_pb2.CompareVersionsRequest(before=name, after=name, rows=rows))
    assert "fails on the rows" in answer.predictions_reason


def test_the_features_that_one_reads_and_the_other_does_not_are_named(served, make_graph):
    served.publish(make_graph())
    served.publish(make_graph(), facts=pb.VersionFacts(feature_set="card-history"))
    one, other = (f"models/fraud/versions/{number}" for number in (1, 2))
    answer = served.stub.CompareVersions(comparison_pb2.CompareVersionsRequest(before=one, after=other))
    assert (list(answer.features_added), list(answer.features_removed)) == (["card.f0", "card.f1", "card.f2"], [])
    answer = served.stub.CompareVersions(comparison_pb2.CompareVersionsRequest(before=other, after=one))
    assert (list(answer.features_added), list(answer.features_removed)) == ([], ["card.f0", "card.f1", "card.f2"])


def test_a_feature_of_a_view_that_was_defined_otherwise_is_another():
    changes = feature_changes({"a.x": "d1", "a.y": "d1", "b.z": "d3"}, {"b.z": "d3", "a.x": "d2", "c.w": "d4"})
    assert changes == FeatureChanges(added=("c.w",), removed=("a.y",), changed=("a.x",))


@pytest.mark.parametrize(
    ("shape", "fits"), [((-1, 3), True), ((8, 3), True), ((-1, -1), True), ((-1, 2), False), ((-1,), False)]
)
def test_inputs_fit_where_one_row_could_be_given_to_both(shape, fits):
    one, other = (Signature((TensorSpec("x", "float32", each),), ()) for each in ((-1, 3), shape))
    assert (other_inputs(one, other) == "") is fits
    assert other_inputs(one, Signature((TensorSpec("x", "float64", (-1, 3)),), ()))
    assert "'y' is none against" in other_inputs(one, Signature((*one.inputs, TensorSpec("y", "int64", (1,))), ()))


def test_the_lineage_tells_the_whole_chain(served, make_graph):
    served.publish(make_graph(), facts=pb.VersionFacts(data_fingerprint="d1"), alias="champion")
    served.publish(make_graph(), facts=pb.VersionFacts(data_fingerprint="d1", parents=[1]))
    served.stub.PromoteVersion(pb.PromoteVersionRequest(name="models/fraud/versions/2", reason="fresher"))
    taint = served.stub.CreateTaint(
        taint_pb2.CreateTaintRequest(kind=taint_pb2.TAINT_KIND_DATA, subject="d1", reason="wrong day")
    )
    assert list(taint.versions) == ["models/fraud/versions/1", "models/fraud/versions/2"]
    found = served.stub.GetLineage(pb.GetLineageRequest(name="models/fraud/versions/1"))
    assert [each.name for each in found.descendants] == ["models/fraud/versions/2"]
    assert [(each.child, each.parent) for each in found.relations] == [
        ("models/fraud/versions/2", "models/fraud/versions/1")
    ]
    assert list(found.same_data) == ["models/fraud/versions/2"]
    (period,) = found.alias_periods
    assert period.alias == "champion"
    assert 0 < period.start_time_us < period.end_time_us
    assert [each.reason for each in found.taints] == ["wrong day"]
    assert found.predictions.count == 0


FIRST = "table:aa query:bb as-of:2013-05-01T00:00:00.000000Z"
LATER = "table:aa query:bb as-of:2013-05-02T00:00:00.000000Z"
OTHER = "table:ab query:bb as-of:2013-05-02T00:00:00.000000Z"


def test_the_same_rows_are_the_same_data_whenever_they_were_asked_for(served, make_graph):
    for fingerprint in (FIRST, LATER, OTHER):
        served.publish(make_graph(), facts=pb.VersionFacts(data_fingerprint=fingerprint))
    found = served.stub.GetLineage(pb.GetLineageRequest(name="models/fraud/versions/1"))
    assert list(found.same_data) == ["models/fraud/versions/2"]
    changed = [
        served.stub.CompareVersions(
            comparison_pb2.CompareVersionsRequest(
                before="models/fraud/versions/1", after=f"models/fraud/versions/{number}"
            )
        ).data_changed
        for number in (2, 3)
    ]
    assert changed == [False, True]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("subject", "touched"), [("table:aa", [1, 2]), ("query:bb", [1, 2, 3]), (FIRST, [1]), ("b", [])]
)
def test_a_taint_may_be_about_a_part_of_a_fingerprint(served, make_graph, subject, touched):
    for fingerprint in (FIRST, LATER, OTHER):
        served.publish(make_graph(), facts=pb.VersionFacts(data_fingerprint=fingerprint))
    taint = served.stub.CreateTaint(
        taint_pb2.CreateTaintRequest(kind=taint_pb2.TAINT_KIND_DATA, subject=subject, reason="wrong day")
    )
    assert list(taint.versions) == [f"models/fraud/versions/{number}" for number in touched]
    for number in (1, 2, 3):
        found = served.stub.GetLineage(pb.GetLineageRequest(name=f"models/fraud/versions/{number}"))
        assert bool(found.taints) == (number in touched)
