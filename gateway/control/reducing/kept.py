"""What was reduced, kept beside the Parquet files: the tables of units in layers, the newest of which counts.

Theory of operation
-------------------
A layer is a folder with the tables of `gateway.control.reducing.tables` as Parquet, and the units that it tells all
of: rows of these units in older layers are void. What is kept is a pure function of the segments that it names and of
the definition whose digest it has. It appears by one rename of `kept.json`, and is only used while

- its digest is that of the statements which would be run today;
- every segment that it names is there, and no file was retired or erased since: merging changes no row;
- the gateway's time has not gone back.

Otherwise it is made anew. It is a copy of what is in the events: whoever erases them calls `drop_void`, and whoever
deletes the folder loses time and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from gateway.journal.commits import EventFolders, write_durably
from gateway.journal.rewrites import Rewrites, deleting
from gateway.journal.segment import sync_folder
from storage.crew import SharedFolderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import duckdb

    from gateway.journal.log import Files
    from gateway.journal.rewrites import Rewrite

UNUSED_DAYS_MAX = 7
TOUCHED, RIVALS = "touched", "rivals"

_KEPT = "kept.json"
_MERGED = "merged"
_log = logging.getLogger(__name__)


class Layer(msgspec.Struct, frozen=True):
    """A folder of tables, by its name, and how many units it tells of."""

    name: str
    units: int


class Kept(msgspec.Struct, frozen=True):
    """What was reduced so far.

    Attributes
    ----------
    digest
        Of the statements that it was reduced by.
    segments
        Whose records are in it.
    parts
        The files that they stood in then.
    rewrites
        The number of the last rewrite then.
    now_us
        The gateway's time then.
    analyzed
        How many outcomes belong to the model's predictions.
    layers
        The oldest first.
    """

    digest: str
    segments: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    rewrites: int = 0
    now_us: int = -(2**62)
    analyzed: int = 0
    layers: tuple[Layer, ...] = ()


class Shelf:
    """What is kept of one experiment. Use it in the body of `alone`.

    Parameters
    ----------
    folders
        Where the events are.
    experiment_id
        Whose tables they are.
    """

    def __init__(self, folders: EventFolders, experiment_id: str) -> None:
        self.folder = folders.reductions / quote(experiment_id, safe="")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody else uses it and keep others waiting, or raise OSError when nothing can be kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def load(self, digest: str, files: Files, now_us: int) -> Kept | None:
        """Return what is kept and may be used, or None."""
        path = self.folder / _KEPT
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=Kept)
            os.utime(path)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        usable = kept.digest == digest and kept.now_us <= now_us and kept.segments <= files.commits.keys()
        whole = all((self.folder / layer.name).is_dir() for layer in kept.layers)
        return kept if usable and whole and not _void(kept, files.rewrites) else None

    def write(self, connection: duckdb.DuckDBPyConnection, tables: Iterable[str], units: int) -> Layer:
        """Write tables as a layer, durably."""
        layer = Layer(f"{time.time_ns():020d}-{secrets.token_hex(4)}", units)
        folder = self.folder / layer.name
        folder.mkdir()
        for table in tables:
            path = folder / f"{table}.parquet"
            connection.execute(f"COPY (FROM {table}) TO '{_quoted(path)}' (FORMAT parquet, COMPRESSION zstd)")
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(folder)
        return layer

    def check_seen(self, layers: Iterable[Layer]) -> None:
        """Raise SharedFolderError unless layers that were written elsewhere are here."""
        for layer in layers:
            if not (self.folder / layer.name).is_dir():
                raise SharedFolderError(
                    f"what another machine wrote to {self.folder} is not here: the state folder must be one folder, "
                    "under one path, on all machines that reduce events",
                    folder=self.folder,
                )

    def save(self, kept: Kept) -> None:
        """Let this be what is kept, and delete all else."""
        write_durably(self.folder / _KEPT, msgspec.json.encode(kept))
        sync_folder(self.folder)
        names = {layer.name for layer in kept.layers}
        for folder in self.folder.iterdir():
            if folder.is_dir() and folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Forget what is kept."""
        (self.folder / _KEPT).unlink(missing_ok=True)

    def rows(self, layers: Iterable[Layer], table: str, *, void: str = "") -> str:
        """Return the query of the rows of a table that count.

        Parameters
        ----------
        void
            A relation of units whose rows are void; empty: there is none.
        """
        gone = [f"SELECT unit FROM {void}"] if void else []
        queries = []
        for layer in reversed(tuple(layers)):
            query = f"SELECT * FROM {self.file(layer, table)}"
            queries.append(f"{query} ANTI JOIN ({' UNION ALL '.join(gone)}) USING (unit)" if gone else query)
            gone.append(f"SELECT unit FROM {self.file(layer, TOUCHED)}")
        return " UNION ALL ".join(queries)

    def file(self, layer: Layer, table: str) -> str:
        """Return the SQL of a table of one layer."""
        return f"read_parquet('{_quoted(self.folder / layer.name / f'{table}.parquet')}')"


def drop_void(folders: EventFolders, *, unused_days_max: float = UNUSED_DAYS_MAX) -> int:
    """Delete what was reduced from events that are no more, and what nobody has used for long; return how many.

    Nothing is deleted while anybody reads events.
    """
    if not folders.reductions.is_dir():
        return 0
    rewrites = Rewrites(folders).refresh()
    oldest_s = time.time() - unused_days_max * 86_400
    gone = 0
    for folder in folders.reductions.iterdir():
        with deleting(folders) as quiet:
            if quiet and _is_void(folder / _KEPT, rewrites, oldest_s):
                shutil.rmtree(folder)
                gone += 1
    return gone


def _is_void(path: Path, rewrites: tuple[Rewrite, ...], oldest_s: float) -> bool:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        return path.stat().st_mtime < oldest_s or _void(kept, rewrites)
    except (FileNotFoundError, msgspec.MsgspecError):
        return True


def _void(kept: Kept, rewrites: tuple[Rewrite, ...]) -> bool:
    return any(each.number > kept.rewrites and each.cause != _MERGED for each in rewrites)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
