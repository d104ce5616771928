"""The entries of a gateway's chain: what it shipped, what it erased, what it put in the place of what it had shipped.

A chain is the objects ``chains/<gateway>/<number>.json``, from 1 and without a gap. Each is put on the condition that
there is none of that number, and never changed: so a chain is read by asking for the next number, a listing is never
relied on, and of two processes that would both be next one has to look again.
"""

from __future__ import annotations

import msgspec

from gateway.journal.commits import Part  # noqa: TC001  (msgspec reads the annotations)
from gateway.journal.rewriting import Subject  # noqa: TC001


class ShippedPart(msgspec.Struct, frozen=True):
    """A Parquet file in the bucket.

    Attributes
    ----------
    part
        Its kind, where it lies below an events folder, and how many rows it has.
    key
        The object's key.
    schema
        The number of its schema.
    bytes, sha256
        What the object must be.
    """

    part: Part
    key: str
    schema: int
    bytes: int
    sha256: str


class Shipped(msgspec.Struct, frozen=True):
    """A segment whose records are in the bucket.

    Attributes
    ----------
    segment, records, first_time_us, last_time_us
        As its commit says.
    parts
        Where they are.
    """

    segment: str
    records: int
    first_time_us: int
    last_time_us: int
    parts: tuple[ShippedPart, ...]


class Replaced(msgspec.Struct, frozen=True):
    """What was put in the place of a shipped part, so that erased events are in the bucket no more.

    Attributes
    ----------
    key
        The object that was replaced, and is removed.
    by
        What took its place; None when nothing of it was left.
    """

    key: str
    by: ShippedPart | None


class ErasureDone(msgspec.Struct, frozen=True):
    """That an erasure holds for what its gateway had shipped.

    Attributes
    ----------
    gateway, number
        The entry that asked for it.
    replaced
        What held such events.
    requests
        The predictions that went, for outcomes elsewhere that name them.
    """

    gateway: str
    number: int
    replaced: tuple[Replaced, ...]
    requests: tuple[str, ...]


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a chain; it says one of these.

    Attributes
    ----------
    shipped
        Segments, shipped at once.
    erasure
        Whose events everybody erases.
    done
        An erasure that holds for what this gateway had shipped.
    retired
        Objects whose events were kept long enough, and are removed.
    """

    shipped: tuple[Shipped, ...] = ()
    erasure: Subject | None = None
    done: ErasureDone | None = None
    retired: tuple[str, ...] = ()


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Entry).decode
