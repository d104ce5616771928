"""`turnout serve`: become a gateway."""

import importlib.util
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Clock(StrEnum):
    """Which time ages, expires and schedules."""

    SYSTEM = "system"
    REPLAY = "replay"


class TransportKind(StrEnum):
    """What takes calls off the network."""

    AUTO = "auto"
    NATIVE = "native"
    GRPCIO = "grpcio"


def serve(
    context: typer.Context,
    *,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="Where everything is kept; made when absent.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A TOML file with settings, by their names.")
    ] = None,
    secrets: Annotated[
        Path | None, typer.Option("--secrets", metavar="DIR", help="A folder with a file for each secret setting.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Data-plane processes; default: one.", show_default=False)
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to bind; default 127.0.0.1.")] = None,
    data_port: Annotated[
        int | None,
        typer.Option("--data-port", min=0, max=65535, help="gRPC, predictions; default 8001; 0: a free one."),
    ] = None,
    http_port: Annotated[
        int | None, typer.Option("--http-port", min=0, max=65535, help="HTTP; default 8002; 0: a free one.")
    ] = None,
    control_port: Annotated[
        int | None, typer.Option("--control-port", min=0, max=65535, help="gRPC, control; default 8003; 0: a free one.")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            "--ready-file", metavar="FILE", help="Written when all workers answer: {data, http, control, pids}."
        ),
    ] = None,
    clock: Annotated[
        Clock | None, typer.Option("--clock", help="Time that ages and expires; default system.", show_default=False)
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option("--tokens", metavar="FILE", help="Who may do what, by `turnout tokens`; default: anybody."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="The certificate of all ports, PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option("--tls-client-ca", metavar="FILE", help="Whose certificates clients must show, PEM."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Be open to all on a port that strangers reach, or take tokens in clear.")
    ] = False,
    transport: Annotated[
        TransportKind | None, typer.Option("--transport", help="Default auto: native where it can.", show_default=False)
    ] = None,
) -> None:
    """Serve until SIGTERM. This process becomes the gateway; any further option is the gateway's own.

    Needs the extra `server`.
    """
    if importlib.util.find_spec("gateway") is None:
        raise typer.BadParameter("the gateway is not installed here: install turnout[server]")
    if state is None and config is None and not os.environ.keys() & {"TURNOUT_STATE", "TURNOUT_CONFIG"}:
        raise typer.BadParameter("say where everything is kept: --state DIR, or --config FILE that says it")
    given = {
        "--state": state,
        "--config": config,
        "--secrets": secrets,
        "--workers": workers,
        "--host": host,
        "--data-port": data_port,
        "--http-port": http_port,
        "--control-port": control_port,
        "--ready-file": ready_file,
        "--clock": clock,
        "--transport": transport,
        "--tokens": tokens,
        "--tls-cert": tls_cert,
        "--tls-key": tls_key,
        "--tls-client-ca": tls_client_ca,
        "--insecure": insecure or None,
    }
    flags = [part for flag, value in given.items() if value is not None for part in (flag, str(value))]
    command = [sys.executable, "-m", "gateway", *flags, *context.args]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606  (no shell: this very interpreter, with checked flags)
