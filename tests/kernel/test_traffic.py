# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets to a pod while its entries change: a real stream through a real tunnel to a second network namespace."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from boots import Boot
from node import CLONE_NEWNET, PEERS, Node, libc, peers

PORT = 7000
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
PAUSE = 0.0002  # seconds between two packets
SETTLE = 0.5  # seconds after which a packet that has not come is lost
ROUNDS = 25


class Far:
    """node2: a namespace of its own behind switch0, with the other end of the tunnel at 172.20.1.0."""

    def __init__(self, node: Node) -> None:
        self._in_a_namespace_of_its_own(self._take)
        node.run(f"ip link set switch0 netns {self._path}")
        for command in (
            "ip link set lo up",
            "ip link set switch0 up",
            "ip addr add 198.51.100.2/24 dev switch0",
            "ip link add flannel.1 address 02:f1:ac:14:01:00 type vxlan id 1 local 198.51.100.2 dev switch0 dstport 8472 nolearning",
            "ip addr add 172.20.1.0/32 dev flannel.1",
            "ip link set flannel.1 up",
            "sysctl -q -w net.ipv4.conf.all.rp_filter=0",
        ):
            self.run(command)

    def run(self, command: str) -> str:
        return subprocess.run(["nsenter", f"--net={self._path}", *command.split()], check=True, capture_output=True, text=True).stdout

    def close(self) -> None:
        self.listening.close()
        os.close(self._namespace)

    @property
    def _path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._namespace}"

    def _take(self) -> None:
        """Keep this thread's namespace, and listen in it."""
        self._namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.listening.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 26)
        self.listening.bind(("0.0.0.0", PORT))

    @staticmethod
    def _in_a_namespace_of_its_own(work: Callable[[], None]) -> None:
        def unshared() -> None:
            if libc.unshare(CLONE_NEWNET) == 0:
                work()

        thread = threading.Thread(target=unshared)
        thread.start()
        thread.join()


class Stream:
    """Numbered packets to one address, each with a look at the routes of its own, from the namespace of the thread that makes it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            while not self._over.is_set():
                self.sent += 1
                with suppress(OSError):  # no route: it is lost, and the count says so
                    sending.sendto(self.sent.to_bytes(4, "big"), (self._address, PORT))
                time.sleep(PAUSE)


@pytest.fixture
def far(overlay: Node) -> Iterator[Far]:
    """The pod at the other end; a first packet has come through."""
    with closing(Far(overlay)) as other:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            other.listening.settimeout(10)
            first.sendto(b"", ("172.20.1.0", PORT))
            other.listening.recv(4)
        yield other


def lost_while(far: Far, change: Callable[[], Any]) -> tuple[int, int]:
    """How many packets to the far pod did not come while something changed, and how many were sent."""
    with closing(Stream("172.20.1.0")) as stream:
        for _time in range(ROUNDS):
            change()
    far.listening.settimeout(SETTLE)
    come = set()
    with suppress(socket.timeout):
        while True:
            come.add(far.listening.recv(4))
    return stream.sent - len(come), stream.sent


def test_no_packet_is_lost_while_routes_and_nexthops_take_each_others_place(far: Far) -> None:
    def there_and_back() -> None:
        assert len(peers(nexthops="always")) == 4
        assert len(peers(nexthops="never")) == 4

    lost, sent = lost_while(far, there_and_back)
    assert lost == 0, f"{lost} of {sent}"
    assert sent > ROUNDS, "there was no stream"


@pytest.mark.parametrize("nexthops", ["never", "always"])
def test_no_packet_to_one_peer_is_lost_while_others_come_and_go(far: Far, nexthops: str) -> None:
    peers(nexthops=nexthops)

    def there_and_back() -> None:
        assert peers(wanted=PEERS[:1], nexthops=nexthops)
        assert peers(nexthops=nexthops)

    lost, sent = lost_while(far, there_and_back)
    assert lost == 0, f"{lost} of {sent}"


def test_no_packet_is_lost_while_what_is_right_is_put_back(far: Far, overlay: Node, tmp_path: Path) -> None:
    lost, sent = lost_while(far, Boot(overlay, tmp_path).replay)
    assert lost == 0, f"{lost} of {sent}"


def test_a_packet_without_its_route_counts_as_lost(far: Far, overlay: Node) -> None:
    def gap() -> None:
        overlay.run("ip route del 172.20.1.0/24")
        peers()

    lost, _sent = lost_while(far, gap)
    assert lost > 0
