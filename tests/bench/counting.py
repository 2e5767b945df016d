# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the program on standard input as `python3 -` does, and says on standard error how many changes it asked rtnetlink for."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable
from typing import Any

HEADER = struct.Struct("=IHHII")  # linux/netlink.h: struct nlmsghdr
RTM_BASE = 16  # linux/rtnetlink.h: from here on NEW, DEL, GET, SET of one kind after another
RTM_GET = 2


class Counting(socket.socket):
    """A socket that counts the messages of what is sent through it, if that is rtnetlink."""

    changes = 0

    def send(self, data: Any, *rest: Any) -> int:
        self._count(data)
        return super().send(data, *rest)

    def sendall(self, data: Any, *rest: Any) -> None:
        self._count(data)
        super().sendall(data, *rest)

    def sendto(self, data: Any, *rest: Any) -> int:
        self._count(data)
        return super().sendto(data, *rest)

    def sendmsg(self, buffers: Iterable[Any], *rest: Any) -> int:
        parts = [bytes(part) for part in buffers]
        self._count(b"".join(parts))
        return super().sendmsg(parts, *rest)

    def _count(self, data: Any) -> None:
        if self.family == socket.AF_NETLINK and self.proto == socket.NETLINK_ROUTE:
            Counting.changes += changing(bytes(data))


def changing(data: bytes) -> int:
    """How many of the messages in one packet make, change or delete something."""
    found, offset = 0, 0
    while offset + HEADER.size <= len(data):
        length, kind, *_rest = HEADER.unpack_from(data, offset)
        found += kind >= RTM_BASE and (kind - RTM_BASE) % 4 != RTM_GET
        offset += max(length + 3 & ~3, HEADER.size)
    return found


def main() -> None:
    vars(socket)["socket"] = Counting
    try:
        exec(compile(sys.stdin.read(), "-", "exec"), {"__name__": "__main__"})  # what `python3 -` does with it
    finally:
        sys.stderr.write(f"{Counting.changes}\n")


if __name__ == "__main__":
    main()
