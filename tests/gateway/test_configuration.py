"""Settings: where they come from, what is said of them, and whether what they name is there. Real stores throughout."""

from __future__ import annotations

import json

import pytest
import redis

from features.redis_inspection import inspect_redis
from gateway.bootstrap.configuration import checked, main, shown
from gateway.bootstrap.sources import read_given
from storage.bucket_inspection import inspect_bucket
from storage.database_inspection import inspect_database
from storage.inspection import Inspection

SECRET = "hunter2"  # noqa: S105  (to be looked for in what is printed)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in ("TURNOUT_CONFIG", "TURNOUT_SECRETS", "TURNOUT_STATE", "TURNOUT_WORKERS", "TURNOUT_TOKENS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def files(tmp_path):
    """Return the flags of a file and a folder of secrets, which name what is nowhere else."""
    config = tmp_path / "turnout.toml"
    config.write_text(
        f'state = "{tmp_path}/state"\nworkers = 2\ndata_port = 1\nhttp_port = 1\ncontrol_port = 1\nonline = "file"\n'
    )
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "online").write_text(f"redis://:{SECRET}@127.0.0.1:1/0\n")
    (secrets / "http_port").write_text("2")
    (secrets / "control_port").write_text("2")
    (secrets / "..data").mkdir()
    return ["--config", str(config), "--secrets", str(secrets)]


def test_a_flag_wins_over_the_environment_that_over_secrets_they_over_the_file(files, monkeypatch):
    monkeypatch.setenv("TURNOUT_DATA_PORT", "3")
    monkeypatch.setenv("TURNOUT_CONTROL_PORT", "3")
    given = read_given([*files, "--data-port", "4"])
    settings = given.settings
    assert (settings.workers, settings.http_port, settings.control_port, settings.data_port) == (2, 2, 3, 4)
    names = ("workers", "http_port", "control_port", "data_port", "grace_s")
    assert [given.origins[name] for name in names] == ["file", "secret", "environment", "flag", "default"]


def test_the_environment_may_name_the_file_and_the_secrets(files, monkeypatch):
    monkeypatch.setenv("TURNOUT_CONFIG", files[1])
    monkeypatch.setenv("TURNOUT_SECRETS", files[3])
    assert read_given([]).settings == read_given(files).settings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wrokers = 2", "no setting 'wrokers'"),
        ("workers = 0", "--workers: Input should be greater"),
        ('workers = "many"', "--workers"),
        ("workers = ", "--config"),
        ("[workers]\nmany = 1", "--workers"),
    ],
)
def test_a_file_that_says_what_it_cannot_is_refused(tmp_path, capsys, text, words):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        read_given(["--state", str(tmp_path), "--config", str(path)])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_secret_that_is_no_settings_is_refused_unread(tmp_path, capsys):
    (tmp_path / "databse").write_text(SECRET)
    with pytest.raises(SystemExit):
        read_given(["--state", str(tmp_path), "--secrets", str(tmp_path)])
    said = capsys.readouterr().err
    assert "no setting 'databse'" in said
    assert SECRET not in said


def test_what_is_printed_holds_no_secret(files, capsys):
    assert main(["show", *files]) == 0
    assert main(["check", *files]) == 1
    assert main(["guess", *files]) == 2
    printed = capsys.readouterr().out
    assert SECRET not in printed
    assert "redis://:***@127.0.0.1:1/0" in printed
    assert "Connection refused" in printed


def test_all_settings_are_shown_with_what_they_would_be(files):
    document = shown(read_given(files))
    by_name = {each["setting"]: each for each in document["settings"]}
    assert by_name["workers"] == {"setting": "workers", "value": 2, "origin": "file", "default": 1, "changed": True}
    assert by_name["calls_max"]["changed"] is False
    json.dumps(document, allow_nan=False)


def test_the_embedded_parts_are_ready_before_the_first_start_and_nothing_is_made(tmp_path):
    document = checked(read_given(["--state", str(tmp_path / "new")]))
    assert document["ready"]
    assert {each["part"] for each in document["parts"]} == {"settings", "state", "database", "artifacts", "online"}
    assert list(tmp_path.iterdir()) == []


def test_the_parts_of_a_gateway_that_runs_are_ready(gateway):
    document = checked(read_given(["--state", str(gateway.state)]))
    found = {each["part"]: each["found"] for each in document["parts"]}
    assert document["ready"]
    assert "a gateway runs on it now" in found["state"]
    assert found["database"] == ["its schema is the newest"]


def test_a_database_says_its_version_its_clock_and_what_is_missing(postgresql, tmp_path, capsys):
    url = postgresql.create()
    try:
        seen = inspect_database(url)
        assert seen.version.startswith("PostgreSQL ")
        assert abs(seen.clock_ahead_ms) <= seen.clock_error_ms + 1000
        assert (seen.failures, seen.warnings) == ([], [])
        assert "migrations will be applied" in seen.found[0]
        assert main(["migrate", "--state", str(tmp_path / "none"), "--database", url]) == 0
        assert json.loads(capsys.readouterr().out)["found"] == ["its schema is the newest"]
    finally:
        postgresql.drop(url)


def test_a_bucket_must_create_objects_once_only(bucket_server, bucket_credentials):  # noqa: ARG001  (they are found there)
    seen = inspect_bucket(bucket_server.create())
    assert (seen.failures, seen.warnings) == ([], [])
    assert seen.found == ["objects are put, read and removed, and are created once only"]
    assert abs(seen.clock_ahead_ms) <= seen.clock_error_ms + 1000


def test_a_bucket_that_lets_nobody_in_says_so(bucket_server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    (failure,) = inspect_bucket(bucket_server.create()).failures
    assert failure.startswith("it does not let us put")
    assert SECRET not in failure


def test_a_redis_that_may_lose_values_or_takes_no_writes_says_so(start_redis, tmp_path_factory):
    folder = tmp_path_factory.mktemp("redis", numbered=True)
    server = start_redis(folder)
    seen = inspect_redis(server.url)
    assert seen.version.startswith("Redis ")
    assert (seen.failures, seen.warnings, seen.found) == ([], [], ["it takes writes"])
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "64mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert "allkeys-lru" in inspect_redis(server.url).warnings[0]
        client.replicaof("127.0.0.1", 1)
        failures = inspect_redis(server.url).failures
        assert "it is a replica" in failures[0]
        assert "it does not take a write" in failures[1]


@pytest.mark.parametrize(("ahead_s", "words"), [(600, "600.0 s before"), (-600, "600.0 s behind"), (0, "")])
def test_a_clock_that_is_off_is_told_with_its_distance(ahead_s, words, monkeypatch):
    monkeypatch.setattr("storage.inspection.time.time", lambda: 1_000_000.0)
    seen = Inspection()
    with seen.timing() as reading:
        reading.time_s = 1_000_000.0 + ahead_s
    assert seen.clock_ahead_ms == ahead_s * 1000
    assert (words in seen.warnings[0]) if words else (seen.warnings == [])


def test_a_file_is_looked_at_and_never_made(migrated_file, tmp_path):
    assert inspect_database(f"sqlite:///{migrated_file}").found == ["its schema is the newest"]
    assert inspect_database(f"sqlite:///{tmp_path}/none.db").found == ["it will be made at the first start"]
    assert not (tmp_path / "none.db").exists()


def test_a_database_that_does_not_answer_is_not_migrated(tmp_path, capsys):
    url = f"postgresql://ada:{SECRET}@127.0.0.1:1/none"
    assert main(["migrate", "--state", str(tmp_path / "none"), "--database", url]) == 1
    assert SECRET not in capsys.readouterr().err
