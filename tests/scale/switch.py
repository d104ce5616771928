"""A switch between network namespaces that can cut pairs off, delay their packets and lose some.

``python switch.py SUBNET NAME…``: each namespace, and this one as the first place, gets a TUN device `tsw0` with an
address of the subnet; this process passes packets on between them. Each line of standard input replaces all rules:
``{"a b": {"loss": 0.05, "delay_ms": 200}, "c d": {"loss": 1}}``; the namespaces are their places' numbers. It prints
``ready`` once, and `set` for each line. Its kernel needs neither netem nor a packet filter.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
NO_HEADER_TUN = 0x1001
PACKET_BYTES_MAX = 1 << 16
DEVICE = "tsw0"


def open_device(namespace: str, address: str) -> int:
    """Make the device in a namespace, empty for this one, and return its descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    name = DEVICE if namespace else f"tsw{os.getpid()}"
    try:
        if namespace:
            there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
            if libc.setns(there, 0):
                raise OSError(ctypes.get_errno(), "setns")
            os.close(there)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), NO_HEADER_TUN))
        for command in (["addr", "add", f"{address}/24", "dev", name], ["link", "set", name, "up"]):
            subprocess.run(["ip", *command], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    finally:
        if libc.setns(home, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(home)
    return device


class Switch:
    """Passes packets on by the last byte of their address."""

    def __init__(self, devices: dict[int, int], seed: int) -> None:
        self._devices = devices
        self._rules: dict[tuple[int, int], tuple[float, float]] = {}
        self._late: list[tuple[float, int, int, bytes]] = []
        self._number = 0
        self._random = random.Random(seed)

    def rule(self, document: dict[str, dict[str, float]]) -> None:
        """Replace all rules."""
        self._rules = {}
        for pair, said in document.items():
            one, other = map(int, pair.split())
            for way in ((one, other), (other, one)):
                self._rules[way] = (said.get("loss", 0.0), said.get("delay_ms", 0.0) / 1000)

    def run(self) -> None:
        """Pass packets until standard input ends."""
        poll = select.epoll()
        for device in self._devices.values():
            poll.register(device, select.EPOLLIN)
        poll.register(sys.stdin.fileno(), select.EPOLLIN)
        while True:
            for ready, _ in poll.poll(self._wait_s()):
                if ready != sys.stdin.fileno():
                    self._take(ready)
                    continue
                line = sys.stdin.readline()
                if not line:
                    return
                self.rule(json.loads(line))
                print("set", flush=True)
            self._send_late()

    def _wait_s(self) -> float:
        return max(0.0, self._late[0][0] - time.monotonic()) if self._late else -1

    def _take(self, device: int) -> None:
        try:
            packet = os.read(device, PACKET_BYTES_MAX)
        except BlockingIOError:
            return
        if packet[0] >> 4 != 4:
            return
        loss, delay_s = self._rules.get((packet[15], packet[19]), (0.0, 0.0))
        if loss and self._random.random() < loss:
            return
        if not delay_s:
            self._send(packet[19], packet)
            return
        self._number += 1
        heapq.heappush(self._late, (time.monotonic() + delay_s, self._number, packet[19], packet))

    def _send_late(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            _, _, place, packet = heapq.heappop(self._late)
            self._send(place, packet)

    def _send(self, place: int, packet: bytes) -> None:
        device = self._devices.get(place)
        if device is not None:
            try:
                os.write(device, packet)
            except OSError:
                return


def main(subnet: str, *namespaces: str) -> None:
    devices = {
        place: open_device(namespace, f"{subnet}.{place}") for place, namespace in enumerate(("", *namespaces), start=1)
    }
    print("ready", flush=True)
    Switch(devices, seed=len(namespaces)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
