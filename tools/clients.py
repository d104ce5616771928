"""Generate, build and test the clients below clients/, each where its toolchain and its packages are found.

Says of each what became of it; what is skipped is skipped with a reason. Exits with 1 when a client is broken. What was
built is written down with a digest of all that it was made of: a client of which nothing changed is not built again,
and the tests that run the clients' examples against gateways leave out one that is not built of what is there now.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turnout" / "clients"
"""Where compilers of dependencies keep what they made, for the next clone too."""
SIDE_BY_SIDE = 2
STEP_S = 900.0
KILL_S = 10.0
_LEFT_OUT = {"gen", "gen-web", "build", "target", "dist", "node_modules"}
_UNREACHABLE = re.compile(
    r"dial tcp|no such host|i/o timeout|connection refused|TLS handshake timeout|EAI_AGAIN|ENOTFOUND|ECONNREFUSED|"
    r"ETIMEDOUT|[Cc]ould not (resolve|connect)|Unknown host|Temporary failure|failed to download|"
    r"Could not resolve host|Network is unreachable|[Cc]onnect(ion)? timed out|"
    r"spurious network error|Could not transfer artifact|No plugin found for prefix|could not be resolved",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a client, run in its folder.

    Parameters
    ----------
    does
        What it does, for people.
    command
        The command line.
    fetches
        Whether it asks a package registry: where that cannot be reached, the client is skipped.
    environment
        Variables beside those of this process.
    folder
        Where it runs, from the root; empty: in the client's folder.
    path
        A folder of programs beside those on the path.
    otherwise
        Why the client is skipped where this fails; empty: it is broken then.
    """

    does: str
    command: tuple[str, ...]
    fetches: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    path: Path | None = None
    otherwise: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """One language's client: what it needs, how it is built, and the program that tries everything."""

    name: str
    tools: tuple[str, ...]
    steps: tuple[Step, ...]
    tour: tuple[str, ...]
    first: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is."""
        return ROOT / "clients" / self.name

    @property
    def note(self) -> Path:
        """What was built, and of what."""
        return self.folder / "build" / "built.json"

    def digest(self) -> str:
        """Return the digest of all that it is made of."""
        paths = [*(ROOT / "protos").rglob("*.proto"), ROOT / "clients" / "vectors.json"]
        paths += [
            path
            for path in self.folder.rglob("*")
            if path.is_file() and not _LEFT_OUT & set(path.relative_to(self.folder).parts)
        ]
        digest = hashlib.sha256(repr(self).encode())
        for path in sorted(paths):
            digest.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()

    def missing(self) -> str:
        """Return why it cannot be run as it is; empty where it can."""
        if not self.note.exists():
            return f"the client for {self.name} is not built here: `make clients` builds it, or says why not"
        if json.loads(self.note.read_text())["digest"] != self.digest():
            return f"the client for {self.name} was built of other sources: run `make clients`"
        return ""


def generate(name: str, plugins: Path | None = None) -> Step:
    """Return the step that writes a client's stubs, with plug-ins of a folder where they are not on the path."""
    options = ("--template", f"clients/{name}/buf.gen.yaml", "--path", "protos/turnout")
    return Step("generate", ("buf", "generate", *options), folder=".", path=plugins)


GO = Client(
    "go",
    ("go",),
    (
        Step("download modules", ("go", "mod", "download"), fetches=True),
        generate("go"),
        Step("vet", ("go", "vet", "./...")),
        Step("test", ("go", "test", ".")),
        Step("build", ("go", "build", "-o", "build/", "./examples/...")),
    ),
    ("build/tour",),
    ("build/first",),
)
TYPESCRIPT = Client(
    "typescript",
    ("node", "npm"),
    (
        Step("install packages", ("npm", "ci", "--prefer-offline", "--no-audit", "--no-fund"), fetches=True),
        generate("typescript"),
        Step("compile", ("npx", "--no-install", "tsc")),
        Step("test", ("npm", "test")),
        Step("pack", ("npm", "pack", "--silent", "--pack-destination", "dist")),
    ),
    ("node", "dist/examples/tour.js"),
    ("node", "dist/examples/first.js"),
)
_MACHINE = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch_64", "arm64": "aarch_64"}
_CLASSIFIER = f"{'osx' if sys.platform == 'darwin' else 'linux'}-{_MACHINE.get(platform.machine(), platform.machine())}"
_JAVA = "exec java -cp build/maven/classes:build/maven/test-classes:$(cat build/classpath.txt)"
JAVA = Client(
    "java",
    ("javac", "mvn"),
    (
        Step(
            "fetch plug-ins",
            ("mvn", "-B", "-q", "dependency:copy@plugins", f"-Dos.classifier={_CLASSIFIER}"),
            fetches=True,
        ),
        Step(
            "make plug-ins runnable",
            ("chmod", "+x", "build/plugins/protoc.exe", "build/plugins/protoc-gen-grpc-java.exe"),
        ),
        generate("java"),
        Step("package", ("mvn", "-B", "-q", "package"), fetches=True),
    ),
    ("sh", "-c", f'{_JAVA} Tour "$@"', "tour"),
    ("sh", "-c", f"{_JAVA} First"),
)
_CRATES = {"CARGO_TARGET_DIR": str(CACHE / "rust")}
_PLUGINS = CACHE / "rust-plugins"
RUST = Client(
    "rust",
    ("cargo",),
    (
        Step("look for a toolchain", ("cargo", "--version"), otherwise="cargo is there, but no toolchain behind it"),
        Step("fetch crates", ("cargo", "fetch", "--locked", "--quiet"), fetches=True),
        *(
            Step(
                f"install {name}",
                (
                    "sh",
                    "-c",
                    f'test -x "$0/bin/{name}" || cargo install --quiet --locked --root "$0" {name}@0.5.0',
                    str(_PLUGINS),
                ),
                fetches=True,
                environment=_CRATES,
            )
            for name in ("protoc-gen-prost", "protoc-gen-tonic")
        ),
        generate("rust", _PLUGINS / "bin"),
        Step("test", ("cargo", "test", "--locked", "--offline", "--quiet", "--tests"), environment=_CRATES),
        Step("build", ("cargo", "build", "--locked", "--offline", "--quiet", "--examples"), environment=_CRATES),
        *(
            Step(f"keep {name}", ("install", "-D", str(CACHE / "rust" / "debug" / "examples" / name), f"build/{name}"))
            for name in ("tour", "first")
        ),
    ),
    ("build/tour",),
    ("build/first",),
)
CPP = Client(
    "cpp",
    ("cmake", "g++", "pkg-config", "protoc", "grpc_cpp_plugin"),
    (
        Step(
            "look for gRPC",
            ("pkg-config", "--exists", "grpc++", "protobuf"),
            otherwise="the libraries of gRPC and protobuf for C++ are not installed",
        ),
        generate("cpp"),
        Step("configure", ("cmake", "-S", ".", "-B", "build/cmake", "-DCMAKE_BUILD_TYPE=Debug")),
        Step("build", ("cmake", "--build", "build/cmake", "--parallel", "2")),
        Step("test", ("ctest", "--test-dir", "build/cmake", "--output-on-failure")),
    ),
    ("build/cmake/tour",),
    ("build/cmake/first",),
)
CLIENTS = {client.name: client for client in (GO, TYPESCRIPT, JAVA, RUST, CPP)}


class Skipped(Exception):  # noqa: N818  (it is no error)
    """A client is left out, and why."""


class Broken(Exception):  # noqa: N818
    """A client does not build, or its tests fail."""


def run(client: Client, step: Step, until: float | None) -> None:
    """Run a step, or raise Skipped or Broken."""
    left_s = STEP_S if until is None else min(STEP_S, until - time.monotonic())
    late = Skipped(
        f"`{step.does}` was not done in time; `make clients` sets no limit"
        if until is not None
        else f"`{step.does}` took more than {STEP_S:.0f} s"
    )
    if left_s <= 0:
        raise late
    path = [str(step.path)] if step.path else []
    path += [str(Path(sys.executable).parent), os.environ["PATH"]]
    process = subprocess.Popen(
        step.command,
        cwd=ROOT / step.folder if step.folder else client.folder,
        env=os.environ | {"PATH": os.pathsep.join(path)} | step.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=left_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=KILL_S)
        raise late from None
    if process.returncode == 0:
        return
    if step.otherwise:
        raise Skipped(step.otherwise)
    if step.fetches and (sign := _UNREACHABLE.search(output)):
        line = output[output.rfind("\n", 0, sign.start()) + 1 :].partition("\n")[0]
        raise Skipped(f"its packages cannot be fetched: {line.strip()[:200]}")
    raise Broken(f"`{step.does}` failed ({' '.join(step.command)}):\n{output[-6000:]}")


def build(client: Client, until: float | None, *, again: bool) -> str:
    """Build and test a client, and return what became of it; raise Skipped or Broken."""
    if absent := [tool for tool in client.tools if shutil.which(tool) is None]:
        raise Skipped(f"not installed: {', '.join(absent)}")
    if not again and not client.missing():
        return "built and tested before, and nothing changed"
    client.note.unlink(missing_ok=True)
    digest = client.digest()
    begin = time.monotonic()
    for step in client.steps:
        run(client, step, until)
    client.note.parent.mkdir(exist_ok=True)
    client.note.write_text(json.dumps({"digest": digest}))
    return f"built and tested in {time.monotonic() - begin:.0f} s"


def become(client: Client, until: float | None, *, again: bool) -> bool:
    """Build a client, say what became of it, and return whether it is sound or skipped."""
    try:
        said = build(client, until, again=again)
    except Skipped as why:
        said = f"SKIPPED: {why}"
    except Broken as why:
        print(f"clients: {client.name}: BROKEN: {why}", file=sys.stderr, flush=True)
        return False
    print(f"clients: {client.name}: {said}", flush=True)
    return True


def main() -> int:
    """Build what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *CLIENTS], help="which clients; all unless given")
    parser.add_argument("--seconds", type=float, help="skip what is not built by then")
    parser.add_argument("--again", action="store_true", help="build also that of which nothing changed")
    arguments = parser.parse_args()
    until = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    chosen = [CLIENTS[name] for name in arguments.names or CLIENTS]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        sound = list(pool.map(lambda client: become(client, until, again=arguments.again), chosen))
    return int(not all(sound))


if __name__ == "__main__":
    sys.exit(main())
