# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel objects that make an overlay, as frozen values with their iproute2 text. No I/O.

Named tuples and not dataclasses: a node may make tens of thousands of them in a run, and importing dataclasses costs it more than
programming a hundred peers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple, Union

# Routes of ours carry this protocol number; the flannel role names it `podnet` in rt_protos.d.
PODNET_PROTOCOL = 86
# flanneld gives its routes no protocol, which netlink(3) takes for RTPROT_BOOT, and its devices these names (vxlan.go:205, :233).
FLANNEL_PROTOCOL = 3
FLANNEL_DEVICES = ("flannel.", "flannel-v6.")
# Near the highest that there is: of two routes to one range the kernel takes the one with the lower metric (ip-route(8)).
UNREACHABLE_METRIC = 4278198272
DEFAULT_AGEING = 300  # seconds, drivers/net/vxlan: FDB_AGE_DEFAULT
ZERO_MAC = "00:00:00:00:00:00"

Key = tuple[Hashable, ...]


VXLAN = "vxlan"  # the kind of link
# vxlan_changelink() takes these, in this order: the MTU after the interface that bounds it. See `VxlanDevice.fixed` for the others.
IN_PLACE = ("interface", "local", "learning", "ttl", "tos", "df", "ageing", "remote", "mac", "mtu", "txqueuelen", "up")


class VxlanDevice(NamedTuple):
    """A VXLAN link. `features` lists, in iproute2's words, options that only a new device can lose or gain; ours has none."""

    name: str
    vni: int
    port: int
    local: str
    interface: str
    mac: str
    mtu: int
    learning: bool = False
    ttl: int = 0
    tos: int = 0
    df: str = "unset"
    ageing: int = DEFAULT_AGEING
    remote: str = ""
    txqueuelen: int = 0
    up: bool = True
    features: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return ("link", self.name)

    @property
    def device(self) -> str:
        return self.name

    @property
    def owned(self) -> bool:
        return True

    @property
    def fixed(self) -> dict[str, object]:
        """What the kernel takes only when it creates the device."""
        features = " ".join(self.features) or "none"
        return {"name": self.name, "vni": self.vni, "port": self.port, "features": features, "family of local": family_of(self.local)}

    @property
    def present(self) -> str:
        words = [f"ip link add name {self.name} address {self.mac} mtu {self.mtu} txqueuelen {self.txqueuelen}"]
        words += ["up"] if self.up else []
        words += [f"type vxlan id {self.vni} local {self.local} dev {self.interface} dstport {self.port}"]
        words += ["learning" if self.learning else "nolearning"]
        words += [f"{field} {getattr(self, field)}" for field in ("ttl", "tos", "remote") if getattr(self, field)]
        words += [f"df {self.df}"] if self.df != "unset" else []
        words += [f"ageing {self.ageing}"] if self.ageing != DEFAULT_AGEING else []
        return " ".join([*words, *self.features])

    @property
    def absent(self) -> str:
        return f"ip link del {self.name}"

    def setting(self, field: str) -> str:
        """The command that gives one field its value in place."""
        value = getattr(self, field)
        if field == "up":
            return f"ip link set dev {self.name} {'up' if value else 'down'}"
        if field in {"mtu", "txqueuelen", "mac"}:
            return f"ip link set dev {self.name} {'address' if field == 'mac' else field} {value}"
        if field == "learning":
            return f"ip link set dev {self.name} type vxlan {'learning' if value else 'nolearning'}"
        word = "dev" if field == "interface" else field
        return f"ip link set dev {self.name} type vxlan {word} {value or unspecified(self.local) if field == 'remote' else value}"


class OtherLink(NamedTuple):
    """A link by a wanted name that is not a VXLAN device; somebody else's."""

    name: str
    kind: str

    @property
    def key(self) -> Key:
        return ("link", self.name)

    @property
    def device(self) -> str:
        return self.name

    @property
    def owned(self) -> bool:
        return False

    @property
    def present(self) -> str:
        return f"ip link add name {self.name} type {self.kind}"

    @property
    def absent(self) -> str:
        return f"ip link del {self.name}"


class DeviceSysctl(NamedTuple):
    """A sysctl of one device. `name` in sysctl's own words: net.ipv6.conf.flannel/1.accept_ra."""

    device: str
    name: str
    value: str

    @property
    def key(self) -> Key:
        return ("sysctl", self.name)

    @property
    def owned(self) -> bool:
        return False

    @property
    def present(self) -> str:
        return f"sysctl -w {self.name}={self.value}"

    @property
    def absent(self) -> str:
        return self.present


class Address(NamedTuple):
    """An address of a device with its prefix length: 172.20.1.0/32."""

    device: str
    address: str

    @property
    def key(self) -> Key:
        return ("address", self.device, self.address)

    @property
    def owned(self) -> bool:
        return True

    @property
    def present(self) -> str:
        return f"ip addr add {self.address} dev {self.device}"

    @property
    def absent(self) -> str:
        return f"ip addr del {self.address} dev {self.device}"


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


Object = Union[VxlanDevice, OtherLink, DeviceSysctl, Address, StaticNeigh, FdbEntry, Nexthop, PodRoute, UnreachableRoute]
Entry = Union[StaticNeigh, FdbEntry, Nexthop, PodRoute]

# In the order in which they are made.
DEVICE_KINDS = (VxlanDevice, DeviceSysctl, Address)
ENTRIES = (StaticNeigh, FdbEntry, Nexthop, PodRoute)
ORDER: dict[type[Object], int] = {OtherLink: 0, **{kind: place for place, kind in enumerate((UnreachableRoute, *DEVICE_KINDS, *ENTRIES))}}
Kinds = frozenset[type[Object]]
EVERY_KIND: Kinds = frozenset((*DEVICE_KINDS, *ENTRIES))


class Scope(NamedTuple):
    """Which objects a request is about: those with these keys and, of the kinds in `purge`, every other one of ours on the device.

    `kinds` are those to look at for that.
    """

    device: str
    keys: frozenset[Key]
    kinds: Kinds
    purge: Kinds = frozenset()

    def covers(self, thing: Object) -> bool:
        return thing.key in self.keys or (type(thing) in self.purge and thing.owned and thing.device == self.device)


def scope_of(device: str, things: Iterable[Object], purge: Kinds = frozenset()) -> Scope:
    """The scope of these objects' keys, widened by `purge`."""
    things = tuple(things)
    return Scope(device, frozenset(thing.key for thing in things), purge | {type(thing) for thing in things}, purge)


def place_of(thing: Object) -> int:
    """Its place in the order in which things are made."""
    return ORDER[type(thing)]


def family_of(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


def unspecified(like: str) -> str:
    """The unspecified address of the same family: iproute2's and the kernel's word for no remote."""
    return "::" if ":" in like else "0.0.0.0"
