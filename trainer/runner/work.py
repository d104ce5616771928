"""The child: `python -m trainer.runner.work STEP FOLDER MEMORY_BYTES` does one step of the job in a folder.

What it finds is in `STEP.json` when it ends with 0; why it ended otherwise is in `STEP.failed.json`.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path

FAILED = 3


def main() -> int:
    """Do the step and return the exit code."""
    step, folder, memory_bytes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    threading.Thread(target=_die_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What follows is imported within the budget too.
    from storage.errors import DomainError  # noqa: PLC0415
    from turnout.errors import TurnoutError  # noqa: PLC0415

    job = json.loads((folder / "job.json").read_text())
    try:
        importlib.import_module(f"trainer.runner.steps.{step}").run(job, folder)
    except (DomainError, TurnoutError) as error:
        return _failed(folder, step, error.reason, str(error))
    except MemoryError:
        return _failed(folder, step, "OUT_OF_MEMORY", f"it needs more than {memory_bytes} bytes of memory")
    except Exception as error:  # noqa: BLE001  (estimators raise anything)
        return _failed(folder, step, "STEP_FAILED", f"{type(error).__name__}: {error}")
    return 0


def _failed(folder: Path, step: str, reason: str, sentence: str) -> int:
    (folder / f"{step}.failed.json").write_text(json.dumps({"reason": reason, "sentence": sentence[:1_000]}))
    return FAILED


def _die_with_parent() -> None:
    """End the whole session when the trainer is gone: it holds the other end of the standard input."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
