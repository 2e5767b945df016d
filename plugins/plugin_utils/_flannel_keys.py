# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases as flannel keeps them in etcd, one key each: pkg/subnet/subnet.go and pkg/lease/lease.go, flannel v0.28.9. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Lease, Ledger, Peer, all_peers, net_conf

CONFIG, SUBNETS = "config", "subnets/"
VXLAN, HELD = "vxlan", "podnet"  # flannel's vxlan backend skips every other type (vxlan_network.go, handleSubnetEvents)
NOBODY = "0.0.0.0"  # flannel wants an IPv4 address there, and looks for its own (local_manager.go, findLeaseByIP)
DATA = {4: "BackendData", 6: "BackendV6Data"}


class FlannelLease(NamedTuple):
    """What a key and its value say. The IPv4 subnet comes first; `macs` are those of the subnets, in their order, where there are any."""

    subnets: tuple[str, ...]
    underlays: tuple[str, ...]
    backend: str = VXLAN
    vni: int = 1
    macs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key below the prefix (MakeSubnetKey): subnets/172.20.1.0-24, with a second subnet after an ampersand."""
        return SUBNETS + "&".join(subnet.replace("/", "-") for subnet in self.subnets)

    @property
    def value(self) -> str:
        """As Go writes its LeaseAttrs."""
        public = {4: NOBODY, 6: None, **{_family(address): address for address in self.underlays}}
        data = {DATA[_family(subnet)]: {"VNI": self.vni, "VtepMAC": mac} for subnet, mac in zip(self.subnets, self.macs)}
        attributes = {"PublicIP": public[4], "PublicIPv6": public[6], "BackendType": self.backend, **data}
        return json.dumps(attributes, separators=(",", ":"))


def lease_of(key: str, value: str) -> FlannelLease | None:
    """Read such a key; None for one that flanneld does not take for a lease either."""
    try:
        subnets = tuple(str(ip_network(part.replace("-", "/"))) for part in key.removeprefix(SUBNETS).split("&"))
        attributes = json.loads(value)
        public = (attributes["PublicIP"], attributes.get("PublicIPv6"))
        underlays = tuple(str(ip_address(address)) for address in public if address and address != NOBODY)
        data = [attributes[DATA[_family(subnet)]] for subnet in subnets if DATA[_family(subnet)] in attributes]
        macs = tuple(str(each["VtepMAC"]) for each in data if "VtepMAC" in each)
        vni = int(data[0].get("VNI", 0)) if data else 1
        return FlannelLease(subnets, underlays, str(attributes.get("BackendType", "")), vni, macs)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def flannel_leases(ledger: Ledger | None, vni: int) -> dict[str, FlannelLease]:
    """What flanneld is to read of a ledger, by the name of the node."""
    if ledger is None:
        return {}
    vteps: dict[str, list[Peer]] = {}
    for vtep in all_peers(ledger):
        vteps.setdefault(vtep.node, []).append(vtep)
    found = ((lease.name, _flannel_lease(lease, vteps.get(lease.name, ()), vni)) for lease in ledger.leases)
    return {name: lease for name, lease in found if lease}


def _flannel_lease(lease: Lease, vteps: Iterable[Peer], vni: int) -> FlannelLease | None:
    """The lease, or where flanneld could not or should not reach the node a key that only keeps its subnets from others.

    flanneld reaches a subnet by a VTEP whose underlay address is of the same family. The other key has the first half of each subnet
    and so another name: flanneld is told that the node is gone. It would leave the entries of one that only changes its type
    (lease.go, Update), and hands out nothing that overlaps (allocateSubnet).
    flannel has no key without an IPv4 subnet, so it is told nothing of a node of IPv6 alone.
    """
    subnets = tuple(sorted(lease.subnets, key=_family))
    reached = {subnet: vtep for vtep in vteps for subnet in vtep.subnets if _family(subnet) == _family(vtep.underlay)}
    if _family(subnets[0]) != min(DATA):
        return None
    if reached.keys() != set(subnets):
        return FlannelLease(tuple(map(_half, subnets)), (), HELD)
    by_subnet = [reached[subnet] for subnet in subnets]
    return FlannelLease(subnets, tuple(vtep.underlay for vtep in by_subnet), VXLAN, vni, tuple(vtep.mac for vtep in by_subnet))


def config_of(ledger: Ledger, vni: int, port: int) -> str:
    """flannel's network configuration, in etcd a line."""
    return json.dumps(net_conf(ledger.network, vni, port), separators=(",", ":"))


def networks_in(config: str) -> list[str] | None:
    """The ranges of such a configuration, whose keys flannel reads in any case (config.go); None for one that it cannot read."""
    try:
        members: Mapping[str, Any] = {name.lower(): value for name, value in json.loads(config).items()}
        return _canonical(members[name] for name in ("network", "ipv6network") if members.get(name))
    except (AttributeError, TypeError, ValueError):
        return None


def _canonical(networks: Iterable[str]) -> list[str]:
    return sorted(str(ip_network(network)) for network in networks)


def _half(subnet: str) -> str:
    address, _slash, length = subnet.partition("/")
    return f"{address}/{int(length) + 1}"


def _family(text: str) -> int:
    return 6 if ":" in text else 4
