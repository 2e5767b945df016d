# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route that refuses packets to pods that nobody has: as a value, its text and its messages. Pure."""

from __future__ import annotations

from socket import AF_UNSPEC
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._messages import (
    FAMILY,
    PUT,
    UNSIGNED,
    Interface,
    Key,
    Message,
    Table,
    attribute,
    attributes_of,
    packed_address,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import (
    PODNET_PROTOCOL,
    ROUTE,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_PRIORITY,
    RTM_DELROUTE,
    RTM_GETROUTE,
    RTM_NEWROUTE,
    metric_of,
    route_of,
)

RTN_UNREACHABLE = 7
# Near the highest that there is: of two routes to one range the kernel takes the one with the lower metric (ip-route(8)).
UNREACHABLE_METRIC = 4278198272
# A kernel before 4.20 does not take the protocol and the type for a filter, and tells of all routes.
UNREACHABLES = Table(RTM_GETROUTE, ROUTE.pack(AF_UNSPEC, 0, 0, 0, RT_TABLE_MAIN, PODNET_PROTOCOL, 0, RTN_UNREACHABLE, 0))


class UnreachableRoute(NamedTuple):
    """What refuses packets to a range of pods that have no other route, and would else leave by the default route. It has no device."""

    cidr: str
    protocol: int = PODNET_PROTOCOL

    @property
    def key(self) -> Key:
        return ("unreachable", self.cidr)

    @property
    def device(self) -> str:
        return ""

    @property
    def owned(self) -> bool:
        return self.protocol == PODNET_PROTOCOL

    @property
    def present(self) -> str:
        return f"ip route replace {self._route}"

    @property
    def absent(self) -> str:
        return f"ip route del {self._route}"

    @property
    def _route(self) -> str:
        return f"unreachable {self.cidr} metric {UNREACHABLE_METRIC} proto {self.protocol}"

    def to_make(self, _on: Interface) -> Message:
        return RTM_NEWROUTE, PUT, self._body

    def to_delete(self, _on: Interface) -> Message:
        return RTM_DELROUTE, 0, self._body

    @staticmethod
    def table(_on: Interface) -> Table:
        return UNREACHABLES

    @staticmethod
    def parse(body: bytes, on: Interface) -> UnreachableRoute | None:
        """The route that an answer tells of, if it is one that ours would take the place of."""
        _family, _length, _source_length, _tos, table, protocol, _scope, kind, _flags = ROUTE.unpack_from(body)
        attributes = attributes_of(body, ROUTE.size)
        if (table, kind, metric_of(attributes)) != (RT_TABLE_MAIN, RTN_UNREACHABLE, UNREACHABLE_METRIC):
            return None
        return UnreachableRoute(route_of(body, attributes, on).subnet, protocol)

    @property
    def _body(self) -> bytes:
        network, length = self.cidr.split("/")
        destination = packed_address(network)
        family, size = FAMILY[len(destination)], int(length)
        header = ROUTE.pack(family, size, 0, 0, RT_TABLE_MAIN, self.protocol, RT_SCOPE_UNIVERSE, RTN_UNREACHABLE, 0)
        return header + attribute(RTA_DST, destination) + attribute(RTA_PRIORITY, UNSIGNED.pack(UNREACHABLE_METRIC))
