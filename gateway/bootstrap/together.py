"""Which settings go together, and what each needs of this machine."""

from __future__ import annotations

import importlib.util
import ipaddress
from typing import TYPE_CHECKING

from gateway.errors import SettingInvalidError
from gateway.rest.origins import origins_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.bootstrap.settings import Settings


def check_together(settings: Settings) -> None:
    """Raise SettingInvalidError when settings that are right by themselves do not go together."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingInvalidError("--tls-cert and --tls-key are given together or not at all")
    if settings.tls_client_ca is not None and settings.tls is None:
        raise SettingInvalidError("--tls-client-ca asks clients for certificates: it needs --tls-cert and --tls-key")
    if settings.require_signatures and settings.trusted_keys is None:
        raise SettingInvalidError("--require-signatures takes the keys that are trusted: give --trusted-keys DIR")
    if settings.ray:
        _check_ray(settings.ray)
    _check_origins(settings.http_origins)
    _check_folders({"--trusted-keys": settings.trusted_keys, "--feature-code": settings.feature_code})
    if is_loopback(settings.host):
        return
    if settings.clock == "replay":
        raise SettingInvalidError("the replay clock is for a loopback host only: any caller of the admin port moves it")
    if settings.insecure:
        return
    if settings.tokens is None and settings.tls_client_ca is None:
        raise SettingInvalidError(
            f"whoever reaches {settings.host} could change what is served: ask for tokens (--tokens FILE, made by "
            "`turnout tokens create`, with --tls-cert and --tls-key) or for certificates (--tls-client-ca), or say "
            "--insecure where something else keeps strangers out"
        )
    if settings.tls is None:
        raise SettingInvalidError(
            f"tokens would travel to {settings.host} in clear, for anybody on the way to read: give --tls-cert and "
            "--tls-key, or say --insecure where something else encrypts"
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address; a name counts only as `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_folders(folders: Mapping[str, Path | None]) -> None:
    for flag, folder in folders.items():
        if folder is not None and not folder.is_dir():
            raise SettingInvalidError(f"{flag} {folder} is no folder")


def _check_ray(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise SettingInvalidError(f"--ray {address!r} is not HOST:PORT of the head of a Ray cluster")
    if importlib.util.find_spec("ray") is None:
        raise SettingInvalidError("--ray needs Ray: install turnout[ray]")


def _check_origins(text: str) -> None:
    try:
        origins_in(text)
    except ValueError as error:
        raise SettingInvalidError(
            f"--http-origins has {str(error)!r}; an origin is SCHEME://HOST or SCHEME://HOST:PORT in small letters, "
            "nothing behind it"
        ) from None
