"""Where the processes' logs go."""

from __future__ import annotations

import logging


def log_to_stderr(process: str, level: int = logging.INFO) -> None:
    """Send the logs of this process to standard error, a line each."""
    logging.basicConfig(
        level=level,
        format=f"%(asctime)s %(levelname)-7s {process} %(name)s: %(message)s",
        force=True,
    )
    # alembic tells of each migration step, which is news for developers only.
    logging.getLogger("alembic").setLevel(logging.WARNING)
