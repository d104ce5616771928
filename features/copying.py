"""Copy all values of one online store into another: `python -m features.copying FROM TO`.

A value is written unless a newer one is there, so a copy may be broken off and begun again, and may run while the
store it reads is written. What becomes known during a copy is perhaps not in it: the marks of what is materialized come
with the values, and the next materialization goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.errors import StoreUrlError
from features.store import open_store
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.store import OnlineStore

_FROM_ENVIRONMENT = "env:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How many pairs were read, and how many of them changed the other store."""

    read: int
    written: int


def copy_values(source: OnlineStore, target: OnlineStore) -> Copied:
    """Write every pair of a store into another one, or raise StoreUnavailableError or StoreFullError."""
    read = 0

    def pairs() -> Iterator[tuple[bytes, bytes]]:
        nonlocal read
        # The marks that say how far a materialization came are held back until all values are there.
        marks = []
        for key, blob in source.scan():
            read += 1
            if key.startswith(b"f1:"):
                yield key, blob
            else:
                marks.append((key, blob))
        yield from marks

    written = target.put_many(pairs())
    return Copied(read=read, written=written)


def main(arguments: Sequence[str]) -> int:
    """Copy as a command line says, tell what was done, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m features.copying", description="Copy an online store.")
    parser.add_argument("source", metavar="FROM", help="an address, or env:NAME for the one in a variable")
    parser.add_argument("target", metavar="TO", help="the same")
    given = parser.parse_args(arguments)
    try:
        with contextlib.ExitStack() as stack:
            source = open_store(_address(given.source), writable=False)
            stack.callback(source.close)
            target = open_store(_address(given.target), writable=True)
            stack.callback(target.close)
            copied = copy_values(source, target)
    except DomainError as error:
        print(error.message, file=sys.stderr)  # noqa: T201  (this is the output)
        return 1
    print(f"{copied.read} read, {copied.written} written")  # noqa: T201  (as above)
    return 0


def _address(text: str) -> str:
    """Return the address that is meant: one with a password is better kept from the list of processes."""
    if not text.startswith(_FROM_ENVIRONMENT):
        return text
    name = text.removeprefix(_FROM_ENVIRONMENT)
    if not os.environ.get(name):
        raise StoreUrlError(f"the variable {name} is not set")
    return os.environ[name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
