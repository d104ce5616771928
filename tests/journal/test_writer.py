from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from gateway.errors import JournalUnavailableError
from gateway.journal.errors import RecordTooLargeError
from gateway.journal.record import Gap, Outcome, decode, encode
from gateway.journal.segment import HEADER_BYTES, OPEN, SEALED, Ending, check_header, list_segments, read_frames
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock


def _outcome(number: int) -> bytes:
    return encode(Outcome(request_id=str(number), name="late", value=1.0, event_time_us=number, time_us=number))


def _records(folder):
    """Every record of the folder's segments, which must all be whole."""
    records = []
    for segment in list_segments(folder):
        data = segment.path.read_bytes()
        check_header(data)
        frames = read_frames(data[HEADER_BYTES:], HEADER_BYTES)
        assert frames.ending is Ending.CLEAN
        records += [decode(payload) for payload in frames.payloads]
    return records


def _writer(folder, **settings):
    return JournalWriter(folder, name="worker-0", clock=SystemClock(), **settings)


def test_what_append_took_is_in_the_file_when_it_returns(tmp_path):
    writer = _writer(tmp_path, sync_interval_ms=10_000)
    writer.append([_outcome(1), _outcome(2)])
    assert [record.request_id for record in _records(tmp_path)] == ["1", "2"]
    assert [segment.suffix for segment in list_segments(tmp_path)] == [OPEN]
    writer.close()
    assert [segment.suffix for segment in list_segments(tmp_path)] == [SEALED]


@pytest.mark.parametrize("sync_interval_ms", [0, 5])
def test_segments_are_sealed_before_they_pass_their_size(tmp_path, sync_interval_ms):
    writer = _writer(tmp_path, segment_bytes_max=300, sync_interval_ms=sync_interval_ms)
    for number in range(50):
        writer.append([_outcome(number)])
    writer.close()
    segments = list_segments(tmp_path)
    assert len(segments) > 5
    assert all(segment.suffix == SEALED and segment.path.stat().st_size <= 300 for segment in segments)
    assert [record.request_id for record in _records(tmp_path)] == [str(number) for number in range(50)]


def test_what_is_to_be_left_free_of_the_disk_is_left(tmp_path):
    writer = _writer(tmp_path, free_bytes_min=1 << 60)
    with pytest.raises(JournalUnavailableError, match="is to be left"):
        writer.append([_outcome(1)])
    writer.count_lost("", 1)
    assert list_segments(tmp_path) == []
    writer._free_bytes_min = 1
    writer._crowded = writer._is_crowded()
    writer.append([_outcome(2)])
    writer.close()
    gap, outcome = _records(tmp_path)
    assert (gap.lost, outcome.request_id) == ({"": 1}, "2")


def test_a_wave_larger_than_a_segment_gets_one_of_its_own(tmp_path):
    writer = _writer(tmp_path, segment_bytes_max=100)
    writer.append([_outcome(number) for number in range(20)])
    writer.append([_outcome(20)])
    writer.close()
    assert len(list_segments(tmp_path)) == 2
    assert len(_records(tmp_path)) == 21


def test_an_old_segment_is_sealed_without_another_append(tmp_path):
    writer = _writer(tmp_path, segment_age_max_s=0.01, sync_interval_ms=1)
    writer.append([_outcome(1)])
    for _ in range(500):
        if [segment.suffix for segment in list_segments(tmp_path)] == [SEALED]:
            break
        threading.Event().wait(0.01)
    assert [segment.suffix for segment in list_segments(tmp_path)] == [SEALED]
    writer.close()


def test_a_writer_that_took_nothing_leaves_nothing(tmp_path):
    writer = _writer(tmp_path)
    writer.append([])
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_waves_of_several_threads_never_mix(tmp_path):
    writer = _writer(tmp_path, segment_bytes_max=20_000)

    def write(thread: int) -> None:
        for wave in range(50):
            writer.append([_outcome(thread * 1_000_000 + wave * 100 + place) for place in range(8)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    numbers = [int(record.request_id) for record in _records(tmp_path)]
    assert len(set(numbers)) == len(numbers) == 4 * 50 * 8
    waves = [numbers[start : start + 8] for start in range(0, len(numbers), 8)]
    assert all(wave == list(range(wave[0], wave[0] + 8)) for wave in waves)


def test_a_closed_writer_refuses(tmp_path):
    writer = _writer(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(JournalUnavailableError):
        writer.append([_outcome(1)])


def test_an_empty_record_is_refused_and_the_wave_is_not_written(tmp_path):
    writer = _writer(tmp_path)
    with pytest.raises(RecordTooLargeError):
        writer.append([_outcome(1), b""])
    writer.close()
    assert _records(tmp_path) == []


@pytest.mark.parametrize("name", ["", "a.b", "../x", "x" * 65])
def test_a_name_that_cannot_be_part_of_a_file_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="journal writer"):
        JournalWriter(tmp_path, name=name, clock=SystemClock())


def test_a_folder_that_takes_nothing_is_reported_and_what_was_lost_is_told_when_it_works_again(tmp_path):
    folder = tmp_path / "journal"
    writer = _writer(folder, retry_interval_ms=1)
    folder.rmdir()
    folder.write_text("in the way")
    with pytest.raises(JournalUnavailableError):
        writer.append([_outcome(1)])
    writer.count_lost("canary/new")
    writer.count_lost("canary/new")
    writer.count_lost("")
    assert writer.facts().lost_pending == 3
    folder.unlink()
    folder.mkdir()
    threading.Event().wait(0.01)
    writer.append([_outcome(2)])
    writer.close()
    gap, outcome = _records(folder)
    assert isinstance(gap, Gap)
    assert gap.lost == {"canary/new": 2, "": 1}
    assert outcome.request_id == "2"
    assert writer.facts().lost_pending == 0


def test_a_full_disk_leaves_only_whole_waves_and_writing_goes_on_when_there_is_room(small_disk):
    folder = small_disk / "journal"
    writer = _writer(folder, segment_bytes_max=200_000, retry_interval_ms=1)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 500_000)
    acknowledged, refused = [], 0
    for wave in range(2_000):
        numbers = [wave * 10 + place for place in range(10)]
        try:
            writer.append([_outcome(number) for number in numbers])
        except JournalUnavailableError:
            refused += 1
            writer.count_lost("canary/new", 10)
            if refused == 20:
                break
        else:
            acknowledged += numbers
    assert refused == 20
    ballast.unlink()
    threading.Event().wait(0.05)
    writer.append([_outcome(-1)])
    writer.close()
    records = _records(folder)
    outcomes = [int(record.request_id) for record in records if isinstance(record, Outcome)]
    lost = sum(record.lost["canary/new"] for record in records if isinstance(record, Gap))
    assert sorted(outcomes) == [-1, *acknowledged]
    assert lost == refused * 10


_LIMITED = """
import resource, sys
from pathlib import Path
from gateway.errors import JournalUnavailableError
from gateway.journal.record import Outcome, encode
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
writer = JournalWriter(Path(sys.argv[1]), name="worker-0", clock=SystemClock())
record = lambda n, size: encode(
    Outcome(request_id=str(n), name="x" * size, value=1.0, event_time_us=n, time_us=n))
for number in range(100):
    writer.append([record(number, 100)])
try:
    writer.append([record(100, 5_000)])
except JournalUnavailableError:
    print("refused")
writer.append([record(101, 100)])
writer.close()
"""


def test_a_segment_that_takes_no_more_bytes_is_cut_and_another_takes_the_wave(tmp_path):
    done = subprocess.run([sys.executable, "-c", _LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    assert [int(record.request_id) for record in _records(tmp_path)] == [*range(100), 101]
    assert all(segment.suffix == SEALED for segment in list_segments(tmp_path))


def test_what_a_worker_imports_is_light():
    code = (
        "import sys, gateway.journal.record, gateway.journal.writer, gateway.journal.recovery\n"
        "print([name for name in ('duckdb', 'pyarrow', 'numpy', 'scipy', 'grpc') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
