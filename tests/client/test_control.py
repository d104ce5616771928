from __future__ import annotations

import hashlib
import io
import threading

import grpc
import pytest

from turnout import errors
from turnout.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from turnout.control import Control
from turnout.events.v1 import event_service_pb2, event_service_pb2_grpc
from turnout.features.v1 import feature_service_pb2, feature_service_pb2_grpc
from turnout.registry.v1 import registry_service_pb2, registry_service_pb2_grpc


class Desk(
    registry_service_pb2_grpc.RegistryServiceServicer,
    feature_service_pb2_grpc.FeatureServiceServicer,
    event_service_pb2_grpc.EventServiceServicer,
    admin_service_pb2_grpc.AdminServiceServicer,
):
    """Answers the control calls that these tests make, and keeps what it was asked."""

    def __init__(self, refuse):
        self.refuse = refuse
        self.parts = []
        self.asked = []
        self.metadata = {}
        self.deadline_s = 0.0
        self.left = threading.Event()

    def add(self, server):
        registry_service_pb2_grpc.add_RegistryServiceServicer_to_server(self, server)
        feature_service_pb2_grpc.add_FeatureServiceServicer_to_server(self, server)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(self, server)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(self, server)

    def PublishVersion(self, request_iterator, context):  # noqa: N802  (the contract's names)
        self.metadata = dict(context.invocation_metadata())
        for part in request_iterator:
            self.parts.append(part)
            if part.head.alias == "refused":
                self.refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "ARTIFACT_TRUNCATED")
        version = registry_service_pb2.Version(version=1)
        return registry_service_pb2.PublishVersionResponse(version=version, revision=7)

    def GetModel(self, request, context):  # noqa: N802
        self.asked.append(request)
        self.deadline_s = context.time_remaining()
        self.refuse(context, grpc.StatusCode.UNAVAILABLE, "LEASE_LOST")

    def PromoteVersion(self, request, context):  # noqa: N802
        self.asked.append(request)
        if request.HasField("generation"):
            self.refuse(context, grpc.StatusCode.ABORTED, "ALIAS_MOVED", generation="4")
        self.refuse(context, grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")

    def ApplyFeatures(self, request, context):  # noqa: N802, ARG002
        self.asked.append(request)
        return feature_service_pb2.ApplyFeaturesResponse(revision=2)

    def GetTrainingData(self, request, context):  # noqa: N802
        yield feature_service_pb2.GetTrainingDataResponse(chunk=b"AR")
        yield feature_service_pb2.GetTrainingDataResponse(chunk=b"ROW", fingerprint="f00")
        if request.label_sql == "broken":
            self.refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "LABEL_SQL_REFUSED")

    def TailEvents(self, request, context):  # noqa: N802, ARG002
        context.add_callback(self.left.set)
        yield event_service_pb2.TailEventsResponse(json="{}")
        self.left.wait(10)

    def WaitForRevision(self, request, context):  # noqa: N802, ARG002
        return admin_service_pb2.WaitForRevisionResponse(revision=request.revision or 9)


@pytest.fixture
def desk(refuse):
    return Desk(refuse)


@pytest.fixture
def control(desk, serving):
    with serving(desk.add) as address, Control(address, actor="ada", attempts_max=3) as opened:
        yield opened


def test_a_file_is_published_as_a_head_and_chunks_of_a_mebibyte(control, desk, tmp_path):
    content = bytes(range(256)) * 10_000
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    facts = registry_service_pb2.VersionFacts(algorithm="trees")
    probe = registry_service_pb2.Probe(tolerance=0.5)
    published = control.publish_version("delay", file, facts=facts, probe=probe, alias="champion")
    assert (published.version.version, published.revision) == (1, 7)
    assert desk.parts[0].head == registry_service_pb2.PublishHead(
        parent="models/delay",
        artifact_sha256=hashlib.sha256(content).hexdigest(),
        facts=facts,
        probe=probe,
        alias="champion",
    )
    chunks = [part.chunk for part in desk.parts[1:]]
    assert b"".join(chunks) == content
    assert [len(chunk) for chunk in chunks] == [2**20, 2**20, len(content) - 2 * 2**20]
    assert desk.metadata["turnout-actor"] == "ada"


def test_a_refused_publication_raises_its_reason(control, tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(bytes(3_000_000))
    with pytest.raises(errors.InvalidError, match="ARTIFACT_TRUNCATED"):
        control.publish_version("delay", file, alias="refused")


def test_a_file_that_is_not_there_is_said_before_anything_is_sent(control, desk, tmp_path):
    with pytest.raises(FileNotFoundError):
        control.publish_version("delay", tmp_path / "none.onnx")
    assert not desk.parts


def test_a_reading_call_is_tried_again_and_has_a_deadline(control, desk):
    with pytest.raises(errors.UnavailableError, match="LEASE_LOST"):
        control.registry.GetModel(registry_service_pb2.GetModelRequest(name="models/x"))
    assert len(desk.asked) == 3
    assert 50 < desk.deadline_s < 70


def test_a_change_is_tried_once(control, desk):
    with pytest.raises(errors.UnavailableError, match="DATABASE_UNAVAILABLE"):
        control.promote("delay", 2, reason="better")
    assert desk.asked == [registry_service_pb2.PromoteVersionRequest(name="models/delay/versions/2", reason="better")]


def test_an_alias_that_moved_is_a_conflict(control):
    with pytest.raises(errors.ConflictError) as raised:
        control.promote("delay", 2, generation=3)
    assert raised.value.facts == {"generation": "4"}


def test_a_directory_of_definitions_is_sent_whole(control, desk, tmp_path):
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "carrier.sql").write_text("SELECT 1")
    (tmp_path / "features.toml").write_text("# é", encoding="utf-8")
    (tmp_path / "flights.parquet").write_bytes(b"PAR1")
    assert control.apply_features(tmp_path, dry_run=True).revision == 2
    (request,) = desk.asked
    assert [(file.path, file.text) for file in request.files] == [
        ("features.toml", "# é"),
        ("views/carrier.sql", "SELECT 1"),
    ]
    assert (request.base_dir, request.dry_run) == (str(tmp_path.resolve()), True)


def test_a_training_table_is_written_as_it_comes(control):
    sink = io.BytesIO()
    request = feature_service_pb2.GetTrainingDataRequest(label_sql="SELECT")
    assert control.download_training_data(request, sink) == "f00"
    assert sink.getvalue() == b"ARROW"


def test_a_stream_that_fails_midway_raises_its_reason(control):
    request = feature_service_pb2.GetTrainingDataRequest(label_sql="broken")
    with pytest.raises(errors.InvalidError, match="LABEL_SQL_REFUSED"):
        control.download_training_data(request, io.BytesIO())


def test_a_stream_that_is_followed_can_be_left(control, desk):
    stream = control.events.TailEvents(event_service_pb2.TailEventsRequest(follow=True))
    assert next(stream).json == "{}"
    stream.cancel()
    assert desk.left.wait(10)


def test_the_newest_revision_is_waited_for_unless_one_is_named(control):
    assert control.wait_for_revision() == 9
    assert control.wait_for_revision(4) == 4
