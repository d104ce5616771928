"""Where the requests of `turnout load` come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turnout.cli import options
from turnout.cli.literals import LiteralError
from turnout.control import Control
from turnout.events.v1 import event_service_pb2
from turnout.load import generated
from turnout.load import recorded as recordings
from turnout.load.shape import shape_of

VALUES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of the requests."""

    model: str
    entities: Sequence[str]
    units: int
    stored: bool
    requests: int
    seed: int


def made(asked: Asked, server: str, *, recorded: Path | None, exported: Path | None) -> tuple[list[bytes], int]:
    """Return the requests, and how many recorded ones could not be asked for again.

    Parameters
    ----------
    asked
        What the command line says.
    server
        The control port.
    recorded
        Where recorded predictions are; None: requests are made up.
    exported
        A folder that the gateway's own journal is exported to, for the same.
    """
    if recorded is not None and exported is not None:
        raise LiteralError("--recorded and --journal are two places to take requests from: give one")
    try:
        with options.control(server) as control:
            shape = shape_of(control, asked.model)
            if exported is not None:
                recorded = _export(control, asked.model, exported / "predictions.parquet")
        if recorded is not None:
            found = recordings.read(recorded, shape, rows_max=asked.requests, stored=asked.stored)
            return found.bodies, found.left_out
        entities = dict(_values(text) for text in asked.entities)
        units = [f"unit-{number}" for number in range(asked.units)]
        bodies = generated.generate(
            shape, count=asked.requests, seed=asked.seed, entities=entities, units=units, stored=asked.stored
        )
        return list(bodies), 0
    except (generated.CannotMakeUpError, recordings.NothingRecordedError) as error:
        raise LiteralError(str(error)) from error
    except ModuleNotFoundError as error:
        raise LiteralError("Parquet is read by pyarrow: pip install pyarrow") from error


def _export(control: Control, model: str, file: Path) -> Path:
    request = event_service_pb2.ExportEventsRequest(kind=event_service_pb2.EVENT_KIND_PREDICTION, model=model)
    with file.open("wb") as out:
        for piece in control.events.ExportEvents(request):
            out.write(piece.data)
    return file


def _values(text: str) -> tuple[str, list[str]]:
    """Return the key and the values of `KEY=a,b` or `KEY=0..9`, or raise LiteralError."""
    key, equals, told = text.partition("=")
    first, dots, last = told.partition("..")
    if dots and first.isdecimal() and last.isdecimal():
        if not 0 <= int(last) - int(first) < VALUES_MAX:
            raise LiteralError(f"--entity {key} has from 1 to {VALUES_MAX} values")
        return key, [str(number) for number in range(int(first), int(last) + 1)]
    if not (key and equals and told):
        raise LiteralError(f"--entity takes KEY=a,b,c or KEY=0..999, not {text!r}")
    return key, told.split(",")
