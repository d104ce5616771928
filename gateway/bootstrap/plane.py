"""The composition root: what the control plane's process is made of, and its life."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import ssl
import time
from concurrent import futures
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import grpc

from gateway.access.access import Access
from gateway.bootstrap.background import Background
from gateway.bootstrap.control_parts import open_control_parts
from gateway.bootstrap.control_services import add_control_services
from gateway.bootstrap.services import DataServices
from gateway.bootstrap.stopping import StopRequest
from gateway.bootstrap.supervisor import Supervisor
from gateway.bootstrap.traces import Traces
from gateway.control.figures import Figures
from gateway.control.fleet import Fleet
from gateway.control.heartbeat import Heartbeat
from gateway.control.housekeeping import Housekeeper
from gateway.control.publisher import TablePublisher
from gateway.control.refreshing import Refresher
from gateway.control.telling import keep_channels
from gateway.control.wakeups import Wakeups
from gateway.control.webhooks import RetryPolicy, WebhookCourier
from gateway.errors import StateFolderBusyError
from gateway.journal.commits import EventFolders
from gateway.journal.shared.chains import gateway_name
from gateway.rest.origins import Origins, origins_in
from gateway.rest.port import DataPort
from gateway.rest.rest import Rest
from gateway.rpc.counting import CallCounter
from gateway.rpc.guard import guarded
from gateway.rpc.inside import Inside, Visitor
from gateway.telemetry.meter import Meter
from gateway.transport.tls import Certificates
from gateway.web.console import Console
from gateway.web.server import WebServer
from storage.database import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.bootstrap.settings import Settings
    from gateway.control.training import TrainingControl
    from gateway.telemetry.logs import Logs

CONTROL_THREADS_MAX = 16
CONTROL_MESSAGE_BYTES_MAX = 16 * 1024 * 1024
READY_TIMEOUT_S = 120.0

_log = logging.getLogger(__name__)


class ControlPlane:
    """The process that changes things and looks after the workers.

    Parameters
    ----------
    settings
        What was asked for.
    logs
        What writes this process's log.
    """

    def __init__(self, settings: Settings, logs: Logs) -> None:
        self._settings = settings
        self._stop = StopRequest()
        self._background = Background()
        folders = settings.folders
        folders.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        folders.run.mkdir(mode=0o700, exist_ok=True)
        self._access = Access(settings.tokens, certificates=settings.tls_client_ca is not None)
        self._inside = Inside(self._access)
        self._database = open_database(settings.database_url)
        self._wakeups = Wakeups(settings.wakeups, wake=self._database.told) if settings.wakeups else None
        self._reserved, self._data_port = _reserve(settings.host, settings.data_port)
        self._fleet = Fleet(settings.workers, label_sets_max=settings.metric_label_sets_max)
        self._meter = Meter(settings.metric_label_sets_max)
        self._traces = Traces(settings, self._meter)
        self._supervisor = Supervisor(
            settings, data_port=self._data_port, fleet=self._fleet, take_traces=self._traces.take
        )
        self._fleet.ask_by(self._supervisor.ask)
        self._parts = open_control_parts(
            settings,
            self._database,
            fleet=self._fleet,
            data_address=f"{settings.host}:{self._data_port}",
            following=lambda: self._publisher.following,
        )
        self._publisher = TablePublisher(
            database=self._database,
            artifacts=self._parts.artifacts,
            folder=folders.tables,
            previous_max=settings.resident_previous,
            announce=self._supervisor.announce,
            wakeups=self._wakeups,
            stale_max_s=settings.stale_max_s,
            set_stale=self._supervisor.set_stale,
        )
        policy = RetryPolicy(attempts_max=settings.webhook_attempts_max, first_s=settings.webhook_retry_s)
        self._courier = WebhookCourier(self._database, self._parts.poster, self._parts.teller, policy)
        keep_channels(self._database, self._parts.channels, self._parts.clock)
        self._figures = Figures(
            meter=self._meter,
            logs=logs,
            fleet=self._fleet,
            publisher=self._publisher,
            compactor=self._parts.compactor,
            sharing=self._parts.sharing,
            journal=folders.journal,
        )

    def run(self) -> int:
        """Serve until a signal says to stop, and return the exit code."""
        self._stop.ask_on(signal.SIGTERM, signal.SIGINT)
        server, control_port, health = self._open_control()
        self._publisher.begin()
        self._database.on_commit(self._publisher.wake)
        self._database.on_commit(self._courier.wake)
        if self._wakeups is not None:
            self._wakeups.start()
        self._supervisor.start()
        self._start_background(control_port)
        http_port = self._web.start()
        self._wait_ready(control_port, http_port)
        health.serving()
        self._stop.wait()
        self._background.stopped.set()
        return self._close(server, health)

    def _open_control(self) -> tuple[grpc.Server, int, DataServices]:
        """Open the control port, and make what the HTTP port answers with, which asks the same services."""
        server = grpc.server(
            futures.ThreadPoolExecutor(CONTROL_THREADS_MAX, thread_name_prefix="control"),
            options=[
                ("grpc.max_receive_message_length", CONTROL_MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", CONTROL_MESSAGE_BYTES_MAX),
                ("grpc.so_reuseport", 0),
            ],
            interceptors=[CallCounter(self._meter, self._traces.tracer)],
        )
        behind = guarded(self._inside.before(server), self._access)
        added = add_control_services(behind, self._parts)
        self._ramps, self._web = added.ramps, self._web_server(added.training)
        health = DataServices(added.names)
        health.add(behind)
        address, tls = f"{self._settings.host}:{self._settings.control_port}", self._settings.tls
        port = (
            server.add_insecure_port(address)
            if tls is None
            else server.add_secure_port(address, Certificates(tls).credentials())
        )
        server.start()
        return server, port, health

    def _start_background(self, control_port: int) -> None:
        """Begin what works beside the ports."""
        parts = self._parts
        self._background.start("publisher", lambda _stopped: self._publisher.run())
        self._background.start("housekeeper", Housekeeper(parts.database, parts.clock).run)
        self._background.start("webhooks", self._courier.run)
        self._background.start("compactor", parts.compactor.run)
        refresher = Refresher(parts.materializing, database=parts.database, clock=parts.clock)
        self._background.start("refresher", refresher.run, awaited=True)
        self._background.start("ramps", self._ramps.run, awaited=True)
        self._background.start("heartbeat", self._heartbeat(control_port).run, awaited=True)

    def _web_server(self, training: TrainingControl) -> WebServer:
        """Return what the HTTP port answers with."""
        settings = self._settings
        port = DataPort(settings.host, self._data_port, tls=settings.tls)
        return WebServer(
            settings.host,
            settings.http_port,
            fleet=self._fleet,
            gather=self._figures.gather,
            access=self._access,
            rest=Rest(
                port,
                self._access,
                self._database,
                training.start,
                origins=Origins(origins_in(settings.http_origins)),
                body_bytes_max=settings.request_bytes_max,
            ),
            body_bytes_max=settings.request_bytes_max,
            console=Console(partial(Visitor, self._inside), asks=self._access.asks),
            tls=_web_certificates(settings),
        )

    def _heartbeat(self, control_port: int) -> Heartbeat:
        """Return what says to others that this gateway is there."""
        host = self._settings.host
        about = {
            "turnout_version": version("turnout"),
            "zone": self._settings.zone,
            "host": socket.gethostname(),
            "data_address": self._parts.data_address,
            "control_address": f"{host}:{control_port}",
        }
        name = gateway_name(EventFolders(self._settings.folders.state).events)
        return Heartbeat(database=self._database, fleet=self._fleet, name=name, about=about)

    def _wait_ready(self, control_port: int, http_port: int) -> None:
        """Write the ready file when all workers answer."""
        until = time.monotonic() + READY_TIMEOUT_S
        while not self._stop.is_asked and not self._fleet.wait_ready(0.2):
            if time.monotonic() > until:
                _log.error("the workers do not answer after %.0f s; see their logs", READY_TIMEOUT_S)
                until = time.monotonic() + READY_TIMEOUT_S
        if self._stop.is_asked:
            return
        ports = {"data": self._data_port, "http": http_port, "control": control_port}
        pids = [os.getpid(), *(report.pid for report in self._fleet.reports())]
        transport = self._fleet.reports()[0].transport
        _log.info("serving: data %(data)d, http %(http)d, control %(control)d", ports)
        _log.info("%d workers by %s", self._settings.workers, transport)
        if self._settings.ready_file is not None:
            aside = self._settings.ready_file.with_suffix(".tmp")
            aside.write_text(json.dumps({**ports, "pids": pids, "transport": transport}))
            aside.rename(self._settings.ready_file)

    def _close(self, server: grpc.Server, health: DataServices) -> int:
        """Finish what is in flight and stop everything; return 0 when all of it ended in time."""
        health.not_serving()
        clean = self._supervisor.stop(self._settings.grace_s + 5.0)
        self._publisher.close()
        if self._wakeups is not None:
            self._wakeups.close()
        server.stop(grace=2.0).wait()
        self._courier.close()
        self._parts.snapshots.close()
        self._traces.close()
        self._web.stop()
        self._background.join()
        self._parts.store.close()
        self._database.close()
        self._reserved.close()
        self._stop.close()
        if self._settings.ready_file is not None:
            with contextlib.suppress(OSError):
                self._settings.ready_file.unlink()
        return 0 if clean else 1


def _web_certificates(settings: Settings) -> Certificates | None:
    """Return what the HTTP port shows: probes of its health show no certificate themselves."""
    if settings.tls is None:
        return None
    return Certificates(settings.tls, protocols=("http/1.1",), clients=ssl.CERT_OPTIONAL)


def _reserve(host: str, port: int) -> tuple[socket.socket, int]:
    """Bind the shared data port without listening, so that it stays ours while workers come and go."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind((host, port))
    return reserved, reserved.getsockname()[1]


@contextlib.contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the state folder's lock, or raise StateFolderBusyError: two gateways on one folder would tear it apart."""
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (settings.state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StateFolderBusyError(
                f"another gateway runs on {settings.state}; stop it or use another folder", state=settings.state
            ) from error
        yield
