# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Nodes are told which pod subnets."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.plugin_utils._pod_cidrs import node_pod_cidrs

LEASES = {
    "node1": {"subnets": ["172.20.0.0/24"], "underlay": "198.51.100.1", "state": "active"},
    "Node2": {"subnets": ["172.20.1.0/24", "2001:db8:244:1::/64"], "underlay": "198.51.100.2", "state": "active"},
    "node3": {"subnets": ["172.20.2.0/24"], "underlay": "198.51.100.3", "state": "retired"},
}


def node(name: str, address: str | None = None, **spec: Any) -> dict[str, Any]:
    addresses = [{"type": "Hostname", "address": name}, *([{"type": "InternalIP", "address": address}] if address else [])]
    return {"metadata": {"name": name}, "spec": spec or None, "status": {"addresses": addresses}}


def told(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {each["metadata"]["name"]: each["spec"] for each in node_pod_cidrs(nodes, LEASES)}


def test_a_node_gets_the_subnets_of_the_lease_of_its_name_the_first_one_in_both_places() -> None:
    assert told(node("node1"), node("node2")) == {
        "node1": {"podCIDR": "172.20.0.0/24", "podCIDRs": ["172.20.0.0/24"]},
        "node2": {"podCIDR": "172.20.1.0/24", "podCIDRs": ["172.20.1.0/24", "2001:db8:244:1::/64"]},
    }
    assert node_pod_cidrs([node("node1")], LEASES)[0] == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node1"},
        "spec": {"podCIDR": "172.20.0.0/24", "podCIDRs": ["172.20.0.0/24"]},
    }


def test_a_node_of_another_name_is_known_by_its_address() -> None:
    assert list(told(node("k8s-198-51-100-2", "198.51.100.2"))) == ["k8s-198-51-100-2"]
    assert told(node("node1", "198.51.100.2"))["node1"]["podCIDRs"] == ["172.20.0.0/24"]


def test_a_node_that_has_its_subnets_or_no_lease_is_told_nothing() -> None:
    assert told(node("node1", podCIDR="172.20.0.0/24", podCIDRs=["172.20.0.0/24"])) == {}
    assert told(node("node1", podCIDR="172.20.0.0/24")) == {}
    assert told(node("node3", "198.51.100.3"), node("stranger", "198.51.100.9")) == {}


def test_a_node_with_other_subnets_is_refused_before_any_is_told() -> None:
    with pytest.raises(
        Refused, match=re.escape("node1: spec.podCIDRs is 10.244.3.0/24: the ledger has 172.20.0.0/24 and nobody can change")
    ):
        node_pod_cidrs([node("node2"), node("node1", podCIDR="10.244.3.0/24", podCIDRs=["10.244.3.0/24"])], LEASES)
