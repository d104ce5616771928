"""The first program of each README, and what a package of each client says of itself."""

from __future__ import annotations

import re
import subprocess
import tomllib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from turnout.control import Control

FIRST_S = 60
LINES_MAX = 39
VERSIONS = {
    "go": ("client.go", r'Version = "(.*)"'),
    "typescript": ("package.json", r'"version": "(.*)"'),
    "java": ("pom.xml", r"<artifactId>turnout-client</artifactId>\s*<version>(.*)</version>"),
    "rust": ("Cargo.toml", r'\nversion = "(.*)"'),
    "cpp": ("CMakeLists.txt", r"project\(turnout_client VERSION (\S+) "),
}
PROGRAMS = {
    "go": "examples/first/main.go",
    "typescript": "examples/first.ts",
    "java": "examples/First.java",
    "rust": "examples/first.rs",
    "cpp": "examples/first.cc",
}
TOLD = "version 1: a virginica by 0.832\n"


def iris_model():
    """Return a graph with the input and the outputs of the README's model."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["flower", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        ],
        "iris",
        [value("flower", TensorProto.FLOAT, [None, 4])],
        [value("label", TensorProto.INT64, [None]), value("probabilities", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.array([[0, 0], [0, 0], [0, 1], [0, 1]], np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def furnished(site):
    site.furnish(site.gateways[1], ("iris", iris_model()))
    return site


def test_the_program_of_the_readme_makes_a_first_prediction(first, furnished):
    program = first.start(furnished.gateways[1:])
    told, said = program.communicate(timeout=FIRST_S)
    assert (program.returncode, told) == (0, TOLD), said


def test_the_program_of_stubs_alone_makes_a_first_prediction(first_of_stubs, gateway, tmp_path):
    (tmp_path / "iris.onnx").write_bytes(iris_model())
    with Control(gateway.control_address) as control:
        control.publish_version("iris", tmp_path / "iris.onnx", alias="champion")
        control.wait_for_revision()
    program = first_of_stubs.start([gateway])
    told, said = program.communicate(timeout=FIRST_S)
    assert re.fullmatch(r"version \d: a virginica by 0.832\n", told), said
    assert program.returncode == 0, said


def test_a_project_of_cmake_takes_the_stubs_as_the_readme_says(root, built, tmp_path):
    folder = built("cpp")
    (lines,) = re.findall(r"^```cmake\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(app LANGUAGES CXX)\n"
        f"add_executable(app {folder / PROGRAMS['cpp']})\n" + lines.replace("/path/to/turnout", str(root))
    )
    done = subprocess.run(
        ["cmake", "-S", tmp_path, "-B", tmp_path / "build"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_readme_shows_that_program_in_less_than_forty_lines(language, root):
    folder = root / "clients" / language
    program = (folder / PROGRAMS[language]).read_text()
    blocks = re.findall(r"^```\w+\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert program in blocks
    assert len(program.splitlines()) <= LINES_MAX


@pytest.mark.parametrize("language", VERSIONS)
def test_a_client_has_the_version_of_the_contract(language, root):
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    name, pattern = VERSIONS[language]
    assert re.search(pattern, (root / "clients" / language / name).read_text())[1] == version


def test_the_crate_has_a_module_for_each_package_of_the_contract(root):
    packages = sorted(path.name for path in (root / "protos/turnout").iterdir())
    listed = re.search(r"packages!\((.*)\);", (root / "clients/rust/src/lib.rs").read_text())[1].split()
    assert listed == packages
