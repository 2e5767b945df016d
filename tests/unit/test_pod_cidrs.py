# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Nodes are told which pod subnets, and which device flanneld is to take."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.plugin_utils._pod_cidrs import flannel_annotations, node_pod_cidrs

LEASES = {
    "node1": {"subnets": ["172.20.0.0/24"], "underlay": "198.51.100.1", "mac": "02:f1:ac:14:00:00", "state": "active"},
    "Node2": {
        "subnets": ["172.20.1.0/24", "2001:db8:244:1::/64"],
        "underlay": "198.51.100.2",
        "mac": "fe:00:00:00:00:02",
        "state": "active",
    },
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


def test_flanneld_finds_the_mac_and_the_underlay_address_in_annotations_as_it_writes_them_itself() -> None:
    """The text of backend-data is that of golden/kube: flanneld does not parse it as JSON."""
    told = flannel_annotations([node("node1"), node("k8s-2", "198.51.100.2"), node("stranger")], LEASES, 7)
    assert [each["metadata"] for each in told] == [
        {
            "name": "node1",
            "annotations": {
                "flannel.alpha.coreos.com/backend-data": '{"VNI":7,"VtepMAC":"02:f1:ac:14:00:00"}',
                "flannel.alpha.coreos.com/node-public-ip": "198.51.100.1",
            },
        },
        {
            "name": "k8s-2",
            "annotations": {
                "flannel.alpha.coreos.com/backend-data": '{"VNI":7,"VtepMAC":"fe:00:00:00:00:02"}',
                "flannel.alpha.coreos.com/node-public-ip": "198.51.100.2",
            },
        },
    ]
    annotated = node("node1")
    annotated["metadata"]["annotations"] = {**told[0]["metadata"]["annotations"], "flannel.alpha.coreos.com/backend-type": "vxlan"}
    assert flannel_annotations([annotated], LEASES, 7) == []


def test_a_second_device_for_ipv6_has_annotations_of_its_own() -> None:
    lease = {**LEASES["node1"], "underlay6": "2001:db8::1", "mac6": "02:f1:00:00:00:06"}
    annotations = flannel_annotations([node("node1")], {"node1": lease})[0]["metadata"]["annotations"]
    assert annotations["flannel.alpha.coreos.com/backend-v6-data"] == '{"VNI":1,"VtepMAC":"02:f1:00:00:00:06"}'
    assert annotations["flannel.alpha.coreos.com/node-public-ipv6"] == "2001:db8::1"
    assert len(annotations) == 4
