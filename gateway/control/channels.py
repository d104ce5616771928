"""Channels: where people are told of what happens, by mail, Slack and whatever else apprise speaks.

What a channel's address holds (a password, a token) is the operator's: it is read from the environment or from a file
at each message, and stands neither in the metadata nor in the log nor in an answer.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import threading
import tomllib
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from gateway.errors import SettingInvalidError
from registry.deliveries import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("model", "policy", "what", "why", "version", "resource", "actor", "time", "event")
"""What a template may name, as `$model`."""
TITLE = "$model: $what"
BODY = "$what\n$why\n$resource, $time, event $event"
CHANNELS_MAX = 64
URL_BYTES_MAX = 8_192
TIMEOUT_S = 20.0
REPEAT_S_MAX = 6 * 86_400

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_STATUS = re.compile(r"error=(\d{3})\b")


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a channel leads, and how much it is told.

    Attributes
    ----------
    url_env, url_file
        The variable of the environment, or the file, that holds the address as apprise understands it; one of the two.
    messages_per_hour
        How many messages it gets in an hour at most; what waits goes into the next one together.
    repeat_s
        For how long the same is not told again.
    title, body
        Templates of a message, with `FIELDS` as `$model`.
    """

    url_env: str = ""
    url_file: str = ""
    messages_per_hour: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 20
    repeat_s: Annotated[float, msgspec.Meta(ge=0, le=REPEAT_S_MAX)] = 21_600.0
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] = TITLE
    body: Annotated[str, msgspec.Meta(min_length=1, max_length=4_096)] = BODY

    @property
    def origin(self) -> str:
        """Where its address is read from; without the address."""
        return f"the variable {self.url_env}" if self.url_env else f"the file {self.url_file}"

    def url(self) -> str:
        """Return the address as it is now, or raise SettingInvalidError."""
        if self.url_env:
            found = os.environ.get(self.url_env, "")
        else:
            try:
                found = Path(self.url_file).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is no text"
                raise SettingInvalidError(f"{self.origin} cannot be read: {why}") from None
        found = found.strip()
        if not found or len(found.encode()) > URL_BYTES_MAX or len(found.split()) > 1:
            raise SettingInvalidError(f"{self.origin} does not hold one address")
        return found


class Channels:
    """The channels of a file, by name.

    Parameters
    ----------
    channels
        The channels.
    """

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = dict(channels)
        self._loading = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The channels' names."""
        return tuple(sorted(self._channels))

    def get(self, name: str) -> Channel | None:
        """Return a channel; None: the file has none of that name."""
        return self._channels.get(name)

    def service(self, name: str) -> str:
        """Return what a channel's address is one of, such as `E-Mail`, or raise SettingInvalidError."""
        return str(self._target(self._channels[name]).service_name)

    def send(self, name: str, title: str, body: str) -> Outcome:
        """Send a message once and say how that went; nothing of the address is in what is said."""
        channel = self._channels.get(name)
        if channel is None:
            return Outcome(0, f"this gateway's --channels name no channel {name!r}")
        try:
            target = self._target(channel)
        except SettingInvalidError as error:
            return Outcome(0, error.message)
        said: list[str] = []
        sender = self._apprise().Apprise(asset=target.asset)
        sender.add(target)
        try:
            taken = sender.notify(
                body=body,
                title=title,
                body_format="text",
                timeout=TIMEOUT_S,
                log_callback=lambda entry, _plugin: said.append(str(entry.message)),
            )
        except Exception as error:  # noqa: BLE001  (a service's plug-in may raise whatever it likes)
            return Outcome(0, f"{target.service_name}: {type(error).__name__}")
        if taken:
            return Outcome(0)
        # Of what the plug-in says only a status is passed on: the rest may hold parts of the address.
        status = next((found[1] for each in said if (found := _STATUS.search(each))), "")
        return Outcome(int(status or 0), f"{target.service_name} did not take it" + (f": {status}" if status else ""))

    def _apprise(self) -> Any:
        # What they log holds addresses, and paths that are secrets.
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        logging.getLogger("urllib3").setLevel(logging.INFO)
        with self._loading:  # loaded only where there is a channel
            import apprise  # noqa: PLC0415

            return apprise

    def _target(self, channel: Channel) -> Any:
        apprise = self._apprise()
        asset = apprise.AppriseAsset(app_id="Turnout", app_desc="Turnout", storage_mode="memory")
        target = apprise.Apprise.instantiate(channel.url(), asset=asset)
        if target is None:
            raise SettingInvalidError(f"{channel.origin} holds no address that apprise understands")
        return target


def read_channels(path: Path | None) -> Channels:
    """Return the channels of a file, or raise SettingInvalidError; none without a file."""
    if path is None:
        return Channels({})
    try:
        given = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Channel])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingInvalidError(f"--channels {path}: {error}") from error
    if len(given) > CHANNELS_MAX:
        raise SettingInvalidError(f"--channels {path} has more than {CHANNELS_MAX} channels")
    for name, channel in given.items():
        problem = _problem_of(name, channel)
        if problem:
            raise SettingInvalidError(f"--channels {path}: {name[:64]}: {problem}")
    if given and importlib.util.find_spec("apprise") is None:
        raise SettingInvalidError("--channels needs apprise: install turnout[notify]")
    return Channels(given)


def _problem_of(name: str, channel: Channel) -> str:
    if _NAME.fullmatch(name) is None:
        return "a channel's name is small letters, digits and hyphens"
    if bool(channel.url_env) == bool(channel.url_file):
        return "say where its address is: url_env or url_file, one of the two"
    for part in ("title", "body"):
        template = Template(getattr(channel, part))
        unknown = sorted(set(template.get_identifiers()) - set(FIELDS))
        if not template.is_valid() or unknown:
            what = f"${unknown[0]} is nothing" if unknown else "`$` stands alone"
            return f"{part}: {what}; there are {', '.join(f'${each}' for each in FIELDS)}"
    return ""
