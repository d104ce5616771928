"""One gateway that the tests of batches and streams share, with features, an experiment and models that can fail."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.journal.log import EventLog
from turnout import AsyncClient, Client
from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.features.v1 import feature_service_pb2, feature_service_pb2_grpc
from turnout.registry.v1 import registry_service_pb2 as rpb

NOON_US = 1_357_041_600_000_000  # 2013-01-01 12:00
SIDE = 512
CARRIERS = [f"C{number}" for number in range(40)]

TOML = """
[[source]]
name = "flights"
kind = "csv"
path = "flights.csv"
[[view]]
name = "carrier"
join_keys = ["carrier"]
sql = "carrier.sql"
ttl = "1d"
[[view.features]]
name = "late_rate"
default = 0.2
[[view.features]]
name = "flights"
default = 1.0
[[set]]
name = "flight-delay"
features = ["request.hour", "carrier.late_rate", "carrier.flights", "request.wind"]
[[set.request]]
name = "hour"
default = 12.0
[[set.request]]
name = "wind"
default = 3.0
"""
SQL = "SELECT carrier, event_time::TIMESTAMP AS event_time, late_rate, flights FROM flights"


def flights():
    lines = ["carrier,event_time,late_rate,flights"]
    for number, carrier in enumerate(CARRIERS):  # every tenth is stale
        day = "2012-12-25" if number % 10 == 9 else "2013-01-01"
        lines.append(f"{carrier},{day} {number % 12:02d}:00:00,{number / 64},{number}")
    return "\n".join(lines) + "\n"


def picking_model():
    """Return a graph whose `score` is a row of a table: an index outside it fails the run."""
    value = helper.make_tensor_value_info
    table = numpy_helper.from_array(np.arange(40, dtype=np.float32).reshape(10, 4), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "at"], ["score"], axis=0)],
        "picking",
        [value("at", TensorProto.INT64, [None])],
        [value("score", TensorProto.FLOAT, [None, 4])],
        [table],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def slow_model():
    """Return a graph that gives back its rows, after milliseconds of multiplying."""
    value = helper.make_tensor_value_info
    weights = numpy_helper.from_array(np.random.default_rng(1).random((SIDE, SIDE), np.float32), "w")
    nothing = numpy_helper.from_array(np.array(0, np.float32), "nothing")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["x"], ["seed"], keepdims=0),
            helper.make_node("Add", ["w", "seed"], ["seeded"]),
            helper.make_node("MatMul", ["seeded", "w"], ["product"]),
            helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
            helper.make_node("Add", ["x", "zero"], ["score"]),
        ],
        "slow",
        [value("x", TensorProto.FLOAT, [None, 4])],
        [value("score", TensorProto.FLOAT, [None, 4])],
        [weights, nothing],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def prepare(operator, folder, onnx_bytes):
    """Give a gateway its clock, its features, its models and its experiment."""
    (folder / "flights.csv").write_text(flights())
    operator.admin.AdvanceClock(apb.AdvanceClockRequest(now_us=NOON_US))
    features = feature_service_pb2_grpc.FeatureServiceStub(operator.control)
    files = [
        feature_service_pb2.DefinitionFile(path="f.toml", text=TOML),
        feature_service_pb2.DefinitionFile(path="carrier.sql", text=SQL),
    ]
    features.ApplyFeatures(feature_service_pb2.ApplyFeaturesRequest(files=files, base_dir=str(folder)))
    features.Materialize(feature_service_pb2.MaterializeRequest())
    facts = rpb.VersionFacts(feature_set="flight-delay")
    for scale in (7.0, 9.0):
        operator.publish_file("bound", onnx_bytes(scale), alias="champion", facts=facts)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("alone", 5.0, alias="champion", probe=False)
    operator.publish_file("slow", slow_model(), alias="champion")
    operator.publish_file("picking", picking_model(), alias="champion")
    operator.start_experiment("bound")
    operator.wait()


@dataclass
class Many:
    """The gateway, ready to be asked."""

    gateway: Any
    operator: Any

    def journal(self, *ids):
        """Return (request_id, model, version, variant, unit_id, status, reason) of every record of these ids."""
        columns = "request_id, model, version, variant, unit_id, status, reason"
        with EventLog(self.gateway.state).snapshot() as events:
            rows = events.execute(f"SELECT {columns} FROM all_predictions").fetchall()
        return [row for row in rows if row[0] in set(ids)]


@pytest.fixture(scope="package")
def many(launch, tmp_path_factory, operator_of, onnx_bytes):
    folder = tmp_path_factory.mktemp("many")
    gateway = launch(folder / "state", "--clock", "replay", "--batch-rows-max", "2000")
    operator = operator_of(gateway)
    prepare(operator, folder, onnx_bytes)
    yield Many(gateway, operator)
    operator.close()
    gateway.stop()


class AsyncAsSync:
    """AsyncClient as one calls Client: the same tests prove both."""

    def __init__(self, address):
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(address)

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*arguments, **named):
            if name.endswith("_stream"):
                return self._stream(method, *arguments, **named)
            return self._loop.run_until_complete(method(*arguments, **named))

        return call

    def _stream(self, method, *arguments, **named):
        async def start():
            return method(*arguments, **named)

        answers = self._loop.run_until_complete(start())
        while True:
            try:
                yield self._loop.run_until_complete(anext(answers))
            except StopAsyncIteration:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._loop.run_until_complete(self._client.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


@pytest.fixture(params=["threads", "asyncio"])
def colour(request):
    return {"threads": Client, "asyncio": AsyncAsSync}[request.param]


@pytest.fixture
def client(colour, many):
    with colour(many.gateway.data_address) as opened:
        yield opened
