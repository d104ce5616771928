"""A session of the stock KServe client: `kserve_session.py ADDRESS`. Prints what it saw as JSON.

The package's `__init__` is not run: it imports the whole server. The client's own modules are as they were installed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import types

import numpy as np

_package = types.ModuleType("kserve")
_package.__path__ = list(importlib.util.find_spec("kserve").submodule_search_locations)
sys.modules["kserve"] = _package

from kserve.inference_client import InferenceGRPCClient  # noqa: E402
from kserve.protocol.infer_type import InferInput, InferRequest  # noqa: E402

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


def request(model, *, binary, **fields):
    given = InferInput("x", [1, 4], "FP32")
    given.set_data_from_numpy(ROW, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[given], **fields)


async def main(address):
    client = InferenceGRPCClient(address, verbose=False)
    raw = await client.infer(request("plain", binary=True, request_id="mine"))
    typed = await client.infer(request("plain", binary=False))
    unit = await client.infer(request("m", binary=True, parameters={"turnout_unit_id": "7"}))
    seen = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "model_ready": [await client.is_model_ready("m"), await client.is_model_ready("nobody")],
        "raw": [raw.id, raw.model_version, raw.outputs[0].as_numpy().tolist()],
        "typed": typed.outputs[0].as_numpy().tolist(),
        "unit": [unit.model_version, unit.parameters["turnout_variant"].string_param],
    }
    await client.close()
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
