"""Triton, from nvidia-pytriton's wheel, with a Python backend around ONNX Runtime.

`python serve_pytriton.py MODEL.onnx PORT`
"""

import sys

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

PATH, PORT = sys.argv[1], int(sys.argv[2])


def main() -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(PATH, options, providers=["CPUExecutionProvider"])
    label, probabilities = (output.name for output in session.get_outputs())

    @batch
    def infer(features: np.ndarray) -> dict[str, np.ndarray]:
        labels, chances = session.run([label, probabilities], {"features": features})
        return {label: labels.reshape(-1, 1), probabilities: chances}

    config = TritonConfig(grpc_port=PORT, http_port=PORT + 1, metrics_port=PORT + 2, allow_metrics=False, log_verbose=0)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="bench",
            infer_func=infer,
            inputs=[Tensor(name="features", dtype=np.float32, shape=(30,))],
            outputs=[
                Tensor(name=label, dtype=np.int64, shape=(1,)),
                Tensor(name=probabilities, dtype=np.float32, shape=(2,)),
            ],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


main()
