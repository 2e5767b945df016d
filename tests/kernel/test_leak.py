# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets of a pod to a peer whose route is missing never leave by the default route, counted on the underlay of a real kernel."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from node import FDB, NEIGHBOURS, PEERS, ROUTES, Node, device, peers
from spaces import Space

PACKETS = 50
FOUR, SIX = "172.20.0.0/16", "2001:db8:244::/48"
UNREACHABLE, UNREACHABLE6 = (f"ip route replace unreachable {cidr} metric 4278198272 proto 86" for cidr in (FOUR, SIX))
PEERS6 = [{**peer, "subnets": [*peer["subnets"], f"2001:db8:244:{n}::/64"]} for n, peer in enumerate(PEERS, start=1)]
BOTH: dict[str, Any] = {"cluster_cidrs": [FOUR, SIX], "bridge": "eth1", "addresses": ["172.20.0.0/32", "2001:db8:244::/128"]}
# What is on the wire of the underlay in clear text. What VXLAN carries is inside of UDP.
COUNTERS = """
table netdev wire {
  chain clear {
    type filter hook ingress device switch0 priority 0; policy accept;
    ip daddr 172.20.0.0/16 counter
    ip6 daddr 2001:db8:244::/48 counter
  }
}
"""


@pytest.fixture
def pod(node: Node) -> Iterator[Space]:
    """A pod behind eth1 of a node that forwards and has a default route of each family, as every node has."""
    device(**BOTH)
    peers(wanted=PEERS6)
    with closing(Space()) as space:
        space.take("switch1", "172.20.0.2/24", "2001:db8:244::2/64")
        space.run("ip route add default via 172.20.0.1")
        space.run("ip route add default via 2001:db8:244::1")
        for command in (
            "ip addr add 172.20.0.1/24 dev eth1",
            "ip addr add 2001:db8:244::1/64 dev eth1 nodad",
            "sysctl -q -w net.ipv4.ip_forward=1",
            "sysctl -q -w net.ipv6.conf.all.forwarding=1",
            "ip route add default via 198.51.100.254",
            "ip neigh add 198.51.100.254 lladdr 02:00:00:00:00:fe dev eth0",
            "ip route add default via 2001:db8::fe dev eth0",
            "ip neigh add 2001:db8::fe lladdr 02:00:00:00:00:fe dev eth0",
        ):
            node.run(command)
        node.run("nft -f -", given=COUNTERS)
        yield space


def leaked(node: Node, pod: Space) -> list[int]:
    """How many packets of the pod for node2's pods, of each family, left in clear text since the last count."""
    before = counted(node)
    pod.send("172.20.1.9", PACKETS)
    pod.send("2001:db8:244:1::9", PACKETS)
    return [after - once for once, after in zip(before, counted(node))]


def counted(node: Node) -> list[int]:
    return [int(packets) for packets in re.findall(r"counter packets (\d+)", node.run("nft list table netdev wire"))]


def test_nothing_for_a_peer_without_its_route_is_on_the_underlay_and_without_our_route_all_of_it_is(node: Node, pod: Space) -> None:
    assert leaked(node, pod) == [0, 0], "while the routes are there"
    node.run("ip route del 172.20.1.0/24")
    node.run("ip route del 2001:db8:244:1::/64")
    assert leaked(node, pod) == [0, 0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own, pytest.raises(OSError, match=r"unreachable|No route"):
        own.sendto(b"", ("172.20.1.9", 9))
    for cidr in (FOUR, SIX):
        node.run(f"ip route del unreachable {cidr} metric 4278198272")
    assert leaked(node, pod) == [PACKETS, PACKETS], "the count can be another than 0"
    assert device(**BOTH) == [UNREACHABLE, UNREACHABLE6]
    assert leaked(node, pod) == [0, 0]
    assert peers(wanted=PEERS6) == [ROUTES[0], "ip route replace 2001:db8:244:1::/64 via 2001:db8:244:1:: dev flannel.1 onlink proto 86"]


def test_nothing_is_on_the_underlay_while_peers_leave_and_the_device_goes_and_comes(node: Node, pod: Space) -> None:
    peers(wanted=[])
    assert leaked(node, pod) == [0, 0]
    node.run("ip link del flannel.1")
    assert leaked(node, pod) == [0, 0]
    assert device(**BOTH)[0].startswith("ip link add")
    assert leaked(node, pod) == [0, 0]


def test_they_are_there_before_the_device_and_go_after_it(node: Node) -> None:
    made = device(cluster_cidrs=[FOUR, SIX])
    assert made[:2] == [UNREACHABLE, UNREACHABLE6]
    assert made[2].startswith("ip link add name flannel.1")
    assert "unreachable 172.20.0.0/16 proto 86 metric 4278198272" in node.run("ip route")
    assert "unreachable 2001:db8:244::/48 dev lo proto 86 metric 4278198272" in node.run("ip -6 route")
    before = node.dump()
    assert device(cluster_cidrs=[FOUR, SIX]) == []
    assert device(cluster_cidrs=[]) == [], "who names no ranges is left with what is there"
    assert node.dump() == before
    absent = [text.replace("replace", "del") for text in (UNREACHABLE, UNREACHABLE6)]
    assert device(state="absent", cluster_cidrs=[]) == ["ip link del flannel.1"]
    assert device(state="absent", cluster_cidrs=[FOUR]) == sorted(absent)
    assert device(state="absent") == []
    assert "unreachable" not in node.run("ip route") + node.run("ip -6 route")


def test_the_texts_make_the_same_routes(node: Node) -> None:
    device(cluster_cidrs=[FOUR, SIX])
    shown = node.run("ip -d route") + node.run("ip -d -6 route")
    for text in (UNREACHABLE, UNREACHABLE6):
        node.run(text.replace("replace", "del"))
        node.run(text)
    assert node.run("ip -d route") + node.run("ip -d -6 route") == shown


def test_a_range_that_grows_takes_the_place_of_the_old_one(overlay: Node) -> None:
    assert device(cluster_cidrs=["172.20.0.0/15"]) == [
        UNREACHABLE.replace("/16", "/15"),
        UNREACHABLE.replace("replace", "del"),
    ]


def test_unreachable_routes_of_others_are_left_alone(overlay: Node) -> None:
    others = ["unreachable 203.0.113.0/24 metric 4278198272", "unreachable 192.0.2.0/24", "unreachable 198.18.0.0/15 metric 7 proto 86"]
    for route in others:
        overlay.run(f"ip route add {route}")
    assert device() == []
    assert device(state="absent") == ["ip link del flannel.1", UNREACHABLE.replace("replace", "del")]
    for route in others:
        overlay.run(f"ip route del {route}")


def test_neither_the_peers_nor_a_second_look_at_the_nodes_own_routes_minds_them(overlay: Node) -> None:
    overlay.run("ip route flush dev flannel.1")
    assert peers() == ROUTES
    assert "unreachable 172.20.0.0/16" in overlay.run("ip route")
    assert len(peers(wanted=[])) == len([*NEIGHBOURS, *FDB, *ROUTES])
    assert "unreachable 172.20.0.0/16" in overlay.run("ip route")
    assert device() == []
