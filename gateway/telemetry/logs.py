"""The processes' logs: one event a line on standard error, as text or as JSON.

A failure that repeats is said a few times and then only counted, so that a full disk or a dead store cannot drown the
log that tells of it. What looks like a credential is left out, wherever it comes from.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from types import TracebackType

    from gateway.telemetry.meter import Meter

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

REPEATS_MAX = 10
"""How often one message of the code, whatever its values, is written within a window."""
WINDOW_S = 10.0
MESSAGES_MAX = 1000
"""How many different messages are remembered; one more forgets them all."""

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "repeats", "taskName"}
_SECRETS = re.compile(r"(?i)(?P<before>://[^/\s:@]*:|\bbearer\s+|password=)(?P<secret>[^@\s'\"]+)")


class Logs(logging.StreamHandler[Any]):
    """Writes this process's log.

    Parameters
    ----------
    process
        What the process is called in each line.
    form
        How a line is written.
    """

    def __init__(self, process: str, form: LogFormat) -> None:
        super().__init__(sys.stderr)
        self._process = process
        self._counts: Counter[str] = Counter()
        self._windows: dict[tuple[str, int, str], tuple[float, int]] = {}
        self.setFormatter(JsonLine(process) if form == "json" else TextLine(process))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message, unless it was written too often of late; the handler's lock is held."""
        self._counts[record.levelname.lower()] += 1
        repeats = self._repeats(record)
        if repeats is not None:
            record.repeats = repeats
            super().emit(record)

    def put_counts(self, meter: Meter) -> None:
        """Put how many messages there were into a meter."""
        with self.lock or threading.Lock():
            counts = dict(self._counts)
        for level, count in counts.items():
            meter.put("turnout_log_messages_total", (self._process, level), count)

    def _repeats(self, record: logging.LogRecord) -> int | None:
        """Return how many like it were held back since the last that was written; None to hold back this one."""
        now = time.monotonic()
        key = (record.name, record.levelno, str(record.msg))
        until, seen = self._windows.get(key, (0.0, 0))
        held_back = 0
        if now > until:
            held_back = max(0, seen - REPEATS_MAX)
            until, seen = now + WINDOW_S, 0
        if len(self._windows) >= MESSAGES_MAX and key not in self._windows:
            self._windows.clear()
        self._windows[key] = (until, seen + 1)
        return held_back if seen < REPEATS_MAX else None


class TextLine(logging.Formatter):
    """A line for people; a traceback follows on lines of its own."""

    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {process} %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = super().format(record)
        fields = "".join(f" {name}={value}" for name, value in fields_of(record).items())
        head, newline, rest = line.partition("\n")
        return redacted(f"{head}{fields}{newline}{rest}")


class JsonLine(logging.Formatter):
    """A line for machines: an object with `time`, `level`, `process`, `logger`, `message` and the event's fields."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        event = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="microseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        event |= {name: redacted(str(value)) for name, value in fields_of(record).items()}
        if record.exc_info:
            event["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(event)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the event was logged with besides its message, and how many like it were held back.

    What begins with an underscore is a library's mark on every record of the process, as Ray leaves one.
    """
    given = {name: value for name, value in vars(record).items() if not name.startswith("_")}
    fields = {name: value for name, value in given.items() if name not in _OWN_FIELDS}
    repeats = getattr(record, "repeats", 0)
    return {**fields, "repeats": repeats} if repeats else fields


def redacted(text: str) -> str:
    """Return the text without passwords in addresses and bearer tokens."""
    return _SECRETS.sub(lambda found: f"{found['before']}***", text)


def start_logs(process: str, *, form: LogFormat = "text", level: LogLevel = "info") -> Logs:
    """Send everything that this process logs, warns of or dies of to standard error, and return what writes it."""
    logs = Logs(process, form)
    logging.basicConfig(level=level.upper(), handlers=[logs], force=True)
    logging.captureWarnings(capture=True)
    # alembic tells of each migration step, which is news for developers only.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    sys.excepthook = _died
    threading.excepthook = _thread_died
    return logs


def _died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("gateway").critical("the process ends with an error", exc_info=(kind, error, trace))


def _thread_died(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = arguments.thread.name if arguments.thread is not None else ""
        logging.getLogger("gateway").error(
            "thread %s ended with an error", name, exc_info=(type(error), error, arguments.exc_traceback)
        )
