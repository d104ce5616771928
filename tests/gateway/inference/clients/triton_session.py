"""A session of the stock Triton client: `triton_session.py ADDRESS`. Prints what it saw as JSON."""

from __future__ import annotations

import json
import queue
import sys

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


def float_input(array):
    given = triton.InferInput("x", array.shape, "FP32")
    given.set_data_from_numpy(array)
    return given


def told(client):
    metadata = client.get_server_metadata()
    model = client.get_model_metadata("m", as_json=True)
    config = client.get_model_config("m", as_json=True)["config"]
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": [client.is_model_ready("m"), client.is_model_ready("m", "2"), client.is_model_ready("nobody")],
        "server": metadata.name,
        "extensions": list(metadata.extensions),
        "metadata": model,
        "config": config,
        "index": client.get_model_repository_index(as_json=True)["models"],
    }


def raw(client):
    result = client.infer(
        "plain", [float_input(ROW)], request_id="mine", outputs=[triton.InferRequestedOutput("score")]
    )
    response = result.get_response()
    return {
        "scores": result.as_numpy("score").tolist(),
        "id": response.id,
        "version": response.model_version,
        "request_id": response.parameters["turnout_request_id"].string_param,
    }


def typed(address):
    """Ask with contents in the request itself, by the stub that the client is made of."""
    request = service_pb2.ModelInferRequest(model_name="plain", id="typed")
    given = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    given.contents.fp32_contents.extend(ROW.ravel().tolist())
    with grpc.insecure_channel(address) as channel:
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    return triton.InferResult(response).as_numpy("score").tolist()


def words(client):
    array = np.array([["zwölf", ""], ["€", "x" * 300]], dtype=object)
    inputs = []
    for entry in client.get_model_metadata("every").inputs:
        given = triton.InferInput(entry.name, [2, 2], entry.datatype)
        if entry.datatype == "BYTES":
            given.set_data_from_numpy(array)
        else:
            given.set_data_from_numpy(np.zeros((2, 2), triton.triton_to_np_dtype(entry.datatype)))
        inputs.append(given)
    back = client.infer("every", inputs).as_numpy("out_BYTES")
    return [[item.decode() for item in row] for row in back]


def asynchronous(client):
    answers = queue.Queue()
    for number in range(20):
        client.async_infer(
            "plain",
            [float_input(ROW + number)],
            callback=lambda result, error, number=number: answers.put((number, result, error)),
        )
    found = {}
    for _ in range(20):
        number, result, error = answers.get(timeout=20)
        assert error is None, error
        found[number] = result.as_numpy("score").tolist()
    return [found[number] for number in range(20)]


def streaming(client):
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for number in range(20):
        model = "nobody" if number == 5 else "plain"
        client.async_stream_infer(model, [float_input(ROW + number)], request_id=str(number))
    seen = []
    for _ in range(20):
        result, error = answers.get(timeout=20)
        seen.append(str(error) if error else [result.get_response().id, result.as_numpy("score").tolist()])
    client.stop_stream()
    return seen


def experiments(client):
    """Ask for a few units and say which variant each got."""
    arms = {}
    for unit in map(str, range(20)):
        parameters = {"turnout_unit_id": unit}
        response = client.infer("m", [float_input(ROW)], parameters=parameters).get_response()
        arms[unit] = [response.parameters["turnout_variant"].string_param, response.model_version]
    return arms


def features(client):
    response = client.infer("bound", [], parameters={"turnout_entity_carrier": "UA", "turnout_feature_hour": 9})
    by_metadata = client.infer("bound", [], headers={"turnout-entity-carrier": "UA", "turnout-feature-hour": "9"})
    return [response.as_numpy("score").tolist(), by_metadata.as_numpy("score").tolist()]


def refused(client):
    wrong = triton.InferInput("y", [1, 4], "FP32")
    wrong.set_data_from_numpy(ROW)
    try:
        client.infer("plain", [wrong])
    except InferenceServerException as error:
        return [error.status(), error.message()]
    return None


def statistics(client):
    def successes():
        [found] = client.get_inference_statistics("plain", as_json=True)["model_stats"]
        return int(found["inference_stats"]["success"].get("count", 0))

    before = successes()
    client.infer("plain", [float_input(ROW)])
    return successes() - before


def unloading(client):
    seen = []
    client.unload_model("plain")
    seen.append(client.is_model_ready("plain"))
    client.load_model("plain")
    seen.append(client.is_model_ready("plain"))
    return seen


def main(address):
    with triton.InferenceServerClient(address) as client:
        seen = {
            "told": told(client),
            "raw": raw(client),
            "typed": typed(address),
            "words": words(client),
            "asynchronous": asynchronous(client),
            "streaming": streaming(client),
            "experiments": experiments(client),
            "features": features(client),
            "refused": refused(client),
            "statistics": statistics(client),
            "unloading": unloading(client),
        }
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
