# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket that carries rtnetlink messages, and what is asked by it of links and ways. I/O; standard library only.

Layouts: netlink(7), rtnetlink(7). One entry or ten thousand take the same path.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._messages import (
    FAMILY,
    NEIGHBOUR,
    NUD_PERMANENT,
    RTM_GETNEIGH,
    Interface,
    Message,
    Table,
    aligned,
    attribute,
    attributes_of,
    packed_address,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import VXLAN
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import ROUTE, RTA_DST, RTA_OIF, RTM_GETROUTE

NETLINK_ROUTE = 0
SOL_NETLINK = 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
SO_RCVBUFFORCE = 33

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x4, 0x10, 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # of an answer
NLMSGERR_ATTR_MSG = 1
RTM_GETLINK = 18
IFLA_ADDRESS, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 18, 1, 2
IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6 = 4, 17

MESSAGE = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change

# 256 unread answers fit the default receive buffer and a send above about 200 kB is refused; stay well below both.
BLOCK = 128
RECEIVE_BUFFER = 4 << 20
# netlink_dump() fills at most 32 KiB at a time.
RECEIVE = 1 << 16


class Vtep(NamedTuple):
    """As much of a link as its entries' checks need: its kind, and packed its MAC and its local underlay address; b"" for none."""

    kind: str
    mac: bytes
    local: bytes


class OwnNamespace:
    """The network namespace of this process. An interface that is gone is called as iproute2 does: if7."""

    def name(self, index: int) -> str:
        try:
            return socket.if_indextoname(index)
        except OSError:
            return f"if{index}"

    def index(self, name: str) -> int:
        return int(name[2:]) if name.startswith("if") and name[2:].isdigit() else socket.if_nametoindex(name)


OWN = OwnNamespace()
NO_INTERFACE = Interface("", 0, OWN)


class RouteSocket:
    """A netlink socket of this process's network namespace, NETLINK_ROUTE or of another family."""

    def __init__(self, family: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._sequence = 0
        with suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            with suppress(OSError):  # kernels before 4.12 and 4.20 do without: more is read, and less said
                self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def get(self, kind: int, body: bytes) -> bytes:
        """The body of the answer to a request for one object. Raises OSError where there is none."""
        self._ask(kind, NLM_F_REQUEST, body)
        # What was asked before, and broke off, may still be answered.
        data, start, end, answer, flags = next(found[:5] for found in self._received() if found[5] == self._sequence)
        if answer == NLMSG_ERROR:
            raise _error(data[start:end], flags)
        return data[start:end]

    def dump(self, table: Table) -> list[bytes]:
        """The bodies of all answers to one dump request."""
        return self.compare(table, (), {})[1]

    def compare(self, table: Table, heads: Collection[bytes], sizes: Mapping[int, int]) -> tuple[set[bytes], list[bytes]]:
        """One dump, sorted: which of the heads begin an answer, and the whole bodies of the answers that none of them begins.

        `sizes` has the length of a head by the family in an answer's first byte. An answer that ends sooner is compared as a whole.
        It is the first of ten tries that no concurrent change interrupted.
        """
        for _attempt in range(10):
            self._ask(table.request, NLM_F_REQUEST | NLM_F_DUMP, table.body)
            seen: set[bytes] = set()
            others: list[bytes] = []
            told = 0
            for data, start, end, kind, flags, sequence in self._received():
                if sequence != self._sequence:
                    continue
                told |= flags
                if kind == NLMSG_DONE:
                    break
                if kind == NLMSG_ERROR:
                    raise _error(data[start:end], flags)
                head = data[start : min(end, start + sizes.get(data[start], 0))]
                if head in heads:
                    seen.add(head)
                else:
                    others.append(data[start:end])
            if not told & NLM_F_DUMP_INTR:
                return seen, others
        raise OSError(errno.EAGAIN, "the table changed during ten dumps in a row")

    def send(self, block: Sequence[Message]) -> list[tuple[int, OSError]]:
        """Send at most BLOCK messages at once and return the refusals: (position, the kernel's error).

        Only the last one asks to be acknowledged: the kernel answers in order, and refusals always.
        """
        first = self._sequence + 1
        self._sequence += len(block)
        messages = [
            MESSAGE.pack(MESSAGE.size + len(body), kind, flags | NLM_F_REQUEST, number, 0) + body
            for number, (kind, flags, body) in enumerate(block[:-1], first)
        ]
        kind, flags, body = block[-1]
        self._socket.send(b"".join([*messages, _message(kind, flags | NLM_F_REQUEST | NLM_F_ACK, self._sequence, body)]))
        refusals = []
        for data, start, end, kind, answer_flags, sequence in self._received():
            if kind == NLMSG_ERROR and sequence >= first:
                error = _error(data[start:end], answer_flags)
                refusals += [(sequence - first, error)] if error.errno else []
                if sequence == self._sequence:
                    break
        return refusals

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._socket.send(_message(kind, flags, self._sequence, body))

    def _received(self) -> Iterator[tuple[bytes, int, int, int, int, int]]:
        unpack, header = MESSAGE.unpack_from, MESSAGE.size  # looked up once: the loop is run for each entry of a table
        while True:
            data = self._socket.recv(RECEIVE)
            offset, size = 0, len(data)
            while offset < size:
                length, kind, flags, sequence, _port = unpack(data, offset)
                yield data, offset + header, offset + length, kind, flags, sequence
                offset += length + 3 & ~3


def interface(name: str) -> Interface:
    """The interface of this process's network namespace by that name."""
    try:
        return Interface(name, socket.if_nametoindex(name), OWN)
    except OSError:
        return Interface(name, 0, OWN)


def read_vtep(route_socket: RouteSocket, index: int) -> Vtep:
    """What the link with this index says of itself."""
    link = attributes_of(route_socket.get(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)), LINK.size)
    info = attributes_of(link.get(IFLA_LINKINFO, b""), 0)
    data = attributes_of(info.get(IFLA_INFO_DATA, b""), 0)
    local = data.get(IFLA_VXLAN_LOCAL) or data.get(IFLA_VXLAN_LOCAL6) or b""
    kind = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    return Vtep(kind, link.get(IFLA_ADDRESS, b""), local if kind == VXLAN else b"")


def way_to(route_socket: RouteSocket, address: str) -> str:
    """The interface by which the kernel sends to an address; "" where it does not."""
    packed = packed_address(address)
    header = ROUTE.pack(FAMILY[len(packed)], 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    try:
        answer = route_socket.get(RTM_GETROUTE, header + attribute(RTA_DST, packed))
    except OSError:
        return ""
    return NO_INTERFACE.named(attributes_of(answer, ROUTE.size).get(RTA_OIF))


def passing_neighbours(route_socket: RouteSocket, family: int) -> int:
    """How many neighbours of all links count against gc_thresh3. Permanent ones do not, since Linux 5.0 (neigh_alloc())."""
    bodies = route_socket.dump(Table(RTM_GETNEIGH, NEIGHBOUR.pack(family, 0, 0, 0, 0)))
    return sum(not NEIGHBOUR.unpack_from(body)[2] & NUD_PERMANENT for body in bodies)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return MESSAGE.pack(MESSAGE.size + len(body), kind, flags, sequence, 0) + body


def _error(payload: bytes, flags: int) -> OSError:
    """An NLMSG_ERROR as an error (errno 0 for an acknowledgement) with the kernel's words: its own (NLMSGERR_ATTR_MSG) or strerror's."""
    number = -struct.unpack_from("=i", payload)[0]
    words = b""
    if flags & NLM_F_ACK_TLVS:
        echoed = MESSAGE.size if flags & NLM_F_CAPPED else aligned(struct.unpack_from("=I", payload, 4)[0])
        words = attributes_of(payload, 4 + echoed).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0")
    return OSError(number, words.decode() or os.strerror(number))
