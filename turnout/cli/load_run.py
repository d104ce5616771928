"""How `turnout load` is done: the requests gathered, the crew watched, and what came of it shown."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from turnout import errors
from turnout.cli import show
from turnout.cli.literals import LiteralError
from turnout.cli.load_requests import Asked, made
from turnout.load import summary
from turnout.load.crew import Crew, LoadFailedError
from turnout.load.histogram import hgrm
from turnout.load.plan import Plan
from turnout.load.reach import Reach
from turnout.load.tally import OK, Tally

__all__ = ["Asked", "gather", "run", "try_one"]

TELL_S = 0.2
_TO_MS = 1000.0
_HOPELESS = {"UNAVAILABLE", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"}


def gather(asked: Asked, server: str, *, recorded: Path | None, journal: bool) -> tuple[list[bytes], int]:
    """Return the requests, and how many recorded ones cannot be asked again."""
    with tempfile.TemporaryDirectory(prefix="turnout-load-") as folder:
        return made(asked, server, recorded=recorded, exported=Path(folder) if journal else None)


def run(plan: Plan, bodies: list[bytes], *, model: str, left_out: int, out: Sequence[Path], as_json: bool) -> bool:
    """Make the calls, write and show what came of them, and return whether any was answered."""
    tally = _run(plan, bodies)
    document = {"model": model, "requests": len(bodies), "left_out": left_out, **summary.document_of(plan, tally)}
    for file in out:
        text = hgrm(tally.latency, scale=_TO_MS) if file.suffix == ".hgrm" else _text(document, tally)
        file.write_text(text)
    show.emit(document, lambda: _tables(document, tally), as_json=as_json)
    return bool(tally.statuses[OK])


def try_one(plan: Plan, body: bytes) -> None:
    """Ask once, or raise TurnoutError for what all calls would be told."""
    try:
        Reach(plan).ask(body)
    except errors.TurnoutError as error:
        if error.code in _HOPELESS:
            raise
    except (ValueError, OSError) as error:
        raise LiteralError(str(error)) from error


def _run(plan: Plan, bodies: list[bytes]) -> Tally:
    try:
        with Crew(plan, bodies) as crew:
            crew.begin()
            with _progress(plan) as tell:
                while crew.is_running:
                    tell(*crew.so_far())
                    time.sleep(TELL_S)
            return crew.tally()
    except LoadFailedError as error:
        raise SystemExit(f"turnout: {error}") from error


@contextmanager
def _progress(plan: Plan) -> Iterator[Any]:
    """Show how far the load is, on stderr and while it runs."""
    began, whole_s = time.monotonic(), plan.warm_up_s + plan.seconds
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=whole_s)

        def tell(calls: int, failed: int) -> None:
            passed_s = time.monotonic() - began
            rate = calls / max(1e-9, passed_s - plan.warm_up_s) if calls else 0.0
            said = f"{calls} calls, {rate:.0f}/s, {failed} failed"
            progress.update(bar, completed=min(passed_s, whole_s), description=said)

        yield tell


def _text(document: dict[str, Any], tally: Tally) -> str:
    buckets = tally.latency.document()
    return json.dumps({**document, "latency_us_buckets": buckets}, indent=2) + "\n"


def _tables(document: dict[str, Any], tally: Tally) -> list[RenderableType]:
    asked = ", ".join(f"{value:g} {name.removesuffix('_per_s')}" for name, value in document["asked"].items())
    facts = [
        ("loop", f"{document['loop']}, {asked}"),
        ("calls", document["calls"]),
        ("rate", f"{document['rate_per_s']:.1f}/s"),
        ("failed", document["failed"]),
        ("requests", document["requests"]),
        ("left out", document["left_out"] or None),
    ]
    columns = ["latency_ms"] if document["loop"] == "closed" else ["latency_ms", "from_sent_ms", "sent_late_ms"]
    names = {"latency_ms": "latency ms", "from_sent_ms": "from sent ms", "sent_late_ms": "sent late ms"}
    percentiles = [(name, *(f"{document[column][name]:.3f}" for column in columns)) for name in document["latency_ms"]]
    warning = "the generator itself was late: give it more --processes, another machine, or a higher --in-flight-max"
    return [
        show.facts(f"Load on {document['model']}", facts),
        show.table("Statuses", ("status", "calls"), list(document["statuses"].items())),
        show.table("Latency", ("", *(names[column] for column in columns)), percentiles),
        "\n".join(summary.plot(tally.latency)),
        *([warning] if document["generator_was_late"] else []),
    ]
