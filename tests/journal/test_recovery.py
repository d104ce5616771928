from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.journal.recovery import CUT, seal_dead
from gateway.journal.segment import (
    FRAME_BYTES,
    HEADER,
    HEADER_BYTES,
    NEW,
    OPEN,
    SEALED,
    Ending,
    frame,
    list_segments,
    new_name,
    read_frames,
)
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

_PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6)


def _orphan(folder: Path, data: bytes, writer: str = "worker-0") -> Path:
    path = folder / (new_name(writer) + OPEN)
    path.write_bytes(data)
    return path


def _payloads(folder: Path) -> list[bytes]:
    found = []
    for segment in list_segments(folder):
        assert segment.suffix == SEALED
        frames = read_frames(segment.path.read_bytes()[HEADER_BYTES:])
        assert frames.ending is Ending.CLEAN
        found += frames.payloads
    return found


@given(payloads=_PAYLOADS, data=st.data())
def test_any_truncation_leaves_exactly_the_records_before_it(payloads, data):
    whole = HEADER + frame(payloads)
    size = data.draw(st.integers(0, len(whole)))
    good = [
        payload for number, payload in enumerate(payloads) if HEADER_BYTES + len(frame(payloads[: number + 1])) <= size
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _orphan(folder, whole[:size])
        (sealed,) = seal_dead(folder)
        assert _payloads(folder) == good
        assert sealed.records == len(good)
        assert sealed.cut_bytes == size - (HEADER_BYTES + len(frame(good)) if size >= HEADER_BYTES else 0)


@given(payloads=_PAYLOADS, bit=st.integers(0, 7), data=st.data())
def test_any_flipped_bit_leaves_exactly_the_records_before_it(payloads, bit, data):
    whole = bytearray(HEADER + frame(payloads))
    place = data.draw(st.integers(HEADER_BYTES, len(whole) - 1))
    whole[place] ^= 1 << bit
    good = [
        payload for number, payload in enumerate(payloads) if HEADER_BYTES + len(frame(payloads[: number + 1])) <= place
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = _orphan(folder, bytes(whole))
        (sealed,) = seal_dead(folder)
        assert _payloads(folder) == good
        assert sealed.ending is not Ending.CLEAN
        kept = path.with_suffix(CUT).read_bytes()
        assert kept == bytes(whole[len(whole) - sealed.cut_bytes :])


@given(payloads=_PAYLOADS, zeros=st.integers(1, 3 * FRAME_BYTES))
def test_zeros_after_the_last_record_are_not_records(payloads, zeros):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _orphan(folder, HEADER + frame(payloads) + bytes(zeros))
        (sealed,) = seal_dead(folder)
        assert _payloads(folder) == payloads
        assert sealed.cut_bytes == zeros


def test_records_larger_than_one_read_are_measured_whole(tmp_path):
    payloads = [b"a" * 20_000_000, b"b" * 40_000_000, b"c"]
    _orphan(tmp_path, HEADER + frame(payloads) + b"torn")
    (sealed,) = seal_dead(tmp_path)
    assert (sealed.records, sealed.cut_bytes, sealed.ending) == (3, 4, Ending.TORN)
    assert _payloads(tmp_path) == payloads


def test_the_segment_of_a_live_writer_is_left_alone(tmp_path):
    writer = JournalWriter(tmp_path, name="worker-0", clock=SystemClock())
    writer.append([b"one"])
    assert seal_dead(tmp_path, "worker-0") == []
    writer.append([b"two"])
    writer.close()
    assert _payloads(tmp_path) == [b"one", b"two"]


def test_only_the_named_writer_is_sealed(tmp_path):
    _orphan(tmp_path, HEADER + frame([b"0"]), "worker-0")
    other = _orphan(tmp_path, HEADER + frame([b"1"]), "worker-01")
    assert [sealed.records for sealed in seal_dead(tmp_path, "worker-0")] == [1]
    assert other.exists()
    assert len(seal_dead(tmp_path)) == 1
    assert sorted(_payloads(tmp_path)) == [b"0", b"1"]


def test_a_segment_without_a_record_is_removed(tmp_path):
    _orphan(tmp_path, HEADER)
    _orphan(tmp_path, b"")
    assert [(sealed.records, sealed.cut_bytes) for sealed in seal_dead(tmp_path)] == [(0, 0), (0, 0)]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_has_nothing_to_seal(tmp_path):
    assert seal_dead(tmp_path / "journal") == []


def test_a_file_whose_writer_died_while_it_made_it_is_removed_once_it_is_old(tmp_path):
    fresh, old = (tmp_path / (new_name("worker-0") + NEW) for _ in range(2))
    fresh.write_bytes(HEADER)
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    assert seal_dead(tmp_path) == []
    assert list(tmp_path.iterdir()) == [fresh]
