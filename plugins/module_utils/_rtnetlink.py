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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ansible_collections.podnet.baremetal.plugins.module_utils._objects import (
    Entry,
    FdbEntry,
    PodRoute,
    StaticNeigh,
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

IFLA_ADDRESS, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 18, 1, 2
IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6 = 4, 17
NDA_DST, NDA_LLADDR, NDA_PORT, NDA_VNI, NDA_IFINDEX = 1, 2, 6, 7, 8
NUD_PERMANENT = 0x80
NTF_SELF = 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
RTA_NAMES = {7: "src", 8: "metrics", 9: "multipath", 16: "mark", 18: "via", 21: "encap-type", 22: "encap", 30: "nhid"}
RT_TABLE_MAIN = 254
RT_SCOPE_UNIVERSE = 0
RTN_UNICAST = 1
RTNH_F_ONLINK = 4
FAMILY = {4: socket.AF_INET, 16: socket.AF_INET6}  # by the size of a packed address
ADDRESS_SIZE = {family: size for size, family in FAMILY.items()}
# ip(8): an IPv4 route has metric 0 unless told otherwise, an IPv6 route IP6_RT_PRIO_USER.
DEFAULT_METRIC = {socket.AF_INET: 0, socket.AF_INET6: 1024}
ROUTE_TYPES = {2: "local", 3: "broadcast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}

MESSAGE = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, interface, state, flags, type
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst and src length, tos, table, protocol, scope, type, flags
UNSIGNED = struct.Struct("=I")
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change

# 256 unread answers fit the default receive buffer and a send above about 200 kB is refused; stay well below both.
BLOCK = 128
RECEIVE_BUFFER = 4 << 20

Attributes = Mapping[int, bytes]


@dataclass(frozen=True)
class Vtep:
    """As much of a link as its entries' checks need: its kind, MAC and local underlay address."""

    kind: str
    mac: str
    local: str


class RouteSocket:
    """A NETLINK_ROUTE socket of this process's network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)
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
        answers, _interrupted = self._ask(kind, NLM_F_REQUEST, body)
        return answers[0]

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of all answers to one dump request, from the first try that no concurrent change interrupted."""
        for _attempt in range(10):
            answers, interrupted = self._ask(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
            if not interrupted:
                return answers
        raise OSError(errno.EAGAIN, "the table changed during ten dumps in a row")

    def send(self, block: Sequence[tuple[int, int, bytes]]) -> list[tuple[int, OSError]]:
        """Send at most BLOCK (type, flags, body) messages at once and return the refusals: (position, the kernel's error).

        Only the last one asks to be acknowledged: the kernel answers in order, and refusals always.
        """
        first = self._sequence + 1
        self._sequence += len(block)
        flags = [NLM_F_REQUEST] * (len(block) - 1) + [NLM_F_REQUEST | NLM_F_ACK]
        self._socket.send(b"".join(_message(kind, flags[i] | more, first + i, body) for i, (kind, more, body) in enumerate(block)))
        refusals = []
        for answer, answer_flags, sequence, payload in self._receive():
            if answer == NLMSG_ERROR and sequence >= first:
                error = _error(payload, answer_flags)
                refusals += [(sequence - first, error)] if error.errno else []
                if sequence == self._sequence:
                    break
        return refusals

    def _ask(self, kind: int, request: int, body: bytes) -> tuple[list[bytes], bool]:
        self._sequence += 1
        self._socket.send(_message(kind, request, self._sequence, body))
        answers: list[bytes] = []
        interrupted = False
        for answer, flags, sequence, payload in self._receive():
            if sequence != self._sequence:
                continue
            interrupted |= bool(flags & NLM_F_DUMP_INTR)
            if answer == NLMSG_DONE:
                break
            if answer == NLMSG_ERROR:
                raise _error(payload, flags)
            answers.append(payload)
            if request == NLM_F_REQUEST:
                break
        return answers, interrupted

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        while True:
            data = self._socket.recv(1 << 18)
            offset = 0
            while offset < len(data):
                length, kind, flags, sequence, _port = MESSAGE.unpack_from(data, offset)
                yield kind, flags, sequence, data[offset + MESSAGE.size : offset + length]
                offset += _aligned(length)


def read_vtep(route_socket: RouteSocket, index: int) -> Vtep:
    """What the link with this index says of itself; no MAC or local address for a kind that has none."""
    link = _parse(route_socket.get(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0)), LINK.size)
    info = _parse(link.get(IFLA_LINKINFO, b""), 0)
    data = _parse(info.get(IFLA_INFO_DATA, b""), 0)
    local = data.get(IFLA_VXLAN_LOCAL) or data.get(IFLA_VXLAN_LOCAL6)
    kind = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    return Vtep(kind, link.get(IFLA_ADDRESS, b"").hex(":"), _address(local) if kind == "vxlan" and local else "")


def read_neighbours(route_socket: RouteSocket, device: str, index: int) -> Iterator[StaticNeigh]:
    """The neighbours of the device that have a link-layer address, of every family."""
    body = NEIGHBOUR.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _attribute(NDA_IFINDEX, UNSIGNED.pack(index))
    for answer in route_socket.dump(RTM_GETNEIGH, body):
        _family, interface, state, _flags, _type = NEIGHBOUR.unpack_from(answer)
        attributes = _parse(answer, NEIGHBOUR.size)
        if interface == index and attributes.keys() >= {NDA_DST, NDA_LLADDR}:
            yield StaticNeigh(device, _address(attributes[NDA_DST]), attributes[NDA_LLADDR].hex(":"), bool(state & NUD_PERMANENT))


def read_fdb(route_socket: RouteSocket, device: str, index: int) -> Iterator[FdbEntry]:
    """The entries of the VXLAN device's own forwarding database, those that `bridge fdb show` marks with `self`."""
    for answer in route_socket.dump(RTM_GETNEIGH, NEIGHBOUR.pack(socket.AF_BRIDGE, index, 0, 0, 0)):
        _family, interface, state, flags, _type = NEIGHBOUR.unpack_from(answer)
        attributes = _parse(answer, NEIGHBOUR.size)
        if interface == index and flags & NTF_SELF and NDA_DST in attributes:
            mac, destination = attributes[NDA_LLADDR].hex(":"), _address(attributes[NDA_DST])
            yield FdbEntry(device, mac, destination, bool(state & NUD_PERMANENT), _fdb_extra(attributes))


def read_routes(route_socket: RouteSocket) -> Iterator[PodRoute]:
    """The routes of the main table that a plain route to the same subnet would take the place of: no tos, the default metric."""
    for answer in route_socket.dump(RTM_GETROUTE, ROUTE.pack(socket.AF_UNSPEC, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0)):
        family, length, _source_length, tos, table, protocol, _scope, kind, flags = ROUTE.unpack_from(answer)
        attributes = _parse(answer, ROUTE.size)
        metric = UNSIGNED.unpack(attributes.get(RTA_PRIORITY, UNSIGNED.pack(0)))[0]
        if table == RT_TABLE_MAIN and not tos and metric == DEFAULT_METRIC.get(family):
            subnet = f"{_address(attributes.get(RTA_DST, bytes(ADDRESS_SIZE[family])))}/{length}"
            gateway = _address(attributes[RTA_GATEWAY]) if RTA_GATEWAY in attributes else ""
            yield PodRoute(_interface(attributes), subnet, gateway, bool(flags & RTNH_F_ONLINK), protocol, _route_extra(kind, attributes))


def message_to_make(entry: Entry, index: int) -> tuple[int, int, bytes]:
    """(type, flags, body) of the message that makes the entry on the interface, or puts it in the place of another."""
    replace = NLM_F_CREATE | NLM_F_REPLACE
    if isinstance(entry, StaticNeigh):
        return RTM_NEWNEIGH, replace, _neighbour(entry, index, NUD_PERMANENT) + _attribute(NDA_LLADDR, _mac(entry.mac))
    if isinstance(entry, FdbEntry):
        return RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND if entry.flooded else replace, _fdb(entry, index, NUD_PERMANENT)
    return RTM_NEWROUTE, replace, _route(entry, index)


def message_to_delete(entry: Entry, index: int) -> tuple[int, int, bytes]:
    """(type, flags, body) of the message that deletes the entry from the interface."""
    if isinstance(entry, StaticNeigh):
        return RTM_DELNEIGH, 0, _neighbour(entry, index, 0)
    if isinstance(entry, FdbEntry):
        return RTM_DELNEIGH, 0, _fdb(entry, index, NUD_PERMANENT)
    return RTM_DELROUTE, 0, _route(entry, index)


def _neighbour(entry: StaticNeigh, index: int, state: int) -> bytes:
    address = _packed(entry.address)
    return NEIGHBOUR.pack(FAMILY[len(address)], index, state, 0, RTN_UNICAST) + _attribute(NDA_DST, address)


def _fdb(entry: FdbEntry, index: int, state: int) -> bytes:
    body = NEIGHBOUR.pack(socket.AF_BRIDGE, index, state, NTF_SELF, 0)
    body += _attribute(NDA_LLADDR, _mac(entry.mac)) + _attribute(NDA_DST, _packed(entry.destination))
    words = entry.extra.split()
    for word, value in zip(words[::2], words[1::2]):
        if word == "port":
            body += _attribute(NDA_PORT, struct.pack("!H", int(value)))
        else:
            body += _attribute(*((NDA_VNI, UNSIGNED.pack(int(value))) if word == "vni" else (NDA_IFINDEX, UNSIGNED.pack(_index(value)))))
    return body


def _route(entry: PodRoute, index: int) -> bytes:
    network, length = entry.subnet.split("/")
    destination = _packed(network)
    flags = RTNH_F_ONLINK if entry.onlink else 0
    body = ROUTE.pack(FAMILY[len(destination)], int(length), 0, 0, RT_TABLE_MAIN, entry.protocol, RT_SCOPE_UNIVERSE, RTN_UNICAST, flags)
    body += _attribute(RTA_DST, destination)
    body += _attribute(RTA_GATEWAY, _packed(entry.gateway)) if entry.gateway else b""
    return body + _attribute(RTA_OIF, UNSIGNED.pack(index))


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
    return "".join([*words, *(f" {word}" for attribute, word in RTA_NAMES.items() if attribute in attributes)])


def _interface(attributes: Attributes) -> str:
    return _name(UNSIGNED.unpack(attributes[RTA_OIF])[0]) if RTA_OIF in attributes else ""


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
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


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


def _address(packed: bytes) -> str:
    return socket.inet_ntop(FAMILY[len(packed)], packed)


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _aligned(length: int) -> int:
    return (length + 3) & ~3
