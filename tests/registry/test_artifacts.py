import hashlib
import multiprocessing
import os
import signal
import stat
import time

import obstore
import psutil
import pytest

from registry.artifacts import LocalArtifacts
from registry.bucket_artifacts import PART_BYTES
from registry.errors import (
    ArtifactCorruptError,
    ArtifactDigestError,
    ArtifactMissingError,
    ArtifactTooLargeError,
    ArtifactUrlError,
    StoreUnreachableError,
)
from registry.stores import open_artifacts

DATA = b"model" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Local:
    """A store in a folder, and the way behind its back."""

    def __init__(self, folder):
        self.folder = folder
        self.store = open_artifacts("", folder)

    def anew(self):
        return open_artifacts("", self.folder)

    def spoil(self, sha256, data):
        place = self.folder / "sha256" / sha256[:2] / sha256
        place.chmod(0o644)
        place.write_bytes(data)

    def kept(self):
        return files(self.folder)


class Bucket:
    """A store in a bucket, and the way behind its back."""

    def __init__(self, folder, server):
        self.folder = folder
        self.url = server.create()
        self.raw = server.raw(self.url)
        self.store = open_artifacts(self.url, folder / "machine-1")

    def anew(self):
        return open_artifacts(self.url, self.folder / "machine-2")

    def spoil(self, sha256, data):
        obstore.put(self.raw, f"sha256/{sha256[:2]}/{sha256}", data)

    def kept(self):
        return sorted(each["path"] for page in obstore.list(self.raw) for each in page)


@pytest.fixture(params=["local", "bucket"])
def place(request, tmp_path):
    if request.param == "local":
        return Local(tmp_path)
    request.getfixturevalue("bucket_credentials")
    return Bucket(tmp_path, request.getfixturevalue("bucket_server"))


def test_bytes_come_back_under_their_digest(place):
    assert place.store.put([DATA[:7], DATA[7:]], expected_sha256=SHA256) == len(DATA)
    assert place.store.verify(SHA256).read_bytes() == DATA
    assert place.store.path(SHA256) == place.store.place(SHA256)
    assert place.kept() == [f"sha256/{SHA256[:2]}/{SHA256}"]
    assert stat.S_IMODE(place.store.path(SHA256).stat().st_mode) == 0o444


def test_another_machine_finds_what_one_has_put(place):
    place.store.put([DATA], expected_sha256=SHA256)
    another = place.anew()
    assert another.holds(SHA256)
    assert another.path(SHA256).read_bytes() == DATA
    assert another.verify(SHA256).read_bytes() == DATA


def test_bytes_that_are_kept_already_stay_untouched(place):
    place.store.put([DATA], expected_sha256=SHA256)
    before = place.store.path(SHA256).stat().st_ino
    place.store.put([DATA], expected_sha256=SHA256)
    assert place.store.path(SHA256).stat().st_ino == before


def test_other_bytes_than_announced_leave_nothing(place):
    with pytest.raises(ArtifactDigestError):
        place.store.put([DATA, b"!"], expected_sha256=SHA256)
    assert place.kept() == []
    assert files(place.folder) == []


def test_too_many_bytes_leave_nothing(place):
    with pytest.raises(ArtifactTooLargeError):
        place.store.put([DATA], expected_sha256=SHA256, bytes_max=len(DATA) - 1)
    assert place.kept() == []
    assert files(place.folder) == []


def test_a_stream_that_breaks_leaves_nothing(place):
    def breaking():
        yield DATA
        raise ConnectionError

    with pytest.raises(ConnectionError):
        place.store.put(breaking(), expected_sha256=SHA256)
    assert place.kept() == []
    assert files(place.folder) == []


@pytest.mark.parametrize("sha256", ["", "..", "../../etc/passwd", SHA256.upper(), SHA256[:-1], f"{SHA256}\n"])
def test_what_is_no_digest_never_becomes_a_path(place, sha256):
    for asking in (place.store.path, place.store.place, place.store.holds, place.store.check, place.store.remove):
        with pytest.raises(ArtifactDigestError):
            asking(sha256)
    with pytest.raises(ArtifactDigestError):
        place.store.put([DATA], expected_sha256=sha256)


def test_changed_bytes_are_noticed_and_healed_by_the_next_put(place):
    place.store.put([DATA], expected_sha256=SHA256)
    place.spoil(SHA256, b"rotten")
    for store in (place.store, place.anew()):
        with pytest.raises(ArtifactCorruptError):
            store.check(SHA256)
    with pytest.raises(ArtifactCorruptError):
        place.anew().verify(SHA256)
    place.store.put([DATA], expected_sha256=SHA256)
    place.store.check(SHA256)
    assert place.anew().verify(SHA256).read_bytes() == DATA


def test_what_is_missing_is_said(place):
    assert not place.store.holds(SHA256)
    for asking in (place.store.verify, place.store.path, place.store.check):
        with pytest.raises(ArtifactMissingError):
            asking(SHA256)


def test_what_is_kept_is_listed_with_its_length_and_its_time(place):
    began_us = time.time_ns() // 1000
    place.store.put([DATA], expected_sha256=SHA256)
    (kept,) = place.anew().listed()
    assert (kept.sha256, kept.length_bytes) == (SHA256, len(DATA))
    assert abs(kept.put_us - began_us) < 60e6


def test_what_is_removed_is_gone_here_and_there(place):
    place.store.put([DATA], expected_sha256=SHA256)
    place.store.remove(SHA256)
    place.store.remove(SHA256)
    assert not place.store.holds(SHA256)
    assert place.kept() == []
    assert files(place.folder) == []


def test_long_files_travel_in_pieces_with_bounded_memory(place):
    piece = bytes(range(256)) * 4096
    pieces = 96
    assert len(piece) * pieces > 8 * PART_BYTES
    digest = hashlib.sha256()
    for _ in range(pieces):
        digest.update(piece)
    process = psutil.Process()
    before = process.memory_info().rss
    peak = before

    def passing():
        nonlocal peak
        for _ in range(pieces):
            peak = max(peak, process.memory_info().rss)
            yield piece

    place.store.put(passing(), expected_sha256=digest.hexdigest())
    peak = max(peak, process.memory_info().rss)
    assert place.anew().verify(digest.hexdigest()).stat().st_size == len(piece) * pieces
    peak = max(peak, process.memory_info().rss)
    assert peak - before < 64 * 1024**2


def put_and_die(folder, after):
    """Put the bytes and be killed after so many chunks."""

    def chunks():
        for at in range(0, len(DATA), 100):
            if at == after:
                os.kill(os.getpid(), signal.SIGKILL)
            yield DATA[at : at + 100]

    LocalArtifacts(folder).put(chunks(), expected_sha256=SHA256)


def test_a_put_that_is_killed_leaves_no_artifact_and_the_next_start_clears_up(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    dying = spawn.Process(target=put_and_die, args=(tmp_path, 2500))
    dying.start()
    dying.join()
    assert dying.exitcode == -signal.SIGKILL
    restarted = LocalArtifacts(tmp_path)
    with pytest.raises(ArtifactMissingError):
        restarted.path(SHA256)
    assert restarted.clear_incoming() == 1
    assert files(tmp_path) == []
    restarted.put([DATA], expected_sha256=SHA256)
    assert restarted.verify(SHA256).read_bytes() == DATA


@pytest.mark.usefixtures("bucket_credentials")
def test_a_copy_that_rotted_here_is_brought_again(bucket_server, tmp_path):
    bucket = Bucket(tmp_path, bucket_server)
    bucket.store.put([DATA], expected_sha256=SHA256)
    copy = bucket.store.path(SHA256)
    copy.chmod(0o644)
    copy.write_bytes(b"rotten")
    bucket.store.check(SHA256)
    assert copy.read_bytes() == DATA


def test_who_may_not_in_is_told_so(bucket_server, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "turnout")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    with pytest.raises(StoreUnreachableError):
        open_artifacts(bucket_server.create(), tmp_path).put([DATA], expected_sha256=SHA256)


@pytest.mark.parametrize(
    "url",
    ["file:///tmp", "s3://", "s3://key:secret@bucket/prefix", "s3://bucket/prefix?secret_access_key=x", "bucket"],
)
def test_what_is_no_address_is_refused_and_credentials_in_it_too(url, tmp_path):
    with pytest.raises(ArtifactUrlError):
        open_artifacts(url, tmp_path)
