# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further network namespaces for kernel tests, such as a pod or a stranger, each gone with the test's process."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from node import CLONE_NEWNET, libc

T = TypeVar("T")


class Space:
    """A network namespace of its own."""

    def __init__(self) -> None:
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
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for _ in range(count):
            with suppress(OSError):
                sending.sendto(b"", (address, 9))
