# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel changes in place and what it takes only for a new device, attribute by attribute, through our engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils import _links
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused
from node import FDB, NEIGHBOURS, REACHABLE, ROUTES, UNREACHABLE, Node, device, peers


def test_a_new_device_is_what_flannel_makes(node: Node) -> None:
    device()
    text = node.run("ip -d link show flannel.1")
    assert "<BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450" in text
    assert "qlen" not in text
    assert "link/ether 02:f1:ac:14:00:00" in text
    assert "vxlan id 1 local 198.51.100.1 dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300 udpcsum" in text
    assert "inet 172.20.0.0/32 scope global flannel.1" in node.run("ip addr show flannel.1")
    assert node.run("sysctl -n net.ipv6.conf.flannel/1.accept_ra") == "0\n"


def test_the_second_run_changes_nothing_and_sends_nothing(overlay: Node) -> None:
    before = overlay.dump()
    assert device() == []
    assert peers() == []
    assert overlay.dump() == before


def test_check_mode_says_what_a_run_then_does_and_changes_nothing(node: Node) -> None:
    before = node.dump()
    predicted = [device(check=True), peers(check=True)]
    assert node.dump() == before
    assert [device(), peers()] == predicted


@pytest.mark.parametrize(
    ("spoil", "repair"),
    [
        ("mtu 1400", ["ip link set dev flannel.1 mtu 1450"]),
        ("txqueuelen 1000", ["ip link set dev flannel.1 txqueuelen 0"]),
        ("type vxlan local 198.51.100.11", ["ip link set dev flannel.1 type vxlan local 198.51.100.1"]),
        ("type vxlan dev eth1", ["ip link set dev flannel.1 type vxlan dev eth0"]),
        ("type vxlan learning", ["ip link set dev flannel.1 type vxlan nolearning"]),
        ("type vxlan ttl 3", ["ip link set dev flannel.1 type vxlan ttl 0"]),
        ("type vxlan tos 4", ["ip link set dev flannel.1 type vxlan tos 0"]),
        ("type vxlan df set", ["ip link set dev flannel.1 type vxlan df unset"]),
        ("type vxlan ageing 9", ["ip link set dev flannel.1 type vxlan ageing 300"]),
    ],
)
def test_an_attribute_is_repaired_in_place_and_every_entry_stays(overlay: Node, spoil: str, repair: list[str]) -> None:
    before, index = overlay.dump(), overlay.index("flannel.1")
    overlay.run(f"ip link set dev flannel.1 {spoil}")
    assert overlay.dump() != before or "txqueuelen" in spoil
    assert device() == repair
    assert peers() == []
    assert (overlay.dump(), overlay.index("flannel.1")) == (before, index)


def test_a_default_destination_is_taken_away_in_place(overlay: Node) -> None:
    before, index = overlay.dump(), overlay.index("flannel.1")
    overlay.run("ip link set dev flannel.1 type vxlan remote 198.51.100.9")
    assert device() == ["ip link set dev flannel.1 type vxlan remote 0.0.0.0"]
    assert peers() == []
    assert (overlay.dump(), overlay.index("flannel.1")) == (before, index)


def test_a_changed_mac_is_set_back_and_the_flushed_neighbours_return(overlay: Node) -> None:
    before, index = overlay.dump(), overlay.index("flannel.1")
    overlay.run("ip link set dev flannel.1 address 02:00:00:00:00:01")
    assert device() == ["ip link set dev flannel.1 address 02:f1:ac:14:00:00"]
    assert peers() == NEIGHBOURS
    assert (overlay.dump(), overlay.index("flannel.1")) == (before, index)


def test_a_mac_that_we_change_takes_no_neighbour_along(overlay: Node) -> None:
    assert device(mac="02:f1:00:00:00:07") == ["ip link set dev flannel.1 address 02:f1:00:00:00:07", *NEIGHBOURS]
    assert peers() == []


def test_a_device_that_is_down_comes_up_and_gets_its_entries_back(overlay: Node) -> None:
    before, index = overlay.dump(), overlay.index("flannel.1")
    overlay.run("ip link set dev flannel.1 down")
    assert device() == ["ip link set dev flannel.1 up"]
    assert peers() == [*NEIGHBOURS, *ROUTES]
    assert (overlay.dump(), overlay.index("flannel.1")) == (before, index)


def test_a_wrong_address_is_replaced_and_nothing_else_goes(overlay: Node) -> None:
    before = overlay.dump()
    overlay.run("ip addr add 172.20.7.0/32 dev flannel.1")
    overlay.run("ip addr del 172.20.0.0/32 dev flannel.1")
    peers()
    assert device() == ["ip addr add 172.20.0.0/32 dev flannel.1", "ip addr del 172.20.7.0/32 dev flannel.1"]
    assert peers() == []
    assert overlay.dump() == before


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ("id 5 local 198.51.100.1 dev eth0 dstport 8472 nolearning", "vni is 5 and must be 1"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 4789 nolearning", "port is 4789 and must be 8472"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning srcport 1000 2000", "srcport 1000 2000"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning noudpcsum", "noudpcsum"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning gbp", "gbp"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning l2miss", "l2miss"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning l3miss", "l3miss"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning proxy", "proxy"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning rsc", "rsc"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning maxaddress 9", "maxaddress 9"),
        ("id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning udp6zerocsumtx", "udp6zerocsumtx"),
        ("id 1 local 2001:db8::1 dev eth0 dstport 8472 nolearning", "family of local is 6 and must be 4"),
    ],
)
def test_what_only_a_new_device_can_have_is_refused_then_recreated_with_its_entries(node: Node, made: str, reason: str) -> None:
    node.run(f"ip link add flannel.1 address 02:f1:ac:14:00:00 up type vxlan {made}")
    if "2001" not in made:
        node.run("ip addr add 172.20.0.0/32 dev flannel.1")
        peers()
    before, index = node.dump(), node.index("flannel.1")
    with pytest.raises(Refused, match=re.escape(reason) + ".*recreate: true"):
        device()
    assert node.dump() == before
    recreated = device(recreate=True)
    assert recreated[:2] == [UNREACHABLE, "ip link del flannel.1"]
    assert node.index("flannel.1") != index
    assert set(peers()) == (set() if "2001" not in made else {*NEIGHBOURS, *FDB, *ROUTES})
    assert device() == []


def test_another_vni_is_refused_then_takes_the_place_of_the_old_device_with_its_entries(overlay: Node) -> None:
    before = overlay.dump()
    with pytest.raises(
        Refused, match=r"node1: flannel.1: name is flannel.1 and must be flannel.2, vni is 1 and must be 2: .*recreate: true"
    ):
        device(vni=2)
    assert overlay.dump() == before
    moved = [command.replace("flannel.1", "flannel.2") for command in (*NEIGHBOURS, *FDB, *ROUTES)]
    commands = device(vni=2, recreate=True)
    assert commands[0] == "ip link del flannel.1"
    assert [command for command in commands if command in moved] == moved
    assert "flannel.1" not in overlay.dump()
    assert device(vni=2) == []


@pytest.mark.parametrize("kind", ["bridge", "veth peer name other", "macvlan"])
def test_a_link_of_another_kind_is_left_alone(node: Node, kind: str) -> None:
    node.run(f"ip link add {'link eth0 ' if kind == 'macvlan' else ''}name flannel.1 type {kind}")
    before = node.run("ip -d link show flannel.1")
    actions: list[Callable[[], list[str]]] = [device, lambda: device(state="absent"), peers]
    for action in actions:
        with pytest.raises(Refused, match=f"flannel.1 .*is a link of kind {kind.split(maxsplit=1)[0]}"):
            action()
    assert node.run("ip -d link show flannel.1") == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"interface": "eth9"}, r"node1: interface \(podnet_underlay_interface\) is eth9: .* it has eth0, eth1, lo"),
        (
            {"local": "203.0.113.9"},
            r"node1: local \(podnet_underlay_address\) is 203.0.113.9: no interface .* carries it; it has .*198.51.100.1",
        ),
        ({"local": "0.0.0.0"}, r"node1: local .* is 0.0.0.0: expected the unicast address"),
        ({"local": "198.51.100.01"}, r"node1: local .* is '198.51.100.01'"),
        ({"mtu": 1451}, r"node1: mtu \(podnet_mtu\) is 1451: eth0 has an MTU of 1500 .* expected 576 to 1450"),
        ({"mtu": 9}, r"node1: mtu .* is 9"),
        ({"vni": 0}, r"node1: vni \(podnet_vni\) is 0: expected a number from 1 to 16777215"),
        ({"port": 0}, r"node1: port \(podnet_port\) is 0: expected a number from 1 to 65535"),
        ({"mac": "01:00:5e:00:00:01"}, r"node1: mac is 01:00:5e:00:00:01: expected a unicast MAC"),
        ({"mac": "00:00:00:00:00:00"}, r"node1: mac is 00:00:00:00:00:00"),
        ({"mac": "nonsense"}, r"node1: mac is 'nonsense': expected a MAC like"),
        ({"name": "fla;nnel"}, r"node1: name is 'fla;nnel': expected a device name"),
        ({"addresses": ["172.20.0.0"]}, r"node1: addresses is '172.20.0.0': expected an address with its prefix length"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence_before_anything_changes(node: Node, options: dict[str, Any], sentence: str) -> None:
    before = node.dump()
    for check in (True, False):
        with pytest.raises(Refused, match=sentence):
            device(check=check, **options)
    assert node.dump() == before


def test_the_mtu_over_an_ipv6_underlay_leaves_70_bytes(node: Node) -> None:
    device(local="2001:db8::1")
    assert "mtu 1430" in node.run("ip link show flannel.1")


def test_an_absent_device_takes_one_command_and_one_for_its_range_then_none(overlay: Node) -> None:
    assert device(state="absent") == ["ip link del flannel.1", REACHABLE]
    assert device(state="absent") == []


def test_a_kernel_without_the_kind_says_so(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    # This kernel has VXLAN and has no GENEVE: its answer to one is its answer to the other where that is missing.
    monkeypatch.setattr(_links, "VXLAN", "geneve")
    with pytest.raises(Failed, match=r"ip link add .*: Unknown device type: this kernel has no VXLAN: load the module vxlan"):
        device()


def test_the_kernels_own_words_reach_the_user(node: Node) -> None:
    node.run("ip link add other type vxlan id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning")
    with pytest.raises(Failed, match=r"ip link add name flannel.1 .*: A VXLAN device with the specified VNI already exists"):
        device()
