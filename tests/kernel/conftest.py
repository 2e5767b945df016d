# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node for kernel tests: a network namespace of the test's own, which goes with the test's process."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

CLONE_NEWNET = 0x40000000  # sched.h
libc = ctypes.CDLL(None, use_errno=True)

TABLES = (
    "ip -d link show type vxlan",
    "ip -d addr show",
    "ip -d neigh show nud permanent",
    "bridge fdb show",
    "ip -d -4 route show table all",
    "ip -d -6 route show table main",
)


@dataclass(frozen=True)
class Node:
    """A node with eth0 (198.51.100.1/24 and .11, MTU 1500) and eth1, both up."""

    def run(self, command: str) -> str:
        """Run one command in the namespace and return what it prints."""
        return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout

    def dump(self) -> str:
        """All that the kernel says of links, addresses, neighbours, fdb and routes, in a stable order."""
        lines = [line.strip() for table in TABLES for line in self.run(table).splitlines()]
        return "\n".join(sorted(line for line in lines if "valid_lft" not in line))

    def index(self, name: str) -> str:
        return self.run(f"ip -o link show dev {name}").split(":")[0]


@pytest.fixture
def node() -> Iterator[Node]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _check(libc.unshare(CLONE_NEWNET))
    try:
        here = Node()
        for command in (
            # Link-local addresses come when the kernel has time for them, which no dump can wait for.
            "sysctl -q -w net.ipv6.conf.default.addr_gen_mode=1",
            "ip link set lo up",
            "ip link add eth0 type veth peer name switch0",
            "ip link add eth1 type veth peer name switch1",
            "ip addr add 198.51.100.1/24 dev eth0",
            "ip addr add 198.51.100.11/24 dev eth0",
            "ip addr add 2001:db8::1/64 dev eth0 nodad",
            *(f"ip link set {name} up" for name in ("eth0", "eth1", "switch0", "switch1")),
        ):
            here.run(command)
        yield here
    finally:
        _check(libc.setns(home, CLONE_NEWNET))
        os.close(home)


def _check(answer: int) -> None:
    if answer:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
