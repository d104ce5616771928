"""Where settings come from.

What is said in the first of these places counts:

1. a flag, ``--data-port 9001``;
2. the environment, ``TURNOUT_DATA_PORT=9001``;
3. a folder of secrets, ``--secrets DIR`` or ``TURNOUT_SECRETS``: a file ``database`` holds the setting `database`, as
   container platforms mount them;
4. a file, ``--config FILE`` or ``TURNOUT_CONFIG``: TOML, ``data_port = 9001``;
5. the default.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ValidationError
from pydantic_settings import InitSettingsSource

from gateway.bootstrap.settings import Settings
from gateway.bootstrap.together import check_together
from gateway.errors import SettingInvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

FLAG, ENVIRONMENT, SECRET, FILE, DEFAULT = "flag", "environment", "secret", "file", "default"
_PREFIX = "TURNOUT_"
_SECRET_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """Settings, and where each of them comes from: flag, environment, secret, file or default."""

    settings: Settings
    origins: Mapping[str, str]


def read_settings(arguments: Sequence[str]) -> Settings:
    """Return the settings of a command line; exit with 2 and a message when they are wrong.

    Raises
    ------
    SettingInvalidError
        When settings that are right by themselves do not go together.
    """
    settings = read_given(arguments).settings
    check_together(settings)
    return settings


def read_given(arguments: Sequence[str], *, prog: str = "python -m gateway", about: str = "Serve models.") -> Given:
    """Return the settings of a command line with their origins; exit with 2 and a message when one is wrong."""
    parser = _parser(prog, about)
    flags = vars(parser.parse_args(arguments))
    try:
        file = _file(flags.pop("config", os.environ.get(f"{_PREFIX}CONFIG", "")))
        secrets = _secrets(flags.pop("secrets", os.environ.get(f"{_PREFIX}SECRETS", "")))
        settings = Settings(**dict(_sourced(secrets, file)(**flags)))
    except (SettingInvalidError, ValidationError) as error:
        _refuse(parser, error)
    environment = {
        name.lower().removeprefix(_PREFIX.lower()) for name in os.environ if name.upper().startswith(_PREFIX)
    }
    places = ((FLAG, flags), (ENVIRONMENT, environment), (SECRET, secrets), (FILE, file))
    origins = {
        name: next((origin for origin, names in places if name in names), DEFAULT) for name in Settings.model_fields
    }
    return Given(settings, origins)


def _parser(prog: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=about)
    for name, field in Settings.model_fields.items():
        help_text = f"default {field.default}" if not field.is_required() else "the folder that holds everything"
        flag: dict[str, Any] = {"nargs": "?", "const": True} if field.annotation is bool else {}
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, default=argparse.SUPPRESS, help=help_text, **flag)
    parser.add_argument("--config", default=argparse.SUPPRESS, help="a TOML file with settings")
    parser.add_argument("--secrets", default=argparse.SUPPRESS, help="a folder with a file for each secret setting")
    return parser


def _sourced(secrets: Mapping[str, str], file: Mapping[str, Any]) -> type[Settings]:
    """Return the settings' class that looks at the secrets and the file after the environment."""

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (pydantic-settings passes them by name)
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            later = (InitSettingsSource(settings_cls, dict(values)) for values in (secrets, file))
            return init_settings, env_settings, *later

    return Sourced


def _file(path: str) -> dict[str, Any]:
    """Return what a TOML file says; raises SettingInvalidError when it cannot be read or says what is no setting."""
    if not path:
        return {}
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingInvalidError(f"--config {path}: {error}") from error
    _check_known(f"--config {path}", values)
    return values


def _secrets(path: str) -> dict[str, str]:
    """Return what the files of a folder hold; raises SettingInvalidError when one of them is no setting's."""
    if not path:
        return {}
    try:
        # Container platforms keep their own bookkeeping in names that begin with a dot.
        files = [file for file in Path(path).iterdir() if not file.name.startswith(".") and file.is_file()]
        _check_known(f"--secrets {path}", [file.name for file in files])
        return {file.name: _secret(file) for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalidError(f"--secrets {path}: {error}") from error


def _secret(file: Path) -> str:
    if file.stat().st_size > _SECRET_BYTES_MAX:
        raise SettingInvalidError(f"{file} is longer than {_SECRET_BYTES_MAX} bytes: that is no setting")
    return file.read_text(encoding="utf-8").strip()


def _check_known(place: str, names: Mapping[str, Any] | Sequence[str]) -> None:
    if unknown := sorted(set(names) - Settings.model_fields.keys()):
        raise SettingInvalidError(f"{place}: there is no setting {unknown[0][:64]!r}; `turnout config show` lists them")


def _refuse(parser: argparse.ArgumentParser, error: SettingInvalidError | ValidationError) -> NoReturn:
    """Exit with 2, and what is wrong as one line; by flag where pydantic found it."""
    if isinstance(error, SettingInvalidError):
        parser.error(error.message)
    found = [f"--{'.'.join(map(str, each['loc'])).replace('_', '-')}: {each['msg']}" for each in error.errors()]
    parser.error("; ".join(found))
