# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Neighbours, fdb entries and routes as packed rtnetlink messages, and the socket that carries them. I/O; standard library only.

Layouts: rtnetlink(7), netlink(7), linux/neighbour.h, linux/rtnetlink.h. One entry or ten thousand take the same path.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._objects import (
    PODNET_PROTOCOL,
    UNREACHABLE_METRIC,
    VXLAN,
    Entry,
    FdbEntry,
    Nexthop,
    PodRoute,
    StaticNeigh,
    UnreachableRoute,
)

NETLINK_ROUTE = 0
SOL_NETLINK = 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12
SO_RCVBUFFORCE = 33

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x4, 0x10, 0x300
NLM_F_REPLACE, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x400, 0x800
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # of an answer
NLMSGERR_ATTR_MSG = 1
RTM_GETLINK = 18
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106

IFLA_ADDRESS, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 18, 1, 2
IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6 = 4, 17
NDA_DST, NDA_LLADDR, NDA_CACHEINFO, NDA_PORT, NDA_VNI, NDA_IFINDEX = 1, 2, 3, 6, 7, 8
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NTF_SELF = 0x02
NHA_ID, NHA_OIF, NHA_GATEWAY = 1, 5, 6
NHA_NAMES = {2: "group", 4: "blackhole", 7: "encap-type", 8: "encap", 10: "fdb"}
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_CACHEINFO, RTA_TABLE, RTA_NH_ID = 1, 4, 5, 6, 7, 12, 15, 30
RTA_NAMES = {8: "metrics", 9: "multipath", 16: "mark", 18: "via", 21: "encap-type", 22: "encap"}
RT_TABLE_MAIN = 254
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTN_UNICAST, RTN_UNREACHABLE = 1, 7
RTM_F_FIB_MATCH = 0x2000
RTNH_F_ONLINK = 4
MAC_SIZE, MAC_PADDING = 6, bytes(2)
FAMILY: dict[int, int] = {4: socket.AF_INET, 16: socket.AF_INET6}  # by the size of a packed address
ADDRESS_SIZE: dict[int, int] = {family: size for size, family in FAMILY.items()}
# ip(8): an IPv4 route has metric 0 unless told otherwise, an IPv6 route IP6_RT_PRIO_USER.
DEFAULT_METRIC: dict[int, int] = {socket.AF_INET: 0, socket.AF_INET6: 1024}
ROUTE_TYPES = {2: "local", 3: "broadcast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}

MESSAGE = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, interface, state, flags, type
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst and src length, tos, table, protocol, scope, type, flags
NEXTHOP = struct.Struct("=BBBxI")  # nhmsg: family, scope, protocol, flags
UNSIGNED = struct.Struct("=I")
NEXTHOP_HEADER, GATEWAY_HEADER = ATTRIBUTE.pack(8, RTA_NH_ID), ATTRIBUTE.pack(8, RTA_GATEWAY)  # of IPv4
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change

# 256 unread answers fit the default receive buffer and a send above about 200 kB is refused; stay well below both.
BLOCK = 128
RECEIVE_BUFFER = 4 << 20
# netlink_dump() fills at most 32 KiB at a time.
RECEIVE = 1 << 16

Attributes = Mapping[int, bytes]
Message = tuple[int, int, bytes]  # type, flags, body


class Vtep(NamedTuple):
    """As much of a link as its entries' checks need: its kind, and packed its MAC and its local underlay address; b"" for none."""

    kind: str
    mac: bytes
    local: bytes


class Table(NamedTuple):
    """One of the kernel's tables as it is dumped: the type of the request and its body."""

    request: int
    body: bytes


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


# --- reading ----------------------------------------------------------------------------------------------------------------

ROUTES = Table(RTM_GETROUTE, ROUTE.pack(socket.AF_UNSPEC, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0))
# A kernel before 4.20 does not take the protocol and the type for a filter, and tells of all routes.
UNREACHABLES = Table(RTM_GETROUTE, ROUTE.pack(socket.AF_UNSPEC, 0, 0, 0, RT_TABLE_MAIN, PODNET_PROTOCOL, 0, RTN_UNREACHABLE, 0))
NEXTHOPS = Table(RTM_GETNEXTHOP, NEXTHOP.pack(socket.AF_UNSPEC, 0, 0, 0))


def neighbours_of(index: int) -> Table:
    """The neighbours of a link, of every family."""
    return Table(RTM_GETNEIGH, NEIGHBOUR.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _attribute(NDA_IFINDEX, UNSIGNED.pack(index)))


def fdb_of(index: int) -> Table:
    """The entries of a VXLAN device's own forwarding database, and of its bridge's about it."""
    return Table(RTM_GETNEIGH, NEIGHBOUR.pack(socket.AF_BRIDGE, index, 0, 0, 0))


def read_vtep(route_socket: RouteSocket, index: int) -> Vtep:
    """What the link with this index says of itself."""
    link = _parse(route_socket.get(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)), LINK.size)
    info = _parse(link.get(IFLA_LINKINFO, b""), 0)
    data = _parse(info.get(IFLA_INFO_DATA, b""), 0)
    local = data.get(IFLA_VXLAN_LOCAL) or data.get(IFLA_VXLAN_LOCAL6) or b""
    kind = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    return Vtep(kind, link.get(IFLA_ADDRESS, b""), local if kind == VXLAN else b"")


def way_to(route_socket: RouteSocket, address: str) -> str:
    """The interface by which the kernel sends to an address; "" where it does not."""
    packed = packed_address(address)
    header = ROUTE.pack(FAMILY[len(packed)], 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    try:
        answer = route_socket.get(RTM_GETROUTE, header + _attribute(RTA_DST, packed))
    except OSError:
        return ""
    return _interface(_parse(answer, ROUTE.size).get(RTA_OIF))


def passing_neighbours(route_socket: RouteSocket, family: int) -> int:
    """How many neighbours of all links count against gc_thresh3. Permanent ones do not, since Linux 5.0 (neigh_alloc())."""
    bodies = route_socket.dump(Table(RTM_GETNEIGH, NEIGHBOUR.pack(family, 0, 0, 0, 0)))
    return sum(not NEIGHBOUR.unpack_from(body)[2] & NUD_PERMANENT for body in bodies)


def parse_neighbour(body: bytes, device: str, index: int) -> StaticNeigh | None:
    """The neighbour that an answer tells of, if it is one of this device's and has a link-layer address."""
    _family, interface, state, _flags, _type = NEIGHBOUR.unpack_from(body)
    attributes = _parse(body, NEIGHBOUR.size)
    if interface != index or not attributes.keys() >= {NDA_DST, NDA_LLADDR}:
        return None
    return StaticNeigh(device, address_text(attributes[NDA_DST]), attributes[NDA_LLADDR].hex(":"), bool(state & NUD_PERMANENT))


def parse_fdb(body: bytes, device: str, index: int) -> FdbEntry | None:
    """The fdb entry that an answer tells of, if it is one of this VXLAN device's own: those that `bridge fdb show` marks with `self`."""
    _family, interface, state, flags, _type = NEIGHBOUR.unpack_from(body)
    attributes = _parse(body, NEIGHBOUR.size)
    if interface != index or not flags & NTF_SELF or NDA_DST not in attributes:
        return None
    mac, destination = attributes[NDA_LLADDR].hex(":"), address_text(attributes[NDA_DST])
    return FdbEntry(device, mac, destination, bool(state & NUD_PERMANENT), _fdb_extra(attributes))


def parse_nexthop(body: bytes) -> Nexthop:
    """The nexthop that an answer tells of."""
    _family, _scope, protocol, flags = NEXTHOP.unpack_from(body)
    attributes = _parse(body, NEXTHOP.size)
    number = UNSIGNED.unpack(attributes[NHA_ID])[0]
    gateway = address_text(attributes[NHA_GATEWAY]) if NHA_GATEWAY in attributes else ""
    extra = "".join(f" {word}" for attribute, word in NHA_NAMES.items() if attribute in attributes)
    return Nexthop(_interface(attributes.get(NHA_OIF)), number, gateway, bool(flags & RTNH_F_ONLINK), protocol, extra)


def parse_route(body: bytes) -> PodRoute | None:
    """The route that an answer tells of, if a plain route to the same subnet would take its place: main table, no tos, default metric."""
    family, _length, _source_length, tos, table, *_rest = ROUTE.unpack_from(body)
    attributes = _parse(body, ROUTE.size)
    if table != RT_TABLE_MAIN or tos or _metric(attributes) != DEFAULT_METRIC.get(family):
        return None
    return _route_of(body, attributes)


def parse_foreign_route(body: bytes) -> PodRoute | None:
    """The route that an answer tells of, if it is of the main table, not ours and no default route. Its metric is among its words."""
    family, length, _source_length, _tos, table, protocol, *_rest = ROUTE.unpack_from(body)
    if table != RT_TABLE_MAIN or protocol == PODNET_PROTOCOL or not length:
        return None
    attributes = _parse(body, ROUTE.size)
    route, metric = _route_of(body, attributes), _metric(attributes)
    return route if metric == DEFAULT_METRIC.get(family) else route._replace(extra=f"{route.extra} metric {metric}")


def parse_unreachable(body: bytes) -> UnreachableRoute | None:
    """The route that an answer tells of, if it is one that ours would take the place of."""
    _family, _length, _source_length, _tos, table, protocol, _scope, kind, _flags = ROUTE.unpack_from(body)
    attributes = _parse(body, ROUTE.size)
    if (table, kind, _metric(attributes)) != (RT_TABLE_MAIN, RTN_UNREACHABLE, UNREACHABLE_METRIC):
        return None
    return UnreachableRoute(_route_of(body, attributes).subnet, protocol)


def _metric(attributes: Attributes) -> int:
    metric: int = UNSIGNED.unpack(attributes.get(RTA_PRIORITY, UNSIGNED.pack(0)))[0]
    return metric


def _route_of(body: bytes, attributes: Attributes) -> PodRoute:
    family, length, _source_length, _tos, _table, protocol, _scope, kind, flags = ROUTE.unpack_from(body)
    subnet = f"{address_text(attributes.get(RTA_DST, bytes(ADDRESS_SIZE[family])))}/{length}"
    gateway = address_text(attributes[RTA_GATEWAY]) if RTA_GATEWAY in attributes else ""
    nexthop = UNSIGNED.unpack(attributes.get(RTA_NH_ID, UNSIGNED.pack(0)))[0]
    words = _route_extra(kind, attributes)
    return PodRoute(_interface(attributes.get(RTA_OIF)), subnet, gateway, bool(flags & RTNH_F_ONLINK), protocol, words, nexthop)


# --- writing ----------------------------------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """The body of a message with two holes."""

    before: bytes
    between: bytes
    after: bytes = b""

    def filled(self, first: bytes, second: bytes) -> bytes:
        return self.before + first + self.between + second + self.after


def message_to_make(entry: Entry, index: int) -> Message:
    """The message that makes the entry on the interface, or puts it in the place of another."""
    replace = NLM_F_CREATE | NLM_F_REPLACE
    if isinstance(entry, StaticNeigh):
        address = packed_address(entry.address)
        return RTM_NEWNEIGH, replace, neighbour_shape(index, FAMILY[len(address)]).filled(address, packed_mac(entry.mac))
    if isinstance(entry, FdbEntry):
        return RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND if entry.flooded else replace, _fdb(entry, index)
    if isinstance(entry, Nexthop):
        return RTM_NEWNEXTHOP, replace, nexthop_shape(index).filled(UNSIGNED.pack(entry.number), packed_address(entry.gateway))
    return RTM_NEWROUTE, replace, _route(entry, index)


def message_to_delete(entry: Entry, index: int) -> Message:
    """The message that deletes the entry from the interface."""
    if isinstance(entry, StaticNeigh):
        address = packed_address(entry.address)
        return RTM_DELNEIGH, 0, NEIGHBOUR.pack(FAMILY[len(address)], index, 0, 0, RTN_UNICAST) + _attribute(NDA_DST, address)
    if isinstance(entry, FdbEntry):
        return RTM_DELNEIGH, 0, _fdb(entry, index)
    if isinstance(entry, Nexthop):
        return RTM_DELNEXTHOP, 0, NEXTHOP.pack(socket.AF_UNSPEC, 0, 0, 0) + _attribute(NHA_ID, UNSIGNED.pack(entry.number))
    return RTM_DELROUTE, 0, _route(entry, index)


def unreachable_message(route: UnreachableRoute, *, delete: bool) -> Message:
    """The message that makes the route or deletes it."""
    network, length = route.cidr.split("/")
    destination = packed_address(network)
    header = ROUTE.pack(FAMILY[len(destination)], int(length), 0, 0, RT_TABLE_MAIN, route.protocol, RT_SCOPE_UNIVERSE, RTN_UNREACHABLE, 0)
    body = header + _attribute(RTA_DST, destination) + _attribute(RTA_PRIORITY, UNSIGNED.pack(UNREACHABLE_METRIC))
    return (RTM_DELROUTE, 0, body) if delete else (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body)


def message_to_get(entry: Entry, index: int) -> tuple[int, bytes]:
    """The request for what the kernel has in the entry's place: its type and body."""
    if isinstance(entry, StaticNeigh):
        address = packed_address(entry.address)
        return RTM_GETNEIGH, NEIGHBOUR.pack(FAMILY[len(address)], index, 0, 0, 0) + _attribute(NDA_DST, address)
    if isinstance(entry, FdbEntry):
        return RTM_GETNEIGH, NEIGHBOUR.pack(socket.AF_BRIDGE, index, 0, NTF_SELF, 0) + _attribute(NDA_LLADDR, packed_mac(entry.mac))
    if isinstance(entry, Nexthop):
        return RTM_GETNEXTHOP, NEXTHOP.pack(socket.AF_UNSPEC, 0, 0, 0) + _attribute(NHA_ID, UNSIGNED.pack(entry.number))
    address = packed_address(entry.subnet.split("/")[0])
    header = ROUTE.pack(FAMILY[len(address)], 8 * len(address), 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH)
    return RTM_GETROUTE, header + _attribute(RTA_DST, address)


# The shapes of what a node needs for its peers. The kernel's answers say a thing in the same order as the messages that make it, so with
# what `*_head` adds they are also what an answer begins with, and what is as it should be is known without parsing it: see
# neigh_fill_info(), vxlan_fdb_info(), nh_fill_node(), fib_dump_info() and rt6_fill_node(). An answer in any other form is parsed, which
# takes longer and comes to the same.


@cache
def neighbour_shape(index: int, family: int) -> Shape:
    """A permanent neighbour, around its address and its MAC."""
    before = NEIGHBOUR.pack(family, index, NUD_PERMANENT, 0, RTN_UNICAST) + _attribute_header(NDA_DST, ADDRESS_SIZE[family])
    return Shape(before, _attribute_header(NDA_LLADDR, MAC_SIZE), MAC_PADDING)


@cache
def fdb_shape(index: int, family: int) -> Shape:
    """A permanent fdb entry, around its MAC and its destination. bridge(8) says NUD_NOARP with it, and so do we."""
    before = NEIGHBOUR.pack(socket.AF_BRIDGE, index, NUD_NOARP | NUD_PERMANENT, NTF_SELF, RTN_UNICAST)
    between = MAC_PADDING + _attribute_header(NDA_DST, ADDRESS_SIZE[family])
    return Shape(before + _attribute_header(NDA_LLADDR, MAC_SIZE), between)


@cache
def fdb_head(index: int, family: int) -> Shape:
    """Whatever else an entry says, such as a port, would stand before NDA_CACHEINFO."""
    return fdb_shape(index, family)._replace(after=_attribute_header(NDA_CACHEINFO, 16))


@cache
def nexthop_shape(index: int, scope: int = RT_SCOPE_UNIVERSE) -> Shape:
    """An onlink nexthop, around its number and its IPv4 gateway."""
    before = NEXTHOP.pack(socket.AF_INET, scope, PODNET_PROTOCOL, RTNH_F_ONLINK) + _attribute_header(NHA_ID, UNSIGNED.size)
    return Shape(before, _attribute(NHA_OIF, UNSIGNED.pack(index)) + _attribute_header(NHA_GATEWAY, 4))


@cache
def nexthop_head(index: int) -> Shape:
    return nexthop_shape(index, RT_SCOPE_LINK)  # nh_create_ipv4() sets it


@cache
def route_shape(index: int, family: int, length: int) -> Shape:
    """An onlink route of ours, around its network and its gateway."""
    before = _route_header(family, length, PODNET_PROTOCOL, RTNH_F_ONLINK)
    metric = _attribute(RTA_PRIORITY, UNSIGNED.pack(DEFAULT_METRIC[family])) if DEFAULT_METRIC[family] else b""
    return Shape(before, metric + _attribute_header(RTA_GATEWAY, ADDRESS_SIZE[family]), _attribute(RTA_OIF, UNSIGNED.pack(index)))


@cache
def route_head(index: int, family: int, length: int) -> Shape:
    """An IPv4 answer ends there. An IPv6 one goes on with RTA_CACHEINFO, before which whatever else it says would stand."""
    shape = route_shape(index, family, length)
    return shape._replace(after=shape.after + _attribute_header(RTA_CACHEINFO, 32)) if family == socket.AF_INET6 else shape


@cache
def nexthop_route_head(index: int, length: int) -> Shape:
    """What an answer says of a route by a nexthop, around its network and `nexthop_and_gateway`."""
    shape = route_shape(index, socket.AF_INET, length)
    return shape._replace(between=b"")


def nexthop_and_gateway(gateway: bytes) -> bytes:
    return NEXTHOP_HEADER + nexthop_number(gateway) + GATEWAY_HEADER + gateway


def nexthop_number(gateway: bytes) -> bytes:
    """The number of the nexthop of an IPv4 gateway: the address itself, so that it follows from the plan and is hardly anybody else's."""
    return UNSIGNED.pack(int.from_bytes(gateway, "big"))


def _fdb(entry: FdbEntry, index: int) -> bytes:
    destination = packed_address(entry.destination)
    body = fdb_shape(index, FAMILY[len(destination)]).filled(packed_mac(entry.mac), destination)
    words = entry.extra.split()
    for word, value in zip(words[::2], words[1::2]):
        if word == "port":
            body += _attribute(NDA_PORT, struct.pack("!H", int(value)))
        else:
            body += _attribute(*((NDA_VNI, UNSIGNED.pack(int(value))) if word == "vni" else (NDA_IFINDEX, UNSIGNED.pack(_index(value)))))
    return body


def _route(entry: PodRoute, index: int) -> bytes:
    network, length = entry.subnet.split("/")
    destination = packed_address(network)
    flags = RTNH_F_ONLINK if entry.onlink and not entry.nexthop else 0  # a nexthop has its own
    body = _route_header(FAMILY[len(destination)], int(length), entry.protocol, flags) + destination
    if entry.nexthop:
        return body + NEXTHOP_HEADER + UNSIGNED.pack(entry.nexthop)
    body += _attribute(RTA_GATEWAY, packed_address(entry.gateway)) if entry.gateway else b""
    return body + _attribute(RTA_OIF, UNSIGNED.pack(index))


@cache
def _route_header(family: int, length: int, protocol: int, flags: int) -> bytes:
    """All that a route says before its network."""
    header = ROUTE.pack(family, length, 0, 0, RT_TABLE_MAIN, protocol, RT_SCOPE_UNIVERSE, RTN_UNICAST, flags)
    return header + _attribute(RTA_TABLE, UNSIGNED.pack(RT_TABLE_MAIN)) + _attribute_header(RTA_DST, ADDRESS_SIZE[family])


# --- attributes -------------------------------------------------------------------------------------------------------------


def _fdb_extra(attributes: Attributes) -> str:
    """What an entry says beside MAC and destination, in the words of `bridge fdb`: each with a leading space."""
    port, vni, via = (attributes.get(kind) for kind in (NDA_PORT, NDA_VNI, NDA_IFINDEX))
    words = [f" port {struct.unpack('!H', port)[0]}"] if port else []
    words += [f" vni {UNSIGNED.unpack(vni)[0]}"] if vni else []
    words += [f" via {_name(UNSIGNED.unpack(via)[0])}"] if via else []
    return "".join(words)


def _route_extra(kind: int, attributes: Attributes) -> str:
    """What a route is or says beside subnet, gateway and interface, for a person to read: each with a leading space."""
    words = [f" type {ROUTE_TYPES.get(kind, kind)}"] if kind != RTN_UNICAST else []
    words += [f" src {address_text(attributes[RTA_PREFSRC])}"] if RTA_PREFSRC in attributes else []
    return "".join([*words, *(f" {word}" for attribute, word in RTA_NAMES.items() if attribute in attributes)])


def _interface(index: bytes | None) -> str:
    return _name(UNSIGNED.unpack(index)[0]) if index else ""


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # gone since the dump
        return f"if{index}"


def _index(name: str) -> int:
    return int(name[2:]) if name.startswith("if") and name[2:].isdigit() else socket.if_nametoindex(name)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return MESSAGE.pack(MESSAGE.size + len(body), kind, flags, sequence, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return _attribute_header(kind, len(value)) + value + bytes(-len(value) & 3)


def _attribute_header(kind: int, size: int) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + size, kind)


def _parse(data: bytes, offset: int) -> Attributes:
    attributes = {}
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        attributes[kind & 0x3FFF] = data[offset + ATTRIBUTE.size : offset + length]  # without NLA_F_NESTED, NLA_F_NET_BYTEORDER
        offset += max(_aligned(length), ATTRIBUTE.size)
    return attributes


def _error(payload: bytes, flags: int) -> OSError:
    """An NLMSG_ERROR as an error (errno 0 for an acknowledgement) with the kernel's words: its own (NLMSGERR_ATTR_MSG) or strerror's."""
    number = -struct.unpack_from("=i", payload)[0]
    words = b""
    if flags & NLM_F_ACK_TLVS:
        echoed = MESSAGE.size if flags & NLM_F_CAPPED else _aligned(struct.unpack_from("=I", payload, 4)[0])
        words = _parse(payload, 4 + echoed).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0")
    return OSError(number, words.decode() or os.strerror(number))


def address_text(packed: bytes) -> str:
    return socket.inet_ntop(FAMILY[len(packed)], packed)


def packed_address(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def packed_mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _aligned(length: int) -> int:
    return (length + 3) & ~3
