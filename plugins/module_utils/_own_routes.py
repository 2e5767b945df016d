# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a node's own routes lie where pods are to be, and the refusal of them. Pure; standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Union

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import PodRoute
from ansible_collections.podnet.baremetal.plugins.module_utils._wire import unpack

Range = Union[IPv4Network, IPv6Network]

CLUSTER = "podnet_cluster_cidr"
OVERLAYS = ("flannel.", "flannel-v6.")  # flannel's names for its VXLAN devices, whatever their VNI (vxlan.go, RegisterNetwork)


def refuse_own_routes(node: str, device: str, options: Mapping[str, Any], routes: Iterable[PodRoute]) -> None:
    """Refuse a route of the node that would take packets for pods elsewhere, or that a pod's route would take packets from."""
    clusters, reserved = (list(map(ip_network, options[name])) for name in ("cluster_cidrs", "reserved"))
    for route in routes:
        if route.device in (device, options["bridge"]) or route.device.startswith(OVERLAYS):
            continue
        if _in_the_way(route, clusters, reserved) and not _is_direct(route, options["plan"]):
            text = route.present.removeprefix("ip route replace ")
            why = f"this node has a route of its own there, {text}: keep it out with podnet_reserved, or give the cluster another range"
            raise refuse(node, CLUSTER, ", ".join(options["cluster_cidrs"]), why)


def _in_the_way(route: PodRoute, clusters: Sequence[Range], reserved: Sequence[Range]) -> bool:
    subnet = ip_network(route.subnet)
    if any(_within(subnet, held) for held in reserved):
        return False
    # Any pod subnet has a longer prefix than a wider route, which is then like a default route; but a wider network that the node is
    # connected to has hosts where pods are to be.
    return any(_within(subnet, cluster) or (_within(cluster, subnet) and route.connected) for cluster in clusters)


def _within(inner: Range, outer: Range) -> bool:
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer


def _is_direct(route: PodRoute, plan: str | None) -> bool:
    """Whether it is how a node is reached without the overlay: its pod subnet via its underlay address (flannel's DirectRouting)."""
    if not plan or not route.gateway:
        return False
    network, _slash, length = route.subnet.partition("/")
    wanted = (ip_address(route.gateway).packed, ip_address(network).packed, int(length))
    return any(row[1:] == wanted for row in unpack(plan))
