# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The onlink route to another node's pod subnet: as a value, its text and its messages. Pure."""

from __future__ import annotations

import struct
from functools import cache
from socket import AF_INET, AF_INET6, AF_UNSPEC
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._messages import (
    ADDRESS_SIZE,
    FAMILY,
    PUT,
    RTN_UNICAST,
    UNSIGNED,
    Attributes,
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

# Routes of ours carry this protocol number; the flannel role names it `podnet` in rt_protos.d.
PODNET_PROTOCOL = 86
# flanneld gives its routes no protocol, which netlink(3) takes for RTPROT_BOOT, and its devices these names (vxlan.go:205, :233).
FLANNEL_PROTOCOL = 3
FLANNEL_DEVICES = ("flannel.", "flannel-v6.")

ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst and src length, tos, table, protocol, scope, type, flags
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_CACHEINFO, RTA_TABLE, RTA_NH_ID = 1, 4, 5, 6, 7, 12, 15, 30
RTA_NAMES = {8: "metrics", 9: "multipath", 16: "mark", 18: "via", 21: "encap-type", 22: "encap"}
RT_TABLE_MAIN, RT_SCOPE_UNIVERSE = 254, 0
RTM_F_FIB_MATCH = 0x2000
RTNH_F_ONLINK = 4
# ip(8): an IPv4 route has metric 0 unless told otherwise, an IPv6 route IP6_RT_PRIO_USER.
DEFAULT_METRIC: dict[int, int] = {AF_INET: 0, AF_INET6: 1024}
ROUTE_TYPES = {2: "local", 3: "broadcast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}
ROUTES = Table(RTM_GETROUTE, ROUTE.pack(AF_UNSPEC, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0))
NEXTHOP_HEADER, GATEWAY_HEADER = attribute_header(RTA_NH_ID, 4), attribute_header(RTA_GATEWAY, 4)  # of IPv4


class PodRoute(NamedTuple):
    """The onlink route to another node's pod subnet, by its gateway or by the number of a nexthop that has that gateway.

    `extra` holds what else a route says (src, metrics, ...); ours says nothing.
    """

    device: str
    subnet: str
    gateway: str
    onlink: bool = True
    protocol: int = PODNET_PROTOCOL
    extra: str = ""
    nexthop: int = 0

    @property
    def key(self) -> Key:
        return ("route", self.subnet)

    @property
    def owned(self) -> bool:
        return self.protocol == PODNET_PROTOCOL or self.flannels

    @property
    def flannels(self) -> bool:
        """Whether it is what flanneld makes on its device (vxlan_network.go:290): the gateway is the subnet's own network address."""
        form = PodRoute(self.device, self.subnet, self.subnet.split("/")[0], protocol=FLANNEL_PROTOCOL)
        return self == form and self.device.startswith(FLANNEL_DEVICES)

    @property
    def present(self) -> str:
        return f"ip route replace {self._route}"

    @property
    def absent(self) -> str:
        return f"ip route del {self._route}"

    @property
    def connected(self) -> bool:
        """Whether it leads to hosts on a link, and not to a gateway or, as a blackhole does, nowhere."""
        return not self.gateway and not self.nexthop and not any(word in self.extra for word in (" type ", " via", " multipath"))

    @property
    def _route(self) -> str:
        if self.nexthop:
            return f"{self.subnet} nhid {self.nexthop} proto {self.protocol}{self.extra}"
        via = f" via {self.gateway}" if self.gateway else ""
        dev = f" dev {self.device}" if self.device else ""
        return f"{self.subnet}{via}{dev}{' onlink' if self.onlink else ''} proto {self.protocol}{self.extra}"

    def to_make(self, on: Interface) -> Message:
        return RTM_NEWROUTE, PUT, self._body(on)

    def to_delete(self, on: Interface) -> Message:
        return RTM_DELROUTE, 0, self._body(on)

    def to_get(self, _on: Interface) -> Request:
        """The request for what the kernel has in its place."""
        address = packed_address(self.subnet.split("/")[0])
        header = ROUTE.pack(FAMILY[len(address)], 8 * len(address), 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH)
        return RTM_GETROUTE, header + attribute(RTA_DST, address)

    @staticmethod
    def table(_on: Interface) -> Table:
        return ROUTES

    @staticmethod
    def parse(body: bytes, on: Interface) -> PodRoute | None:
        """The route that an answer tells of, if a plain one to its subnet would take its place: main table, no tos, default metric."""
        family, _length, _source_length, tos, table, *_rest = ROUTE.unpack_from(body)
        attributes = attributes_of(body, ROUTE.size)
        if table != RT_TABLE_MAIN or tos or metric_of(attributes) != DEFAULT_METRIC.get(family):
            return None
        return route_of(body, attributes, on)

    def _body(self, on: Interface) -> bytes:
        network, length = self.subnet.split("/")
        destination = packed_address(network)
        flags = RTNH_F_ONLINK if self.onlink and not self.nexthop else 0  # a nexthop has its own
        body = _header(FAMILY[len(destination)], int(length), self.protocol, flags) + destination
        if self.nexthop:
            return body + NEXTHOP_HEADER + UNSIGNED.pack(self.nexthop)
        body += attribute(RTA_GATEWAY, packed_address(self.gateway)) if self.gateway else b""
        return body + attribute(RTA_OIF, UNSIGNED.pack(on.ifindex))


def parse_foreign_route(body: bytes, on: Interface) -> PodRoute | None:
    """The route that an answer tells of, if it is of the main table, not ours and no default route. Its metric is among its words."""
    family, length, _source_length, _tos, table, protocol, *_rest = ROUTE.unpack_from(body)
    if table != RT_TABLE_MAIN or protocol == PODNET_PROTOCOL or not length:
        return None
    attributes = attributes_of(body, ROUTE.size)
    route, metric = route_of(body, attributes, on), metric_of(attributes)
    return route if metric == DEFAULT_METRIC.get(family) else route._replace(extra=f"{route.extra} metric {metric}")


def route_of(body: bytes, attributes: Attributes, on: Interface) -> PodRoute:
    """The route that an answer tells of, whatever it is."""
    family, length, _source_length, _tos, _table, protocol, _scope, kind, flags = ROUTE.unpack_from(body)
    subnet = f"{address_text(attributes.get(RTA_DST, bytes(ADDRESS_SIZE[family])))}/{length}"
    gateway = address_text(attributes[RTA_GATEWAY]) if RTA_GATEWAY in attributes else ""
    nexthop = UNSIGNED.unpack(attributes.get(RTA_NH_ID, UNSIGNED.pack(0)))[0]
    words = _extra(kind, attributes)
    return PodRoute(on.named(attributes.get(RTA_OIF)), subnet, gateway, bool(flags & RTNH_F_ONLINK), protocol, words, nexthop)


def metric_of(attributes: Attributes) -> int:
    metric: int = UNSIGNED.unpack(attributes.get(RTA_PRIORITY, UNSIGNED.pack(0)))[0]
    return metric


@cache
def route_shape(index: int, family: int, length: int) -> Shape:
    """An onlink route of ours, around its network and its gateway."""
    before = _header(family, length, PODNET_PROTOCOL, RTNH_F_ONLINK)
    metric = attribute(RTA_PRIORITY, UNSIGNED.pack(DEFAULT_METRIC[family])) if DEFAULT_METRIC[family] else b""
    return Shape(before, metric + attribute_header(RTA_GATEWAY, ADDRESS_SIZE[family]), attribute(RTA_OIF, UNSIGNED.pack(index)))


@cache
def route_head(index: int, family: int, length: int) -> Shape:
    """An IPv4 answer ends there. An IPv6 one goes on with RTA_CACHEINFO, before which whatever else it says would stand."""
    shape = route_shape(index, family, length)
    return shape._replace(after=shape.after + attribute_header(RTA_CACHEINFO, 32)) if family == AF_INET6 else shape


@cache
def nexthop_route_head(index: int, length: int) -> Shape:
    """What an answer says of a route by a nexthop, around its network and `nexthop_and_gateway`."""
    shape = route_shape(index, AF_INET, length)
    return shape._replace(between=b"")


def nexthop_and_gateway(gateway: bytes) -> bytes:
    return NEXTHOP_HEADER + nexthop_number(gateway) + GATEWAY_HEADER + gateway


def nexthop_number(gateway: bytes) -> bytes:
    """The number of the nexthop of an IPv4 gateway: the address itself, so that it follows from the plan and is hardly anybody else's."""
    return UNSIGNED.pack(int.from_bytes(gateway, "big"))


@cache
def _header(family: int, length: int, protocol: int, flags: int) -> bytes:
    """All that a route says before its network."""
    header = ROUTE.pack(family, length, 0, 0, RT_TABLE_MAIN, protocol, RT_SCOPE_UNIVERSE, RTN_UNICAST, flags)
    return header + attribute(RTA_TABLE, UNSIGNED.pack(RT_TABLE_MAIN)) + attribute_header(RTA_DST, ADDRESS_SIZE[family])


def _extra(kind: int, attributes: Attributes) -> str:
    """What a route is or says beside subnet, gateway and interface, for a person to read: each with a leading space."""
    words = [f" type {ROUTE_TYPES.get(kind, kind)}"] if kind != RTN_UNICAST else []
    words += [f" src {address_text(attributes[RTA_PREFSRC])}"] if RTA_PREFSRC in attributes else []
    return "".join([*words, *(f" {word}" for attribute, word in RTA_NAMES.items() if attribute in attributes)])
