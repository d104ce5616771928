import hashlib
import multiprocessing
import os
import signal
import stat

import pytest

from registry.artifacts import LocalArtifacts
from registry.errors import ArtifactCorruptError, ArtifactDigestError, ArtifactMissingError, ArtifactTooLargeError

DATA = b"model" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_bytes_come_back_under_their_digest(artifacts, tmp_path):
    assert artifacts.put([DATA[:7], DATA[7:]], expected_sha256=SHA256) == len(DATA)
    assert artifacts.verify(SHA256).read_bytes() == DATA
    assert files(tmp_path) == [f"artifacts/sha256/{SHA256[:2]}/{SHA256}"]
    assert stat.S_IMODE(artifacts.path(SHA256).stat().st_mode) == 0o444


def test_bytes_that_are_kept_already_stay_untouched(artifacts):
    artifacts.put([DATA], expected_sha256=SHA256)
    before = artifacts.path(SHA256).stat().st_ino
    artifacts.put([DATA], expected_sha256=SHA256)
    assert artifacts.path(SHA256).stat().st_ino == before


def test_other_bytes_than_announced_leave_nothing(artifacts, tmp_path):
    with pytest.raises(ArtifactDigestError):
        artifacts.put([DATA, b"!"], expected_sha256=SHA256)
    assert files(tmp_path) == []


def test_too_many_bytes_leave_nothing(artifacts, tmp_path):
    with pytest.raises(ArtifactTooLargeError):
        artifacts.put([DATA], expected_sha256=SHA256, bytes_max=len(DATA) - 1)
    assert files(tmp_path) == []


def test_a_stream_that_breaks_leaves_nothing(artifacts, tmp_path):
    def breaking():
        yield DATA
        raise ConnectionError

    with pytest.raises(ConnectionError):
        artifacts.put(breaking(), expected_sha256=SHA256)
    assert files(tmp_path) == []


@pytest.mark.parametrize("sha256", ["", "..", "../../etc/passwd", SHA256.upper(), SHA256[:-1], f"{SHA256}\n"])
def test_what_is_no_digest_never_becomes_a_path(artifacts, sha256):
    with pytest.raises(ArtifactDigestError):
        artifacts.path(sha256)
    with pytest.raises(ArtifactDigestError):
        artifacts.put([DATA], expected_sha256=sha256)


def test_changed_bytes_are_noticed_and_healed_by_the_next_put(artifacts):
    artifacts.put([DATA], expected_sha256=SHA256)
    place = artifacts.path(SHA256)
    place.chmod(0o644)
    place.write_bytes(b"rotten")
    with pytest.raises(ArtifactCorruptError):
        artifacts.verify(SHA256)
    artifacts.put([DATA], expected_sha256=SHA256)
    assert artifacts.verify(SHA256).read_bytes() == DATA


def test_what_is_missing_is_said(artifacts):
    with pytest.raises(ArtifactMissingError):
        artifacts.verify(SHA256)


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
