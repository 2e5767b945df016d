# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An fdb entry, which underlay address a VTEP MAC lives at: as a value, its text and its messages. Pure."""

from __future__ import annotations

import struct
from functools import cache
from socket import AF_BRIDGE
from typing import NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._messages import (
    ADDRESS_SIZE,
    FAMILY,
    MAC_PADDING,
    MAC_SIZE,
    NDA_CACHEINFO,
    NDA_DST,
    NDA_IFINDEX,
    NDA_LLADDR,
    NDA_PORT,
    NDA_VNI,
    NEIGHBOUR,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NUD_NOARP,
    NUD_PERMANENT,
    PUT,
    RTM_DELNEIGH,
    RTM_GETNEIGH,
    RTM_NEWNEIGH,
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
    packed_mac,
)

ZERO_MAC = "00:00:00:00:00:00"
NTF_SELF = 0x02


class FdbEntry(NamedTuple):
    """Which underlay address a VTEP MAC lives at. `extra` holds what else an entry says (port, vni, via); ours says nothing."""

    device: str
    mac: str
    destination: str
    permanent: bool = True
    extra: str = ""

    @property
    def flooded(self) -> bool:
        """All-zero and multicast MACs may have many destinations (vxlan_fdb_update() refuses to replace them)."""
        return self.mac == ZERO_MAC or bool(int(self.mac[:2], 16) & 1)

    @property
    def key(self) -> Key:
        return ("fdb", self.device, self.mac, *([self.destination] if self.flooded else []))

    @property
    def owned(self) -> bool:
        return self.permanent

    @property
    def present(self) -> str:
        verb = "append" if self.flooded else "replace"
        return f"bridge fdb {verb} {self._entry} self {'permanent' if self.permanent else 'dynamic'}"

    @property
    def absent(self) -> str:
        return f"bridge fdb del {self._entry} self"

    @property
    def _entry(self) -> str:
        return f"{self.mac} dev {self.device} dst {self.destination}{self.extra}"

    def to_make(self, on: Interface) -> Message:
        return RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND if self.flooded else PUT, self._body(on)

    def to_delete(self, on: Interface) -> Message:
        return RTM_DELNEIGH, 0, self._body(on)

    def to_get(self, on: Interface) -> Request:
        """The request for what the kernel has in its place."""
        return RTM_GETNEIGH, NEIGHBOUR.pack(AF_BRIDGE, on.ifindex, 0, NTF_SELF, 0) + attribute(NDA_LLADDR, packed_mac(self.mac))

    @staticmethod
    def table(on: Interface) -> Table | None:
        """The entries of a VXLAN device's own forwarding database, and of its bridge's about it; None where there is no such device."""
        return Table(RTM_GETNEIGH, NEIGHBOUR.pack(AF_BRIDGE, on.ifindex, 0, 0, 0)) if on.ifindex else None

    @staticmethod
    def parse(body: bytes, on: Interface) -> FdbEntry | None:
        """The entry that an answer tells of, if it is one of this VXLAN device's own: those that `bridge fdb show` marks with `self`."""
        _family, interface, state, flags, _type = NEIGHBOUR.unpack_from(body)
        attributes = attributes_of(body, NEIGHBOUR.size)
        if interface != on.ifindex or not flags & NTF_SELF or NDA_DST not in attributes:
            return None
        mac, destination = attributes[NDA_LLADDR].hex(":"), address_text(attributes[NDA_DST])
        return FdbEntry(on.name, mac, destination, bool(state & NUD_PERMANENT), _extra(attributes, on))

    def _body(self, on: Interface) -> bytes:
        destination = packed_address(self.destination)
        body = fdb_shape(on.ifindex, FAMILY[len(destination)]).filled(packed_mac(self.mac), destination)
        words = self.extra.split()
        for word, value in zip(words[::2], words[1::2]):
            if word == "port":
                body += attribute(NDA_PORT, struct.pack("!H", int(value)))
            elif word == "vni":
                body += attribute(NDA_VNI, UNSIGNED.pack(int(value)))
            else:
                body += attribute(NDA_IFINDEX, UNSIGNED.pack(on.namespace.index(value)))
        return body


@cache
def fdb_shape(index: int, family: int) -> Shape:
    """A permanent fdb entry, around its MAC and its destination. bridge(8) says NUD_NOARP with it, and so do we."""
    before = NEIGHBOUR.pack(AF_BRIDGE, index, NUD_NOARP | NUD_PERMANENT, NTF_SELF, RTN_UNICAST)
    between = MAC_PADDING + attribute_header(NDA_DST, ADDRESS_SIZE[family])
    return Shape(before + attribute_header(NDA_LLADDR, MAC_SIZE), between)


@cache
def fdb_head(index: int, family: int) -> Shape:
    """Whatever else an entry says, such as a port, would stand before NDA_CACHEINFO."""
    return fdb_shape(index, family)._replace(after=attribute_header(NDA_CACHEINFO, 16))


def _extra(attributes: Attributes, on: Interface) -> str:
    """What an entry says beside MAC and destination, in the words of `bridge fdb`: each with a leading space."""
    port, vni, via = (attributes.get(kind) for kind in (NDA_PORT, NDA_VNI, NDA_IFINDEX))
    words = [f" port {struct.unpack('!H', port)[0]}"] if port else []
    words += [f" vni {UNSIGNED.unpack(vni)[0]}"] if vni else []
    words += [f" via {on.named(via)}"] if via else []
    return "".join(words)
