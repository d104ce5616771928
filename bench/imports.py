"""What importing the client costs beside importing gRPC alone: CPU time of fresh interpreters, taken in turns."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile

ROUNDS = 15
PROGRAMS = {
    "python": "pass",
    "import grpc": "import grpc",
    "import turnout": "import turnout",
    "from turnout import Client": "from turnout import Client",
    "from turnout import Client, AsyncClient, errors": "from turnout import Client, AsyncClient, errors",
}


def cpu_s(code: str, cache: str) -> float:
    """Return the CPU time of an interpreter that runs this, with bytecode in a folder, as an installation has it."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, env=inherited | {"PYTHONPYCACHEPREFIX": cache})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as cache:
        for number in range(ROUNDS + 1):
            for name, code in PROGRAMS.items():
                took = cpu_s(code, cache)
                if number:  # the first round fills the folder
                    taken[name].append(took)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    floor = medians["import grpc"]
    for name, median in medians.items():
        print(f"{median * 1000:8.1f} ms  {median / floor:5.2f} x `import grpc`  {name}")


if __name__ == "__main__":
    main()
