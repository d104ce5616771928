"""How the calls that wait are answered: as waves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.transport.fair import take_wave
from gateway.transport.port import INTERNAL

if TYPE_CHECKING:
    from collections import deque

    from gateway.transport.port import Answer, Call, KindOf

_log = logging.getLogger(__name__)


def answer_wave(waiting: deque[Call], calls_max: int, answer: Answer, kind_of: KindOf) -> None:
    """Have the next calls that wait answered, each kind its share of them, without those whose clients have gone."""
    wave = [call for call in take_wave(waiting, calls_max, kind_of) if not call.cancelled]
    if wave:
        try:
            answer(wave)
        except Exception:  # noqa: BLE001 (whatever went wrong, the clients must be told)
            _log.exception("a wave was not answered")
            for one in wave:
                one.fail(INTERNAL, "internal error")
