# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel objects that make an overlay, as frozen values with their iproute2 text. No I/O."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Union

# Routes of ours carry this protocol number; the flannel role names it `podnet` in rt_protos.d.
PODNET_PROTOCOL = 86
DEFAULT_AGEING = 300  # seconds, drivers/net/vxlan: FDB_AGE_DEFAULT
ZERO_MAC = "00:00:00:00:00:00"

Key = tuple[Hashable, ...]


@dataclass(frozen=True)
class VxlanDevice:
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

    rank: ClassVar[int] = 0
    # vxlan_changelink() takes these, in this order: the MTU after the interface that bounds it. See `fixed` for the others.
    in_place: ClassVar[tuple[str, ...]] = (
        "interface",
        "local",
        "learning",
        "ttl",
        "tos",
        "df",
        "ageing",
        "remote",
        "mac",
        "mtu",
        "txqueuelen",
        "up",
    )

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


@dataclass(frozen=True)
class OtherLink:
    """A link by a wanted name that is not a VXLAN device; somebody else's."""

    name: str
    kind: str

    rank: ClassVar[int] = 0

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


@dataclass(frozen=True)
class DeviceSysctl:
    """A sysctl of one device. `name` in sysctl's own words: net.ipv6.conf.flannel/1.accept_ra."""

    device: str
    name: str
    value: str

    rank: ClassVar[int] = 1

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


@dataclass(frozen=True)
class Address:
    """An address of a device with its prefix length: 172.20.1.0/32."""

    device: str
    address: str

    rank: ClassVar[int] = 2

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


@dataclass(frozen=True)
class StaticNeigh:
    """Which MAC a VTEP address has. Permanent ones on our device are ours; the kernel's own are not."""

    device: str
    address: str
    mac: str
    permanent: bool = True

    rank: ClassVar[int] = 3

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


@dataclass(frozen=True)
class FdbEntry:
    """Which underlay address a VTEP MAC lives at. `extra` holds what else an entry says (port, vni, via); ours says nothing."""

    device: str
    mac: str
    destination: str
    permanent: bool = True
    extra: str = ""

    rank: ClassVar[int] = 4

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


@dataclass(frozen=True)
class PodRoute:
    """The onlink route to another node's pod subnet. `extra` holds what else a route says (src, metrics, ...); ours says nothing."""

    device: str
    subnet: str
    gateway: str
    onlink: bool = True
    protocol: int = PODNET_PROTOCOL
    extra: str = ""

    rank: ClassVar[int] = 5

    @property
    def key(self) -> Key:
        return ("route", self.subnet)

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
        via = f" via {self.gateway}" if self.gateway else ""
        dev = f" dev {self.device}" if self.device else ""
        return f"{self.subnet}{via}{dev}{' onlink' if self.onlink else ''} proto {self.protocol}{self.extra}"


Object = Union[VxlanDevice, OtherLink, DeviceSysctl, Address, StaticNeigh, FdbEntry, PodRoute]
Entry = Union[StaticNeigh, FdbEntry, PodRoute]


EVERY_RANK = frozenset(kind.rank for kind in (VxlanDevice, DeviceSysctl, Address, StaticNeigh, FdbEntry, PodRoute))


@dataclass(frozen=True)
class Scope:
    """Which objects a request is about: those with these keys and, of the ranks in `purge`, every other one of ours on the device.

    `ranks` are the kinds of objects to look at for that.
    """

    device: str
    keys: frozenset[Key]
    ranks: frozenset[int]
    purge: frozenset[int] = frozenset()

    def covers(self, thing: Object) -> bool:
        return thing.key in self.keys or (thing.rank in self.purge and thing.owned and thing.device == self.device)


def scope_of(device: str, things: Iterable[Object], purge: frozenset[int] = frozenset()) -> Scope:
    """The scope of these objects' keys, widened by `purge`."""
    things = tuple(things)
    return Scope(device, frozenset(thing.key for thing in things), purge | {thing.rank for thing in things}, purge)


def family_of(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


def unspecified(like: str) -> str:
    """The unspecified address of the same family: iproute2's and the kernel's word for no remote."""
    return "::" if ":" in like else "0.0.0.0"
