# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A static neighbour, which MAC a VTEP address has: as a value, its text and its messages. Pure."""

from __future__ import annotations

from functools import cache
from socket import AF_UNSPEC
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._messages import (
    ADDRESS_SIZE,
    FAMILY,
    MAC_PADDING,
    MAC_SIZE,
    NDA_DST,
    NDA_IFINDEX,
    NDA_LLADDR,
    NEIGHBOUR,
    NUD_PERMANENT,
    PUT,
    RTM_DELNEIGH,
    RTM_GETNEIGH,
    RTM_NEWNEIGH,
    RTN_UNICAST,
    UNSIGNED,
    Interface,
    Key,
    Message,
    Request,
    Shape,
    Table,
    address_text,
    attribute,
    attribute_header,
    attributes_of,
    packed_address,
    packed_mac,
)


class StaticNeigh(NamedTuple):
    """Which MAC a VTEP address has. Permanent ones on our device are ours; the kernel's own are not."""

    device: str
    address: str
    mac: str
    permanent: bool = True

    @property
    def key(self) -> Key:
        return ("neigh", self.device, self.address)

    @property
    def owned(self) -> bool:
        return self.permanent

    @property
    def present(self) -> str:
        state = "permanent" if self.permanent else "reachable"
        return f"ip neigh replace {self.address} lladdr {self.mac} dev {self.device} nud {state}"

    @property
    def absent(self) -> str:
        return f"ip neigh del {self.address} dev {self.device}"

    def to_make(self, on: Interface) -> Message:
        address = packed_address(self.address)
        return RTM_NEWNEIGH, PUT, neighbour_shape(on.ifindex, FAMILY[len(address)]).filled(address, packed_mac(self.mac))

    def to_delete(self, on: Interface) -> Message:
        address = packed_address(self.address)
        return RTM_DELNEIGH, 0, NEIGHBOUR.pack(FAMILY[len(address)], on.ifindex, 0, 0, RTN_UNICAST) + attribute(NDA_DST, address)

    def to_get(self, on: Interface) -> Request:
        """The request for what the kernel has in its place."""
        address = packed_address(self.address)
        return RTM_GETNEIGH, NEIGHBOUR.pack(FAMILY[len(address)], on.ifindex, 0, 0, 0) + attribute(NDA_DST, address)

    @staticmethod
    def table(on: Interface) -> Table | None:
        """The neighbours of an interface, of every family; None where there is no such interface."""
        body = NEIGHBOUR.pack(AF_UNSPEC, 0, 0, 0, 0) + attribute(NDA_IFINDEX, UNSIGNED.pack(on.ifindex))
        return Table(RTM_GETNEIGH, body) if on.ifindex else None

    @staticmethod
    def parse(body: bytes, on: Interface) -> StaticNeigh | None:
        """The neighbour that an answer tells of, if it is one of this interface's and has a link-layer address."""
        _family, interface, state, _flags, _type = NEIGHBOUR.unpack_from(body)
        attributes = attributes_of(body, NEIGHBOUR.size)
        if interface != on.ifindex or not attributes.keys() >= {NDA_DST, NDA_LLADDR}:
            return None
        return StaticNeigh(on.name, address_text(attributes[NDA_DST]), attributes[NDA_LLADDR].hex(":"), bool(state & NUD_PERMANENT))


@cache
def neighbour_shape(index: int, family: int) -> Shape:
    """A permanent neighbour, around its address and its MAC."""
    before = NEIGHBOUR.pack(family, index, NUD_PERMANENT, 0, RTN_UNICAST) + attribute_header(NDA_DST, ADDRESS_SIZE[family])
    return Shape(before, attribute_header(NDA_LLADDR, MAC_SIZE), MAC_PADDING)
