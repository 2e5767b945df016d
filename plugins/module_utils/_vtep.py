# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VTEP from a module's options: looks up the underlay on the node and refuses what cannot work there. I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Union

from ansible_collections.podnet.baremetal.plugins.module_utils._changes import Change
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, about, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._generation import refuse_older
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import (
    valid_address,
    valid_device,
    valid_mac,
    valid_number,
    valid_prefix,
    valid_subnet,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._kernel import Kernel, KernelTarget, KernelTargets
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock, refuse_flanneld
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import (
    EVERY_KIND,
    Address,
    DeviceSysctl,
    Object,
    Scope,
    VxlanDevice,
    family_of,
    scope_of,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._own_routes import CLUSTER, refuse_own_routes
from ansible_collections.podnet.baremetal.plugins.module_utils._peer_sets import PortChange, admitted
from ansible_collections.podnet.baremetal.plugins.module_utils._unreachable_route import UnreachableRoute

# What VXLAN adds to a packet: inner Ethernet 14, VXLAN 8, UDP 8 and the outer IP header (RFC 7348, section 5).
IPV6 = 6
OVERHEAD = {4: 50, IPV6: 70}
# What every host must take: RFC 791, and RFC 8200, section 5. The kernel switches IPv6 off on a device that takes less (addrconf_notify()).
SMALLEST_MTU = {4: 576, 6: 1280}
LARGEST_PORT = 65535
LARGEST_VNI = (1 << 24) - 1  # RFC 7348: 24 bits

Step = Union[Change, PortChange]

# Where a role takes an option from: messages name both, so that who wrote an inventory finds the line.
VARIABLES = {
    "interface": "podnet_underlay_interface",
    "local": "podnet_underlay_address",
    "local6": "podnet_underlay_address",
    "mtu": "podnet_mtu",
    "port": "podnet_port",
    "vni": "podnet_vni",
}


def vtep_target(node: str, options: dict[str, Any]) -> KernelTargets:
    """The target of `vxlan_device`: the devices with these addresses and no others, or no devices by their names."""
    kernel = Kernel.writable(node)
    valid_number(node, _called("vni"), options["vni"], 1, LARGEST_VNI)
    if options["state"] == "absent":
        return KernelTargets((*(_absent(node, name, kernel) for name in _names(node, options)), *_unreachable(node, options, kernel)))
    refuse_flanneld(node, options)
    addresses = [_address(node, address, options) for address in options["addresses"]]
    devices = _devices(node, options, addresses, kernel)
    if options["cluster_cidrs"]:
        refuse_own_routes(node, devices[0].name, options, kernel.tables.foreign_routes())
    wanted = _objects(devices, addresses)
    names = {device.name for device in devices}
    targets = (
        KernelTarget(
            node,
            device.name,
            scope_of(device.name, objects, purge=EVERY_KIND),
            objects,
            recreate=options["recreate"],
            keep=True,
            predecessor=_predecessor(kernel, objects, names),
            returned={said: {field: getattr(device, field) for field in ("name", "interface", "local", "mac", "mtu")}},
            kernel=kernel,
        )
        for device, objects, said in zip(devices, wanted, ("device", "device6"))
    )
    return KernelTargets((*_unreachable(node, options, kernel), *targets), refuse_older(node, options))


class GuardedDevices(NamedTuple):
    """Devices, and the node's firewall, where there is one: it knows another port before they have it."""

    node: str
    devices: KernelTargets
    port: int

    @property
    def name(self) -> str:
        return self.devices.name

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Step]:
        steps = self.devices.drift()
        moves = any(isinstance(step.old, VxlanDevice) and step.old.port != self.port and not step.new for step in steps)
        return [PortChange(self.port), *steps] if moves and admitted() is not None else [*steps]

    def apply(self, steps: Sequence[Step]) -> None:
        guards = [step for step in steps if isinstance(step, PortChange)]
        with about(self.node):
            for step in guards:
                step.make()
        try:
            self.devices.apply([step for step in steps if not isinstance(step, PortChange)])
        except Failed as error:
            raise Failed(str(error), [*(step.command for step in guards), *error.done], passing=error.passing) from error

    def facts(self) -> dict[str, Any]:
        return self.devices.facts()


def _address(node: str, given: str, options: Mapping[str, Any]) -> str:
    address = valid_prefix(node, "addresses", given)
    if address.partition("/")[0] in (options["local"], options["local6"]):
        raise refuse(node, "addresses", given, "it is the underlay address itself: expected one of the pod subnet, like 172.20.1.0/32")
    return address


def _objects(devices: Sequence[VxlanDevice], addresses: Sequence[str]) -> list[tuple[Object, ...]]:
    """Each device with those of the addresses that it carries."""
    carried = [addresses] if len(devices) == 1 else [[each for each in addresses if family_of(each) == family] for family in (4, IPV6)]
    return [(device, *_sysctls(device.name), *(Address(device.name, each) for each in its)) for device, its in zip(devices, carried)]


def _absent(node: str, name: str, kernel: Kernel) -> KernelTarget:
    scope = Scope(name, frozenset({("link", name)}), frozenset({VxlanDevice}))
    return KernelTarget(node, name, scope, (), kernel=kernel)


def _unreachable(node: str, options: Mapping[str, Any], kernel: Kernel) -> Iterable[KernelTarget]:
    """The routes of the cluster's ranges, and none of ours for other ranges: first to come, last to go. Without ranges all stay."""
    ranges = [valid_subnet(node, CLUSTER, cidr) for cidr in options["cluster_cidrs"]]
    wanted = tuple(map(UnreachableRoute, ranges)) if options["state"] == "present" else ()
    if ranges:
        yield KernelTarget(node, "", scope_of("", wanted, purge=frozenset({UnreachableRoute})), wanted, kernel=kernel)


def _names(node: str, options: dict[str, Any]) -> list[str]:
    """The devices by their names, by default flannel's (vxlan.go:205, :233): flannel-v6 is the one that carries IPv6 alone."""
    vni, addresses, second = options["vni"], options["addresses"], options["local6"]
    six = bool(addresses) and all(family_of(address) == IPV6 for address in addresses)
    name = valid_device(node, "name", options["name"] or (f"flannel-v6.{vni}" if six and not second else f"flannel.{vni}"))
    name6 = options["name6"] or (f"flannel-v6.{vni}" if second else "")
    if options["state"] == "present" and not second:
        return [name]
    if name6 == name:
        raise refuse(node, "name6", name6, "name is the same: the two devices need names of their own")
    return [name, valid_device(node, "name6", name6)] if name6 else [name]


def _devices(node: str, options: dict[str, Any], addresses: Sequence[str], kernel: Kernel) -> list[VxlanDevice]:
    names = _names(node, options)
    devices = [_device(node, name, options, six, kernel) for name, six in zip(names, ("", "6"))]
    if [family_of(device.local) for device in devices] not in ([4], [6], [4, 6]):
        sources = " and ".join(device.local for device in devices)
        raise refuse(node, "local and local6", sources, "the kernel takes two devices of one VNI and port only over IPv4 and over IPv6")
    smallest = SMALLEST_MTU[max(map(family_of, addresses), default=4)]
    mtu = _mtu(node, options["mtu"], smallest, devices, kernel.links.mtus())
    return [device._replace(mtu=mtu) for device in devices]


def _device(node: str, name: str, options: dict[str, Any], six: str, kernel: Kernel) -> VxlanDevice:
    """One device, but for its MTU. `six` is what the names of its options end in."""
    what = _called(f"local{six}")
    local = valid_address(node, what, options[f"local{six}"])
    return VxlanDevice(
        name=name,
        vni=options["vni"],
        port=valid_number(node, _called("port"), options["port"], 1, LARGEST_PORT),
        local=local,
        interface=_underlay(node, what, local, options["interface"], kernel),
        mac=valid_mac(node, f"mac{six}", options[f"mac{six}"]),
        mtu=0,
        learning=options["learning"],
        ttl=valid_number(node, "ttl", options["ttl"], 0, 255),
    )


def _underlay(node: str, what: str, local: str, interface: str | None, kernel: Kernel) -> str:
    """The interface below the device; the address must be on one of this node's, and the interface must be there."""
    carriers = kernel.links.carriers()
    if local not in carriers:
        raise refuse(node, what, local, f"no interface of this node carries it; it has {_listed(carriers)}")
    if interface is None:
        return carriers[local]
    present = kernel.links.mtus()
    if interface not in present:
        raise refuse(node, _called("interface"), interface, f"this node has no such interface; it has {_listed(present)}")
    return interface


def _mtu(node: str, wanted: int | None, smallest: int, devices: Sequence[VxlanDevice], underlays: Mapping[str, int]) -> int:
    """The MTU of all devices, since a pod has one for both families: what the underlay leaves, unless a smaller one is wanted."""
    left = {device: underlays[device.interface] - OVERHEAD[family_of(device.local)] for device in devices}
    least = min(left, key=lambda device: left[device])
    mtu = left[least] if wanted is None else wanted
    if not smallest <= mtu <= left[least]:
        takes = f"VXLAN takes {OVERHEAD[family_of(least.local)]} of it"
        reason = f"{least.interface} has an MTU of {underlays[least.interface]} and {takes}: expected {smallest} to {left[least]}"
        raise refuse(node, _called("mtu"), mtu, reason)
    return mtu


def _predecessor(kernel: Kernel, objects: Iterable[Object], names: Collection[str]) -> str:
    """The VXLAN device by a name that is not wanted that has one of our addresses: this node's VTEP from before its VNI changed."""
    carriers = kernel.links.carriers()
    addresses = [thing.address.partition("/")[0] for thing in objects if isinstance(thing, Address)]
    others = {carriers[address] for address in addresses if address in carriers}.difference(names)
    return next((name for name in sorted(others) if isinstance(kernel.links.read(name), VxlanDevice)), "")


def _sysctls(device: str) -> Iterable[DeviceSysctl]:
    """flannel switches router advertisements off (device.go:78): a pod could otherwise announce itself as the node's router."""
    if Path("/proc/sys/net/ipv6").is_dir():
        yield DeviceSysctl(device, f"net.ipv6.conf.{device.replace('.', '/')}.accept_ra", "0")


def _called(option: str) -> str:
    return f"{option} ({VARIABLES[option]})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
