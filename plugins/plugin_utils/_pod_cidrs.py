# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger says as Kubernetes has it: spec.podCIDRs of each Node, and flannel's annotations. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import ACTIVE

FLANNEL = "flannel.alpha.coreos.com"  # the default of flanneld's --kube-annotation-prefix

Node = Mapping[str, Any]
Leases = Mapping[str, Mapping[str, Any]]


def node_pod_cidrs(nodes: Iterable[Node], leases: Leases) -> list[dict[str, Any]]:
    """What the API server is to be told: a Node with its podCIDRs for each registered one that has none yet.

    `nodes` are Node objects, `leases` what pod_subnet returns. A Node is the lease's of its name, else the one of its address.
    Raises Refused for a Node that has others: the API server takes them once and never again (ValidateNodeUpdate).
    """
    missing = []
    for name, node, lease in _leased(nodes, leases):
        if _lacks(name, _pod_cidrs(node), lease["subnets"]):
            missing.append(_told(name, spec={"podCIDR": lease["subnets"][0], "podCIDRs": list(lease["subnets"])}))
    return missing


def flannel_annotations(nodes: Iterable[Node], leases: Leases, vni: int = 1) -> list[dict[str, Any]]:
    """What the API server is to be told so that flanneld takes the device that we made, and makes it the same one after a reboot.

    flanneld looks for a MAC to use again in backend-data, cutting it out of the text (kube.go:698-731), and takes node-public-ip for
    the address and, by it, the interface of the underlay (main.go:319-370). Gives the Nodes that lack either.
    """
    told = []
    for name, node, lease in _leased(nodes, leases):
        wanted = dict(_device(lease, vni))
        given = node["metadata"].get("annotations") or {}
        if any(given.get(key) != value for key, value in wanted.items()):
            told.append(_told(name, annotations=wanted))
    return told


def _device(lease: Mapping[str, Any], vni: int) -> Iterator[tuple[str, str]]:
    """The annotations of each device: the second one carries IPv6 where the node has an IPv6 address beside the IPv4 one."""
    for address, mac, family, version in (("underlay", "mac", "", ""), ("underlay6", "mac6", "v6", "-v6")):
        if lease.get(address):
            yield f"{FLANNEL}/backend{version}-data", json.dumps({"VNI": int(vni), "VtepMAC": lease[mac]}, separators=(",", ":"))
            yield f"{FLANNEL}/node-public-ip{family}", lease[address]


def _leased(nodes: Iterable[Node], leases: Leases) -> Iterator[tuple[str, Node, Mapping[str, Any]]]:
    active = {name.lower(): lease for name, lease in leases.items() if lease["state"] == ACTIVE}
    underlays = {lease["underlay"]: lease for lease in active.values()}
    for node in nodes:
        name = node["metadata"]["name"]
        lease = active.get(name) or next((underlays[each] for each in _addresses(node) if each in underlays), None)
        if lease:
            yield name, node, lease


def _told(name: str, annotations: Mapping[str, str] | None = None, **parts: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"annotations": dict(annotations)} if annotations else {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, **parts}


def _lacks(name: str, given: list[str], wanted: list[str]) -> bool:
    if given and given != wanted:
        why = f"the ledger has {', '.join(wanted)} and nobody can change a Node's: pin podnet_pod_subnet to it, or register the Node anew"
        raise refuse(name, "spec.podCIDRs", ", ".join(given), why)
    return not given


def _pod_cidrs(node: Node) -> list[str]:
    spec = node.get("spec") or {}
    return list(spec.get("podCIDRs") or filter(None, [spec.get("podCIDR")]))


def _addresses(node: Node) -> Iterator[str]:
    addresses = (node.get("status") or {}).get("addresses") or ()
    return (each["address"] for each in addresses if each["type"] == "InternalIP")
