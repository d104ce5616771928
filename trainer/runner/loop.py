"""The trainer's loop: takes a run or a check, does it, and looks for the next."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shutil
from typing import TYPE_CHECKING

from trainer.errors import TrainerBusyError
from trainer.runner.claim import Claim
from trainer.runner.look import look
from trainer.runner.perform import perform
from turnout.errors import TurnoutError
from turnout.trainer.v1 import trainer_service_pb2 as pb

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from trainer.runner.perform import Shop
    from turnout.control import Control

_log = logging.getLogger(__name__)


class Trainer:
    """Works for a gateway.

    Parameters
    ----------
    control
        The gateway.
    shop
        What it works with.
    lease_s, poll_s
        How long a claim lasts unless it is renewed, and how often it looks for work.
    """

    def __init__(self, control: Control, shop: Shop, *, lease_s: float = 30.0, poll_s: float = 1.0) -> None:
        self._control = control
        self._shop = shop
        self._lease_us = int(lease_s * 1e6)
        self._poll_s = poll_s

    def run(self, stopped: threading.Event, *, once: bool = False) -> None:
        """Work until stopped; or, once, until there is nothing to do."""
        _collect(self._shop.folder)
        while not stopped.is_set():
            try:
                worked = self.work()
            except TurnoutError as error:
                if once:
                    raise
                _log.warning("the gateway does not answer, looking again: %s", error)
                worked = False
            if not worked:
                if once:
                    return
                stopped.wait(self._poll_s)

    def work(self) -> bool:
        """Do one run or one check, and return whether there was one."""
        request = pb.ClaimRunRequest(trainer=self._shop.name, lease_us=self._lease_us)
        claimed = self._control.training.ClaimRun(request)
        if claimed.HasField("run"):
            _log.info("works on %s", claimed.run.name)
            with Claim(self._control, claimed.run, claimed.token, lease_us=claimed.lease_us) as claim:
                perform(self._control, claim, self._shop)
            return True
        due = self._control.training.ClaimCheck(pb.ClaimCheckRequest(trainer=self._shop.name))
        if due.HasField("check"):
            _log.info("makes %s", due.check.name)
            look(self._control, due, self._shop)
            return True
        return False


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a trainer's folder, or raise TrainerBusyError: two of one name would take each other's runs."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TrainerBusyError(f"another trainer works in {folder}", folder=folder) from error
        yield


def _collect(folder: Path) -> None:
    """Remove the oldest of what runs have left here that went on elsewhere, or ended while nobody looked."""
    kept_max = 8
    left = sorted((each for each in folder.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime)
    for each in left[:-kept_max]:
        shutil.rmtree(each, ignore_errors=True)
