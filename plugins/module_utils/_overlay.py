# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the peers of a node come to in kernel objects, per subnet one neighbour, one fdb entry and one route, and back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._fdb_entry import FdbEntry
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_address, valid_device, valid_mac, valid_subnet
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import Entry, place_of
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import PodRoute
from ansible_collections.podnet.baremetal.plugins.module_utils._static_neigh import StaticNeigh
from ansible_collections.podnet.baremetal.plugins.module_utils._wire import Row, pack


def peer_objects(device: str, peers: Iterable[Mapping[str, Any]], device6: str | None = None) -> tuple[Entry, ...]:
    """The entries on the device that make these peers reachable, each kind in the order of the peers. `device6` is that of IPv6 subnets.

    A peer is {node, subnets: [network, ...], underlay: address, mac}. The gateway of a subnet is its VTEP's address, the
    subnet's own network address (flannel: vxlan_network.go:290). Raises Refused for a value that cannot work and for a subnet,
    underlay address or MAC that two peers share.
    """
    for name in (device, device6 or device):
        valid_device("peers", "device", str(name))
    valid = [_valid(peer) for peer in peers]
    _refuse_shared(valid)
    _refuse_loops(valid)
    entries = dict.fromkeys(entry for peer in valid for entry in _entries(device, device6 or device, peer))
    return tuple(sorted(entries, key=place_of))


def peers_in(device: str, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """The peers that entries on the device make reachable, by their first subnet: {subnets, underlay, mac}, "" for what is not there."""
    known = [entry for entry in entries if entry.device == device and (entry.owned or isinstance(entry, PodRoute))]
    underlays = {entry.mac: entry.destination for entry in known if isinstance(entry, FdbEntry) and not entry.flooded}
    macs = {entry.address: entry.mac for entry in known if isinstance(entry, StaticNeigh)}
    subnets: dict[str, list[str]] = {mac: [] for mac in (*underlays, *macs.values())}
    unknown = []
    for route in (entry for entry in known if isinstance(entry, PodRoute) and entry.gateway):
        mac = macs.get(route.gateway, "")
        subnets[mac].append(route.subnet) if mac else unknown.append(route.subnet)
    peers = [{"subnets": sorted(theirs), "underlay": underlays.get(mac, ""), "mac": mac} for mac, theirs in subnets.items()]
    peers += [{"subnets": [subnet], "underlay": "", "mac": ""} for subnet in unknown]
    return sorted(peers, key=lambda peer: (peer["subnets"], peer["mac"]))


def pack_plan(peers: Iterable[Mapping[str, Any]]) -> str:
    """The same peers as the short text in which they travel to the nodes. Raises Refused like `peer_objects`."""
    valid = [_valid(peer) for peer in peers]
    _refuse_loops(valid)
    return pack_valid(valid)


def pack_valid(peers: Sequence[Mapping[str, Any]]) -> str:
    """The same of peers whose values are valid and canonical, as a ledger's are. Raises Refused for what two of them share."""
    _refuse_shared(peers)
    return pack(row for peer in peers for row in _rows(peer))


def _entries(device: str, device6: str, peer: Mapping[str, Any]) -> Iterable[Entry]:
    for subnet in peer["subnets"]:
        through = device6 if ":" in subnet else device
        gateway = subnet.split("/")[0]
        yield FdbEntry(through, peer["mac"], peer["underlay"])
        yield StaticNeigh(through, gateway, peer["mac"])
        yield PodRoute(through, subnet, gateway)


def _rows(peer: Mapping[str, Any]) -> Iterable[Row]:
    mac, underlay = bytes.fromhex(peer["mac"].replace(":", "")), _bytes(peer["underlay"])
    for subnet in peer["subnets"]:
        address, _slash, length = subnet.partition("/")
        yield mac, underlay, _bytes(address), int(length)


def _bytes(address: str) -> bytes:
    """Of a canonical address; ten times as fast for IPv4 as ip_address(address).packed, which looks for what is wrong with it."""
    return ip_address(address).packed if ":" in address else bytes(map(int, address.split(".")))


def _valid(peer: Mapping[str, Any]) -> dict[str, Any]:
    node = str(peer.get("node") or "")
    if not node:
        raise Refused(f"peers: every peer needs the name of its node, and {dict(peer)} has none.")
    who = f"peer {node}"
    if not peer.get("subnets") or not isinstance(peer["subnets"], (list, tuple)):
        raise refuse(who, "subnets", peer.get("subnets") or "empty", "expected a list of at least one network like 172.20.1.0/24")
    return {
        "node": node,
        "subnets": [valid_subnet(who, "subnets", str(subnet)) for subnet in peer["subnets"]],
        "underlay": valid_address(who, "underlay", str(peer.get("underlay"))),
        "mac": valid_mac(who, "mac", str(peer.get("mac"))),
    }


def _refuse_shared(peers: Sequence[Mapping[str, Any]]) -> None:
    owners: dict[tuple[str, str], str] = {}
    for peer in peers:
        values = [("underlay", peer["underlay"]), ("mac", peer["mac"]), *(("subnets", subnet) for subnet in peer["subnets"])]
        for what, value in values:
            owner = owners.setdefault((what, value), peer["node"])
            if owner != peer["node"]:
                raise refuse(f"peer {peer['node']}", what, value, f"peer {owner} has it too; each peer needs its own")


def _refuse_loops(peers: Sequence[Mapping[str, Any]]) -> None:
    """Refuse an underlay address that is among pods: packets to it would go into the tunnel that they carry. A ledger has none."""
    subnets = {ip_network(subnet) for peer in peers for subnet in peer["subnets"]}
    lengths = {(subnet.version, subnet.prefixlen) for subnet in subnets}
    for peer in peers:
        address = ip_address(peer["underlay"])
        for around in (ip_network((address, length), strict=False) for version, length in lengths if version == address.version):
            if around in subnets:
                why = f"it lies in the pod subnet {around}: nodes and pods need separate ranges"
                raise refuse(f"peer {peer['node']}", "underlay", peer["underlay"], why)
