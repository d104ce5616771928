"""What a running gateway does when its bytes, or their signatures, are not as they should be."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from registry.stores import open_artifacts
from turnout import Client, signing
from turnout.admin.v1 import admin_service_pb2 as admin
from turnout.control import Control
from turnout.errors import TurnoutError

FAILED = admin.LOAD_STATE_FAILED


@pytest.fixture
def write(make_graph, np32, tmp_path):
    """Return what writes a graph that multiplies the sum of its three inputs, and says where."""

    def written(scale):
        path = tmp_path / f"scale-{scale}.onnx"
        path.write_bytes(make_graph(weights=np32([[scale]] * 3)))
        return path

    return written


class Serving:
    """A gateway, asked and changed."""

    def __init__(self, gateway):
        self.control = Control(gateway.control_address)
        self.client = Client(gateway.data_address)
        self.address = gateway.control_address

    def answer(self):
        prediction = self.client.predict("fraud", inputs={"x": np.ones((1, 3), np.float32)})
        return prediction.version, float(prediction.outputs["y"][0][0])

    def promote(self, version):
        self.control.wait_for_revision(self.control.promote("fraud", version).revision)

    def failures(self):
        """Return the reasons of the versions that cannot be loaded, by number."""
        status = self.control.admin.GetServingStatus(admin.GetServingStatusRequest())
        return {
            loaded.version: loaded.reason
            for worker in status.workers
            for loaded in worker.versions
            if loaded.state == FAILED
        }

    def turnout(self, *arguments):
        """Run a command against the gateway; return its exit code and its document."""
        command = [Path(sys.executable).with_name("turnout"), *arguments, "--server", self.address, "--json"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout)

    def close(self):
        self.control.close()
        self.client.close()


@pytest.fixture
def serving(launch, tmp_path):
    """Return what starts a gateway with the given flags."""
    running = []

    def start(*flags, state="state"):
        gateway = launch(tmp_path / state, *flags)
        running.append((Serving(gateway), gateway))
        return running[-1]

    yield start
    for each, gateway in running:
        each.close()
        gateway.kill()


def test_a_flipped_bit_is_refused_at_load_the_old_version_serves_and_verify_names_it(serving, write):
    asked, gateway = serving()
    asked.control.publish_version("fraud", write(2.0), alias="champion")
    asked.control.wait_for_revision()
    second = asked.control.publish_version("fraud", write(3.0)).version
    assert asked.turnout("registry", "verify")[0] == 0
    (place,) = gateway.state.glob(f"artifacts/sha256/*/{second.artifact_sha256}")
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.chmod(0o644)
    place.write_bytes(data)
    asked.promote(2)
    assert "damaged" in asked.failures()[2]
    assert asked.answer() == (1, 6.0)
    code, document = asked.turnout("registry", "verify")
    assert (code, [each["versions"] for each in document["findings"]]) == (1, [["models/fraud/versions/2"]])
    assert document["findings"][0]["artifact_sha256"] == second.artifact_sha256
    # The same bytes again: they heal what is stored.
    answer = asked.control.publish_version("fraud", write(3.0))
    assert list(answer.same_bytes_as) == [2]
    assert asked.turnout("registry", "verify")[0] == 0
    asked.promote(3)
    assert asked.answer() == (3, 9.0)


def test_an_unsigned_version_is_not_loaded_where_signatures_are_demanded(serving, write, tmp_path):
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    private, public = signing.make_key(trusted / "alice")
    asked, gateway = serving("--trusted-keys", str(trusted))
    asked.control.publish_version("fraud", write(2.0), alias="champion", sign_key=private)
    asked.control.publish_version("fraud", write(3.0))
    gateway.stop()
    asked, _ = serving("--trusted-keys", str(trusted), "--require-signatures")
    assert asked.answer() == (1, 6.0)
    asked.promote(2)
    assert "not signed" in asked.failures()[2]
    assert asked.answer() == (1, 6.0)
    with pytest.raises(TurnoutError, match="not signed"):
        asked.control.publish_version("fraud", write(4.0))
    third = asked.control.publish_version("fraud", write(4.0), sign_key=private).version
    public.rename(trusted / "taken-away")
    asked.promote(3)
    assert third.signed_by == "alice"
    assert "signature is refused" in asked.failures()[3]
    assert asked.answer() == (1, 6.0)


@pytest.mark.usefixtures("bucket_credentials")
def test_a_gateway_serves_from_a_bucket_and_so_does_another_machine(serving, write, tmp_path, bucket_server):
    url = bucket_server.create()
    asked, gateway = serving("--artifacts", url)
    published = asked.control.publish_version("fraud", write(2.0), alias="champion").version
    asked.control.wait_for_revision()
    assert asked.answer() == (1, 6.0)
    assert open_artifacts(url, tmp_path / "look").holds(published.artifact_sha256)
    gateway.stop()
    (copy,) = gateway.state.glob(f"artifacts/sha256/*/{published.artifact_sha256}")
    copy.unlink()  # as on a machine that never saw it
    asked, _ = serving("--artifacts", url)
    assert asked.answer() == (1, 6.0)
    assert asked.turnout("registry", "verify")[0] == 0
    path = tmp_path / "fetched.onnx"
    assert asked.turnout("models", "download", "fraud", "1", path)[0] == 0
    assert path.read_bytes() == write(2.0).read_bytes()
