"""A buf plug-in that writes Python messages and gRPC stubs with the compiler inside grpc_tools.

buf speaks to plug-ins by a CodeGeneratorRequest on standard input; the compiler inside grpc_tools is a function that
takes command-line arguments. This bridges the two, so that no protoc binary is needed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def generate(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """Return the generated files of a request, or a response that holds the compiler's error."""
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        descriptors = folder / "request.binpb"
        descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        out = folder / "out"
        out.mkdir()
        arguments = ["protoc", f"--descriptor_set_in={descriptors}"]
        arguments += [f"--{kind}_out={out}" for kind in ("python", "grpc_python")]
        if protoc.main([*arguments, *request.file_to_generate]) != 0:
            response.error = "the compiler inside grpc_tools refused the files"
            return response
        for path in sorted(out.rglob("*.py*")):
            response.file.add(name=str(path.relative_to(out)), content=path.read_text())
    return response


def main() -> None:
    """Answer the request on standard input."""
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(generate(request).SerializeToString())


if __name__ == "__main__":
    main()
