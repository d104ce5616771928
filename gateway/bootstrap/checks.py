"""Looks at every part that settings name: is it there, which version, whose clock, may it be used, what is missing."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gateway.access.directory import Directory
from gateway.bootstrap.together import check_together
from gateway.control.channels import read_channels
from gateway.errors import SettingInvalidError
from gateway.transport.tls import Certificates
from storage.database_inspection import inspect_database
from storage.errors import DomainError
from storage.inspection import Inspection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.bootstrap.settings import Settings
    from gateway.transport.tls import TlsFiles

FREE_BYTES_MIN = 1 << 30
CERTIFICATE_DAYS_MIN = 14
CONNECT_TIMEOUT_S = 5.0
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Checked:
    """A part, where it is, and what was found."""

    part: str
    address: str
    inspection: Inspection


def check_parts(settings: Settings) -> Iterator[Checked]:
    """Yield what is found of each part; nothing of it is changed but for a probe that is removed again."""
    for part, address, look in _parts(settings):
        try:
            inspection = look()
        except (DomainError, OSError) as error:
            inspection = Inspection(failures=[getattr(error, "message", "") or str(error)])
        yield Checked(part, address, inspection)


def _parts(settings: Settings) -> Iterator[tuple[str, str, Callable[[], Inspection]]]:
    yield "settings", "", lambda: _together(settings)
    yield "state", str(settings.state), lambda: _folder(settings.state, locked=True)
    yield "database", settings.database_url, lambda: inspect_database(settings.database_url)
    if settings.artifacts:
        yield "artifacts", settings.artifacts, lambda: _bucket(settings.artifacts)
    else:
        yield "artifacts", str(settings.folders.artifacts), lambda: _folder(settings.folders.artifacts)
    if settings.events:
        yield "events", settings.events, lambda: _bucket(settings.events)
    yield "online", settings.online_url, lambda: _online(settings.online_url)
    if settings.wakeups:
        yield "wakeups", settings.wakeups, lambda: _wakeups(settings.wakeups)
    if (files := settings.tls) is not None:
        yield "certificate", str(files.certificate), lambda: _certificate(files)
    if (tokens := settings.tokens) is not None:
        yield "tokens", str(tokens), lambda: _tokens(tokens)
    if settings.channels is not None:
        yield "channels", str(settings.channels), lambda: _channels(settings.channels)
    if settings.trace_otlp:
        yield "traces", settings.trace_otlp, lambda: _reached(settings.trace_otlp)


def _together(settings: Settings) -> Inspection:
    check_together(settings)
    return Inspection(found=["they go together"])


def _folder(folder: Path, *, locked: bool = False) -> Inspection:
    inspection = Inspection()
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if there != folder.absolute():
        inspection.found.append("it will be made at the first start")
    if not there.is_dir():
        inspection.failures.append(f"{there} is no folder")
    elif not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        inspection.failures.append(f"this user may not write to {there}")
    free = shutil.disk_usage(there).free
    if free < FREE_BYTES_MIN:
        inspection.warnings.append(f"only {free / (1 << 20):.0f} MiB are free there: the journal needs room")
    else:
        inspection.found.append(f"{free / (1 << 30):.0f} GiB are free")
    if locked and _is_locked(folder):
        inspection.found.append("a gateway runs on it now")
    return inspection


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _bucket(url: str) -> Inspection:
    try:  # loaded only where it is used
        from storage.bucket_inspection import inspect_bucket  # noqa: PLC0415
    except ModuleNotFoundError:
        return Inspection(failures=["for what is kept in a bucket, install turnout[s3]"])
    return inspect_bucket(url)


def _online(url: str) -> Inspection:
    parts = urlsplit(url)
    if parts.scheme in {"lmdb", "snapshot"}:
        return _folder(Path(unquote(parts.path)))
    from features.redis_inspection import inspect_redis  # noqa: PLC0415

    return inspect_redis(url)


def _wakeups(url: str) -> Inspection:
    from features.redis_inspection import inspect_channel  # noqa: PLC0415

    return inspect_channel(url)


def _certificate(files: TlsFiles) -> Inspection:
    Certificates(files)
    if importlib.util.find_spec("cryptography") is None:
        return Inspection(found=["it can serve; to be told when it ends, install turnout[signing]"])
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    end = load_pem_x509_certificate(files.certificate.read_bytes()).not_valid_after_utc
    days = (end.timestamp() - time.time()) / _DAY_S
    if days < 0:
        return Inspection(failures=[f"it ended on {end:%Y-%m-%d}"])
    if days < CERTIFICATE_DAYS_MIN:
        return Inspection(warnings=[f"it ends on {end:%Y-%m-%d}; a new one is read without a restart"])
    return Inspection(found=[f"it is good until {end:%Y-%m-%d}"])


def _tokens(file: Path) -> Inspection:
    Directory(file)
    return Inspection(found=["it can be read"])


def _channels(file: Path | None) -> Inspection:
    """Look whether each address can be read and is of a service that is known; nothing is sent."""
    channels, inspection = read_channels(file), Inspection()
    for name in channels.names:
        try:
            inspection.found.append(f"{name}: {channels.service(name)}")
        except SettingInvalidError as error:
            inspection.failures.append(f"{name}: {error.message}")
    return inspection


def _reached(url: str) -> Inspection:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with socket.create_connection((parts.hostname or "", port), timeout=CONNECT_TIMEOUT_S):
        return Inspection(found=["somebody listens there"])
