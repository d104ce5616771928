"""Where the pieces of a rig run: network namespaces with a switch of ours between them, or this machine's loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

SWITCH = Path(__file__).with_name("switch.py")


def namespaces_allowed() -> str:
    """Return an empty text where this machine lets us make network namespaces and TUN devices, else why not."""
    if os.geteuid() != 0:
        return "not root"
    if shutil.which("ip") is None:
        return "there is no `ip`"
    name = f"try{uuid.uuid4().hex[:8]}"
    try:
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        subprocess.run(["ip", "netns", "delete", name], check=True, capture_output=True)
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except (OSError, subprocess.CalledProcessError) as error:
        return str(error)
    return ""


class Loopback:
    """All pieces on 127.0.0.1: they can be killed, but not parted."""

    kind = "loopback"

    def host(self, _name: str) -> str:
        """Return the address that a piece listens on."""
        return "127.0.0.1"

    def inside(self, _name: str) -> list[str]:
        """Return what comes before a piece's command."""
        return []

    def rule(self, rules: dict[tuple[str, str], dict[str, float]]) -> None:
        """There are no rules here."""
        assert not rules

    def close(self) -> None:
        """Nothing was made."""


class Namespaces:
    """Each piece in a namespace of its own; the caller, as `client`, in the one that it is in."""

    kind = "namespaces"

    def __init__(self, names: list[str]) -> None:
        tag = uuid.uuid4().hex[:6]
        self._subnet = f"10.{100 + os.getpid() % 100}.{uuid.uuid4().int % 250}"
        self._places = {"client": 1} | {name: place for place, name in enumerate(names, start=2)}
        self._namespaces = {name: f"t{tag}-{name}" for name in names}
        self._switch: subprocess.Popen[str] | None = None
        try:
            for namespace in self._namespaces.values():
                subprocess.run(["ip", "netns", "add", namespace], check=True)
            command = [sys.executable, str(SWITCH), self._subnet, *self._namespaces.values()]
            self._switch = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert self._switch.stdout is not None
            assert self._switch.stdout.readline() == "ready\n"
        except BaseException:
            self.close()
            raise

    def host(self, name: str) -> str:
        """Return the address of a piece."""
        return f"{self._subnet}.{self._places[name]}"

    def inside(self, name: str) -> list[str]:
        """Return what comes before a piece's command."""
        return ["ip", "netns", "exec", self._namespaces[name]]

    def rule(self, rules: dict[tuple[str, str], dict[str, float]]) -> None:
        """Replace all rules: what is lost between two pieces, 1 being everything, and how late packets come."""
        document = {f"{self._places[one]} {self._places[other]}": said for (one, other), said in rules.items()}
        assert self._switch is not None
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(json.dumps(document) + "\n")
        self._switch.stdin.flush()
        assert self._switch.stdout.readline() == "set\n"

    def close(self) -> None:
        """Remove what was made."""
        if self._switch is not None:
            self._switch.kill()
            self._switch.wait()
            for stream in (self._switch.stdin, self._switch.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        for namespace in self._namespaces.values():
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)
