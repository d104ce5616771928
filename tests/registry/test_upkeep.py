import hashlib
import os
import threading

import grpc
import pytest

from registry.errors import ArtifactMissingError
from registry.uploads import Uploads
from turnout.errors import from_rpc
from turnout.registry.v1 import artifact_pb2
from turnout.registry.v1 import registry_service_pb2 as pb

MIB = 1024**2


@pytest.fixture
def long_graph(make_graph):
    """Return the bytes of a graph of some 5 MiB."""
    return make_graph(lambda model: setattr(model, "doc_string", "long " * MIB))


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = from_rpc(caught.value)
    return error.code, error.reason


def verified(served):
    """Return the findings of a verification, and its last progress."""
    told = list(served.stub.VerifyArtifacts(artifact_pb2.VerifyArtifactsRequest()))
    assert told[-1].progress.done
    return [each.finding for each in told if each.HasField("finding")], told[-1].progress


def collected(served, **how):
    return served.stub.CollectArtifacts(artifact_pb2.CollectArtifactsRequest(**how))


def broken_upload(served, data, *, after):
    """Send so many bytes of a file and break off."""
    enough = threading.Event()

    def parts():
        yield pb.PublishVersionRequest(
            head=pb.PublishHead(parent="models/fraud", artifact_sha256=hashlib.sha256(data).hexdigest())
        )
        for at in range(0, after, 256 * 1024):
            yield pb.PublishVersionRequest(chunk=data[at : min(at + 256 * 1024, after)])
        enough.wait(30)

    call = served.stub.PublishVersion.future(parts())
    while served.status(data).received_bytes < min(after, MIB):
        pass
    call.cancel()
    enough.set()


def test_an_upload_that_broke_off_goes_on_where_it_did(served, long_graph):
    served.status = lambda data: served.stub.GetUploadStatus(
        artifact_pb2.GetUploadStatusRequest(artifact_sha256=hashlib.sha256(data).hexdigest())
    )
    broken_upload(served, long_graph, after=3 * MIB)
    came = served.status(long_graph).received_bytes
    assert MIB <= came <= 3 * MIB
    answer = served.publish_rest(long_graph, came)
    assert answer.version.artifact_sha256 == hashlib.sha256(long_graph).hexdigest()
    assert served.status(long_graph).received_bytes == 0
    assert served.status(long_graph).stored
    assert verified(served)[0] == []


def test_what_is_not_here_cannot_be_gone_on_with(served, long_graph):
    assert refused(lambda: served.publish_rest(long_graph, MIB)) == ("FAILED_PRECONDITION", "UPLOAD_OFFSET")
    assert served.kept() == []


def test_a_rest_that_does_not_fit_is_refused_and_the_upload_begins_anew(tmp_path):
    uploads = Uploads(tmp_path)
    data = os.urandom(4 * MIB)
    sha256 = hashlib.sha256(data).hexdigest()

    def breaking():
        yield data[: 2 * MIB]
        raise ConnectionError

    def receive(chunks, offset=0):
        with uploads.receiving(chunks, expected_sha256=sha256, offset=offset) as path:
            return path.read_bytes()

    with pytest.raises(ConnectionError):
        receive(breaking())
    assert uploads.received(sha256) == 2 * MIB
    assert Uploads(tmp_path).received(sha256) == 2 * MIB, "a restart keeps it"
    assert receive([data[MIB:]], offset=MIB) == data
    assert uploads.received(sha256) == 0
    with pytest.raises(ConnectionError):
        receive(breaking())
    assert Uploads(tmp_path, grace_s=-1).received(sha256) == 0, "what is too old goes"


def test_two_who_send_the_same_file_at_once_are_both_served(tmp_path):
    uploads = Uploads(tmp_path)
    data = b"x" * MIB
    sha256 = hashlib.sha256(data).hexdigest()
    got = []

    def inner():
        with uploads.receiving([data], expected_sha256=sha256) as path:
            got.append(path.read_bytes())
        yield data

    with uploads.receiving(inner(), expected_sha256=sha256) as path:
        got.append(path.read_bytes())
    assert got == [data, data]
    assert list(tmp_path.iterdir()) == []


def test_a_download_goes_on_from_any_offset(served, long_graph):
    served.publish(long_graph, chunk_bytes=MIB)
    name = "models/fraud/versions/1"
    for offset in (0, 1, 3 * MIB + 7, len(long_graph)):
        head, *rest = served.stub.DownloadArtifact(artifact_pb2.DownloadArtifactRequest(name=name, offset=offset))
        assert head.head.artifact_sha256 == hashlib.sha256(long_graph).hexdigest()
        assert head.head.artifact_bytes == len(long_graph)
        assert b"".join(part.chunk for part in rest) == long_graph[offset:]
    beyond = artifact_pb2.DownloadArtifactRequest(name=name, offset=len(long_graph) + 1)
    assert refused(lambda: list(served.stub.DownloadArtifact(beyond)))[1] == "REQUEST_MALFORMED"


def test_each_flipped_bit_is_named_with_the_versions_it_touches(served, make_graph, np32):
    rows = {"inputs": {"x": np32([[1, 1, 1]])}, "outputs": {"y": np32([[6]])}}
    graph = make_graph()
    served.publish(graph, **rows)
    served.publish(graph, model="twin")
    served.publish(make_graph(weights=np32([[3], [2], [1]])), model="other")
    findings, progress = verified(served)
    assert (findings, progress.checked, progress.total) == ([], 3, 3)
    assert progress.checked_bytes == progress.total_bytes
    version = served.stub.GetVersion(pb.GetVersionRequest(name="models/other/versions/1")).version
    spoiled = {}
    for path in [path for path in served.artifacts.rglob("*") if path.is_file()]:
        data = bytearray(path.read_bytes())
        if path.name == version.artifact_sha256:
            path.unlink()
            spoiled[path.name] = artifact_pb2.ARTIFACT_PROBLEM_MISSING
        else:
            data[len(data) // 2] ^= 1
            path.chmod(0o644)
            path.write_bytes(data)
            spoiled[path.name] = artifact_pb2.ARTIFACT_PROBLEM_CORRUPT
    findings, _ = verified(served)
    assert {each.artifact_sha256: each.problem for each in findings} == spoiled
    touched = {each.artifact_sha256: list(each.versions) for each in findings}
    assert touched[hashlib.sha256(graph).hexdigest()] == ["models/fraud/versions/1", "models/twin/versions/1"]
    assert touched[version.artifact_sha256] == ["models/other/versions/1"]


def test_what_no_version_needs_is_collected_after_its_grace_time(served, artifacts, make_graph):
    served.publish(make_graph())
    served.stub.DeleteVersion(pb.DeleteVersionRequest(name="models/fraud/versions/1"))
    orphan = hashlib.sha256(b"orphan").hexdigest()
    artifacts.put([b"orphan"], expected_sha256=orphan)
    assert (list(collected(served).artifacts), collected(served).younger) == ([], 1)
    dry = collected(served, grace_s=0, dry_run=True)
    assert [each.artifact_sha256 for each in dry.artifacts] == [orphan]
    assert artifacts.path(orphan).read_bytes() == b"orphan"
    assert verified(served)[1].unreferenced == 1
    done = collected(served, grace_s=0)
    assert ([each.artifact_sha256 for each in done.artifacts], done.total_bytes) == ([orphan], 6)
    with pytest.raises(ArtifactMissingError):
        artifacts.path(orphan)
    findings, progress = verified(served)
    assert (findings, progress.unreferenced, progress.checked) == ([], 0, 1), "a deleted version may come back"


def test_the_same_bytes_are_told_across_models(served, make_graph):
    served.publish(make_graph())
    answer = served.publish(make_graph(), model="twin")
    assert list(answer.same_bytes_as) == []
    assert list(answer.same_bytes_elsewhere) == ["models/fraud/versions/1"]
