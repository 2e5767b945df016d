# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod subnets of the ledger as Kubernetes has them: spec.podCIDRs of each Node. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import ACTIVE

Node = Mapping[str, Any]
Leases = Mapping[str, Mapping[str, Any]]


def node_pod_cidrs(nodes: Iterable[Node], leases: Leases) -> list[dict[str, Any]]:
    """What the API server is to be told: a Node with its podCIDRs for each registered one that has none yet.

    `nodes` are Node objects, `leases` what pod_subnet returns. A Node is the lease's of its name, else the one of its address.
    Raises Refused for a Node that has others: the API server takes them once and never again (ValidateNodeUpdate).
    """
    active = {name.lower(): lease for name, lease in leases.items() if lease["state"] == ACTIVE}
    underlays = {lease["underlay"]: lease for lease in active.values()}
    missing = []
    for node in nodes:
        name = node["metadata"]["name"]
        lease = active.get(name) or next((underlays[each] for each in _addresses(node) if each in underlays), None)
        if lease and _lacks(name, _pod_cidrs(node), lease["subnets"]):
            spec = {"podCIDR": lease["subnets"][0], "podCIDRs": list(lease["subnets"])}
            missing.append({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec})
    return missing


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
