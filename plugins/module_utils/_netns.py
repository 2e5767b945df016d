# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace, looked at from inside: another one than this thread's, or what this one would send. I/O."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # linux/sched.h
IP_MTU, IPV6_MTU = 14, 24  # linux/in.h, linux/in6.h
DISCARD = 9  # a port for a socket that sends nothing


def is_namespace(path: str) -> bool:
    """All namespaces are files of one file system (nsfs)."""
    try:
        return os.stat(path).st_dev == os.stat("/proc/self/ns/net").st_dev
    except OSError:
        return False


def inside(netns: str, look: Callable[[], T]) -> T:
    """Look at something from inside a network namespace. setns(2) moves one thread, and that one ends here."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_entered, netns, look).result()


def _entered(netns: str, look: Callable[[], T]) -> T:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(netns, "rb") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise Refused(f"{netns} cannot be entered as a network namespace: {os.strerror(ctypes.get_errno())}.")
    return look()


def mtu_to(address: str) -> int | None:
    """What this thread's kernel sends there in one piece: the interface's MTU, a route's, or what the path was found to take.

    None without a route. No packet is sent for it.
    """
    family, level, option = (
        (socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_MTU) if ":" in address else (socket.AF_INET, socket.IPPROTO_IP, IP_MTU)
    )
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((address, DISCARD))
        return asking.getsockopt(level, option)
    return None
