"""The trainer's process: `python -m trainer`, which `turnout trainer` becomes."""

from __future__ import annotations

import argparse
import logging
import shlex
import signal
import socket
import sys
import threading
from pathlib import Path

from storage.errors import DomainError
from trainer.runner.loop import Trainer, only_one
from trainer.runner.perform import Shop
from turnout.control import Control
from turnout.errors import TurnoutError


def main() -> int:
    """Work until a signal says to stop, and return the exit code."""
    asked = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    name = asked.name or f"{socket.gethostname()}:{asked.state.resolve()}"
    shop = Shop(
        server=asked.server,
        name=name,
        folder=asked.state / "runs",
        allowed=tuple(asked.allow or ("sklearn",)),
        scripts=dict(asked.script or ()),
        ray=asked.ray,
        stopped=stopped.is_set,
    )
    try:
        with only_one(asked.state), Control(asked.server, actor=name) as control:
            shop.folder.mkdir(mode=0o700, exist_ok=True)
            Trainer(control, shop, lease_s=asked.lease, poll_s=asked.poll).run(stopped, once=asked.once)
    except (DomainError, TurnoutError) as error:
        sys.stderr.write(f"turnout trainer: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer")
    parser.add_argument("--state", type=Path, required=True, help="where runs leave their files")
    parser.add_argument("--server", default="127.0.0.1:8003", help="the control port, host:port")
    parser.add_argument("--name", default="", help="who works")
    parser.add_argument("--allow", action="append", help="a package that estimators may be of")
    parser.add_argument("--script", action="append", type=_script, help="NAME=COMMAND that policies may name")
    parser.add_argument("--ray", default="", help="HOST:PORT of a Ray cluster that trains")
    parser.add_argument("--once", action="store_true", help="do what there is to do, and end")
    parser.add_argument("--lease", type=float, default=30.0, help="seconds that a claim lasts")
    parser.add_argument("--poll", type=float, default=1.0, help="seconds between two looks for work")
    return parser


def _script(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, command = text.partition("=")
    program = tuple(shlex.split(command))
    if not name or not program:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COMMAND")
    return name, program


if __name__ == "__main__":
    sys.exit(main())
