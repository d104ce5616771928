import functools
import hashlib
import itertools
from concurrent import futures

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.control.archive import Archives
from gateway.control.clearances import Clearances
from gateway.control.comparing import Comparing
from gateway.control.governance import Governance
from gateway.control.lineage import Lineages
from gateway.control.publication import FeatureSetShape
from gateway.control.publish import Publisher
from gateway.control.reducing.pairs import Shadowed
from gateway.control.trial import Trial
from gateway.control.upkeep import Upkeep
from gateway.control.watching import Snapshots
from gateway.journal.log import EventLog
from gateway.rpc.registry_calls.parts import RegistryParts
from gateway.rpc.registry_service import RegistryService
from registry.artifacts import LocalArtifacts
from registry.keys import TrustedKeys
from registry.records import Signature, TensorSpec, VersionDraft, VersionFacts
from storage.clock import SystemClock
from storage.database import open_database
from storage.errors import MissingError
from storage.revision import current_revision
from turnout.registry.v1 import registry_service_pb2 as pb
from turnout.registry.v1 import registry_service_pb2_grpc as pb_grpc
from turnout.tensors import to_tensors

WEIGHTS = np.array([[1.0], [2.0], [3.0]], dtype=np.float32)


@pytest.fixture
def make_graph():
    """Return what makes the bytes of `y = x @ weights` with the given changes."""

    def make(change=None, *, weights=WEIGHTS, opset=17):
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "linear",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(weights)])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
            [numpy_helper.from_array(weights, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        if change is not None:
            change(model)
        return model.SerializeToString()

    return make


@pytest.fixture
def zipmap_graph():
    """Return the bytes of a graph whose output is a sequence of maps, as skl2onnx makes them unless told not to."""
    graph = helper.make_graph(
        [helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_value_info(
                "p",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
                ),
            )
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def draft():
    """Return what makes the draft of a version; each has bytes of its own."""
    counter = itertools.count()

    def make(model="fraud", **changes):
        values = {
            "model": model,
            "artifact_sha256": f"{next(counter):064x}",
            "artifact_bytes": 10,
            "signature": Signature((TensorSpec("x", "float32", (-1, 3)),), (TensorSpec("y", "float32", (-1, 1)),)),
            "facts": VersionFacts(metrics={"auc": 0.75}),
        }
        return VersionDraft(**values | changes)

    return make


@pytest.fixture
def artifacts(tmp_path):
    return LocalArtifacts(tmp_path / "artifacts")


class Served:
    """The registry behind a real port, with a stub to it."""

    def __init__(self, folder, database, artifacts, *, keys=None, **limits):
        keys = keys or TrustedKeys()
        self.scratch = folder / "scratch"
        self.artifacts = folder / "artifacts"
        self.revisions = []
        self.cast = "" if database.dialect == "sqlite" else "::json"

        def committed():
            with database.read() as tx:
                self.revisions.append(current_revision(tx))

        database.on_commit(committed)
        trial = Trial(timeout_s=60)
        publisher = Publisher(
            database=database,
            artifacts=artifacts,
            clock=SystemClock(),
            trial=trial,
            feature_sets=feature_set,
            scratch=self.scratch,
            artifact_bytes_max=64 * 1024**2,
            keys=keys,
        )
        events = EventLog(folder)
        self.snapshots = Snapshots(database)
        parts = RegistryParts(
            database=database,
            clock=SystemClock(),
            publisher=publisher,
            clearances=Clearances(
                database=database,
                artifacts=artifacts,
                trial=trial,
                units_of=lambda _experiment, _variant: 0,
                shadowed=lambda _model, _number: Shadowed(units=0, calls=0, failed=0),
                skew_of=lambda _model, _number: (0, ()),
            ),
            comparing=Comparing(
                database=database,
                artifacts=artifacts,
                trial=trial,
                scratch=self.scratch,
                features_of=lambda _tx, _set_id, digest: {f"card.f{at}": digest for at in range(3)},
            ),
            lineages=Lineages(database=database, events=events),
            upkeep=Upkeep(database=database, artifacts=artifacts, keys=keys),
            archives=Archives(
                database=database,
                artifacts=artifacts,
                clock=SystemClock(),
                scratch=self.scratch,
                keys=keys,
                knows_set=lambda _tx, set_id, _digest: set_id == "card-history",
            ),
            snapshots=self.snapshots,
            governance=Governance(database=database, events=events),
            **limits,
        )
        service = RegistryService(parts)
        self.server = grpc.server(futures.ThreadPoolExecutor(10))
        pb_grpc.add_RegistryServiceServicer_to_server(service, self.server)
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stub = pb_grpc.RegistryServiceStub(self.channel)

    def publish(self, data, *, model="fraud", inputs=None, outputs=None, chunk_bytes=1024, **head):
        """Publish the bytes with probe rows, if any."""
        values = {"parent": f"models/{model}", "artifact_sha256": hashlib.sha256(data).hexdigest()}
        if inputs is not None:
            values["probe"] = pb.Probe(
                inputs=to_tensors(inputs), outputs=to_tensors(outputs), tolerance=head.pop("tolerance", None)
            )
        parts = [pb.PublishVersionRequest(head=pb.PublishHead(**values | head))]
        parts += [
            pb.PublishVersionRequest(chunk=data[at : at + chunk_bytes]) for at in range(0, len(data), chunk_bytes)
        ]
        return self.stub.PublishVersion(iter(parts), timeout=60)

    def head(self, data, *, model="fraud", **head):
        """Return the head of a publication without probe rows."""
        return pb.PublishHead(parent=f"models/{model}", artifact_sha256=hashlib.sha256(data).hexdigest(), **head)

    def publish_rest(self, data, offset):
        """Publish the bytes from an offset on."""
        parts = [pb.PublishVersionRequest(head=self.head(data, offset=offset))]
        parts += [pb.PublishVersionRequest(chunk=data[at : at + 2**20]) for at in range(offset, len(data), 2**20)]
        return self.stub.PublishVersion(iter(parts), timeout=60)

    def kept(self):
        """Return the files that are kept, or were left behind."""
        return [path for folder in (self.artifacts, self.scratch) for path in folder.rglob("*") if path.is_file()]


def feature_set(set_id, _tx, _trained_on_digest):
    if set_id != "card-history":
        raise MissingError(f"there is no feature set {set_id!r}")
    return FeatureSetShape(feature_count=3, digest="d1" * 32)


@pytest.fixture
def serve_on():
    """Return what serves a registry that is kept in a folder and a database."""
    running = []

    def serving(folder, database, artifacts, **limits):
        running.append(Served(folder, database, artifacts, **limits))
        return running[-1]

    yield serving
    for each in running:
        each.channel.close()
        each.server.stop(grace=None).wait()
        each.snapshots.close()


@pytest.fixture
def serve(serve_on, tmp_path, database, artifacts):
    """Return what serves the registry under the given limits."""
    return functools.partial(serve_on, tmp_path, database, artifacts)


@pytest.fixture
def other_database_url(database, tmp_path, request):
    """Return the address of an empty database of the other kind."""
    if database.dialect == "sqlite":
        return request.getfixturevalue("postgresql").create()
    return f"sqlite:///{tmp_path / 'other.db'}"


@pytest.fixture
def served(serve):
    return serve()


@pytest.fixture
def np32():
    """Return what makes float32 arrays."""
    return lambda values: np.array(values, dtype=np.float32)
