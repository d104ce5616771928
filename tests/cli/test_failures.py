"""How commands end when there is nobody to ask, or when they are typed wrong."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import pytest

from turnout import errors
from turnout.cli import failures


@pytest.fixture
def nowhere():
    """Return an address that is bound and not listening: nobody answers there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("order", [("status", "--server"), ("--server", "status")])
def test_no_gateway_at_the_address_ends_with_3(turnout, nowhere, order):
    arguments = ["status", "--server", nowhere] if order[0] == "status" else ["--server", nowhere, "status"]
    done = turnout(*arguments, "--json")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("not reachable: ")
    assert "TURNOUT_SERVER" in done.err


def test_addresses_come_from_the_environment(turnout, nowhere, monkeypatch):
    monkeypatch.setenv("TURNOUT_DATA_SERVER", nowhere)
    done = turnout("predict", "m")
    assert done.code == 3
    assert nowhere in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("models", "bogus"),
        ("models", "show"),
        ("models", "show", "Not-An-Id"),
        ("models", "promote", "iris", "zero"),
        ("models", "promote", "iris", "0"),
        ("models", "publish", "iris", "/no/such/file.onnx"),
        ("predict", "m", "--version", "1", "--alias", "a"),
        ("predict", "m", "--input", "x=what"),
        ("predict", "m", "--entity", "carrier"),
        ("predict", "m", "--event-time", "yesterday"),
        ("outcomes", "record", "late", "1"),
        ("outcomes", "record", "late", "1", "--unit", "u", "--request-id", "r"),
        ("outcomes", "record", "late", "often", "--unit", "u"),
        ("experiments", "conclude", "e", "--promote"),
        ("experiments", "split", "e", "a"),
        ("features", "apply", "/no/such/folder"),
        ("features", "materialize", "--until", "soon"),
        ("events", "tail", "--limit", "1001"),
        ("serve",),
        ("serve", "--state", "d", "--clock", "sundial"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_asked(turnout, arguments, nowhere, monkeypatch):
    monkeypatch.setenv("TURNOUT_SERVER", nowhere)
    monkeypatch.setenv("TURNOUT_DATA_SERVER", nowhere)
    done = turnout(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_an_option_that_the_gateway_does_not_know_ends_with_2(tmp_path):
    command = [sys.executable, "-c", "from turnout.cli.main import main; main()"]
    flags = ["serve", "--state", str(tmp_path / "state"), "--bogus"]
    done = subprocess.run([*command, *flags], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--bogus" in done.stderr
    assert not (tmp_path / "state").exists()


def test_every_kind_of_refusal_comes_with_what_to_do_next():
    codes = ["INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "ABORTED", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"]
    for code in [*codes, "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL"]:
        error = errors.from_status(code, "a sentence")
        error.facts["model"] = "x"
        first, facts, advice = failures.explain(error).splitlines()
        assert (first, facts) == (f"refused: {code}: a sentence", "facts: model=x")
        assert advice.startswith("next: ")
        assert failures.exit_code(error) == 1


def test_a_part_of_the_gateway_that_is_down_is_a_refusal():
    error = errors.UnavailableError("UNAVAILABLE", "JOURNAL_UNAVAILABLE", "disk full")
    assert failures.exit_code(error) == 1
    assert "JOURNAL_UNAVAILABLE" in failures.explain(error)


def test_every_command_has_help_and_says_its_exit_codes(turnout):
    done = turnout("--help")
    assert done.code == 0
    assert "0 done, 1 refused by the gateway, 2 wrong usage, 3 not reachable" in done.out
    nouns = ("serve", "models", "features", "experiments", "predict", "outcomes", "events", "status", "top", "demo")
    for noun in nouns:
        assert noun in done.out
        assert turnout(noun, "--help").code == 0


def test_a_light_command_loads_nothing_heavy():
    script = "import json, sys, turnout.cli.main; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    heavy = {
        "numpy",
        "pyarrow",
        "onnx",
        "onnxruntime",
        "scipy",
        "sklearn",
        "duckdb",
        "sqlalchemy",
        "gateway",
        "trainer",
    }
    assert not set(json.loads(done.stdout)) & heavy


def test_the_base_install_says_what_the_command_line_needs():
    script = "import sys; sys.modules['typer'] = None; import turnout.cli.main"  # None: as if it were not installed
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "turnout: the command line is not installed here: install turnout[cli]\n"


def test_serve_becomes_a_gateway_with_the_same_flags(turnout, tmp_path):
    ready = tmp_path / "ready.json"
    ports = ("--data-port", "0", "--http-port", "0", "--control-port", "0")
    flags = ("--state", str(tmp_path / "state"), "--workers", "1", "--ready-file", str(ready), "--clock", "replay")
    command = [sys.executable, "-c", "from turnout.cli.main import main; main()", "serve", *flags, *ports]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--grace-s", "5"], stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            if ready.exists() or process.poll() is not None:
                break
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
        assert ready.exists(), (tmp_path / "log").read_text()
        facts = json.loads(ready.read_text())
        assert process.pid in facts["pids"]  # the very same process
        status = turnout("status", "--server", f"127.0.0.1:{facts['control']}", "--json").document
        assert [worker["ready"] for worker in status["workers"]] == [True]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
