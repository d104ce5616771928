import hashlib
import io
import json
import re
import tarfile

import grpc
import pytest

from registry.artifacts import LocalArtifacts
from registry.keys import TrustedKeys
from storage.database import open_database
from turnout import signing
from turnout.errors import from_rpc
from turnout.registry.v1 import archive_pb2, artifact_pb2, gate_pb2, taint_pb2
from turnout.registry.v1 import registry_service_pb2 as pb

OWN = ("etag", "taint_id", "id", "revision")
"""What each database gives anew."""

once = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Where one direction tells as much as both: from SQLite to PostgreSQL."""


@pytest.fixture
def populated(served, make_graph, np32):
    """Return a registry with two models and all that can be said of them."""
    call = served.stub
    rows = {"inputs": {"x": np32([[1, 1, 1]])}, "outputs": {"y": np32([[6]])}}
    facts = pb.VersionFacts(algorithm="linear", metrics={"auc": 0.75}, data_fingerprint="d1", tags={"team": "ü"})
    served.publish(make_graph(), facts=facts, alias="champion", **rows)
    graph = make_graph(weights=np32([[3], [2], [1]]))
    served.publish(graph, facts=pb.VersionFacts(parents=[1]), finite_inputs=["x"])
    served.publish(graph, model="twin", facts=pb.VersionFacts(parents_elsewhere=["models/fraud/versions/2"]))
    gates = [gate_pb2.Gate(kind="approval", settings_json='{"role": "owner"}')]
    model = pb.Model(name="models/fraud", owner="risk", tags={"tier": "1"}, properties={"p": "q"}, gates=gates)
    mask = {"paths": ["owner", "tags", "properties", "gates"]}
    call.UpdateModel(pb.UpdateModelRequest(model=model, update_mask=mask))
    call.ApproveVersion(gate_pb2.ApproveVersionRequest(name="models/fraud/versions/2", role="owner", note="seen"))
    call.PromoteVersion(pb.PromoteVersionRequest(name="models/fraud/versions/2", reason="better"))
    call.SetAlias(pb.SetAliasRequest(name="models/fraud/versions/1", alias="canary", reason="look"))
    call.DeleteAlias(pb.DeleteAliasRequest(parent="models/fraud", alias="canary"))
    call.SetAlias(pb.SetAliasRequest(name="models/fraud/versions/1", alias="kept", expire_time_us=9 * 10**15))
    call.RollbackModel(pb.RollbackModelRequest(name="models/fraud", reason="worse"))
    call.DeleteVersion(pb.DeleteVersionRequest(name="models/twin/versions/1"))
    taint = call.CreateTaint(
        taint_pb2.CreateTaintRequest(kind=taint_pb2.TAINT_KIND_DATA, subject="d1", reason="wrong rows")
    ).taint
    call.ClearTaint(taint_pb2.ClearTaintRequest(taint_id=taint.taint_id, reason="right after all"))
    call.CreateTaint(
        taint_pb2.CreateTaintRequest(kind=taint_pb2.TAINT_KIND_VERSION, subject="models/twin/versions/1", reason="bad")
    )
    return served


@pytest.fixture
def elsewhere(serve_on, other_database_url, tmp_path):
    """Return an empty registry on a database of the other kind."""
    database = open_database(other_database_url)
    folder = tmp_path / "elsewhere"
    yield serve_on(folder, database, LocalArtifacts(folder / "artifacts"))
    database.close()


def export(served, *models):
    request = archive_pb2.ExportRegistryRequest(models=[f"models/{model}" for model in models])
    return b"".join(part.chunk for part in served.stub.ExportRegistry(request))


def take_in(served, archive):
    parts = [
        archive_pb2.ImportRegistryRequest(chunk=archive[at : at + 10_000]) for at in range(0, len(archive), 10_000)
    ]
    return served.stub.ImportRegistry(iter(parts), timeout=60)


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = from_rpc(caught.value)
    return error.reason, error.message


def without_own(message):
    """Return a message as a document, without what each database gives anew."""
    if isinstance(message, list):
        return [without_own(each) for each in message]
    if not hasattr(message, "ListFields"):
        return re.sub(r'"taint": \d+', '"taint": its own', message) if isinstance(message, str) else message
    return {
        field.name: without_own(list(value) if field.is_repeated and not hasattr(value, "items") else value)
        if not hasattr(value, "items")
        else dict(value)
        for field, value in message.ListFields()
        if field.name not in OWN
    }


def everything(served):
    """Return all that the contract says of a registry."""
    call = served.stub
    told = {}
    for model in call.ListModels(pb.ListModelsRequest(show_deleted=True)).models:
        versions = call.ListVersions(pb.ListVersionsRequest(parent=model.name, show_deleted=True)).versions
        told[model.name] = [model, *versions]
        told[model.name] += call.ListAliasHistory(pb.ListAliasHistoryRequest(parent=model.name)).moves
        for version in versions:
            told[version.name] = [
                call.GetLineage(pb.GetLineageRequest(name=version.name)),
                call.GetGateStatus(gate_pb2.GetGateStatusRequest(name=version.name)),
                b"".join(
                    part.chunk
                    for part in call.DownloadArtifact(artifact_pb2.DownloadArtifactRequest(name=version.name))
                ),
            ]
    told["taints"] = list(call.ListTaints(taint_pb2.ListTaintsRequest(show_cleared=True)).taints)
    found = call.SearchVersions(pb.SearchVersionsRequest(filter='tags.team = "ü" AND metrics.auc > 0.7')).versions
    told["found"] = list(found)
    return {name: without_own(messages) for name, messages in told.items()}


def test_an_export_comes_back_field_by_field_on_the_other_database(populated, elsewhere):
    before = everything(populated)
    archive = export(populated)
    answer = take_in(elsewhere, archive)
    assert (list(answer.added), list(answer.unchanged)) == (["models/fraud", "models/twin"], [])
    assert (answer.versions, answer.taints) == (3, 2)
    assert everything(elsewhere) == before
    assert len(before) == 2 + 3 + 2
    kept = [{path.name for path in each.artifacts.rglob("*") if path.is_file()} for each in (populated, elsewhere)]
    assert kept[0] == kept[1]
    assert not any(
        part.HasField("finding") for part in elsewhere.stub.VerifyArtifacts(artifact_pb2.VerifyArtifactsRequest())
    )
    assert export(elsewhere) == archive, "the same registry gives the same bytes"


def test_numbers_and_history_go_on_after_an_import(populated, elsewhere, make_graph):
    take_in(elsewhere, export(populated))
    assert elsewhere.publish(make_graph()).version.version == 3
    request = pb.RollbackModelRequest(name="models/fraud", version=2, reason="forth")
    assert elsewhere.stub.RollbackModel(request).alias.generation == 4


@once
def test_what_is_here_already_is_left_alone(populated, elsewhere):
    archive = export(populated)
    take_in(elsewhere, archive)
    revisions = list(elsewhere.revisions)
    again = take_in(elsewhere, archive)
    assert (list(again.added), list(again.unchanged)) == ([], ["models/fraud", "models/twin"])
    assert (again.versions, again.taints, again.revision) == (0, 0, 0)
    assert elsewhere.revisions[len(revisions) :] in ([], revisions[-1:]), "nothing was changed"


@once
def test_a_contradiction_is_named_and_nothing_is_taken_in(populated, elsewhere, make_graph):
    elsewhere.publish(make_graph(), model="twin")
    before = everything(elsewhere)
    reason, message = refused(lambda: take_in(elsewhere, export(populated)))
    assert reason == "ARCHIVE_CONFLICT"
    assert "models/twin." in message
    assert "in the archive" in message
    assert everything(elsewhere) == before


@once
def test_a_parent_that_is_nowhere_is_named(populated, elsewhere):
    reason, message = refused(lambda: take_in(elsewhere, export(populated, "twin")))
    assert (reason, "models/twin/versions/1" in message) == ("ARCHIVE_CONFLICT", True)
    take_in(elsewhere, export(populated, "fraud"))
    assert list(take_in(elsewhere, export(populated, "twin")).added) == ["models/twin"]


@pytest.fixture
def signed_archive(serve_on, database, tmp_path, make_graph):
    """Return an archive of a version that alice signed, and the folder of keys that trusts her."""
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    private, _ = signing.make_key(trusted / "alice")
    served = serve_on(tmp_path, database, LocalArtifacts(tmp_path / "artifacts"), keys=TrustedKeys(trusted))
    signature = signing.read_key(private).sign(signing.manifest(served.head(make_graph())))
    assert served.publish(make_graph(), manifest_signature=signature).version.signed_by == "alice"
    return export(served), trusted


@once
def test_who_signed_is_found_by_the_importers_keys_and_the_archives_word_is_not_taken(
    signed_archive, elsewhere, serve_on, other_database_url, tmp_path
):
    archive, trusted = signed_archive
    assert b'"signed_by":"alice"' in archive
    take_in(elsewhere, archive)
    version = pb.GetVersionRequest(name="models/fraud/versions/1")
    assert elsewhere.stub.GetVersion(version).version.signed_by == "", "it trusts no keys, so it knows no signer"
    database = open_database(other_database_url)
    knowing = serve_on(
        tmp_path / "elsewhere",
        database,
        LocalArtifacts(tmp_path / "elsewhere" / "artifacts"),
        keys=TrustedKeys(trusted),
    )
    assert list(take_in(knowing, archive).unchanged) == ["models/fraud"], "who knows the signer has the same version"
    assert not any(
        part.HasField("finding") for part in knowing.stub.VerifyArtifacts(artifact_pb2.VerifyArtifactsRequest())
    ), "the signature came along"
    database.close()


@once
def test_the_archive_is_an_image_layout(populated):
    with tarfile.open(fileobj=io.BytesIO(export(populated)), mode="r:") as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(content["index.json"])
    assert [each["annotations"]["org.opencontainers.image.ref.name"] for each in index["manifests"]] == [
        "models/fraud",
        "models/twin",
        "taints",
    ]

    def blob(descriptor):
        data = content[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
        assert len(data) == descriptor["size"]
        return data

    for each in index["manifests"]:
        manifest = json.loads(blob(each))
        assert manifest["mediaType"] == each["mediaType"]
        for part in (manifest["config"], *manifest["layers"]):
            blob(part)


def repacked(archive, change):
    """Return the archive with members changed by name: bytes, or None to leave one out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar, tarfile.open(fileobj=out, mode="w:") as into:
        for member in tar:
            data = change(member.name, tar.extractfile(member).read())
            if data is not None:
                member.size = len(data)
                into.addfile(member, io.BytesIO(data))
    return out.getvalue()


@once
def test_damaged_archives_are_refused_whole(populated, elsewhere):
    archive = export(populated)
    damages = {
        "cut": archive[: len(archive) // 2],
        "no tar": b"x" * 2000,
        "empty": b"",
        "no index": repacked(archive, lambda name, data: None if name == "index.json" else data),
        "strange": repacked(archive, lambda name, data: None if name == "oci-layout" else data),
        "flipped": repacked(
            archive, lambda name, data: data.replace(b'"owner":"risk"', b'"owner":"mine"') if "blobs" in name else data
        ),
        "graph": repacked(archive, lambda _name, data: data[:-1] + b"!" if b"linear" in data[:99] else data),
    }
    for name, damaged in damages.items():
        assert damaged != archive, name
        reason, _ = refused(lambda damaged=damaged: take_in(elsewhere, damaged))
        assert reason in {"ARCHIVE_INVALID", "ARTIFACT_DIGEST_MISMATCH"}, name
    assert everything(elsewhere) == {"taints": [], "found": []}


@once
def test_what_is_damaged_is_not_passed_on(populated):
    spoiled = next(path for path in populated.artifacts.rglob("*") if path.is_file())
    spoiled.chmod(0o644)
    spoiled.write_bytes(b"rotten")
    assert refused(lambda: export(populated))[0] == "ARTIFACT_CORRUPT"
