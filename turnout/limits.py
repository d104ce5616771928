"""What the client bounds unless it is told otherwise."""

from __future__ import annotations

ROWS_MAX = 4096
"""How many rows of a table go in one call: as many as a gateway takes, unless it is set otherwise."""

BATCH_MAX = 500
"""How many outcomes of a buffer go in one call."""

WAIT_S = 0.2
"""How long an outcome in a buffer waits for others, in seconds."""

OUTCOMES_MAX = 10_000
"""How many outcomes may wait in a buffer."""

CLOSE_S_MAX = 30.0
"""How long flushing and closing a buffer try, in seconds."""
