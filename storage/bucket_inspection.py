"""Looks at the bucket that settings name: one small object is put, read and removed."""

from __future__ import annotations

import secrets

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from storage.bucket import open_bucket
from storage.inspection import Inspection

_SAID_MAX = 200


def inspect_bucket(url: str) -> Inspection:
    """Return what is found at the address, or raise BucketAddressError.

    What is looked for above all is that an object can be created on the condition that there is none: without that, two
    machines could each believe to have been first.
    """
    store, key, inspection = open_bucket(url), f"checks/{secrets.token_hex(16)}", Inspection()
    what = "put"
    try:
        with inspection.timing() as reading:
            obstore.put(store, key, key.encode(), mode="create")
            # It is told in whole seconds.
            reading.time_s = obstore.head(store, key)["last_modified"].timestamp() + 0.5
            reading.resolution_s = 0.5
        what = "read"
        if bytes(obstore.get(store, key).bytes()) != key.encode():
            inspection.failures.append("an object that was just put reads otherwise")
        what = "put on a condition"
        try:
            obstore.put(store, key, b"", mode="create")
            inspection.failures.append("it does not keep the condition If-None-Match: two machines could both be first")
        except AlreadyExistsError:
            inspection.found.append("objects are put, read and removed, and are created once only")
        what = "remove"
        obstore.delete(store, key)
    except (BaseError, FileNotFoundError, PermissionError) as error:
        inspection.failures.append(f"it does not let us {what}: {str(error).partition(chr(10))[0][:_SAID_MAX]}")
    return inspection
