"""Start a gateway: ``python -m gateway --state DIR``."""

from __future__ import annotations

import os
import sys

# Before anything imports ONNX Runtime, here or in a child: its Linux wheels send telemetry unless this stands.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from gateway.bootstrap.plane import ControlPlane, only_one
from gateway.bootstrap.sources import read_settings
from gateway.errors import SettingInvalidError
from gateway.telemetry.logs import start_logs
from storage.errors import DomainError


def main(arguments: list[str]) -> int:
    """Serve until told to stop; return the exit code: 0 done, 1 it could not, 2 wrong usage."""
    try:
        settings = read_settings(arguments)
        logs = start_logs("control", form=settings.log_format, level=settings.log_level)
        with only_one(settings):
            return ControlPlane(settings, logs).run()
    except SettingInvalidError as error:
        sys.stderr.write(f"turnout: {error}\n")
        return 2
    except (DomainError, OSError) as error:
        sys.stderr.write(f"turnout: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
