"""How the calls that wait are answered: as waves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.transport.port import INTERNAL

if TYPE_CHECKING:
    from collections import deque

    from gateway.transport.port import Answer, Call

_log = logging.getLogger(__name__)


def answer_wave(waiting: deque[Call], calls_max: int, answer: Answer) -> None:
    """Have the next calls that wait answered, those left out whose clients have gone."""
    wave: list[Call] = []
    while waiting and len(wave) < calls_max:
        call = waiting.popleft()
        if not call.cancelled:
            wave.append(call)
    if wave:
        try:
            answer(wave)
        except Exception:  # noqa: BLE001 (whatever went wrong, the clients must be told)
            _log.exception("a wave was not answered")
            for one in wave:
                one.fail(INTERNAL, "internal error")
