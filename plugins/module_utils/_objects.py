# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel objects that make an overlay, as frozen values with their iproute2 text: devices, and a list of all kinds. Pure.

An entry of a table has a file of its own, which also has its messages.

Named tuples and not dataclasses: a node may make tens of thousands of them in a run, and importing dataclasses costs it more than
programming a hundred peers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Union

from ansible_collections.podnet.baremetal.plugins.module_utils._fdb_entry import FdbEntry
from ansible_collections.podnet.baremetal.plugins.module_utils._messages import Key
from ansible_collections.podnet.baremetal.plugins.module_utils._nexthop import Nexthop
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import PodRoute
from ansible_collections.podnet.baremetal.plugins.module_utils._static_neigh import StaticNeigh
from ansible_collections.podnet.baremetal.plugins.module_utils._unreachable_route import UnreachableRoute

DEFAULT_AGEING = 300  # seconds, drivers/net/vxlan: FDB_AGE_DEFAULT
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


Entry = Union[StaticNeigh, FdbEntry, Nexthop, PodRoute]
Packed = Union[Entry, UnreachableRoute]
Object = Union[VxlanDevice, OtherLink, DeviceSysctl, Address, Packed]

# In the order in which they are made.
DEVICE_KINDS = (VxlanDevice, DeviceSysctl, Address)
ENTRIES = (StaticNeigh, FdbEntry, Nexthop, PodRoute)
PACKED = (*ENTRIES, UnreachableRoute)  # they have messages of their own; the others go by pyroute2
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
