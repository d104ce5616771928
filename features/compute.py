"""Call a function of the operator's over Arrow tables, in a process of its own; see `features.code_folder`.

`python -m features.compute FOLDER MODULE:FUNCTION MEMORY_BYTES OUTPUT SINCE UNTIL [NAME=PARQUET]…`. The function gets
each table by its name, and `since` and `until` when it takes arguments of these names; it returns an Arrow table.
"""

from __future__ import annotations

import importlib
import inspect
import resource
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MEMORY_BASE_BYTES = 4 * 1024**3  # what the interpreter and Arrow map without using it
_INPUTS = 6


def compute(folder: Path, reference: str, arguments: dict[str, object]) -> pa.Table:
    """Return what the function gives, or raise LookupError, TypeError or what it raises itself."""
    module_name, _, function_name = reference.partition(":")
    sys.path.insert(0, str(folder))
    module = importlib.import_module(module_name)
    if not Path(module.__file__ or "").resolve().is_relative_to(folder.resolve()):
        raise LookupError(f"{module_name} is not a module of the operator's folder")
    function = vars(module).get(function_name)
    if not inspect.isfunction(function) or function.__module__ != module.__name__:
        raise LookupError(f"{module_name} defines no function {function_name}")
    taken = inspect.signature(function).parameters
    bounds = {"since", "until"} - taken.keys()
    result = function(**{name: value for name, value in arguments.items() if name not in bounds})
    if not isinstance(result, pa.Table):
        raise TypeError(f"{reference} gave {type(result).__name__}, not a pyarrow.Table")
    return result


def main(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit code."""
    folder, reference, memory_bytes, output, since, until = arguments[:_INPUTS]
    limit = MEMORY_BASE_BYTES + int(memory_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    given: dict[str, object] = {"since": datetime.fromisoformat(since), "until": datetime.fromisoformat(until)}
    for each in arguments[_INPUTS:]:
        name, _, path = each.partition("=")
        given[name] = pq.read_table(path)
    pq.write_table(compute(Path(folder), reference, given), output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
