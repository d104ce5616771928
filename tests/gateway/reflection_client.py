"""A client that knows nothing of the contract but what the server tells it: `reflection_client.py ADDRESS`.

Prints one JSON object: the services, the methods and fields that were found, and the answers to two predictions.
"""

import json
import struct
import sys

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "turnout.serving.v1.PredictionService"


def main(address):
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        method = pool.FindServiceByName(SERVICE).FindMethodByName("Predict")
        request_class = message_factory.GetMessageClass(method.input_type)
        response_class = message_factory.GetMessageClass(method.output_type)
        call = channel.unary_unary(
            f"/{SERVICE}/{method.name}", request_class.SerializeToString, response_class.FromString
        )
        answers = []
        for unit in range(40):
            request = request_class(model="m", unit_id=f"unit-{unit}")
            tensor = request.inputs.add(name="x", shape=[1, 4], data=struct.pack("<4f", 1, 2, 3, 4))
            float32 = tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_name["DATA_TYPE_FLOAT32"]
            tensor.data_type = float32.number
            response = call(request, timeout=10)
            answer = json_format.MessageToDict(response, preserving_proto_field_name=True)
            answers.append(answer | {"scores": struct.unpack("<4f", response.outputs[0].data)})
        print(  # noqa: T201  (what the test reads)
            json.dumps(
                {
                    "services": sorted(database.get_services()),
                    "response_fields": [field.name for field in method.output_type.fields],
                    "answers": answers,
                    "imported": sorted({name.partition(".")[0] for name in sys.modules}),
                }
            )
        )


main(sys.argv[1])
