# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a stream between two pods: sends a numbered packet every millisecond and notes which of the other end's come. I/O: UDP.

Runs in a pod, where it is given as text. It says `ready` when it listens, sends from the first line on its standard input to the end of
that, and then says how many it has sent and, of those that came, the numbers and the nanoseconds at which they were sent.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from contextlib import suppress

PORT = 7000
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
PAUSE = 1_000_000  # nanoseconds between two packets
SETTLE = 1  # seconds after which a packet that has not come is lost
PACKET = struct.Struct("!IQ")  # its number, and when it was sent


def ready(own: str) -> socket.socket:
    """A socket that takes what the other end sends. It begins to when both do."""
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 27)  # some minutes of packets, which are looked at in the end
    here.bind((own, PORT))
    here.settimeout(SETTLE)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    return here


def send(here: socket.socket, other: str) -> int:
    """Send until somebody closes the standard input; how many. What was late is not made up for, so that no queue grows by it."""
    number, due = 0, time.monotonic_ns()
    while not select.select([sys.stdin], [], [], max(0, due - time.monotonic_ns()) / 1e9)[0]:
        number, now = number + 1, time.monotonic_ns()
        with suppress(OSError):  # no route: it is lost, and the count says so
            here.sendto(PACKET.pack(number, now), (other, PORT))
        due = max(due + PAUSE, now)
    return number


def received(here: socket.socket) -> list[tuple[int, ...]]:
    """What came, when nothing more comes."""
    came = []
    with suppress(socket.timeout):
        while True:
            came.append(PACKET.unpack(here.recv(PACKET.size)))
    return came


def main() -> None:
    own, other = sys.argv[1:]
    with ready(own) as here:
        sent = send(here, other)
        sys.stdout.write(json.dumps((sent, received(here))))


if __name__ == "__main__":
    main()
