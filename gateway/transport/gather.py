"""Makes waves out of calls that threads wait for.

The first call that finds nobody at work leads: its thread takes what waits and answers it. Whoever arrives meanwhile
waits; when the leader is done, the first that waits leads the next wave. So an idle server answers a wave of one at
once, nobody waits for a wave to fill, and no thread but those of the calls is needed.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from gateway.transport.port import CANCELLED, INTERNAL, Call

if TYPE_CHECKING:
    from gateway.transport.port import Answer

_log = logging.getLogger(__name__)


class WaitingCall(Call):
    """A call that can be told that it is its turn to lead."""

    __slots__ = ()

    def lead(self) -> None:
        """Have some thread lead the next wave; it must not be one that waits for the network."""
        raise NotImplementedError


class Gathering:
    """The calls that wait for the next wave, and whether one leads at present.

    Parameters
    ----------
    answer
        Gets every wave.
    wave_calls_max
        How many calls make a wave at the most.
    """

    def __init__(self, answer: Answer, wave_calls_max: int) -> None:
        self._answer = answer
        self._wave_calls_max = wave_calls_max
        self._lock = threading.Lock()
        self._waiting: list[WaitingCall] = []
        self._leader: WaitingCall | None = None

    def join(self, call: WaitingCall) -> bool:
        """Put a call among those that wait; return whether it leads at once."""
        with self._lock:
            self._waiting.append(call)
            if self._leader is not None:
                return False
            self._leader = call
            return True

    def lead(self) -> None:
        """Answer the next wave, and have the first that waits then lead; only for the one that leads."""
        with self._lock:
            taken = self._waiting[: self._wave_calls_max]
            del self._waiting[: self._wave_calls_max]
        wave: list[Call] = []
        for call in taken:
            if call.cancelled:
                call.fail(CANCELLED, "the client has gone")  # nobody hears it, but its thread may wait
            else:
                wave.append(call)
        try:
            if wave:
                self._answer(wave)
        except Exception:  # noqa: BLE001 (whatever went wrong, the clients must be told)
            _log.exception("a wave was not answered")
            for one in wave:
                one.fail(INTERNAL, "internal error")
        finally:
            self._hand_over()

    def give_up(self, call: WaitingCall) -> bool:
        """Take a call away that will not wait longer; return False when it was told to lead, which it then must."""
        with self._lock:
            if call is self._leader:
                return False
            if call in self._waiting:
                self._waiting.remove(call)
            return True

    def _hand_over(self) -> None:
        with self._lock:
            self._leader = self._waiting[0] if self._waiting else None
            if self._leader is not None:
                self._leader.lead()
