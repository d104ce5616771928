import hashlib
import threading
import time

import grpc
import pytest

from gateway.control.publish import Publisher
from gateway.control.trial import Trial
from storage.clock import SystemClock
from turnout.errors import from_rpc
from turnout.registry.v1 import registry_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

X = [[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
Y = [[6.0], [2.0]]


@pytest.fixture
def linear(make_graph):
    return make_graph()


@pytest.fixture
def rows(np32):
    return {"inputs": {"x": np32(X)}, "outputs": {"y": np32(Y)}}


def refused(call, *arguments, **named):
    """Return the status code and the reason that a call is refused with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **named)
    error = from_rpc(caught.value)
    return error.code, error.reason, error.message


def test_a_published_version_is_answered_whole(served, linear, rows):
    facts = pb.VersionFacts(algorithm="linear", metrics={"auc": 0.75}, parity_json='{"flips": 0}')
    answer = served.publish(linear, facts=facts, alias="champion", **rows)
    version = served.stub.GetVersion(pb.GetVersionRequest(name="models/fraud/versions/1")).version
    assert answer.version == version
    assert version.artifact_sha256 == hashlib.sha256(linear).hexdigest()
    assert version.artifact_bytes == len(linear)
    assert list(version.inputs) == [
        tensor_pb2.TensorSpec(name="x", data_type=tensor_pb2.DATA_TYPE_FLOAT32, shape=[-1, 3])
    ]
    assert version.facts == facts
    assert version.stage == pb.STAGE_PRODUCTION
    assert version.probe_rows == 2
    assert version.create_actor
    model = served.stub.GetModel(pb.GetModelRequest(name="models/fraud")).model
    assert (model.latest_version, list(model.aliases)) == (1, [pb.Alias(alias="champion", version=1, generation=1)])
    assert served.revisions == [answer.revision]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_same_bytes_are_kept_once_and_said(served, linear, rows):
    served.publish(linear, **rows)
    answer = served.publish(linear, **rows)
    assert (answer.version.version, list(answer.same_bytes_as)) == (2, [1])
    assert len(served.kept()) == 2  # the file and the probe rows


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_concurrent_publications_get_the_numbers_without_a_gap(served, make_graph):
    numbers = []

    def publishing(data):
        numbers.append(served.publish(data).version.version)

    files = [make_graph(lambda model, n=n: setattr(model, "doc_string", f"file {n}")) for n in range(8)]
    threads = [threading.Thread(target=publishing, args=(data,)) for data in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 9))


def outside(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = 1
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_cannot_be_served_is_refused_with_its_reason_and_nothing_is_kept(served, make_graph, zipmap_graph):
    linear = make_graph()
    files = {
        "GRAPH_UNREADABLE": linear[: len(linear) // 2],
        "OPSET_UNKNOWN": make_graph(opset=999),
        "EXTERNAL_DATA": make_graph(outside),
        "OUTPUT_NOT_TENSOR": zipmap_graph,
    }
    for reason, data in files.items():
        code, given, message = refused(served.publish, data)
        assert (code, given) == ("INVALID_ARGUMENT", reason)
        assert reason != "OUTPUT_NOT_TENSOR" or "zipmap=False" in message
    assert served.kept() == []
    assert list(served.stub.ListModels(pb.ListModelsRequest()).models) == []
    assert served.revisions == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_probe_rows_that_disagree_are_refused_and_nothing_is_kept(served, linear, np32):
    wrong = np32([[6.0], [2.1]])
    code, reason, message = refused(served.publish, linear, inputs={"x": np32(X)}, outputs={"y": wrong})
    assert (code, reason) == ("INVALID_ARGUMENT", "PROBE_DISAGREES")
    assert "differs in 1 of 2 rows" in message
    assert served.kept() == []
    served.publish(linear, inputs={"x": np32(X)}, outputs={"y": wrong}, tolerance=0.2)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"z": X}, {"y": Y}),
        ({"x": [[1.0]]}, {"y": [[6.0]]}),
        ({"x": X}, {}),
    ],
    ids=["unknown input", "wrong width", "no output"],
)
def test_probe_rows_that_do_not_fit_are_refused(served, linear, np32, inputs, outputs):
    given = [{name: np32(values) for name, values in side.items()} for side in (inputs, outputs)]
    code, reason, _ = refused(served.publish, linear, inputs=given[0], outputs=given[1])
    assert (code, reason) == ("INVALID_ARGUMENT", "PROBE_INVALID")
    assert served.kept() == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_probe_rows_of_another_type_are_refused(served, linear):
    code, reason, message = refused(served.publish, linear, inputs={"x": X}, outputs={"y": Y})
    assert (code, reason) == ("INVALID_ARGUMENT", "PROBE_INVALID")
    assert "float64" in message


def test_bytes_other_than_announced_are_refused(served, linear):
    code, reason, _ = refused(served.publish, linear, artifact_sha256="0" * 64)
    assert (code, reason) == ("INVALID_ARGUMENT", "ARTIFACT_DIGEST_MISMATCH")
    assert served.kept() == []


def test_a_stream_out_of_order_is_refused(served, linear):
    chunk = pb.PublishVersionRequest(chunk=linear)
    head = pb.PublishVersionRequest(head=pb.PublishHead(parent="models/fraud", artifact_sha256="0" * 64))
    for parts in ([], [chunk], [head, head], [head, pb.PublishVersionRequest(chunk=b"0" * (1024**2 + 1))]):
        assert refused(served.stub.PublishVersion, iter(parts))[:2] == ("INVALID_ARGUMENT", "REQUEST_MALFORMED")
    assert served.kept() == []


def test_a_client_that_hangs_up_leaves_nothing(served, linear):
    def hanging_up():
        yield pb.PublishVersionRequest(head=pb.PublishHead(parent="models/fraud", artifact_sha256="0" * 64))
        yield pb.PublishVersionRequest(chunk=linear)
        raise ConnectionError

    with pytest.raises(grpc.RpcError):
        served.stub.PublishVersion(hanging_up(), timeout=5)
    wait_until(lambda: served.kept() == [])


@pytest.mark.parametrize("name", ["card-history", "featureSets/card-history"])
def test_a_version_is_bound_to_its_feature_set(served, linear, database, name):
    version = served.publish(linear, facts=pb.VersionFacts(feature_set=name)).version
    assert version.facts.feature_set == "featureSets/card-history"
    with database.read() as tx:
        stored = tx.exec_driver_sql("SELECT feature_set, feature_set_digest, feature_input FROM versions").one()
    assert stored == ("card-history", "d1" * 32, "x")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_graph_that_does_not_take_the_feature_set_is_refused(served, make_graph, np32):
    code, reason, message = refused(
        served.publish, make_graph(weights=np32([[1.0]] * 4)), facts=pb.VersionFacts(feature_set="card-history")
    )
    assert (code, reason) == ("INVALID_ARGUMENT", "FEATURE_INPUT_MISMATCH")
    assert "[-1, 3]" in message
    assert served.kept() == []


def test_a_feature_set_that_does_not_exist_is_refused(served, linear):
    assert refused(served.publish, linear, facts=pb.VersionFacts(feature_set="nothing"))[0] == "NOT_FOUND"


def test_inputs_that_take_finite_numbers_only_are_part_of_the_signature(served, linear):
    version = served.publish(linear, finite_inputs=["x"]).version
    assert [(spec.name, spec.finite) for spec in version.inputs] == [("x", True)]
    assert version == served.stub.GetVersion(pb.GetVersionRequest(name=version.name)).version


def test_an_input_that_is_none_cannot_take_finite_numbers_only(served, linear):
    code, reason, message = refused(served.publish, linear, finite_inputs=["y"])
    assert (code, reason) == ("INVALID_ARGUMENT", "FINITE_INPUT_INVALID")
    assert "those are x" in message
    assert served.kept() == []


@pytest.mark.parametrize("facts", [{"parity_json": "[1]"}, {"parity_json": "{"}, {"metrics": {"auc": float("nan")}}])
def test_facts_that_are_no_json_are_refused(served, linear, facts):
    code, reason, _ = refused(served.publish, linear, facts=pb.VersionFacts(**facts))
    assert (code, reason) == ("INVALID_ARGUMENT", "REQUEST_MALFORMED")


def test_of_two_promotions_with_the_same_generation_one_wins(served, make_graph):
    for n in range(3):
        served.publish(
            make_graph(lambda model, n=n: setattr(model, "doc_string", f"{n}")), alias="" if n else "champion"
        )
    won = served.stub.PromoteVersion(
        pb.PromoteVersionRequest(
            name="models/fraud/versions/2", generation=1, reason="better", evidence_json='{"p": 1}'
        )
    )
    assert won.alias == pb.Alias(alias="champion", version=2, generation=2)
    lost = pb.PromoteVersionRequest(name="models/fraud/versions/3", generation=1)
    assert refused(served.stub.PromoteVersion, lost)[:2] == ("ABORTED", "ALIAS_MOVED")
    back = served.stub.RollbackModel(pb.RollbackModelRequest(name="models/fraud", reason="worse"))
    assert back.alias == pb.Alias(alias="champion", version=1, generation=3)
    moves = served.stub.ListAliasHistory(pb.ListAliasHistoryRequest(parent="models/fraud")).moves
    assert [(move.from_version, move.to_version, move.reason) for move in moves] == [
        (2, 1, "worse"),
        (1, 2, "better"),
        (0, 1, "set at publication"),
    ]
    assert moves[1].evidence_json == '{"p": 1}'
    stages = {version.version: version.stage for version in list_all(served)}
    assert stages == {1: pb.STAGE_PRODUCTION, 2: pb.STAGE_STAGING, 3: pb.STAGE_DEVELOPMENT}


def wait_until(holds):
    """Wait until it holds: a handler outlives the call that its client ended."""
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def list_all(served):
    return served.stub.ListVersions(pb.ListVersionsRequest(parent="models/fraud")).versions


def test_generation_0_is_told_from_an_absent_one(served, linear):
    served.publish(linear)
    request = pb.SetAliasRequest(name="models/fraud/versions/1", alias="canary", generation=0)
    served.stub.SetAlias(request)
    assert refused(served.stub.SetAlias, request)[0] == "ABORTED"
    request.ClearField("generation")
    assert served.stub.SetAlias(request).alias.generation == 2


def test_models_versions_and_moves_come_in_pages(served, linear):
    for name in ("a", "b", "c"):
        served.stub.CreateModel(pb.CreateModelRequest(model_id=name, model=pb.Model(owner="ada")))
    first = served.stub.ListModels(pb.ListModelsRequest(page_size=2))
    rest = served.stub.ListModels(pb.ListModelsRequest(page_size=2, page_token=first.next_page_token))
    assert [model.name for model in [*first.models, *rest.models]] == ["models/a", "models/b", "models/c"]
    assert rest.next_page_token == ""
    for _ in range(2):
        served.publish(linear, model="a", alias="champion")
    versions = served.stub.ListVersions(pb.ListVersionsRequest(parent="models/a", page_size=1))
    assert [version.version for version in versions.versions] == [2]
    versions = served.stub.ListVersions(
        pb.ListVersionsRequest(parent="models/a", page_size=1, page_token=versions.next_page_token)
    )
    assert ([version.version for version in versions.versions], versions.next_page_token) == ([1], "")
    moves = served.stub.ListAliasHistory(pb.ListAliasHistoryRequest(parent="models/a", page_size=1))
    moves = served.stub.ListAliasHistory(
        pb.ListAliasHistoryRequest(parent="models/a", page_size=1, page_token=moves.next_page_token)
    )
    assert ([move.generation for move in moves.moves], moves.next_page_token) == ([1], "")


@pytest.mark.parametrize("token", ["!", "YQ", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
def test_a_page_token_of_ones_own_is_refused(served, linear, token):
    served.publish(linear)
    request = pb.ListVersionsRequest(parent="models/fraud", page_token=token)
    assert refused(served.stub.ListVersions, request)[:2] == ("INVALID_ARGUMENT", "REQUEST_MALFORMED")


def test_names_are_refused_or_not_found(served):
    assert refused(served.stub.GetModel, pb.GetModelRequest(name="fraud"))[1] == "REQUEST_MALFORMED"
    assert refused(served.stub.GetModel, pb.GetModelRequest(name="models/x"))[1] == "MODEL_NOT_FOUND"
    assert refused(served.stub.ListVersions, pb.ListVersionsRequest(parent="models/x"))[1] == "MODEL_NOT_FOUND"
    version = pb.GetVersionRequest(name="models/x/versions/1")
    assert refused(served.stub.GetVersion, version)[1] == "VERSION_NOT_FOUND"
    served.stub.CreateModel(pb.CreateModelRequest(model_id="x"))
    assert refused(served.stub.CreateModel, pb.CreateModelRequest(model_id="x"))[:2] == (
        "ALREADY_EXISTS",
        "MODEL_EXISTS",
    )
    assert refused(served.stub.RollbackModel, pb.RollbackModelRequest(name="models/x"))[:2] == (
        "FAILED_PRECONDITION",
        "NO_EARLIER_CHAMPION",
    )


def test_a_publication_that_its_caller_gave_up_adds_no_version(served, linear):
    parts = [
        pb.PublishVersionRequest(
            head=pb.PublishHead(parent="models/fraud", artifact_sha256=hashlib.sha256(linear).hexdigest())
        ),
        pb.PublishVersionRequest(chunk=linear),
    ]
    assert refused(served.stub.PublishVersion, iter(parts), timeout=0.05)[0] == "DEADLINE_EXCEEDED"
    wait_until(lambda: served.kept() == [])
    assert served.revisions == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_client_that_stalls_is_cut_off(serve):
    served = serve(upload_timeout_s=0.05)
    over = threading.Event()

    def stalling():
        yield pb.PublishVersionRequest(head=pb.PublishHead(parent="models/fraud", artifact_sha256="0" * 64))
        over.wait(30)

    assert refused(served.stub.PublishVersion, stalling(), timeout=30)[0] == "CANCELLED"
    over.set()


def test_what_a_crash_left_in_the_scratch_folder_is_removed(served, database, artifacts):
    (served.scratch / "put-abc").write_bytes(b"half a file")
    Publisher(
        database=database,
        artifacts=artifacts,
        clock=SystemClock(),
        trial=Trial(),
        feature_sets=lambda *_: None,
        scratch=served.scratch,
    )
    assert served.kept() == []
