"""Ask Turnout by Triton's client: `python open_inference.py [ADDRESS]`; it needs `pip install 'tritonclient[grpc]'`.

It runs in an environment without Turnout just as well; a process that imports Turnout's server cannot import it.
"""

from __future__ import annotations

import sys

import numpy as np
import tritonclient.grpc as triton


def main(address: str) -> None:
    """Ask for the kind of one flower and print who answered."""
    with triton.InferenceServerClient(address) as client:
        print("ready:", client.is_model_ready("iris"))
        flower = triton.InferInput("flower", [1, 4], "FP32")
        flower.set_data_from_numpy(np.array([[5.1, 3.5, 1.4, 0.2]], np.float32))
        result = client.infer("iris", [flower], parameters={"turnout_unit_id": "flower-1"})
        answer = result.get_response()
        print("version:", answer.model_version)
        print("request id:", answer.parameters["turnout_request_id"].string_param)
        for output in answer.outputs:
            print(f"{output.name}:", result.as_numpy(output.name).tolist())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8001")
