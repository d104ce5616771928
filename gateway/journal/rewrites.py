"""Rewrites: Parquet files that took the place of others, or that nothing took the place of.

A rewrite is a marker that appears by one rename, as commits do: at that instant readers turn from the files that it
replaces to those that it names. Merging, retention and erasure are rewrites, and nothing else changes what is Parquet.

Readers read the rewrites first and the commits after them. So a rewrite that is known stands on commits that are known,
and a file that is replaced later is read where it stands. It stands for as long as anybody reads: a reader holds a
lock, shared among readers, and what was replaced is deleted under the same lock, held alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

import msgspec

from gateway.journal.commits import Part, write_durably
from gateway.journal.segment import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.journal.commits import Commit, EventFolders

_MARKER = ".json"


class Rewrite(msgspec.Struct, frozen=True):
    """What took the place of some files.

    Attributes
    ----------
    number
        Which rewrite it is, from 1; they apply in this order.
    cause
        `merged`, `retired` or `erased`.
    replaced
        The files that are read no more, from the events folder.
    parts
        Those that are read in their place; all have the schema of the release that wrote them.
    schema
        The number of that schema.
    """

    number: int
    cause: str
    replaced: tuple[str, ...]
    parts: tuple[Part, ...]
    schema: int


class Rewrites:
    """The rewrites of a state folder; each is read once. Not safe to call from several threads."""

    def __init__(self, folders: EventFolders) -> None:
        self._folder = folders.rewrites
        self._known: dict[str, Rewrite] = {}
        self._decode = msgspec.json.Decoder(Rewrite).decode

    def refresh(self) -> tuple[Rewrite, ...]:
        """Return all rewrites that exist now, in their order."""
        if self._folder.is_dir():
            for entry in os.listdir(self._folder):  # noqa: PTH208  (names are all that is wanted)
                if entry.endswith(_MARKER) and entry not in self._known:
                    self._known[entry] = self._decode((self._folder / entry).read_bytes())
        return tuple(sorted(self._known.values(), key=lambda rewrite: rewrite.number))


def write_rewrite(folders: EventFolders, rewrite: Rewrite) -> None:
    """Make a rewrite so, durably. Its parts must be durable already."""
    folders.rewrites.mkdir(parents=True, exist_ok=True)
    write_durably(folders.rewrites / f"{rewrite.number:016d}{_MARKER}", msgspec.json.encode(rewrite))
    sync_folder(folders.rewrites)
    sync_folder(folders.events)


class Parts:
    """The files that are read now.

    Attributes
    ----------
    present
        Each part and the number of its schema.
    """

    def __init__(self, commits: Iterable[Commit], rewrites: Iterable[Rewrite]) -> None:
        self.present: dict[str, tuple[Part, int]] = {}
        self._successors: dict[str, tuple[str, ...]] = {}
        for commit in commits:
            self.present |= {part.path: (part, commit.schema) for part in commit.parts}
        for rewrite in rewrites:
            heirs = tuple(part.path for part in rewrite.parts)
            for path in rewrite.replaced:
                self.present.pop(path, None)
                self._successors[path] = heirs
            self.present |= {part.path: (part, rewrite.schema) for part in rewrite.parts}

    def of_kind(self, kind: str) -> list[tuple[Part, int]]:
        """Return the parts of a kind that are read now, with their schemas' numbers."""
        return [(part, schema) for part, schema in self.present.values() if part.kind == kind]

    def heirs(self, path: str) -> list[Part]:
        """Return the parts in which the rows of a part are now; its own where nothing took its place."""
        if path in self.present:
            return [self.present[path][0]]
        return [part for heir in self._successors.get(path, ()) for part in self.heirs(heir)]


@contextlib.contextmanager
def reading(folders: EventFolders) -> Iterator[None]:
    """Keep every file that is read now for as long as the body runs."""
    if not folders.events.is_dir():
        yield
        return
    with _opened(folders) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def deleting(folders: EventFolders) -> Iterator[bool]:
    """Tell whether nobody reads, and keep readers waiting while the body runs when that is so."""
    with _opened(folders) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextlib.contextmanager
def _opened(folders: EventFolders) -> Iterator[int]:
    """Give a descriptor of the readers' lock; a folder that takes no writes is locked by itself."""
    try:
        descriptor = os.open(folders.events / "readers.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        descriptor = os.open(folders.events, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
