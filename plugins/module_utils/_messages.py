# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kinds of kernel objects share: what a key is, and how their rtnetlink messages are put together and read. Pure.

Layouts: rtnetlink(7), netlink(7), linux/neighbour.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Mapping
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NamedTuple, Protocol

Key = tuple[Hashable, ...]
Attributes = Mapping[int, bytes]
Message = tuple[int, int, bytes]  # type, flags, body
Request = tuple[int, bytes]  # for one object: type, body

NLM_F_REPLACE, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x400, 0x800
PUT = NLM_F_CREATE | NLM_F_REPLACE  # make it, or put it in the place of another
RTN_UNICAST = 1
MAC_SIZE, MAC_PADDING = 6, bytes(2)
FAMILY: dict[int, int] = {4: AF_INET, 16: AF_INET6}  # by the size of a packed address
ADDRESS_SIZE: dict[int, int] = {family: size for size, family in FAMILY.items()}

ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, interface, state, flags, type
UNSIGNED = struct.Struct("=I")
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
NDA_DST, NDA_LLADDR, NDA_CACHEINFO, NDA_PORT, NDA_VNI, NDA_IFINDEX = 1, 2, 3, 6, 7, 8
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80


class Namespace(Protocol):
    """The interfaces of a network namespace."""

    def name(self, index: int) -> str: ...

    def index(self, name: str) -> int: ...


class Interface(NamedTuple):
    """The one that objects are on: "" and 0 for what is on none, and ifindex 0 where there is none by that name."""

    name: str
    ifindex: int
    namespace: Namespace

    def named(self, index: bytes | None) -> str:
        """The name of the interface that an attribute tells of."""
        return self.namespace.name(UNSIGNED.unpack(index)[0]) if index else ""


class Table(NamedTuple):
    """One of the kernel's tables as it is dumped: the type of the request and its body."""

    request: int
    body: bytes


class Shape(NamedTuple):
    """The body of a message with two holes.

    The kernel's answers say a thing in the same order as the messages that make it, so with what `*_head` adds a shape is also what an
    answer begins with, and what is as it should be is known without parsing it: see neigh_fill_info(), vxlan_fdb_info(),
    nh_fill_node(), fib_dump_info() and rt6_fill_node(). An answer in any other form is parsed, which takes longer and comes to the same.
    """

    before: bytes
    between: bytes
    after: bytes = b""

    def filled(self, first: bytes, second: bytes) -> bytes:
        return self.before + first + self.between + second + self.after


def attribute(kind: int, value: bytes) -> bytes:
    return attribute_header(kind, len(value)) + value + bytes(-len(value) & 3)


def attribute_header(kind: int, size: int) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + size, kind)


def attributes_of(data: bytes, offset: int) -> Attributes:
    """The attributes that stand in the data from an offset on, by their types."""
    attributes = {}
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        attributes[kind & 0x3FFF] = data[offset + ATTRIBUTE.size : offset + length]  # without NLA_F_NESTED, NLA_F_NET_BYTEORDER
        offset += max(aligned(length), ATTRIBUTE.size)
    return attributes


def aligned(length: int) -> int:
    return (length + 3) & ~3


def address_text(packed: bytes) -> str:
    return inet_ntop(FAMILY[len(packed)], packed)


def packed_address(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def packed_mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
