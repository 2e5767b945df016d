# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VTEP from a module's options: looks up the underlay on the node and refuses what cannot work there. I/O."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import (
    valid_address,
    valid_device,
    valid_mac,
    valid_number,
    valid_prefix,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._kernel import Kernel, KernelTarget
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
from ansible_collections.podnet.baremetal.plugins.module_utils._own_routes import refuse_own_routes

# What VXLAN adds to a packet: inner Ethernet 14, VXLAN 8, UDP 8 and the outer IP header (RFC 7348, section 5).
OVERHEAD = {4: 50, 6: 70}
SMALLEST_MTU = 576  # RFC 791: what every IPv4 host must take
LARGEST_MTU = 65535
LARGEST_PORT = 65535
LARGEST_VNI = (1 << 24) - 1  # RFC 7348: 24 bits

# Where a role takes an option from: messages name both, so that who wrote an inventory finds the line.
VARIABLES = {
    "interface": "podnet_underlay_interface",
    "local": "podnet_underlay_address",
    "mtu": "podnet_mtu",
    "port": "podnet_port",
    "vni": "podnet_vni",
}


def vtep_target(node: str, options: dict[str, Any]) -> KernelTarget:
    """The target of `vxlan_device`: the device with these addresses and no others, or no device by that name."""
    kernel = Kernel.writable(node)
    vni = valid_number(node, _called("vni"), options["vni"], 1, LARGEST_VNI)
    name = valid_device(node, "name", options["name"] or f"flannel.{vni}")
    if options["state"] == "absent":
        scope = Scope(name, frozenset({("link", name)}), frozenset({VxlanDevice}))
        return KernelTarget(node, name, scope, (), kernel=kernel)
    device = _device(node, name, options, kernel)
    if options["cluster_cidrs"]:
        refuse_own_routes(node, name, options, kernel.tables.foreign_routes())
    desired: tuple[Object, ...] = (device, *_sysctls(name), *_addresses(node, name, options["addresses"]))
    scope = scope_of(name, desired, purge=EVERY_KIND)
    return KernelTarget(
        node,
        name,
        scope,
        desired,
        recreate=options["recreate"],
        keep=True,
        predecessor=_predecessor(kernel, desired),
        returned={"device": {field: getattr(device, field) for field in ("name", "interface", "local", "mac", "mtu")}},
        kernel=kernel,
    )


def _device(node: str, name: str, options: dict[str, Any], kernel: Kernel) -> VxlanDevice:
    local = valid_address(node, _called("local"), options["local"])
    interface = _underlay(node, local, options["interface"], kernel)
    return VxlanDevice(
        name=name,
        vni=options["vni"],
        port=valid_number(node, _called("port"), options["port"], 1, LARGEST_PORT),
        local=local,
        interface=interface,
        mac=valid_mac(node, "mac", options["mac"]),
        mtu=_mtu(node, options["mtu"], kernel.links.mtus()[interface], local, interface),
        learning=options["learning"],
        ttl=valid_number(node, "ttl", options["ttl"], 0, 255),
    )


def _underlay(node: str, local: str, interface: str | None, kernel: Kernel) -> str:
    """The interface below the device; the address must be on one of this node's, and the interface must be there."""
    carriers = kernel.links.carriers()
    if local not in carriers:
        raise refuse(node, _called("local"), local, f"no interface of this node carries it; it has {_listed(carriers)}")
    if interface is None:
        return carriers[local]
    present = kernel.links.mtus()
    if interface not in present:
        raise refuse(node, _called("interface"), interface, f"this node has no such interface; it has {_listed(present)}")
    return interface


def _mtu(node: str, wanted: int | None, underlay: int, local: str, interface: str) -> int:
    """The MTU of the device: what the underlay leaves, unless a smaller one is wanted."""
    overhead = OVERHEAD[family_of(local)]
    largest = underlay - overhead
    if wanted is None:
        return largest
    if not SMALLEST_MTU <= wanted <= largest:
        reason = f"{interface} has an MTU of {underlay} and VXLAN takes {overhead} of it: expected {SMALLEST_MTU} to {largest}"
        raise refuse(node, _called("mtu"), wanted, reason)
    return wanted


def _predecessor(kernel: Kernel, desired: Iterable[Object]) -> str:
    """The VXLAN device by another name that has one of our addresses: this node's VTEP from before its VNI changed."""
    carriers = kernel.links.carriers()
    wanted = [thing for thing in desired if isinstance(thing, Address)]
    names = {carriers.get(thing.address.split("/")[0], thing.device) for thing in wanted} - {thing.device for thing in wanted}
    return next((name for name in sorted(names) if isinstance(kernel.links.read(name), VxlanDevice)), "")


def _addresses(node: str, device: str, addresses: Iterable[str]) -> Iterable[Address]:
    return [Address(device, valid_prefix(node, "addresses", address)) for address in addresses]


def _sysctls(device: str) -> Iterable[DeviceSysctl]:
    """flannel switches router advertisements off (device.go:78): a pod could otherwise announce itself as the node's router."""
    if Path("/proc/sys/net/ipv6").is_dir():
        yield DeviceSysctl(device, f"net.ipv6.conf.{device.replace('.', '/')}.accept_ra", "0")


def _called(option: str) -> str:
    return f"{option} ({VARIABLES[option]})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
