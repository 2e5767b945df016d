# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further network namespaces for kernel tests, such as a pod or a stranger, and what they send. Each is gone with the test's process."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from node import CLONE_NEWNET, libc

T = TypeVar("T")
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
PATIENCE = 10  # seconds to wait for what must come
PAUSE = 0.0002  # seconds between two packets of a stream
SETTLE = 0.5  # seconds after which a packet that has not come is lost
OWN_MAC, THEIR_MAC = (bytes.fromhex(mac) for mac in ("02f1ac140000", "02f1ac140100"))


class Space:
    """A network namespace of its own."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()  # by source
        self._namespace = self._elsewhere(lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY), None)
        self.run("ip link set lo up")
        self.run("sysctl -q -w net.ipv6.conf.default.addr_gen_mode=1")

    def close(self) -> None:
        os.close(self._namespace)

    @property
    def path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._namespace}"

    def run(self, command: str) -> str:
        """Run one command in it and return what it prints."""
        return subprocess.run(["nsenter", f"--net={self.path}", *command.split()], check=True, capture_output=True, text=True).stdout

    def take(self, link: str, *addresses: str) -> None:
        """Move a link of the caller's namespace here, with these addresses."""
        subprocess.run(["ip", "link", "set", link, "netns", self.path], check=True)
        self.run(f"ip link set {link} up")
        for address in addresses:
            self.run(f"ip addr add {address} dev {link}{' nodad' if ':' in address else ''}")

    def inside(self, work: Callable[[], T]) -> T:
        """What the work returns, done in this namespace."""
        return self._elsewhere(work, self._namespace)

    def socket(self) -> socket.socket:
        """A UDP socket for IPv4."""
        made = self.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made.settimeout(PATIENCE)
        return made

    def send(self, address: str, count: int) -> None:
        """Send so many packets to an address, by UDP. One that is refused is one sent."""
        self.inside(lambda: _send(address, count))

    @staticmethod
    def _elsewhere(work: Callable[[], T], namespace: int | None) -> T:
        """In a thread, since a namespace is a thread's; a new one for None."""
        results: list[T] = []

        def moved() -> None:
            if (libc.unshare(CLONE_NEWNET) if namespace is None else libc.setns(namespace, CLONE_NEWNET)) == 0:
                results.append(work())

        thread = threading.Thread(target=moved)
        thread.start()
        thread.join()
        return results[0]


def _send(address: str, count: int) -> None:
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sending:
        for _time in range(count):
            with suppress(OSError):
                sending.sendto(b"", (address, 9))


class Listener:
    """Counts what comes to a UDP port in a namespace, of both families, by what it says, and notes the sources."""

    def __init__(self, space: Space, port: int, address: str = "::") -> None:
        self.sources: set[str] = set()
        self._socket = space.inside(lambda: self._listening(address, port))

    def count(self) -> Counter[bytes]:
        """How many came, when nothing more comes."""
        counted: Counter[bytes] = Counter()
        self._socket.settimeout(SETTLE)
        with suppress(socket.timeout):
            while True:
                said, sender = self._socket.recvfrom(2048)
                self.sources.add(sender[0].removeprefix("::ffff:"))
                counted[said] += 1
        return counted

    def answer(self, words: bytes) -> str:
        """Answer the next packet, and say who sent it."""
        self._socket.settimeout(PATIENCE)
        _said, sender = self._socket.recvfrom(2048)
        self._socket.sendto(words, sender)
        return str(sender[0])

    def close(self) -> None:
        self._socket.close()

    @staticmethod
    def _listening(address: str, port: int) -> socket.socket:
        listening = socket.socket(_family(address), socket.SOCK_DGRAM)
        listening.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        listening.bind((address, port))
        return listening


def udp(space: Space, source: str, to: tuple[str, int], payload: bytes, count: int) -> None:
    """Send so many packets from an address."""

    def work() -> None:
        with socket.socket(_family(source), socket.SOCK_DGRAM) as sending:
            sending.bind((source, 0))
            for _time in range(count):
                sending.sendto(payload, to)

    space.inside(work)


def stream(space: Space, source: str, to: tuple[str, int], payload: bytes, enough: Callable[[], bool]) -> None:
    """Send packets until there are enough, at a pace that no queue on the way is too short for. How many is in `sent`."""

    def work() -> None:
        with socket.socket(_family(source), socket.SOCK_DGRAM) as sending:
            sending.bind((source, 0))
            while not enough():
                sending.sendto(payload, to)
                space.sent[source] += 1
                time.sleep(PAUSE)

    space.inside(work)


def raw(space: Space, source: str, to: tuple[str, int], payload: bytes, count: int) -> None:
    """Send so many IPv4 packets from an address that is not one's own."""

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sending:
            for _time in range(count):
                sending.sendto(packet(source, to[0], to[1], payload), (to[0], 0))

    space.inside(work)


def frame(source: str, to: str, port: int, payload: bytes) -> bytes:
    """What VXLAN with the VNI 1 carries (RFC 7348): a packet between pods in a frame to node1's VTEP."""
    kind = 0x86DD if ":" in to else 0x0800
    return struct.pack("!II", 1 << 27, 1 << 8) + OWN_MAC + THEIR_MAC + struct.pack("!H", kind) + packet(source, to, port, payload)


def packet(source: str, to: str, port: int, payload: bytes) -> bytes:
    """An IP packet with a UDP datagram."""
    ends = b"".join(socket.inet_pton(_family(address), address) for address in (source, to))
    size = 8 + len(payload)
    datagram = struct.pack("!HHHH", 40000, port, size, 0) + payload
    if ":" in to:
        checksum = _checksum(ends + struct.pack("!II", size, socket.IPPROTO_UDP) + datagram)
        return struct.pack("!IHBB", 6 << 28, size, socket.IPPROTO_UDP, 64) + ends + datagram[:6] + struct.pack("!H", checksum) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 0, 0, 64, socket.IPPROTO_UDP, 0)
    return header[:10] + struct.pack("!H", _checksum(header + ends)) + ends + datagram  # UDP over IPv4 needs no checksum


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
