"""A gateway with one model of every dtype, an experiment, and tokens; and one that asks for nothing."""

from __future__ import annotations

import http.client
import importlib.util
import json
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from turnout.client import Client
from turnout.control import Control
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.registry.v1 import registry_service_pb2
from turnout.security import Security
from turnout.tensors import to_tensors
from turnout.tokens import edited, hash_of, make_identity, new_token

KINDS = {
    "bool": TensorProto.BOOL,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "string": TensorProto.STRING,
}


def echo_model():
    """Return a model that gives back each of its inputs, one of every dtype."""

    def values(prefix):
        return [helper.make_tensor_value_info(prefix + name, kind, [None, 3]) for name, kind in KINDS.items()]

    nodes = [helper.make_node("Identity", [name], [f"same_{name}"]) for name in KINDS]
    graph = helper.make_graph(nodes, "echo", values(""), values("same_"))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return made.SerializeToString()


def scaling_model(scale):
    nodes = [
        helper.make_node("Constant", [], ["scale"], value_float=float(scale)),
        helper.make_node("Mul", ["x", "scale"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in "xy")
    graph = helper.make_graph(nodes, "scaling", [x], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return made.SerializeToString()


def slow_model():
    """Return a model that takes as long as the matrix is large that it is asked to multiply with itself."""
    nodes = [
        helper.make_node(
            "ConstantOfShape", ["shape"], ["ones"], value=helper.make_tensor("", TensorProto.FLOAT, [1], [1.0])
        ),
        helper.make_node("MatMul", ["ones", "ones"], ["product"]),
        helper.make_node("ReduceSum", ["product"], ["y"], keepdims=0),
    ]
    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    graph = helper.make_graph(nodes, "slow", [shape], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return made.SerializeToString()


LISTED = "https://app.example.com"
"""The site whose pages may call."""


@dataclass
class Place:
    """A gateway and how to speak to it."""

    gateway: object
    tokens: dict[str, str]

    def security(self, role="admin"):
        return Security(token=self.tokens[role])

    def control(self, role="admin"):
        return Control(self.gateway.control_address, security=self.security(role))

    def client(self, role="admin"):
        return Client(self.gateway.data_address, security=self.security(role))

    def ask(self, verb, path, document=None, *, role="admin", headers=None, body=None):
        """Return the status, the headers and the JSON of an answer; None where it has no body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.http, timeout=30)
        said = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        body = json.dumps(document) if document is not None else body
        connection.request(verb, path, body, said | (headers or {}))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, answer.headers, json.loads(text) if text else None

    def create(self, name, shares=(0.5, 0.5), *, start=True, **fields):
        variants = [
            pb.Variant(variant=f"v{place}", version=place + 1, share=share, control=place == 0)
            for place, share in enumerate(shares)
        ]
        metric = pb.Metric(
            metric="saved", kind=pb.METRIC_KIND_MEAN, outcome="saved", direction=1, role=pb.METRIC_ROLE_SUCCESS
        )
        experiment = pb.Experiment(
            **({"model": "models/scaled", "coverage": 1.0, "variants": variants, "metrics": [metric]} | fields)
        )
        with self.control() as control:
            control.experiments.CreateExperiment(pb.CreateExperimentRequest(experiment_id=name, experiment=experiment))
            if start:
                control.experiments.StartExperiment(pb.StartExperimentRequest(name=f"experiments/{name}"))
            control.wait_for_revision()


class Pages:
    """Serves files as a site does whose pages may call: by its address; by the name `localhost` it is another site."""

    def __init__(self):
        self.folder = None
        """Where scripts are."""
        self.page = ""
        """What stands at every path that ends with a slash."""
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                script = not self.path.endswith("/")
                body = (pages.folder / self.path[1:]).read_bytes() if script else pages.page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/javascript" if script else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.other = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="session")
def typescript():
    """Return the folder of the client for TypeScript, where it is built."""
    root = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location("built_clients", root / "tools" / "clients.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if missing := module.TYPESCRIPT.missing():
        pytest.skip(missing)
    return module.TYPESCRIPT.folder


@pytest.fixture(scope="session")
def pages():
    made = Pages()
    yield made
    made.close()


@pytest.fixture(scope="session")
def place(launch, tmp_path_factory, pages):
    folder = tmp_path_factory.mktemp("rest")
    tokens = {role: new_token() for role in ("read", "admin", "predict", "outcomes")}
    with edited(folder / "tokens.json") as identities:
        identities += [make_identity(f"{role}-person", [role], sha256=hash_of(token)) for role, token in tokens.items()]
    flags = ("--tokens", str(folder / "tokens.json"), "--http-origins", f"{LISTED}, {pages.origin}")
    gateway = launch(folder / "state", *flags, workers=1)
    found = Place(gateway, tokens)
    with found.control() as control:
        echo = {name: np.zeros((2, 3), object if name == "string" else name) for name in KINDS}
        echo["string"][:] = ""
        probe = registry_service_pb2.Probe(
            inputs=to_tensors(echo), outputs=to_tensors({f"same_{name}": array for name, array in echo.items()})
        )
        (folder / "echo.onnx").write_bytes(echo_model())
        control.publish_version("echo", folder / "echo.onnx", probe=probe, alias="champion")
        (folder / "slow.onnx").write_bytes(slow_model())
        control.publish_version("slow", folder / "slow.onnx", alias="champion")
        for scale in (1.0, 2.0, 3.0):
            (folder / "scaled.onnx").write_bytes(scaling_model(scale))
            control.publish_version("scaled", folder / "scaled.onnx", alias="champion" if scale == 1 else "")
        control.wait_for_revision()
    return found
