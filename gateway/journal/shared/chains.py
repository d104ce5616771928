"""The chains of all gateways, as far as they are known here: each entry is fetched once and kept."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING

from gateway.journal.commits import write_durably
from gateway.journal.errors import ChainBrokenError
from gateway.journal.segment import sync_folder
from gateway.journal.shared.entries import Entry, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

    from storage.objects import Objects

_NAME = re.compile(r"[0-9a-f]{16}", re.ASCII)


def gateway_name(folder: Path) -> str:
    """Return the name that the events of a folder are shipped under; made once, kept for good."""
    path = folder / "gateway"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(path, secrets.token_hex(8).encode())
        sync_folder(folder)
    name = path.read_text(encoding="ascii").strip()
    if not _NAME.fullmatch(name):
        raise ChainBrokenError(f"{path} holds no gateway's name: 16 digits of 0 to 9 and a to f", path=path)
    return name


class Chains:
    """The chains in a bucket and their copies in a folder. One process uses a folder.

    Parameters
    ----------
    objects
        The bucket.
    folder
        Where copies of the entries are kept.
    """

    def __init__(self, objects: Objects, folder: Path) -> None:
        self._objects = objects
        self._folder = folder
        self._known: dict[str, list[Entry]] = {}

    def refresh(self) -> None:
        """Learn of every entry that exists now; raises ObjectsUnreachableError, or ChainBrokenError."""
        for gateway in self._objects.folders("chains/"):
            if not _NAME.fullmatch(gateway):
                continue
            while self._learn(gateway):
                pass

    def entries(self, gateway: str) -> list[Entry]:
        """Return the entries of a chain that are known, from number 1."""
        if gateway not in self._known:
            self._known[gateway] = [decode(path.read_bytes()) for path in self._kept(gateway)]
        return self._known[gateway]

    def names(self) -> list[str]:
        """Return the gateways whose chains are known."""
        kept = {path.name for path in self._folder.glob("*") if path.is_dir()}
        return sorted(kept | self._known.keys())

    def append(self, gateway: str, entry: Entry) -> bool:
        """Put an entry at the end of a chain, and return whether it stands there.

        Another process that ships under the same name may have been first: then its entry is known now, and what was to
        be said has to be thought over.
        """
        number = len(self.entries(gateway)) + 1
        data = encode(entry)
        created = self._objects.create(_key(gateway, number), data)
        if created:
            self._keep(gateway, number, data)
            return True
        self._learn(gateway)
        return False

    def _learn(self, gateway: str) -> bool:
        number = len(self.entries(gateway)) + 1
        data = self._objects.get(_key(gateway, number))
        if data is not None:
            self._keep(gateway, number, data)
        return data is not None

    def _keep(self, gateway: str, number: int, data: bytes) -> None:
        try:
            entry = decode(data)
        except (ValueError, TypeError) as error:  # what msgspec raises is one of these
            raise ChainBrokenError(f"entry {number} of the chain of {gateway} cannot be read: {error}") from error
        folder = self._folder / gateway
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / _file(number), data)
        sync_folder(folder)
        self.entries(gateway).append(entry)

    def _kept(self, gateway: str) -> list[Path]:
        folder = self._folder / gateway
        names = sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208  (names are all that is wanted)
        kept = [name for name in names if name.endswith(".json")]
        if kept != [_file(number) for number in range(1, len(kept) + 1)]:
            raise ChainBrokenError(f"{folder} lacks entries of a chain: remove the folder, it is fetched anew")
        return [folder / name for name in kept]


def _key(gateway: str, number: int) -> str:
    return f"chains/{gateway}/{_file(number)}"


def _file(number: int) -> str:
    return f"{number:012d}.json"
