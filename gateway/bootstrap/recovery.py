"""Bring the events of a gateway that will not come back into the log that gateways share.

``python -m gateway.bootstrap.recovery DIR --events s3://…``: DIR is its state folder. It prints one JSON document.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.bootstrap.shared_log import open_sharing
from gateway.control.erasing import Erasures
from gateway.errors import SettingInvalidError
from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact, sole_compactor
from gateway.journal.segment import list_segments
from storage.errors import DomainError, PreconditionError

if TYPE_CHECKING:
    from collections.abc import Sequence

_WRONG_USAGE = 2


class StillRunningError(PreconditionError):
    """A gateway runs on the folder: it ships its events itself."""

    reason = "STILL_RUNNING"


def recover(state_folder: Path, url: str) -> dict[str, Any]:
    """Make Parquet of what a folder's workers wrote, ship what is not in the bucket, and say how much it was.

    `open_segments` are those that a worker writes that still lives; what is left takes another run.

    Raises
    ------
    StillRunningError
        A gateway runs on it.
    SettingInvalidError, BucketAddressError, ObjectsUnreachableError, ChainBrokenError, OSError
        It is no state folder; the bucket cannot be used.
    """
    folders = EventFolders(state_folder)
    if not folders.journal.is_dir():
        raise SettingInvalidError(f"{state_folder} is no gateway's state folder: it has no `journal`")
    with (state_folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StillRunningError(f"a gateway runs on {state_folder}: it ships its events itself") from error
        sharing = open_sharing(url, state_folder)
        if sharing is None:
            raise SettingInvalidError("say where gateways share their events: --events s3://bucket/prefix")
        done = compact(folders)
        with sole_compactor(folders.events / "compactor.lock"):
            sharing.exchange(Erasures(folders))
        return {
            "compacted_segments": len(done.committed),
            "compacted_records": done.records,
            "cut_bytes": sum(sealed.cut_bytes for sealed in done.sealed),
            "failing_segments": done.failed,
            "open_segments": len(list_segments(folders.journal)) - len(done.failed),
            "shipped_segments": sharing.facts.shipped,
            "waiting_segments": sharing.facts.waiting,
        }


def main(arguments: Sequence[str]) -> int:
    """Recover a folder; return 0 done, 1 it could not or something is left, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="turnout events recover", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", required=True)
    asked = parser.parse_args(arguments)
    try:
        document = recover(asked.folder, asked.events)
    except (DomainError, OSError) as error:
        sys.stderr.write(f"turnout: {error}\n")
        return _WRONG_USAGE if isinstance(error, SettingInvalidError) else 1
    sys.stdout.write(json.dumps(document) + "\n")
    return int(any(document[left] for left in ("failing_segments", "open_segments", "waiting_segments")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
