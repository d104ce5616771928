"""A process that serves a port, answers with its process id, and drains on SIGTERM: what a worker is to a transport."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn

from gateway.bootstrap.stopping import StopRequest
from gateway.transport.port import Wiring
from gateway.transport.select import open_transport

PAUSE_S = 0.002
GRACE_S = 10.0


def main() -> NoReturn:
    kind, port = sys.argv[1:]

    def answer(wave):
        time.sleep(PAUSE_S)
        for call in wave:
            call.reply(str(os.getpid()).encode())

    wiring = Wiring(
        address=f"127.0.0.1:{port}", methods=["/turnout.test.Echo/Say"], answer=answer, add_services=lambda _: None
    )
    stop = StopRequest()
    stop.ask_on(signal.SIGTERM)
    transport = open_transport(kind, wiring)
    sys.stdout.write(f"{transport.start()}\n")
    sys.stdout.flush()
    stop.wait()
    os._exit(0 if transport.drain(GRACE_S) else 3)  # as a worker: the end of the process closes what is open


if __name__ == "__main__":
    main()
