"""Write the OpenAPI file of what HTTP takes: routes from the server's own table, everything else from the contract.

Messages become schemas by protobuf's JSON mapping, comments become descriptions. Where the JSON differs from that
mapping (tensors, and the Open Inference Protocol's own shapes), `OVERRIDES` says how.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

from gateway.rest.routes import ROUTES, Route
from gateway.rpc.authority import OPEN, role_of

FILE = Path("gateway/rest/openapi.json")
F = descriptor_pb2.FieldDescriptorProto

INTEGERS = {F.TYPE_INT32: (-(2**31), 2**31 - 1), F.TYPE_UINT32: (0, 2**32 - 1)}
LONGS = {F.TYPE_INT64, F.TYPE_UINT64, F.TYPE_SINT64}
SPOKEN = {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}
NUMBER = {"oneOf": [{"type": "number"}, SPOKEN]}
LONG = {"type": "string", "pattern": "^-?[0-9]{1,20}$", "description": "A whole number, as text."}
ELEMENTS = {
    "type": "array",
    "description": "The elements, row-major; NaN, Infinity and -Infinity are text. A request may nest the lists.",
    "items": {"oneOf": [{"type": "number"}, {"type": "boolean"}, {"type": "string"}, {"type": "array", "items": {}}]},
}
PARAMETERS = {
    "type": "object",
    "description": "Facts of the call; see docs/open-inference.md for those that are read.",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
SHAPE = {"type": "array", "items": {"type": "integer"}, "description": "The extent of each dimension."}
OVERRIDES: dict[str, dict[str, Any]] = {
    "turnout.tensor.v1.Tensor": {"data": None, "values": ELEMENTS, "shape": SHAPE},
    "inference.ModelInferRequest": {
        **dict.fromkeys(("model_name", "model_version", "raw_input_contents")),
        "parameters": PARAMETERS,
    },
    "inference.ModelInferRequest.InferInputTensor": {
        "contents": None,
        "data": ELEMENTS,
        "shape": SHAPE,
        "parameters": PARAMETERS,
    },
    "inference.ModelInferRequest.InferRequestedOutputTensor": {"parameters": PARAMETERS},
    "inference.ModelInferResponse": {"raw_output_contents": None, "parameters": PARAMETERS},
    "inference.ModelInferResponse.InferOutputTensor": {
        "contents": None,
        "parameters": None,
        "data": ELEMENTS,
        "shape": SHAPE,
    },
    "inference.ModelMetadataResponse.TensorMetadata": {"shape": SHAPE},
}
"""What the JSON has in place of a field; None: nothing."""

PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457) with what google.rpc.ErrorInfo says.",
    "required": ["title", "status", "detail", "code", "reason", "facts"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do about it."},
        "code": {"type": "string", "description": "The name of the gRPC status code."},
        "reason": {"type": "string", "description": "What happened, machine-readable."},
        "facts": {"type": "object", "additionalProperties": {"type": "string"}},
        "error": {"type": "string", "description": "`detail` again, for clients of the Open Inference Protocol."},
    },
}
READY = {"type": "object", "required": ["ready"], "properties": {"ready": {"type": "boolean"}}}
TIMEOUT = {
    "name": "Turnout-Timeout-Ms",
    "in": "header",
    "description": "The deadline, in milliseconds; 10 000 unless it is given.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 600_000},
}


class Contract:
    """The contract's descriptors, with their comments."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self.comments: dict[str, str] = {}
        self.messages: dict[str, descriptor_pb2.DescriptorProto] = {}
        self.enums: dict[str, descriptor_pb2.EnumDescriptorProto] = {}
        self.schemas: dict[str, Any] = {}
        for file in files.file:
            by_path = {tuple(at.path): at.leading_comments.strip() for at in file.source_code_info.location}
            for place, message in enumerate(file.message_type):
                self._learn(f"{file.package}.{message.name}", message, (4, place), by_path)
            for enum in file.enum_type:
                self.enums[f"{file.package}.{enum.name}"] = enum
            for place, service in enumerate(file.service):
                for number, method in enumerate(service.method):
                    path = f"/{file.package}.{service.name}/{method.name}"
                    self.comments[path] = by_path.get((6, place, 2, number), "")

    def _learn(self, name: str, message: Any, path: tuple[int, ...], by_path: dict[tuple[int, ...], str]) -> None:
        self.messages[name] = message
        self.comments[name] = by_path.get(path, "")
        for place, field in enumerate(message.field):
            self.comments[f"{name}/{field.name}"] = by_path.get((*path, 2, place), "")
        for place, inner in enumerate(message.nested_type):
            self._learn(f"{name}.{inner.name}", inner, (*path, 3, place), by_path)

    def reference(self, name: str) -> dict[str, Any]:
        """Return what points to a message's schema, which is made when it is first pointed to."""
        if name not in self.schemas:
            self.schemas[name] = {}
            self.schemas[name] = self._schema(name)
        return {"$ref": f"#/components/schemas/{name}"}

    def _schema(self, name: str) -> dict[str, Any]:
        overrides = OVERRIDES.get(name, {})
        properties = {}
        for field in self.messages[name].field:
            if field.name not in overrides:
                kind = self._field(field)
                words = " ".join(self.comments[f"{name}/{field.name}"].split())
                properties[field.name] = kind if "$ref" in kind or not words else {**kind, "description": words}
        properties |= {key: value for key, value in overrides.items() if value is not None}
        description = " ".join(self.comments[name].split())
        return {"type": "object", "description": description, "properties": properties}

    def _field(self, field: F) -> dict[str, Any]:
        if field.label == F.LABEL_REPEATED and field.type == F.TYPE_MESSAGE:
            kind = self.messages.get(field.type_name[1:])
            if kind is not None and kind.options.map_entry:
                return {"type": "object", "additionalProperties": self._single(kind.field[1])}
        single = self._single(field)
        return {"type": "array", "items": single} if field.label == F.LABEL_REPEATED else single

    def _single(self, field: F) -> dict[str, Any]:
        if field.type in INTEGERS:
            low, high = INTEGERS[field.type]
            return {"type": "integer", "minimum": low, "maximum": high}
        if field.type in LONGS:
            return dict(LONG)
        if field.type == F.TYPE_MESSAGE:
            return self.reference(field.type_name[1:])
        if field.type == F.TYPE_ENUM:
            return {"type": "string", "enum": [value.name for value in self.enums[field.type_name[1:]].value]}
        return dict(
            {
                F.TYPE_BOOL: {"type": "boolean"},
                F.TYPE_BYTES: {"type": "string", "format": "byte"},
                F.TYPE_DOUBLE: NUMBER,
                F.TYPE_FLOAT: NUMBER,
            }.get(field.type, {"type": "string"})
        )


def operation(contract: Contract, route: Route) -> dict[str, Any]:
    """Return what OpenAPI says of a route."""
    words = " ".join(contract.comments[route.rpc].split())
    name = route.rpc.rpartition("/")[2]
    parameters = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for part in route.path.replace(":", "/").split("/")
        if part.startswith("{")
    ]
    schema = READY if route.says else contract.reference(route.response.DESCRIPTOR.full_name)
    answers = {"200": {"description": "The answer.", "content": {"application/json": {"schema": schema}}}}
    if route.says:
        answers[str(int(route.no))] = {"description": "No.", "content": {"application/json": {"schema": READY}}}
    answers["default"] = {
        "description": "A refusal.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    made: dict[str, Any] = {
        "operationId": name + ("OfVersion" if "version}" in route.path else ""),
        "summary": words.partition(". ")[0].rstrip(".") + ".",
        "description": f"{words}\n\nThe same as `{route.rpc[1:]}` of the data port.",
        "parameters": [*parameters, TIMEOUT],
        "responses": answers,
    }
    if role_of(route.rpc) != OPEN:
        made["security"] = [{"token": []}]
        made["description"] += f" It takes the role `{role_of(route.rpc)}` where callers are asked who they are."
    if route.read is not None:
        body = contract.reference(route.request.DESCRIPTOR.full_name)
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made


def document() -> dict[str, Any]:
    """Return the whole file."""
    built = subprocess.run(
        ["buf", "build", "--as-file-descriptor-set", "--output", "-"], check=True, capture_output=True
    )
    contract = Contract(descriptor_pb2.FileDescriptorSet.FromString(built.stdout))
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.verb.lower()] = operation(contract, route)
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Turnout",
            "version": version,
            "description": "The data port's calls as HTTP and JSON, written from the contract.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM, **dict(sorted(contract.schemas.items()))},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def text() -> str:
    """Return the file as it should be."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(f"{FILE} is written", file=sys.stderr)
