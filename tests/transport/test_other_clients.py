"""Clients that are not grpcio: nghttp2's own, and Go's."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SAY = "/turnout.test.Echo/Say"
GO_S_MAX = 100.0


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
def test_h2load_has_every_call_answered(server, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b"\x00" + struct.pack(">I", 100) + bytes(100))
    command = ["h2load", "-n", "4000", "-c", "8", "-m", "16", "-d", str(body), "-H", "content-type: application/grpc"]
    command += ["-H", "te: trailers", f"http://127.0.0.1:{server.port}{SAY}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "4000 succeeded, 0 failed, 0 errored" in done.stdout
    assert len(server.seen) == 4000
    assert f"({4000 * 105}) data" in done.stdout


@pytest.mark.skipif(shutil.which("nghttp") is None, reason="nghttp is not installed")
def test_nghttp_reads_the_trailers(server, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(b"\x00" + struct.pack(">I", 3) + b"abc")
    command = ["nghttp", "-v", "-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{SAY}"], capture_output=True, check=True, timeout=60
    )
    assert b"grpc-status: 0" in done.stdout
    assert b"abc" in done.stdout


@pytest.fixture(scope="session")
def go_client(tmp_path_factory):
    """Return the Go client, built where Go and its gRPC are at hand."""
    go = shutil.which("go") or ("/usr/local/go/bin/go" if Path("/usr/local/go/bin/go").exists() else None)
    if go is None:
        pytest.skip("Go is not installed")
    folder = tmp_path_factory.mktemp("go")
    shutil.copytree(Path(__file__).with_name("go_client"), folder, dirs_exist_ok=True)
    environment = os.environ | {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    built = subprocess.run(
        [go, "build", "-o", "client", "."],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=GO_S_MAX,
    )
    if built.returncode:
        pytest.skip(f"Go's gRPC is not at hand: {built.stderr.strip().splitlines()[-1]}")
    return folder / "client"


def test_go_calls_streams_and_is_refused_as_python_is(server, go_client):
    done = subprocess.run(
        [go_client, f"127.0.0.1:{server.port}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "2000 calls: 0 wrong",
        "large: 4194304",
        "error: NotFound nöt found: 100 %",
        "unknown: Unimplemented",
        "deadline: DeadlineExceeded",
        "too large: ResourceExhausted",
        "stream: 200 answers in order",
        "health: SERVING",
    ]
