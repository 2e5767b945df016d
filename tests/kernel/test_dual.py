# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both families on one node: two devices, one device over either underlay, and the way from one to the other."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._entry import entry_target
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import PodRoute
from node import FDB, NEIGHBOURS, PEERS, REACHABLE, ROUTES, Node, commands, device, peers

ADDRESSES = ["172.20.0.0/32", "fd00:10:244::/128"]
TWO: dict[str, Any] = {"local6": "2001:db8::1", "mac6": "02:f1:02:44:00:00", "addresses": ADDRESSES}
SIX: dict[str, Any] = {"local": "2001:db8::1", "mac": "02:f1:02:44:00:00", "addresses": ADDRESSES[1:]}
PEERS6: list[dict[str, Any]] = [
    {"node": f"node{n + 1}", "subnets": [f"fd00:10:244:{n}::/64"], "underlay": f"2001:db8::{n + 1}", "mac": f"02:f1:02:44:00:0{n}"}
    for n in (1, 2)
]
NEIGHBOURS6 = [f"ip neigh replace fd00:10:244:{n}:: lladdr 02:f1:02:44:00:0{n} dev flannel-v6.1 nud permanent" for n in (1, 2)]
FDB6 = [f"bridge fdb replace 02:f1:02:44:00:0{n} dev flannel-v6.1 dst 2001:db8::{n + 1} self permanent" for n in (1, 2)]
ROUTES6 = [f"ip route replace fd00:10:244:{n}::/64 via fd00:10:244:{n}:: dev flannel-v6.1 onlink proto 86" for n in (1, 2)]
# Peers that are reached by one address for both families.
SHARED = [{**four, "subnets": four["subnets"] + six["subnets"]} for four, six in zip(PEERS, PEERS6)]


def both(check: bool = False, wanted: list[dict[str, Any]] | None = None, **options: Any) -> list[str]:
    """One run of vxlan_peers on the two devices."""
    return peers(check=check, wanted=[*PEERS, *PEERS6] if wanted is None else wanted, device6="flannel-v6.1", **options)


@pytest.fixture
def dual(node: Node) -> Node:
    """A node with both devices and two peers on each."""
    device(**TWO)
    both()
    return node


def test_the_two_devices_are_what_flannel_makes_but_for_their_common_mtu(node: Node) -> None:
    device(**TWO)
    four, six = (node.run(f"ip -d link show {name}") for name in ("flannel.1", "flannel-v6.1"))
    for text, mac, local in ((four, "02:f1:ac:14:00:00", "198.51.100.1"), (six, "02:f1:02:44:00:00", "2001:db8::1")):
        assert "<BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1430" in text
        assert f"link/ether {mac}" in text
        assert f"vxlan id 1 local {local} dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum" in text
    assert [line.split()[1] for line in node.run("ip -o addr show dev flannel.1 scope global").splitlines()] == ["flannel.1"]
    assert "inet6 fd00:10:244::/128 scope global" in node.run("ip addr show dev flannel-v6.1")
    assert node.run("sysctl -n net.ipv6.conf.flannel/1.accept_ra net.ipv6.conf.flannel-v6/1.accept_ra") == "0\n0\n"


def test_each_kind_of_entry_comes_on_both_devices_before_the_next_and_routes_are_last(node: Node) -> None:
    device(**TWO)
    assert both() == [*NEIGHBOURS, *NEIGHBOURS6, *FDB, *FDB6, *ROUTES, *ROUTES6]
    routes = node.run("ip -d -6 route show proto 86").splitlines()
    assert [route.strip() for route in routes] == [
        f"unicast fd00:10:244:{n}::/64 via fd00:10:244:{n}:: dev flannel-v6.1 scope global metric 1024 onlink pref medium" for n in (1, 2)
    ]


def test_a_second_run_on_both_devices_changes_nothing_and_sends_nothing(dual: Node) -> None:
    before = dual.dump()
    assert (device(**TWO), both()) == ([], [])
    assert dual.dump() == before


def test_check_mode_says_of_both_devices_what_a_run_then_does(node: Node) -> None:
    before = node.dump()
    predicted = [device(check=True, **TWO), both(check=True)]
    assert node.dump() == before
    assert [device(**TWO), both()] == predicted


@pytest.mark.parametrize(
    ("spoil", "repair"),
    [
        ("ip neigh del fd00:10:244:1:: dev flannel-v6.1", NEIGHBOURS6[:1]),
        ("ip neigh replace fd00:10:244:1:: lladdr 02:00:00:00:00:09 dev flannel-v6.1 nud permanent", NEIGHBOURS6[:1]),
        ("bridge fdb del 02:f1:02:44:00:01 dev flannel-v6.1", FDB6[:1]),
        ("bridge fdb replace 02:f1:02:44:00:01 dev flannel-v6.1 dst 2001:db8::9 self permanent", FDB6[:1]),
        ("ip route del fd00:10:244:1::/64", ROUTES6[:1]),
        ("ip -6 route flush dev flannel-v6.1 proto 86", ROUTES6),
        ("ip route del 172.20.1.0/24", ROUTES[:1]),
    ],
)
def test_what_somebody_spoiled_on_either_device_is_repaired_alone(dual: Node, spoil: str, repair: list[str]) -> None:
    before = dual.dump()
    dual.run(spoil)
    assert both(check=True) == repair
    assert both() == repair
    assert (dual.dump(), device(**TWO)) == (before, [])


@pytest.mark.parametrize(
    ("spoil", "repair"),
    [
        ("mtu 1400", ["ip link set dev flannel-v6.1 mtu 1430"]),
        ("type vxlan dev eth1", ["ip link set dev flannel-v6.1 type vxlan dev eth0"]),
        ("type vxlan local 2001:db8::11", ["ip link set dev flannel-v6.1 type vxlan local 2001:db8::1"]),
        ("type vxlan learning", ["ip link set dev flannel-v6.1 type vxlan nolearning"]),
        ("type vxlan remote 2001:db8::9", ["ip link set dev flannel-v6.1 type vxlan remote ::"]),
    ],
)
def test_the_second_device_is_repaired_in_place_and_every_entry_stays(dual: Node, spoil: str, repair: list[str]) -> None:
    dual.run("ip addr add 2001:db8::11/64 dev eth0 nodad")
    before, index = dual.dump(), dual.index("flannel-v6.1")
    dual.run(f"ip link set dev flannel-v6.1 {spoil}")
    assert device(**TWO) == repair
    assert both() == []
    assert (dual.dump(), dual.index("flannel-v6.1")) == (before, index)


def test_the_second_device_comes_up_again_with_its_address_and_its_entries(dual: Node) -> None:
    before = dual.dump()
    dual.run("ip link set dev flannel-v6.1 down")
    assert device(**TWO) == ["ip link set dev flannel-v6.1 up", "ip addr add fd00:10:244::/128 dev flannel-v6.1"]
    assert set(both()) == {*NEIGHBOURS6, *ROUTES6}
    assert "tentative" in dual.run("ip addr show dev flannel-v6.1") or dual.dump() == before


def test_a_mac_that_we_change_on_the_second_device_takes_no_neighbour_along(dual: Node) -> None:
    changed = device(**{**TWO, "mac6": "02:f1:00:00:00:07"})
    assert changed == ["ip link set dev flannel-v6.1 address 02:f1:00:00:00:07", *NEIGHBOURS6]
    assert both() == []


def test_a_peer_that_left_is_purged_from_both_devices(dual: Node) -> None:
    left = both(wanted=[PEERS[0], PEERS6[0]])
    assert left == [
        "ip route del 172.20.2.0/24 via 172.20.2.0 dev flannel.1 onlink proto 86",
        "ip route del fd00:10:244:2::/64 via fd00:10:244:2:: dev flannel-v6.1 onlink proto 86",
        "bridge fdb del 02:f1:02:44:00:02 dev flannel-v6.1 dst 2001:db8::3 self",
        "bridge fdb del 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.3 self",
        "ip neigh del 172.20.2.0 dev flannel.1",
        "ip neigh del fd00:10:244:2:: dev flannel-v6.1",
    ]
    assert both(wanted=[]) != []
    assert dual.dump().count("proto 86") == 1, "the unreachable route of the whole range stays"


def test_ipv4_routes_of_two_devices_may_name_nexthops_and_ipv6_ones_stay_plain(dual: Node) -> None:
    both(nexthops="always")
    assert both(nexthops="always") == []
    assert "nhid" in dual.run("ip route show 172.20.1.0/24")
    assert "nhid" not in dual.run("ip -6 route show proto 86")


def test_a_node_is_kept_out_of_its_own_peers_by_either_mac(node: Node) -> None:
    device(**TWO)
    own = [
        {"node": "node1", "subnets": ["172.20.0.0/24"], "underlay": "198.51.100.1", "mac": "02:f1:ac:14:00:00"},
        {"node": "node1", "subnets": ["fd00:10:244::/64"], "underlay": "2001:db8::1", "mac": "02:f1:02:44:00:00"},
    ]
    assert both(wanted=own, own=[each["mac"] for each in own]) == []
    with pytest.raises(Refused, match=r"the mac of a peer is 02:f1:02:44:00:00: flannel-v6.1 itself has it"):
        both(wanted=own[1:])


# --- one device for all -------------------------------------------------------


@pytest.mark.parametrize(("local", "mtu"), [("198.51.100.1", 1450), ("2001:db8::1", 1430)])
def test_one_device_carries_both_families_over_either_underlay(node: Node, local: str, mtu: int) -> None:
    device(local=local, addresses=ADDRESSES)
    wanted = [{**peer, "underlay": each["underlay"]} for peer, each in zip(SHARED, PEERS if mtu == 1450 else PEERS6)]
    assert len(peers(wanted=wanted)) == 2 * (1 + 2 + 2)
    assert (device(local=local, addresses=ADDRESSES), peers(wanted=wanted)) == ([], [])
    assert f"mtu {mtu}" in node.run("ip link show flannel.1")
    assert node.run("ip -o link show type vxlan").count("\n") == 1


def test_ipv6_alone_is_carried_by_flannels_device_for_it(node: Node) -> None:
    device(**SIX)
    assert peers(wanted=PEERS6, device="flannel-v6.1") == [*NEIGHBOURS6, *FDB6, *ROUTES6]
    assert (device(**SIX), peers(wanted=PEERS6, device="flannel-v6.1")) == ([], [])
    assert "flannel.1" not in node.dump()


# --- from one to the other ------------------------------------------------------


def test_a_node_that_becomes_dual_stack_keeps_its_first_device_and_all_its_entries(overlay: Node) -> None:
    index = overlay.index("flannel.1")
    assert device(**TWO)[0] == "ip link set dev flannel.1 mtu 1430"
    assert both() == [*NEIGHBOURS6, *FDB6, *ROUTES6]
    assert overlay.index("flannel.1") == index


def test_ipv6_moves_to_a_device_of_its_own_and_back(node: Node) -> None:
    device(addresses=ADDRESSES)
    peers(wanted=SHARED)
    before, index = node.dump(), node.index("flannel.1")
    device(**TWO)
    moved = both()
    assert moved[-1] == "ip neigh del fd00:10:244:2:: dev flannel.1"
    assert (both(), device(**TWO)) == ([], [])
    assert "fd00" not in node.run("ip -6 route show dev flannel.1") + node.run("ip -6 neigh show dev flannel.1 nud permanent")
    device(addresses=ADDRESSES)
    peers(wanted=SHARED)
    assert (device(addresses=ADDRESSES), peers(wanted=SHARED)) == ([], [])
    assert (node.dump(), node.index("flannel.1")) == (before, index)


def test_another_underlay_family_is_refused_then_recreated_without_what_it_cannot_have(overlay: Node) -> None:
    with pytest.raises(Refused, match=r"family of local is 4 and must be 6: .*recreate: true"):
        device(local="2001:db8::1")
    assert device(local="2001:db8::1", recreate=True)[0] == "ip link del flannel.1"
    six = [{**peer, "underlay": each["underlay"]} for peer, each in zip(PEERS, PEERS6)]
    assert peers(wanted=six) == [command.replace("198.51.100.", "2001:db8::") for command in FDB]


def test_an_ipv6_route_by_another_device_is_taken_over(dual: Node) -> None:
    dual.run("ip route del fd00:10:244:1::/64")
    dual.run("ip route add fd00:10:244:1::/64 via fd00:10:244:1:: dev flannel.1 onlink proto 86")
    assert both() == ["ip route del fd00:10:244:1::/64 via fd00:10:244:1:: dev flannel.1 onlink proto 86", ROUTES6[0]]


# --- what cannot work -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"local6": "198.51.100.11"},
            r"node1: local and local6 is 198.51.100.1 and 198.51.100.11: the kernel takes two",
        ),
        ({"local": "2001:db8::1"}, r"node1: local and local6 is 2001:db8::1 and 2001:db8::1: the kernel takes"),
        ({"local6": "2001:db8::9"}, r"node1: local6 \(podnet_underlay_address\) is 2001:db8::9: no interface of this node carries it"),
        ({"mac6": "33:33:00:00:00:01"}, r"node1: mac6 is 33:33:00:00:00:01: expected a unicast MAC"),
        ({"name6": "flannel.1"}, r"node1: name6 is flannel.1: name is the same"),
        ({"mtu": 1431}, r"node1: mtu \(podnet_mtu\) is 1431: eth0 has an MTU of 1500 and VXLAN takes 70 of it: expected 1280 to 1430"),
        ({"mtu": 1279}, r"node1: mtu \(podnet_mtu\) is 1279: .*: expected 1280 to 1430"),
    ],
)
def test_two_devices_that_cannot_work_are_refused_before_anything_changes(node: Node, options: dict[str, Any], sentence: str) -> None:
    before = node.dump()
    with pytest.raises(Refused, match=sentence):
        device(**{**TWO, **options})
    assert node.dump() == before


def test_an_underlay_that_is_too_small_for_ipv6_is_refused(node: Node) -> None:
    node.run("ip link set eth0 mtu 1300")
    with pytest.raises(Refused, match=r"mtu \(podnet_mtu\) is 1230: eth0 has an MTU of 1300 and VXLAN takes 70 .* 1280 to 1230"):
        device(**TWO)


def test_both_devices_go_with_all_that_they_had(dual: Node) -> None:
    assert device(state="absent", name6="flannel-v6.1") == ["ip link del flannel.1", "ip link del flannel-v6.1", REACHABLE]
    assert device(state="absent", name6="flannel-v6.1") == []
    assert "proto 86" not in dual.dump()


def test_one_ipv6_route_comes_and_goes_alone(dual: Node) -> None:
    entry = PodRoute("flannel-v6.1", "fd00:10:244:9::/64", "fd00:10:244:9::")
    before = dual.dump()
    assert [len(commands(entry_target("node1", entry, state))) for state in ("present", "present", "absent", "absent")] == [1, 0, 1, 0]
    assert dual.dump() == before
