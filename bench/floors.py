"""The floors: servers that do as little as can be done, each in a process of its own.

`python bench/floors.py KIND MODEL.onnx` prints its port and serves until SIGTERM; then it prints one line of JSON:
how many calls and how many waves it answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from concurrent import futures
from typing import TYPE_CHECKING

import grpc
import numpy as np
import onnxruntime

from gateway.bootstrap.stopping import StopRequest
from gateway.transport.port import Wiring
from gateway.transport.select import open_transport
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.serving.v1 import prediction_service_pb2_grpc as pb_grpc
from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.transport.select import Kind

PREDICT = "/turnout.serving.v1.PredictionService/Predict"
SERVICE, METHOD = PREDICT[1:].split("/")
THREADS_MAX = 10
WAVE_CALLS_MAX = 64
GRACE_S = 10.0
STOP = StopRequest()
_TYPES = {"tensor(int64)": tensor_pb2.DATA_TYPE_INT64, "tensor(float)": tensor_pb2.DATA_TYPE_FLOAT32}


class Counts:
    """What a floor answered; the whole run's mean is enough for a floor, and costs nothing to keep."""

    calls = 0
    waves = 0


def load_predict(path: str) -> Callable[[pb.PredictRequest], pb.PredictResponse]:
    """Return bare predict: a tensor out of the message, one run, the outputs into a message."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [(output.name, _TYPES[output.type]) for output in session.get_outputs()]
    names = [name for name, _ in outputs]

    def predict(request: pb.PredictRequest) -> pb.PredictResponse:
        given = request.inputs[0]
        array = np.frombuffer(given.data, np.float32).reshape(tuple(given.shape))
        results = session.run(names, {given.name: array})
        return pb.PredictResponse(
            request_id=request.request_id,
            model=request.model,
            version=1,
            outputs=[
                tensor_pb2.Tensor(name=name, data_type=kind, shape=result.shape, data=result.tobytes())
                for (name, kind), result in zip(outputs, results, strict=True)
            ],
        )

    return predict


class Predictor(pb_grpc.PredictionServiceServicer):
    """Bare predict as grpcio's own documentation would write it."""

    def __init__(self, path: str) -> None:
        self._predict = load_predict(path)

    def Predict(self, request: pb.PredictRequest, context: grpc.ServicerContext) -> pb.PredictResponse:  # noqa: ARG002, N802
        return self._predict(request)


def serve_grpcio(add: Callable[[grpc.Server], None]) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(THREADS_MAX))
    add(server)
    announce(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    STOP.wait()
    server.stop(GRACE_S).wait()


def add_echo(server: grpc.Server) -> None:
    handler = grpc.unary_unary_rpc_method_handler(lambda payload, _: payload)
    server.add_registered_method_handlers(SERVICE, {METHOD: handler})


async def serve_aio_echo() -> None:
    server = grpc.aio.server()

    async def echo(payload: bytes, _: grpc.aio.ServicerContext) -> bytes:
        return payload

    server.add_registered_method_handlers(SERVICE, {METHOD: grpc.unary_unary_rpc_method_handler(echo)})
    announce(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await asyncio.to_thread(STOP.wait)
    await server.stop(GRACE_S)


def serve_transport(kind: Kind, answer: Callable[[bytes], bytes]) -> None:
    """Answer on one of Turnout's transports, with its bounds, deadlines and cancellation."""

    def answer_wave(wave: list) -> None:
        Counts.waves += 1
        Counts.calls += len(wave)
        for call in wave:
            call.reply(answer(call.payload))

    transport = open_transport(
        kind, Wiring(address="127.0.0.1:0", methods=[PREDICT], answer=answer_wave, add_services=lambda _: None)
    )
    announce(transport.start())
    STOP.wait()
    finished = transport.drain(GRACE_S)
    transport.close()
    if not finished:
        sys.exit(3)


def announce(port: int) -> None:
    print(port, flush=True)


def answer_bytes(path: str) -> Callable[[bytes], bytes]:
    predict = load_predict(path)
    parse = pb.PredictRequest.FromString
    return lambda payload: predict(parse(payload)).SerializeToString()


FLOORS: dict[str, Callable[[str], None]] = {
    "grpcio-echo": lambda _: serve_grpcio(add_echo),
    "aio-echo": lambda _: asyncio.run(serve_aio_echo()),
    "grpcio-predict": lambda path: serve_grpcio(
        lambda server: pb_grpc.add_PredictionServiceServicer_to_server(Predictor(path), server)
    ),
    "transport-native-echo": lambda _: serve_transport("native", lambda payload: payload),
    "transport-native-predict": lambda path: serve_transport("native", answer_bytes(path)),
    "transport-grpcio-predict": lambda path: serve_transport("grpcio", answer_bytes(path)),
}


def main() -> None:
    kind, path = sys.argv[1:]
    STOP.ask_on(signal.SIGTERM)
    FLOORS[kind](path)
    print(json.dumps({"calls": Counts.calls, "waves": Counts.waves}), flush=True)
    os._exit(0)  # threads of libraries must not hold up the end


if __name__ == "__main__":
    main()
