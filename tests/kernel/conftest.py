# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace of the test's own, which goes with the test's process."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator

import pytest
from node import CLONE_NEWNET, Node, device, libc, peers

LINKS = ("eth0", "eth1", "switch0", "switch1")


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
            *(f"ip link set {name} up" for name in LINKS),
        ):
            here.run(command)
        while here.run("ip -o link show type veth").count(" state UP ") < len(LINKS):
            time.sleep(0.01)  # linkwatch_event() has its own pace
        yield here
    finally:
        _check(libc.setns(home, CLONE_NEWNET))
        os.close(home)


def _check(answer: int) -> None:
    if answer:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@pytest.fixture
def overlay(node: Node) -> Node:
    """A node with its device and two peers."""
    device()
    peers()
    return node
