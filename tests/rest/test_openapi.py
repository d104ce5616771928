"""schemathesis asks what the OpenAPI file says may be asked: no server error, and answers as the file says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


KNOWN = {"model": ["scaled", "echo", "nothing"], "version": ["1", "champion", "99"]}
KNOWN |= {"name": KNOWN["model"], "model_name": KNOWN["model"], "model_version": KNOWN["version"]}


def narrowed(place):
    """Return the served file with the names that this gateway knows, and without deadlines: those do pass."""
    _, _, document = place.ask("GET", "/openapi.json", role=None)
    for path in document["paths"].values():
        for operation in path.values():
            operation["parameters"] = [one for one in operation["parameters"] if one["in"] == "path"]
            for parameter in operation["parameters"]:
                parameter["schema"] = {"enum": KNOWN[parameter["name"]]}
    return document


def asked(place, tmp_path, *, phases, examples, seed):
    (tmp_path / "openapi.json").write_text(json.dumps(narrowed(place)))
    tool = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    command = [tool, "run", "openapi.json", "--url", f"http://127.0.0.1:{place.gateway.http}", "--checks", CHECKS]
    command += ["-H", f"Authorization: Bearer {place.tokens['admin']}", "--max-examples", str(examples)]
    command += ["--seed", str(seed), "--no-color", "--phases", phases]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    return int(re.search(r"([0-9]+) generated", done.stdout)[1])


def test_what_the_file_allows_is_answered_as_the_file_says(place, tmp_path):
    assert asked(place, tmp_path, phases="fuzzing", examples=10, seed=1) > 70


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(2))
def test_much_of_what_the_file_allows_is_answered_as_the_file_says(place, tmp_path, seed):
    assert asked(place, tmp_path, phases="coverage,fuzzing", examples=300, seed=seed) > 3000


def test_a_colon_in_a_name_is_no_other_path(place):
    status, _, told = place.ask("GET", "/v2/models/echo/versions/a%3A/ready")
    assert (status, told) == (404, {"ready": False})
