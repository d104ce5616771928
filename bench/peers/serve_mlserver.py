"""MLServer with a runtime of a few lines around ONNX Runtime: `python serve_mlserver.py MODEL.onnx PORT`.

One process answers (`parallel_workers` 0): with one core, its pool of workers only adds a hop.
"""

import asyncio
import sys

import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse

PATH, PORT = sys.argv[1], int(sys.argv[2])


class OnnxModel(MLModel):
    """The model as MLServer's documentation would have it."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(PATH, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = payload.inputs[0]
        arrays = self._session.run(self._names, {given.name: self.decode(given, default_codec=NumpyCodec)})
        outputs = [NumpyCodec.encode_output(name, array) for name, array in zip(self._names, arrays, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def main() -> None:
    settings = Settings(
        host="127.0.0.1",
        http_port=0,
        grpc_port=PORT,
        metrics_endpoint=None,
        parallel_workers=0,
        debug=False,
        logging_settings=None,
    )
    model = ModelSettings(name="bench", implementation=OnnxModel, parameters=ModelParameters(uri=PATH))
    await MLServer(settings).start([model])


asyncio.run(main())
