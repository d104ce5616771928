"""The reference of the contract: a page for each package, made of the protos and their comments."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = "reference/contract"
OWN = ("turnout.", "inference")
"""What packages of the contract begin with; others are protobuf's own, and Google's."""
_SCALARS = {
    value.number: value.name.removeprefix("TYPE_").lower() for value in FieldDescriptorProto.Type.DESCRIPTOR.values
}


@dataclass(slots=True)
class Package:
    """What the files of one package declare, in their order: a title, and the lines below it."""

    comment: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)


def pages(root: Path) -> dict[str, str]:
    """Return the pages by where the site has them."""
    files = read(root)
    packages: dict[str, Package] = defaultdict(Package)
    for file in files:
        _Writer(file).write(packages[file.package])
    index = ["# The contract", "", "Each package of `protos/`: its services, methods, messages, fields and comments."]
    index += ["", "| package | is |", "|---|---|"]
    told = {}
    for name, package in sorted(packages.items()):
        index.append(f"| [{name}]({name}.md) | {_cell(' '.join(package.comment))} |")
        text = [f"# {name}", "", *package.comment, "", *package.services, *package.types]
        told[f"{FOLDER}/{name}.md"] = "\n".join(text) + "\n"
    return told | {f"{FOLDER}/index.md": "\n".join(index) + "\n"}


def read(root: Path) -> list[FileDescriptorProto]:
    """Return the contract's files, with their comments."""
    built = subprocess.run(["buf", "build", "--output", "-#format=binpb"], cwd=root, check=True, capture_output=True)
    found = FileDescriptorSet.FromString(built.stdout).file
    return [file for file in found if file.package.startswith(OWN)]


class _Writer:
    """Writes one file's declarations; a comment is found by the path of what it stands above."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

    def write(self, package: Package) -> None:
        """Add what the file declares to its package."""
        syntax = 12
        package.comment += [*self._said(syntax), ""]
        for number, service in enumerate(self._file.service):
            package.services += [f"## {service.name} {{#{service.name}}}", "", *self._said(6, number), ""]
            for place, method in enumerate(service.method):
                asked = "stream " * method.client_streaming + self._type(method.input_type)
                told = "stream " * method.server_streaming + self._type(method.output_type)
                package.services += [
                    f"### {method.name} {{#{service.name}.{method.name}}}",
                    "",
                    f"{asked} → {told}{_deprecated(method.options)}",
                    "",
                    *self._said(6, number, 2, place),
                    "",
                ]
        for number, message in enumerate(self._file.message_type):
            package.types += self._message(message, (4, number), "")
        for number, enum in enumerate(self._file.enum_type):
            package.types += self._enum(enum, (5, number), "")

    def _message(self, message: DescriptorProto, path: tuple[int, ...], outer: str) -> Iterator[str]:
        """Return a message's lines, and those of what it declares."""
        name = outer + message.name
        yield from (f"## {name} {{#{name}}}{_deprecated(message.options)}", "", *self._said(*path), "")
        maps = {f".{self._file.package}.{name}.{one.name}": one for one in message.nested_type if one.options.map_entry}
        if message.field:
            yield from ("| field | type | number | is |", "|---|---|---|---|")
        for number, one in enumerate(message.field):
            if entry := maps.get(one.type_name):
                kind = f"map of {self._kind(entry.field[0])} to {self._kind(entry.field[1])}"
            else:
                kind = "repeated " * (one.label == one.LABEL_REPEATED) + self._kind(one)
            if one.proto3_optional:
                kind = f"optional {kind}"
            elif one.HasField("oneof_index"):
                kind += f", one of `{message.oneof_decl[one.oneof_index].name}`"
            said = _cell(" ".join(self._said(*path, 2, number))) + _deprecated(one.options)
            yield f"| `{one.name}` | {kind} | {one.number} | {said} |"
        yield ""
        for number, inner in enumerate(message.nested_type):
            if not inner.options.map_entry:
                yield from self._message(inner, (*path, 3, number), f"{name}.")
        for number, enum in enumerate(message.enum_type):
            yield from self._enum(enum, (*path, 4, number), f"{name}.")

    def _enum(self, enum: EnumDescriptorProto, path: tuple[int, ...], outer: str) -> Iterator[str]:
        """Return an enum's lines."""
        name = outer + enum.name
        yield from (f"## {name} {{#{name}}}", "", *self._said(*path), "", "| value | number | is |", "|---|---|---|")
        for number, value in enumerate(enum.value):
            said = _cell(" ".join(self._said(*path, 2, number))) + _deprecated(value.options)
            yield f"| `{value.name}` | {value.number} | {said} |"
        yield ""

    def _kind(self, one: FieldDescriptorProto) -> str:
        return self._type(one.type_name) if one.type_name else _SCALARS[one.type]

    def _type(self, full: str) -> str:
        """Return a link to a type of the contract, or the name of one that is not."""
        full = full.removeprefix(".")
        parts = full.split(".")
        at = next(place for place, part in enumerate(parts) if part[:1].isupper())
        package, name = ".".join(parts[:at]), ".".join(parts[at:])
        if not package.startswith(OWN):
            return f"`{full}`"
        return f"[{name}]({'' if package == self._file.package else f'{package}.md'}#{name})"

    def _said(self, *path: int) -> list[str]:
        """Return the lines of a comment, as text that Markdown reads as it was meant."""
        lines = self._comments.get(path, "").strip("\n").splitlines()
        return [_plain(line.removeprefix(" ")) for line in lines]


def _plain(line: str) -> str:
    """Return a line with what HTML would take for a tag written out, but in code, which is safe by itself."""
    parts = line.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[") for part in parts[::2]]
    return "`".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").strip()


def _deprecated(options: Any) -> str:
    return " **deprecated**" if options.deprecated else ""
