"""Two gateways that ask for tokens over TLS, and the clients that were built for other languages."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from turnout import Security
from turnout.control import Control
from turnout.features.v1 import feature_service_pb2
from turnout.registry.v1 import registry_service_pb2
from turnout.tokens import edited, hash_of, make_identity, new_token

ROOT = Path(__file__).parents[3]
DEFINITIONS = """
[[source]]
name = "rides"
kind = "parquet"
path = "rides.parquet"

[[view]]
name = "driver"
join_keys = ["driver"]
sql = "driver.sql"
[[view.features]]
name = "trips"
default = -1.0
[[view.features]]
name = "rating"
default = -2.0

[[view]]
name = "city"
join_keys = ["city"]
sql = "city.sql"
[[view.features]]
name = "surge"
default = -3.0

[[set]]
name = "ride"
features = ["driver.trips", "request.hour", "driver.rating", "city.surge"]
"""


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILT = load_tool("clients").CLIENTS


class Traces:
    """A receiver of OTLP over HTTP that keeps the trace and the parent of each span that it is sent."""

    def __init__(self):
        self.roots = set()
        traces = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                message = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in message.resource_spans:
                    for scope in resource.scope_spans:
                        traces.roots |= {(span.trace_id.hex(), span.parent_span_id.hex()) for span in scope.spans}
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="session")
def traces():
    made = Traces()
    yield made
    made.close()


@dataclass(frozen=True, slots=True)
class Program:
    """A client's tour, and whom it asks."""

    command: list[str]
    folder: Path
    environment: dict[str, str]

    def start(self, gateways, *arguments, **variables):
        """Start it against gateways and return the process."""
        address = ",".join(gateway.data_address for gateway in gateways)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TURNOUT_")}
        return subprocess.Popen(
            [*self.command, *map(str, arguments)],
            cwd=self.folder,
            env=kept | self.environment | variables | {"TURNOUT_DATA_SERVER": address},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


class Site:
    """Two gateways that ask for tokens over TLS; the second serves the version 2 of what the first serves as 1."""

    def __init__(self, folder, launch, authority, traces):
        self._folder, self._launch, self._authority = folder, launch, authority
        self._pair = authority.issue_server()
        self._flags = ("--tokens", str(folder / "tokens.json"), "--trace-otlp", traces.url, "--trace-ratio", "0")
        self._admin, caller = new_token(), new_token()
        with edited(folder / "tokens.json") as identities:
            identities.append(make_identity("admin", ["admin"], sha256=hash_of(self._admin)))
            identities.append(make_identity("caller", ["predict", "outcomes"], sha256=hash_of(caller)))
        (folder / "token").write_text(caller + "\n")
        self.environment = {
            "TURNOUT_TLS_CA": str(authority.certificate),
            "TURNOUT_TOKEN_FILE": str(folder / "token"),
        }
        self.gateways = [self._start(number) for number in range(2)]

    def _start(self, number):
        tls = ("--tls-cert", str(self._pair.certificate), "--tls-key", str(self._pair.key))
        return self._launch(self._folder / f"state-{number}", *tls, *self._flags)

    def restart_first(self):
        """Kill the first gateway if it is there, and start it on what it left."""
        self.gateways[0].kill()
        self.gateways[0] = self._start(0)

    def furnish(self, gateway, *models):
        """Define the features and publish models, each as its name's champion."""
        write_definitions(self._folder / "definitions")
        security = Security(token=self._admin, tls_ca=self._authority.certificate)
        with Control(gateway.control_address, security=security) as control:
            control.apply_features(self._folder / "definitions")
            control.features.Materialize(feature_service_pb2.MaterializeRequest())
            for name, data in models:
                facts = registry_service_pb2.VersionFacts(feature_set=name if name == "ride" else "")
                (self._folder / "model.onnx").write_bytes(data)
                control.publish_version(name, self._folder / "model.onnx", alias="champion", facts=facts)
            control.wait_for_revision()


def write_definitions(folder):
    """Write two views over rides, and the feature set of the model `ride`."""
    folder.mkdir(exist_ok=True)
    (folder / "ride.toml").write_text(DEFINITIONS)
    (folder / "driver.sql").write_text("SELECT driver, moment AS event_time, trips, rating FROM rides")
    (folder / "city.sql").write_text("SELECT 'basel' AS city, max(moment) AS event_time, 1.5 AS surge FROM rides")
    rows = (
        "SELECT 'd' || i AS driver, TIMESTAMP '2024-01-01' AS moment, i * 1.0 AS trips, i / 8.0 AS rating "
        "FROM range(9) t(i)"
    )
    duckdb.execute(f"COPY ({rows}) TO '{folder / 'rides.parquet'}' (FORMAT parquet)")


@pytest.fixture(scope="session")
def site(launch, tmp_path_factory, certificate_authority, traces, onnx_bytes, looping_bytes):
    folder = tmp_path_factory.mktemp("site")
    made = Site(folder, launch, certificate_authority(folder / "ca"), traces)
    first, second = made.gateways
    made.furnish(first, ("slow", looping_bytes), ("ride", onnx_bytes(1.0)))
    made.furnish(second, ("ride", onnx_bytes(1.0)), ("ride", onnx_bytes(1.0 + 2.0**-20)))
    yield made
    for gateway in made.gateways:
        gateway.kill()


def program_of(language, command, site=None):
    client = BUILT[language]
    if missing := client.missing():
        pytest.skip(missing)
    return Program(list(getattr(client, command)), client.folder, site.environment if site else {})


@pytest.fixture(scope="session")
def built():
    """Return a function that gives the folder of a language's client, or skips where it is not built."""
    return lambda language: program_of(language, "tour").folder


@pytest.fixture(params=list(BUILT))
def tour(request, site):
    """Return the tour of each language's client that is built; the others are skipped, and why."""
    return program_of(request.param, "tour", site)


@pytest.fixture
def tours(site):
    """Return the tours of all languages whose client is built."""
    built = [name for name, client in BUILT.items() if not client.missing()]
    if not built:
        pytest.skip("no client is built here: `make clients` builds them, or says why not")
    return {name: program_of(name, "tour", site) for name in built}


@pytest.fixture(params=("go", "typescript", "java"))
def first(request, site):
    """Return the first program of each README whose client has a layer over its stubs."""
    return program_of(request.param, "first", site)


@pytest.fixture(params=("rust", "cpp"))
def first_of_stubs(request):
    """Return the first program of each README that has stubs alone."""
    return program_of(request.param, "first")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def vectors():
    return load_tool("client_vectors")
