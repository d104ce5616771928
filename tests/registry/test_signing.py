import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rpc import registry_codec
from registry.keys import TrustedKeys
from registry.manifest import manifest_of
from registry.versions import get_version
from turnout import signing
from turnout.errors import from_rpc
from turnout.registry.v1 import artifact_pb2
from turnout.registry.v1 import registry_service_pb2 as pb
from turnout.tensors import to_tensors

TEXT = st.text(max_size=8)


@pytest.fixture
def trusted(tmp_path):
    folder = tmp_path / "trusted"
    folder.mkdir()
    return folder


@pytest.fixture
def key(trusted):
    """Return the private key of `alice`, who is trusted."""
    private, _ = signing.make_key(trusted / "alice")
    return signing.read_key(private)


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc(caught.value).reason


def signed(served, key, data, **fields):
    """Publish with a signature of what `fields` say."""
    head = served.head(data, **fields)
    return served.publish(data, manifest_signature=key.sign(signing.manifest(head)), **fields)


def test_who_signed_is_known_and_the_gate_sees_it(serve, trusted, key, make_graph):
    served = serve(keys=TrustedKeys(trusted, required=True))
    graph = make_graph()
    facts = pb.VersionFacts(algorithm="linear", metrics={"auc": 0.75, "n": 3}, parity_json='{"flips": 0}')
    assert signed(served, key, graph, facts=facts).version.signed_by == "alice"
    assert refused(lambda: served.publish(graph, facts=facts)) == "SIGNATURE_MISSING"
    signature = key.sign(signing.manifest(served.head(graph, facts=facts)))
    facts.metrics["auc"] = 0.99
    assert refused(lambda: served.publish(graph, facts=facts, manifest_signature=signature)) == "SIGNATURE_INVALID"
    for path in trusted.glob("*.pub"):
        path.unlink()
    assert refused(lambda: signed(served, key, graph, facts=facts)) == "SIGNATURE_INVALID"
    assert len(served.kept()) == 1


def test_a_gateway_that_trusts_nobody_takes_no_signature_on_trust(served, key, make_graph):
    assert refused(lambda: signed(served, key, make_graph())) == "SIGNATURE_INVALID"


def test_a_version_that_was_changed_after_it_was_signed_is_found(serve, trusted, key, make_graph, database):
    served = serve(keys=TrustedKeys(trusted))
    signed(served, key, make_graph(), facts=pb.VersionFacts(metrics={"auc": 0.5}))
    verify = artifact_pb2.VerifyArtifactsRequest()
    assert not [each for each in served.stub.VerifyArtifacts(verify) if each.HasField("finding")]
    with database.write() as tx:
        tx.exec_driver_sql("UPDATE versions SET facts = replace(CAST(facts AS TEXT), '0.5', '0.9')" + served.cast)
    (finding,) = (each.finding for each in served.stub.VerifyArtifacts(verify) if each.HasField("finding"))
    assert finding.problem == artifact_pb2.ARTIFACT_PROBLEM_SIGNATURE
    assert list(finding.versions) == ["models/fraud/versions/1"]


@given(
    facts=st.builds(
        pb.VersionFacts,
        description=TEXT,
        framework=TEXT,
        parameters=st.dictionaries(TEXT, TEXT, max_size=2),
        metrics=st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
        parents=st.lists(st.integers(1, 9), max_size=2),
        feature_set=st.sampled_from(["", "card-history", "featureSets/card-history"]),
        parents_elsewhere=st.lists(st.just("models/a/versions/3"), max_size=1),
        metric_directions=st.dictionaries(TEXT, st.sampled_from([0, 1, 2]), max_size=2),
    ),
    finite=st.lists(st.sampled_from("xyz"), unique=True),
)
def test_publisher_and_gateway_make_the_same_manifest(facts, finite):
    if "/" in facts.feature_set:
        facts.feature_set = registry_codec.resources.set_name("card-history")
    arrays = {"x": np.float32([[1.5, 2.5]]), "a": np.array([[7]]), "t": np.array([["ü"]], object)}
    head = pb.PublishHead(
        parent="models/fraud",
        artifact_sha256="0" * 64,
        facts=facts,
        finite_inputs=finite,
        probe=pb.Probe(inputs=to_tensors(arrays), outputs=to_tensors({"y": np.float32([[6]])})),
    )
    assert signing.manifest(head) == registry_codec.publication(head).manifest()


def test_the_manifest_of_a_stored_version_is_the_one_that_was_signed(served, make_graph, database):
    facts = pb.VersionFacts(metrics={"auc": 1.0}, parents_elsewhere=[], tags={"team": "ü"})
    served.publish(make_graph(), facts=facts)
    with database.read() as tx:
        version = get_version(tx, "fraud", 1)
    assert manifest_of(version, "") == signing.manifest(served.head(make_graph(), facts=facts))


def test_keys_are_never_written_over_and_others_are_refused(tmp_path):
    private, public = signing.make_key(tmp_path / "alice")
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(signing.KeyUnusableError):
        signing.make_key(tmp_path / "alice")
    assert (private.read_bytes(), public.read_bytes()) == before
    with pytest.raises(signing.KeyUnusableError):
        signing.read_key(public)
