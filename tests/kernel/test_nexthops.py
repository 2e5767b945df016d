# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes that name nexthop objects, on a real kernel: made, repaired, purged, exchanged for plain ones, and the same way for packets."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils import _nexthop
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from node import FDB, NEIGHBOURS, PEERS, ROUTES, Node, device, peers

ONE, TWO = (0xAC140000 + (n << 8) for n in (1, 2))  # 172.20.1.0 and 172.20.2.0
OBJECTS = [f"ip nexthop replace id {number} via 172.20.{n}.0 dev flannel.1 onlink proto 86" for n, number in enumerate((ONE, TWO), start=1)]
BY_NEXTHOP = [f"ip route replace 172.20.{n}.0/24 nhid {number} proto 86" for n, number in enumerate((ONE, TWO), start=1)]


@pytest.fixture
def linked(node: Node) -> Node:
    """A node with its device and two peers, whose routes name nexthops."""
    device()
    assert peers(nexthops="always") == [*NEIGHBOURS, *FDB, *OBJECTS, *BY_NEXTHOP]
    return node


def many(count: int) -> list[dict[str, Any]]:
    """So many peers."""
    return [
        {
            "node": f"n{n}",
            "subnets": [f"10.{n >> 8}.{n & 255}.0/24"],
            "underlay": f"203.0.{n >> 8}.{n & 255}",
            "mac": f"02:f1:0a:{n >> 8:02x}:{n & 255:02x}:00",
        }
        for n in range(1, count + 1)
    ]


def ways(node: Node) -> list[str]:
    """Where packets to the pods of the peers would go."""
    return [node.run(f"ip route get 172.20.{n}.9") for n in (1, 2)]


def entries(node: Node) -> list[str]:
    """What is on the device, but for the device, in the words of iproute2."""
    lines = (node.dump() + "\n" + node.run("ip nexthop")).splitlines()
    return sorted(line for line in lines if "flannel.1" in line and "<" not in line)


def test_iproute2_shows_them_and_a_second_run_changes_nothing(linked: Node) -> None:
    assert f"172.20.1.0/24 nhid {ONE} via 172.20.1.0 dev flannel.1 proto 86 onlink" in linked.run("ip route")
    assert f"id {ONE} via 172.20.1.0 dev flannel.1 scope link proto 86 onlink" in linked.run("ip nexthop")
    before = linked.dump()
    assert peers(nexthops="always") == []
    assert linked.dump() == before


@pytest.mark.parametrize(
    ("spoil", "repair"),
    [
        (f"ip nexthop del id {ONE}", [OBJECTS[0], BY_NEXTHOP[0]]),  # the kernel deletes its routes with it
        (f"ip nexthop replace id {ONE} via 172.20.9.0 dev flannel.1 onlink proto 86", [OBJECTS[0], BY_NEXTHOP[0]]),
        (f"ip nexthop replace id {ONE} via 172.20.1.0 dev eth0 onlink proto 86", [OBJECTS[0], BY_NEXTHOP[0]]),
        (f"ip route del 172.20.1.0/24 nhid {ONE}", BY_NEXTHOP[:1]),
        (f"ip route replace 172.20.1.0/24 nhid {TWO} proto 86", BY_NEXTHOP[:1]),
        ("ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86", BY_NEXTHOP[:1]),
        ("ip nexthop flush dev flannel.1", [*OBJECTS, *BY_NEXTHOP]),
        ("ip nexthop add id 7 via 172.20.7.0 dev flannel.1 onlink proto 86", ["ip nexthop del id 7"]),
    ],
)
def test_what_somebody_spoiled_is_repaired(linked: Node, spoil: str, repair: list[str]) -> None:
    before, there = ways(linked), linked.run("ip nexthop")
    linked.run(spoil)
    assert peers(check=True, nexthops="always") == repair
    assert peers(nexthops="always") == repair
    assert (ways(linked), sorted(linked.run("ip nexthop").splitlines())) == (before, sorted(there.splitlines()))
    assert peers(nexthops="always") == []


def test_a_peer_that_left_is_purged_route_first(linked: Node) -> None:
    assert peers(wanted=PEERS[:1], nexthops="always") == [
        f"ip route del 172.20.2.0/24 nhid {TWO} proto 86",
        f"ip nexthop del id {TWO}",
        "bridge fdb del 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.3 self",
        "ip neigh del 172.20.2.0 dev flannel.1",
    ]
    assert "172.20.2.0" not in linked.dump() + linked.run("ip nexthop")


def test_plain_routes_and_those_by_nexthop_take_each_others_place_and_lead_the_same_way(overlay: Node) -> None:
    plain, tables = ways(overlay), overlay.dump()
    assert peers(nexthops="always") == [*OBJECTS, *BY_NEXTHOP]
    assert ways(overlay) == plain
    assert peers(nexthops="never") == [*ROUTES, *(f"ip nexthop del id {number}" for number in (ONE, TWO))]
    assert (ways(overlay), overlay.dump(), overlay.run("ip nexthop")) == (plain, tables, "")


def test_the_texts_make_the_same_tables(linked: Node) -> None:
    tables = entries(linked)
    device(state="absent")
    assert entries(linked) == []
    device()
    for command in (*NEIGHBOURS, *FDB, *OBJECTS, *BY_NEXTHOP):
        linked.run(command)
    assert entries(linked) == tables


def test_what_is_not_ours_stays(linked: Node) -> None:
    linked.run("ip nexthop add id 7 via 198.51.100.9 dev eth0 proto static")
    linked.run("ip nexthop add id 8 via 198.51.100.9 dev eth0 proto 86")
    linked.run("ip nexthop add id 9 group 7")
    before = linked.run("ip nexthop")
    assert peers(nexthops="always") == []
    peers(wanted=[], nexthops="always")
    left = linked.run("ip nexthop")
    assert [line for line in before.splitlines() if line.startswith(("id 7 ", "id 8 ", "id 9 "))] == left.splitlines()


def test_a_number_that_somebody_else_has_is_refused_and_left_alone(overlay: Node) -> None:
    overlay.run(f"ip nexthop add id {ONE} via 198.51.100.9 dev eth0 proto static")
    before = overlay.dump() + overlay.run("ip nexthop")
    with pytest.raises(Refused, match=rf"node1: the nexthop {ONE} is not ours \(.* via 198.51.100.9 dev eth0 proto 4\)"):
        peers(nexthops="always")
    assert overlay.dump() + overlay.run("ip nexthop") == before
    assert peers(nexthops="never") == []


def test_a_new_device_gets_its_nexthops_back(linked: Node) -> None:
    way = ways(linked)
    made = device(port=4789, recreate=True)
    assert made[0] == "ip link del flannel.1"
    assert set(made) >= {*OBJECTS, *BY_NEXTHOP}
    assert (ways(linked), peers(nexthops="always")) == (way, [])


def test_a_kernel_that_shows_only_their_numbers_is_understood(linked: Node) -> None:
    linked.run("sysctl -q -w net.ipv4.nexthop_compat_mode=0")
    assert "nhid" in linked.run("ip route")
    assert f"nhid {ONE} via" not in linked.run("ip route")
    assert peers(nexthops="always") == []
    assert peers(wanted=PEERS[:1], nexthops="always")[0] == f"ip route del 172.20.2.0/24 nhid {TWO} proto 86"


def test_they_come_with_the_thousand_and_first_pod_subnet_and_go_with_it(node: Node) -> None:
    device()
    thousand = many(1000)
    assert len(peers(wanted=thousand)) == 3000
    assert node.run("ip nexthop") == ""
    assert len(peers(wanted=many(1001))) == 3 + 1 + 1000 + 1000, "the new peer's, its nexthop, and 1,000 nexthops with their routes"
    assert node.run("ip nexthop").count("proto 86") == 1001
    assert peers(wanted=many(1001)) == []
    assert len(peers(wanted=thousand)) == 1000 + 1 + 1001 + 2, "1,000 routes in place, then what is left of the peer and of the nexthops"
    assert (node.run("ip nexthop"), peers(wanted=thousand)) == ("", [])


def test_a_kernel_that_does_not_know_them_gets_plain_routes(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    # What this kernel says to a request that it does not know is what a kernel before 5.3 says to this one.
    monkeypatch.setattr(_nexthop, "RTM_GETNEXTHOP", 254)
    device()
    assert peers(nexthops="always") == [*NEIGHBOURS, *FDB, *ROUTES]
    assert peers(nexthops="always") == []
