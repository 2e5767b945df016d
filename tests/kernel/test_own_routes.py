# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose own routes lie where pods are to be is refused before anything is changed on it."""

from __future__ import annotations

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from node import PEERS, Node, device

IN_THE_WAY = [
    ("ip addr add 172.20.5.1/24 dev eth1", "172.20.5.0/24 dev eth1 proto 2 src 172.20.5.1"),
    ("ip addr add 172.20.5.1/24 dev eth1 metric 100", "172.20.5.0/24 dev eth1 proto 2 src 172.20.5.1 metric 100"),
    ("ip addr add 172.16.0.1/12 dev eth1", "172.16.0.0/12 dev eth1 proto 2 src 172.16.0.1"),
    ("ip addr add 172.20.0.1/16 dev eth1", "172.20.0.0/16 dev eth1 proto 2 src 172.20.0.1"),
    ("ip route add 172.20.7.0/24 via 198.51.100.9", "172.20.7.0/24 via 198.51.100.9 dev eth0 proto 3"),
    ("ip route add 172.20.7.9/32 via 198.51.100.9 metric 50", "172.20.7.9/32 via 198.51.100.9 dev eth0 proto 3 metric 50"),
    ("ip route add 172.20.0.0/16 via 198.51.100.9", "172.20.0.0/16 via 198.51.100.9 dev eth0 proto 3"),
    ("ip route add blackhole 172.20.3.0/24", "172.20.3.0/24 proto 3 type blackhole"),
    ("ip route add 172.20.1.0/24 via 198.51.100.9", "172.20.1.0/24 via 198.51.100.9 dev eth0 proto 3"),
    ("ip route add 172.20.4.0/24 via 198.51.100.2", "172.20.4.0/24 via 198.51.100.2 dev eth0 proto 3"),
]
OUT_OF_THE_WAY = [
    "ip route add default via 198.51.100.9",
    "ip route add 172.16.0.0/12 via 198.51.100.9",
    "ip route add blackhole 172.16.0.0/12",
    "ip route add 172.21.0.0/16 via 198.51.100.9",
    "ip addr add 172.21.0.1/16 dev eth1",
    "ip link add cni0 type bridge; ip link set cni0 up; ip addr add 172.20.0.1/24 dev cni0",
    "ip link add flannel.7 type vxlan id 7 dstport 4789; ip link set flannel.7 up; ip route add 172.20.8.0/24 dev flannel.7",
    "ip route add 172.20.1.0/24 via 198.51.100.2",  # node2's pod subnet via node2: flannel's DirectRouting
    "ip route add 172.20.9.0/24 via 198.51.100.9 table 9",
    "ip -6 route add 2001:db8:20::/64 dev eth1",
]


def run(node: Node, commands: str) -> None:
    for command in commands.split("; "):
        node.run(command)


@pytest.mark.parametrize(("commands", "route"), IN_THE_WAY)
def test_a_route_where_pods_are_to_be_is_refused_and_nothing_is_changed(node: Node, commands: str, route: str) -> None:
    run(node, commands)
    before = node.dump()
    for check in (True, False):
        with pytest.raises(Refused) as refused:
            device(check=check, plan=pack_plan(PEERS))
        assert str(refused.value) == (
            f"node1: podnet_cluster_cidr is 172.20.0.0/16: this node has a route of its own there, {route}: "
            "keep it out with podnet_reserved, or give the cluster another range."
        )
    assert node.dump() == before


@pytest.mark.parametrize("commands", OUT_OF_THE_WAY)
def test_a_route_that_takes_no_packet_from_a_pod_is_left_alone(node: Node, commands: str) -> None:
    run(node, commands)
    assert device(plan=pack_plan(PEERS))
    assert device(plan=pack_plan(PEERS)) == []


def test_a_route_where_nothing_is_handed_out_is_nobodys_concern(node: Node) -> None:
    run(node, IN_THE_WAY[0][0])
    assert device(reserved=["172.20.4.0/22"])


def test_a_bridge_of_another_name_may_be_that_of_the_pods(node: Node) -> None:
    run(node, IN_THE_WAY[0][0])
    assert device(bridge="eth1")


def test_every_range_of_every_family_counts(node: Node) -> None:
    node.run("ip -6 route add 2001:db8:244:5::/64 dev eth1")
    with pytest.raises(Refused, match=r"172\.20\.0\.0/16, 2001:db8:244::/48: this node .*, 2001:db8:244:5::/64 dev eth1 proto 3: keep it"):
        device(cluster_cidrs=["172.20.0.0/16", "2001:db8:244::/48"])


def test_who_names_no_ranges_has_no_routes_looked_at(node: Node) -> None:
    run(node, IN_THE_WAY[0][0])
    assert device(cluster_cidrs=[])


def test_a_node_that_is_up_is_not_in_its_own_way(overlay: Node) -> None:
    assert device() == []
