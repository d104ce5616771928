"""KServe's Python server with a model of a few lines around ONNX Runtime: `python serve_kserve.py MODEL.onnx PORT`."""

import sys

import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.numpy_codec import from_np_dtype

PATH, PORT = sys.argv[1], int(sys.argv[2])


class OnnxModel(Model):
    """The model as KServe's documentation would have it."""

    def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(PATH, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        self.ready = True
        return self.ready

    def predict(self, payload: InferRequest, *_: object, **__: object) -> InferResponse:
        given = payload.inputs[0]
        arrays = self._session.run(self._names, {given.name: given.as_numpy()})
        outputs = []
        for name, array in zip(self._names, arrays, strict=True):
            output = InferOutput(name=name, shape=list(array.shape), datatype=from_np_dtype(array.dtype))
            output.set_data_from_numpy(array, binary_data=True)
            outputs.append(output)
        return InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=outputs)


if __name__ == "__main__":
    model = OnnxModel("bench")
    model.load()
    ModelServer(http_port=PORT + 1, grpc_port=PORT, workers=1, access_log_format=None).start([model])
