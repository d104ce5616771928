"""The commit markers: which segments are Parquet now, and in which files.

A segment is committed when its marker exists. Before that its records are read from the segment, from then on from
the parts that the marker names, and from nowhere else. A marker appears whole or not at all (atomic rename).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from gateway.journal.segment import sync_folder

if TYPE_CHECKING:
    from pathlib import Path

_MARKER = ".json"
_TEMPORARY = ".tmp"


class Part(msgspec.Struct, frozen=True):
    """One Parquet file of a committed segment.

    Attributes
    ----------
    kind
        `predictions`, `outcomes`, `gaps` or `shadows`; a newer release may have others.
    path
        Where it is, from the events folder.
    rows
        How many records it has.
    """

    kind: str
    path: str
    rows: int


class Commit(msgspec.Struct, frozen=True):
    """What became of one segment.

    Attributes
    ----------
    segment
        Its name.
    schema
        The number of the schema of its parts.
    records
        How many records it had.
    first_time_us, last_time_us
        The earliest and the latest time at which one was recorded.
    parts
        Where they are now.
    origin
        The gateway whose segment it was; empty: this one's.
    """

    segment: str
    schema: int
    records: int
    first_time_us: int
    last_time_us: int
    parts: tuple[Part, ...]
    origin: str = ""


@dataclass(frozen=True, slots=True)
class EventFolders:
    """Where the events of a state folder are.

    Attributes
    ----------
    state
        The state folder.
    """

    state: Path

    @property
    def journal(self) -> Path:
        """The segments."""
        return self.state / "journal"

    @property
    def events(self) -> Path:
        """The Parquet files."""
        return self.state / "events"

    @property
    def commits(self) -> Path:
        """The commit markers."""
        return self.events / "commits"

    @property
    def rewrites(self) -> Path:
        """The markers of files that took the place of others."""
        return self.events / "rewrites"

    @property
    def chains(self) -> Path:
        """What is known of what other gateways shipped."""
        return self.events / "chains"

    @property
    def reductions(self) -> Path:
        """What was reduced from the Parquet files, to be made anew at any time."""
        return self.events / "reductions"


def write_durably(path: Path, data: bytes) -> None:
    """Make the file appear whole and stay: temporary file, fsync, rename. The caller syncs the folder."""
    temporary = path.with_name(path.name + _TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_commit(folders: EventFolders, commit: Commit) -> None:
    """Commit a segment, durably. Its parts must be durable already."""
    folders.commits.mkdir(parents=True, exist_ok=True)
    write_durably(folders.commits / (commit.segment + _MARKER), msgspec.json.encode(commit))
    sync_folder(folders.commits)
    sync_folder(folders.events)


class Commits:
    """The markers of a state folder; each is read once.

    Parameters
    ----------
    folders
        Where they are.
    """

    def __init__(self, folders: EventFolders) -> None:
        self._folder = folders.commits
        self._known: dict[str, Commit] = {}
        self._decode = msgspec.json.Decoder(Commit).decode

    def refresh(self) -> dict[str, Commit]:
        """Return all commits that exist now, by segment name."""
        if self._folder.is_dir():
            for entry in os.listdir(self._folder):  # noqa: PTH208  (names are all that is wanted)
                name = entry.removesuffix(_MARKER)
                if name != entry and name not in self._known:
                    self._known[name] = self._decode((self._folder / entry).read_bytes())
        return dict(self._known)
