# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A nexthop, where the gateway of a route is: as a value, its text and its messages. Pure."""

from __future__ import annotations

import struct
from functools import cache
from socket import AF_INET, AF_UNSPEC
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._messages import (
    PUT,
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
)
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import (
    PODNET_PROTOCOL,
    RT_SCOPE_UNIVERSE,
    RTNH_F_ONLINK,
)

NEXTHOP = struct.Struct("=BBBxI")  # nhmsg: family, scope, protocol, flags
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
NHA_ID, NHA_OIF, NHA_GATEWAY = 1, 5, 6
NHA_NAMES = {2: "group", 4: "blackhole", 7: "encap-type", 8: "encap", 10: "fdb"}
RT_SCOPE_LINK = 253
NEXTHOPS = Table(RTM_GETNEXTHOP, NEXTHOP.pack(AF_UNSPEC, 0, 0, 0))


class Nexthop(NamedTuple):
    """Where a gateway is, for a route to name by its `number`. `extra` holds what else it says (group, ...); ours says nothing."""

    device: str
    number: int
    gateway: str
    onlink: bool = True
    protocol: int = PODNET_PROTOCOL
    extra: str = ""

    @property
    def key(self) -> Key:
        return ("nexthop", self.number)

    @property
    def owned(self) -> bool:
        return self.protocol == PODNET_PROTOCOL

    @property
    def present(self) -> str:
        via = f" via {self.gateway}" if self.gateway else ""
        dev = f" dev {self.device}" if self.device else ""
        return f"ip nexthop replace id {self.number}{via}{dev}{' onlink' if self.onlink else ''} proto {self.protocol}{self.extra}"

    @property
    def absent(self) -> str:
        return f"ip nexthop del id {self.number}"

    def to_make(self, on: Interface) -> Message:
        return RTM_NEWNEXTHOP, PUT, nexthop_shape(on.ifindex).filled(UNSIGNED.pack(self.number), packed_address(self.gateway))

    def to_delete(self, _on: Interface) -> Message:
        return RTM_DELNEXTHOP, 0, self._identity

    def to_get(self, _on: Interface) -> Request:
        """The request for what the kernel has in its place."""
        return RTM_GETNEXTHOP, self._identity

    @staticmethod
    def table(_on: Interface) -> Table:
        return NEXTHOPS

    @staticmethod
    def parse(body: bytes, on: Interface) -> Nexthop:
        """The nexthop that an answer tells of."""
        _family, _scope, protocol, flags = NEXTHOP.unpack_from(body)
        attributes = attributes_of(body, NEXTHOP.size)
        number = UNSIGNED.unpack(attributes[NHA_ID])[0]
        gateway = address_text(attributes[NHA_GATEWAY]) if NHA_GATEWAY in attributes else ""
        extra = "".join(f" {word}" for kind, word in NHA_NAMES.items() if kind in attributes)
        return Nexthop(on.named(attributes.get(NHA_OIF)), number, gateway, bool(flags & RTNH_F_ONLINK), protocol, extra)

    @property
    def _identity(self) -> bytes:
        return NEXTHOP.pack(AF_UNSPEC, 0, 0, 0) + attribute(NHA_ID, UNSIGNED.pack(self.number))


@cache
def nexthop_shape(index: int, scope: int = RT_SCOPE_UNIVERSE) -> Shape:
    """An onlink nexthop, around its number and its IPv4 gateway."""
    before = NEXTHOP.pack(AF_INET, scope, PODNET_PROTOCOL, RTNH_F_ONLINK) + attribute_header(NHA_ID, UNSIGNED.size)
    return Shape(before, attribute(NHA_OIF, UNSIGNED.pack(index)) + attribute_header(NHA_GATEWAY, 4))


@cache
def nexthop_head(index: int) -> Shape:
    return nexthop_shape(index, RT_SCOPE_LINK)  # nh_create_ipv4() sets it
