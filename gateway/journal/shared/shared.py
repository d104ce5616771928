"""Ships this gateway's segments to the bucket that gateways share, and fetches those of the others.

Theory of operation
-------------------
A segment that became Parquet here is shipped once: its files are put, then an entry of this gateway's chain names them.
Until that entry stands nobody reads the files, and a crash before it leaves objects that are put again.

What others shipped is fetched into this gateway's own folder of events: the files first, then a commit marker, as
compaction does it. From then on a fetched segment is like one of this gateway's own: read, merged, retired and erased
with all others. Names of segments are unique for ever, so nothing is ever read twice.

A file that is not shipped yet is not merged: its rows would be another segment's too.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from gateway.journal.columns import SCHEMA_NUMBER, SCHEMAS
from gateway.journal.commits import Commit, Commits, EventFolders, Part, write_commit
from gateway.journal.compact import folders_between
from gateway.journal.errors import ChainBrokenError
from gateway.journal.segment import check_segment_name, sync_folder
from gateway.journal.shared.chains import Chains, gateway_name
from gateway.journal.shared.entries import Entry, Shipped, ShippedPart
from gateway.journal.shared.files import written_anew
from gateway.journal.shared.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.journal.rewrites import Parts
    from storage.objects import Objects

SHIPPED_AT_ONCE_MAX = 64
_ATTEMPTS_MAX = 10
_SAFE = re.compile(r"[A-Za-z0-9_.=%~-]+", re.ASCII)


class SharedLog:
    """The bucket that gateways share their events in. The caller holds the compactor's lock.

    Parameters
    ----------
    folders
        Where this gateway's events are.
    objects
        The bucket.
    after
        Called after each durable step with its name: ``put``, ``shipped``, ``fetched``, ``committed``.

    Attributes
    ----------
    gateway
        The name that this gateway ships under.
    index
        What all chains say, as far as they are known.

    Raises
    ------
    ObjectsUnreachableError, ChainBrokenError
        By every method.
    """

    def __init__(
        self, folders: EventFolders, objects: Objects, *, after: Callable[[str], None] = lambda _step: None
    ) -> None:
        self._folders = folders
        self._objects = objects
        self._after = after
        self._chains = Chains(objects, folders.chains)
        self._commits = Commits(folders)
        self.gateway = gateway_name(folders.events)
        self.index = Index(self._chains)
        self.index.refresh()

    def learn(self) -> None:
        """Learn what all gateways have said by now."""
        self._chains.refresh()
        self.index.refresh()

    def unshipped(self) -> list[Commit]:
        """Return what became Parquet here and is not in the bucket, oldest first."""
        commits = self._commits.refresh().values()
        own = [each for each in commits if not each.origin and each.segment not in self.index.shipped]
        return sorted(own, key=lambda commit: (commit.first_time_us, commit.segment))

    def unshipped_paths(self, parts: Parts) -> set[str]:
        """Return the files that may not be merged yet."""
        return {heir.path for commit in self.unshipped() for part in commit.parts for heir in parts.heirs(part.path)}

    def ship(self, parts: Parts) -> int:
        """Put what is not in the bucket there, and return how many segments it was.

        Parameters
        ----------
        parts
            Where records are now: what was erased or retired before it was shipped is not shipped.
        """
        count = 0
        while commits := self.unshipped()[:SHIPPED_AT_ONCE_MAX]:
            self.say(Entry(shipped=tuple(self._put(commit, parts) for commit in commits)))
            self._after("shipped")
            count += len(commits)
        return count

    def say(self, entry: Entry) -> None:
        """Put an entry at the end of this gateway's chain."""
        for _ in range(_ATTEMPTS_MAX):
            said = self._chains.append(self.gateway, entry)
            self.index.refresh()
            if said:
                return
            # Another process ships under this name: a copy of the folder, or this one before it was killed.
            new = tuple(each for each in entry.shipped if each.segment not in self.index.shipped)
            if entry.shipped and not new:
                return
            entry = Entry(shipped=new, erasure=entry.erasure, done=entry.done, retired=entry.retired)
        raise ChainBrokenError(f"other processes keep shipping as {self.gateway}: is its folder copied?")

    def fetch(self) -> list[Commit]:
        """Bring here what others shipped, and return it."""
        known = self._commits.refresh().keys()
        fetched = []
        for segment, (gateway, shipped) in sorted(self.index.shipped.items()):
            if segment not in known:
                fetched.append(self._bring(gateway, shipped))
        return fetched

    def put_part(self, segment: str, part: Part, file: Path, *, schema: int, suffix: str = "") -> ShippedPart:
        """Put a file of a segment; nobody reads it before an entry names it."""
        path = str(Path(part.path).parent / f"part-{segment}{suffix}.parquet")
        key = f"parts/{segment}/{path}"
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        self._objects.put_file(key, file)
        self._after("put")
        return ShippedPart(Part(part.kind, path, part.rows), key, schema, file.stat().st_size, sha256)

    def get_part(self, part: ShippedPart, file: Path) -> bool:
        """Write an object that an entry names into a file; False, and no file, when it was removed."""
        found = self._objects.get_file(part.key, file)
        if found is not None and found != part.sha256:
            file.unlink()
            raise ChainBrokenError(f"{part.key} is not what was shipped: its SHA-256 is {found}, not {part.sha256}")
        return found is not None

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects that nobody reads any more."""
        for key in keys:
            self._objects.remove(key)

    def _put(self, commit: Commit, parts: Parts) -> Shipped:
        put = []
        for part in commit.parts:
            for heir in parts.heirs(part.path):
                schema = parts.present[heir.path][1]
                put.append(self.put_part(commit.segment, heir, self._folders.events / heir.path, schema=schema))
        return Shipped(
            segment=commit.segment,
            records=commit.records,
            first_time_us=commit.first_time_us,
            last_time_us=commit.last_time_us,
            parts=tuple(put),
        )

    def _bring(self, gateway: str, shipped: Shipped) -> Commit:
        """Fetch a segment's files and commit it."""
        check_segment_name(shipped.segment)
        here, touched = [], set()
        for part in shipped.parts:
            found = self._fetched(part)
            if found is not None:
                here.append(found)
                touched.update(folders_between(self._folders.events, (self._folders.events / found.path).parent))
                self._after("fetched")
        for folder in touched:
            sync_folder(folder)
        commit = Commit(
            segment=shipped.segment,
            schema=SCHEMA_NUMBER,
            records=sum(part.rows for part in here),
            first_time_us=shipped.first_time_us,
            last_time_us=shipped.last_time_us,
            parts=tuple(here),
            origin=gateway,
        )
        write_commit(self._folders, commit)
        self._after("committed")
        return commit

    def _fetched(self, part: ShippedPart) -> Part | None:
        """Fetch what stands in a part's place now; None when nothing of it was left."""
        while (now := self.index.now(part)) is not None:
            path = self._folders.events / _checked(now.part)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".tmp")
            if self.get_part(now, temporary):
                _put_in_place(now, temporary, path)
                return now.part
            self.learn()
            if self.index.now(part) == now:
                raise ChainBrokenError(f"{now.key} was shipped, and is not in the bucket")
        return None


def _put_in_place(part: ShippedPart, temporary: Path, path: Path) -> None:
    """Give a fetched file its name, durably but for the folder; one of an earlier schema is lifted to this one's."""
    if part.schema < SCHEMA_NUMBER and part.part.kind in SCHEMAS:
        lifted = path.with_suffix(".lifted.tmp")
        written_anew(part.part.kind, temporary, lifted)
        temporary.unlink()
        lifted.rename(path)
        return
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.rename(path)


def _checked(part: Part) -> PurePosixPath:
    """Return a part's path, or raise ChainBrokenError for one that would lead out of the folder of its kind."""
    path = PurePosixPath(part.path)
    plain = all(_SAFE.fullmatch(each) and each.strip(".") for each in path.parts)
    if path.is_absolute() or not plain or path.parts[0] != part.kind or path.suffix != ".parquet":
        raise ChainBrokenError(f"a chain names a file that no gateway writes: {part.path[:200]!r}")
    return path
