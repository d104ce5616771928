"""Say what a gateway would be told and would find, or migrate: ``python -m gateway.bootstrap.configuration WHAT``.

It prints one JSON document, for `turnout config`. No secret is in it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.bootstrap.checks import check_parts
from gateway.bootstrap.sources import DEFAULT, read_given
from gateway.telemetry.logs import redacted
from storage.database import open_database
from storage.database_inspection import inspect_database
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.bootstrap.sources import Given

_WRONG_USAGE = 2
_DOINGS = ("show", "check", "migrate")


def main(arguments: Sequence[str]) -> int:
    """Print what is asked for; return 0, 1 when a part keeps the gateway from working, 2 for wrong usage."""
    doing, flags = (arguments[0] if arguments else ""), arguments[1:]
    if doing not in _DOINGS:
        sys.stderr.write(f"say what: {' or '.join(_DOINGS)}\n")
        return _WRONG_USAGE
    given = read_given(flags, prog=f"turnout config {doing}", about="Takes what `turnout serve` takes.")
    try:
        document = {"show": shown, "check": checked, "migrate": migrated}[doing](given)
    except (DomainError, OSError) as error:
        sys.stderr.write(f"turnout: {redacted(str(error))}\n")
        return 1
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0 if document.get("ready", True) else 1


def shown(given: Given) -> dict[str, Any]:
    """Return each setting with its value, where it comes from, and its default."""
    return {
        "settings": [
            {
                "setting": name,
                "value": _plain(getattr(given.settings, name)),
                "origin": given.origins[name],
                "default": None if field.is_required() else _plain(field.default),
                "changed": given.origins[name] != DEFAULT,
            }
            for name, field in type(given.settings).model_fields.items()
        ]
    }


def checked(given: Given) -> dict[str, Any]:
    """Return what is found of each part, and whether a gateway would work with them."""
    parts = [
        {"part": each.part, "address": redacted(each.address), **_hidden(asdict(each.inspection))}
        for each in check_parts(given.settings)
    ]
    return {"ready": not any(each["failures"] for each in parts), "parts": parts}


def migrated(given: Given) -> dict[str, Any]:
    """Bring the metadata database to the newest schema, as the first gateway of a release would, and say how it is."""
    given.settings.folders.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    open_database(given.settings.database_url).close()
    return {"database": redacted(given.settings.database_url), **asdict(inspect_database(given.settings.database_url))}


def _hidden(found: dict[str, Any]) -> dict[str, Any]:
    lists = {name: [redacted(each) for each in value] for name, value in found.items() if isinstance(value, list)}
    return found | lists


def _plain(value: object) -> object:
    return redacted(str(value)) if isinstance(value, str | Path) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
