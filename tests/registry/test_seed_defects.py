"""Mistakes that a registry is easily built with, S1 to S8 and S15; none is possible here."""

import ast
import hashlib
import threading
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pytest

from features.fingerprint import Fingerprint
from registry import champion, models
from registry.artifacts import LocalArtifacts
from registry.errors import AliasMovedError
from registry.lineage import ancestors
from registry.records import VersionFacts
from registry.versions import add_version, get_version, list_versions
from storage.database import open_database
from storage.revision import list_changes
from trainer.lineage import graph_fingerprint
from turnout.errors import from_rpc
from turnout.registry.v1 import archive_pb2
from turnout.registry.v1 import registry_service_pb2 as pb

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "registry", "storage", "features", "experiments", "turnout", "trainer")
PICKLE = b"\x80\x04\x95\x11\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x04coef\x94K\x01s."  # {"coef": 1}
EXECUTING = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


@pytest.fixture
def fraud(database):
    with database.write() as tx:
        models.create_model(tx, "fraud", actor="ada", now_us=1)
    return database


def refused(call, *arguments):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    error = from_rpc(caught.value)
    return error.code, error.reason


def test_s1_a_version_is_a_number_and_the_digest_of_its_bytes_not_a_hash_of_what_is_said(served, make_graph):
    data = make_graph()
    first = served.publish(data, facts=pb.VersionFacts(description="said"))
    again = served.publish(data, facts=pb.VersionFacts(description="said otherwise"))
    other = served.publish(make_graph(weights=np.float32([[9], [2], [3]])), facts=pb.VersionFacts(description="said"))
    names = [answer.version.name for answer in (first, again, other)]
    assert names == [f"models/fraud/versions/{number}" for number in (1, 2, 3)]
    digests = [answer.version.artifact_sha256 for answer in (first, again, other)]
    assert digests[0] == digests[1] == hashlib.sha256(data).hexdigest()
    assert digests[2] != digests[0]
    assert list(again.same_bytes_as) == [1], "the same bytes are recognised, and told"


def test_s2_models_that_differ_in_the_thousandth_weight_have_fingerprints_of_their_own(make_graph):
    weights = np.zeros((2000, 1), np.float32)
    changed = weights.copy()
    changed[1000] = 1e-3
    assert str(weights) == str(changed), "what numpy prints does not tell them apart"
    assert graph_fingerprint(make_graph(weights=weights)) != graph_fingerprint(make_graph(weights=changed))


def test_s3_data_are_known_by_their_cells_not_by_what_is_said_of_them():
    table = pa.table({"x": np.arange(10_000.0)})
    cells = table.column("x").to_numpy().copy()
    cells[5_000] += 1e-9
    digests = []
    for content in (table, table.take(np.arange(10_000)[::-1]), pa.table({"x": cells})):
        taken = Fingerprint(content.schema)
        for batch in content.to_batches(max_chunksize=999):
            taken.add(batch)
        digests.append(taken.digest())
    assert digests[0] == digests[1] != digests[2]


def test_s4_the_newest_version_after_9_is_10(fraud, draft):
    for _ in range(11):
        with fraud.write() as tx:
            add_version(tx, draft(), actor="ada", now_us=1)
    with fraud.read() as tx:
        assert [version.number for version in list_versions(tx, "fraud", limit_max=3)] == [11, 10, 9]
        assert models.get_model(tx, "fraud").latest_version == 11


def test_s5_nothing_that_executes_what_it_loads_is_imported_and_a_pickle_is_refused(served):
    imported = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    imported.add(node.module.split(".")[0])
    assert "onnxruntime" in imported
    assert not imported & EXECUTING
    assert refused(served.publish, PICKLE) == ("INVALID_ARGUMENT", "GRAPH_UNREADABLE")
    assert served.kept() == []


def test_s6_a_rollback_is_a_move_with_a_history_not_another_version(served, make_graph):
    served.publish(make_graph(), alias="champion")
    served.publish(make_graph(weights=np.float32([[9], [2], [3]])), alias="champion")
    kept = sorted(served.kept())
    moved = served.stub.RollbackModel(pb.RollbackModelRequest(name="models/fraud", reason="worse"))
    assert (moved.alias.version, moved.alias.generation) == (1, 3)
    assert len(served.stub.ListVersions(pb.ListVersionsRequest(parent="models/fraud")).versions) == 2
    assert sorted(served.kept()) == kept


def test_s7_parents_are_those_that_are_named_whoever_publishes_in_between(fraud, draft):
    for parents in ((), (), (1,), (2,), (3, 4)):
        with fraud.write() as tx:
            add_version(tx, draft(facts=VersionFacts(parents=parents)), actor="ada", now_us=1)
    with fraud.read() as tx:
        lines = [[each.number for each in ancestors(tx, get_version(tx, "fraud", number))] for number in (3, 4, 5)]
    assert lines == [[1], [2], [1, 2, 3, 4]]


def test_s8_a_promotion_is_one_transaction_with_compare_and_set_and_a_history(fraud, draft):
    for _ in range(3):
        with fraud.write() as tx:
            add_version(tx, draft(), actor="ada", now_us=1)
    with fraud.write() as tx:
        champion.promote(tx, "fraud", 1, actor="ada", now_us=2)
    ends = []
    start = threading.Barrier(2)

    def promoting(number):
        start.wait()
        try:
            with fraud.write() as tx:
                champion.promote(tx, "fraud", number, generation=1, actor="ada", now_us=3)
            ends.append(number)
        except AliasMovedError:
            ends.append(None)

    promoters = [threading.Thread(target=promoting, args=(number,)) for number in (2, 3)]
    for promoter in promoters:
        promoter.start()
    for promoter in promoters:
        promoter.join()
    [won] = [number for number in ends if number]
    with fraud.read() as tx:
        stages = {number: get_version(tx, "fraud", number).stage.value for number in (1, 2, 3)}
        kinds = [change.kind for change in list_changes(tx, before_revision=None, limit_max=2)]
    assert stages == {1: "staging", won: "production", 5 - won: "development"}
    assert kinds[0] == "alias.moved"


def test_s8_an_unknown_version_is_an_error_with_a_reason_not_false(served, make_graph):
    served.publish(make_graph())
    request = pb.PromoteVersionRequest(name="models/fraud/versions/9")
    assert refused(served.stub.PromoteVersion, request) == ("NOT_FOUND", "VERSION_NOT_FOUND")


def test_s15_an_export_comes_back_whole(served, serve_on, make_graph, tmp_path, other_database_url):
    facts = pb.VersionFacts(
        description="first",
        algorithm="linear",
        parameters={"depth": "3"},
        metrics={"auc": 0.75},
        dataset="cards",
        data_fingerprint="table:d1",
        code_fingerprint="git:c1",
        tags={"team": "risk"},
    )
    served.publish(make_graph(), facts=facts, alias="champion")
    served.publish(make_graph(), facts=pb.VersionFacts(parents=[1], metrics={"auc": 0.8}))
    served.stub.PromoteVersion(pb.PromoteVersionRequest(name="models/fraud/versions/2", reason="better"))
    archive = [part.chunk for part in served.stub.ExportRegistry(archive_pb2.ExportRegistryRequest())]
    there = open_database(other_database_url)
    other = serve_on(tmp_path / "other", there, LocalArtifacts(tmp_path / "other" / "artifacts"))
    other.stub.ImportRegistry(archive_pb2.ImportRegistryRequest(chunk=chunk) for chunk in archive)
    for number in (1, 2):
        wanted = pb.GetVersionRequest(name=f"models/fraud/versions/{number}")
        here, found = served.stub.GetVersion(wanted).version, other.stub.GetVersion(wanted).version
        found.etag = here.etag  # each database gives its own
        assert found == here
    again = [part.chunk for part in other.stub.ExportRegistry(archive_pb2.ExportRegistryRequest())]
    assert b"".join(again) == b"".join(archive)
    there.close()
