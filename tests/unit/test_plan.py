# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets which pod subnet, and what is refused. No I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils import _plan
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Lease, Ledger, Network, Peer, peers_of, plan, release

NETWORK = Network.of("172.20.0.0/16", "10.68.0.0/16")
DUAL = Network.of(["172.20.0.0/16", "2001:db8:244::/48"], "10.68.0.0/16")


def host(name: str, number: int, **given: Any) -> Host:
    return Host.of(name, f"198.51.100.{number}", **given)


def hosts(*names: str) -> list[Host]:
    return [host(name, number) for number, name in enumerate(names, 1)]


def by_name(ledger: Ledger) -> dict[str, Lease]:
    return {lease.name: lease for lease in ledger.leases}


def subnets(ledger: Ledger) -> dict[str, tuple[str, ...]]:
    return {lease.name: lease.subnets for lease in ledger.leases}


THREE = plan(None, NETWORK, hosts("a", "b", "c"))


def test_the_kubeasz_cluster_gets_the_subnets_that_it_has() -> None:
    ledger = plan(None, NETWORK, [Host.of("10.9.1.161"), Host.of("10.9.1.156")])
    assert subnets(ledger) == {"10.9.1.156": ("172.20.0.0/24",), "10.9.1.161": ("172.20.1.0/24",)}
    assert peers_of(ledger, "10.9.1.161") == (Peer("10.9.1.156", ("172.20.0.0/24",), "10.9.1.156", "02:f1:ac:14:00:00"),)


def test_new_nodes_get_the_lowest_free_subnets_in_the_order_of_their_names() -> None:
    assert subnets(THREE) == {"a": ("172.20.0.0/24",), "b": ("172.20.1.0/24",), "c": ("172.20.2.0/24",)}
    assert {lease.why for lease in THREE.leases} == {"new"}
    assert THREE.generation == 1


def test_a_second_run_changes_nothing() -> None:
    again = plan(THREE, NETWORK, hosts("a", "b", "c"))
    assert again == THREE
    assert {lease.why for lease in again.leases} == {"kept"}


def test_a_node_that_joins_changes_no_other_line() -> None:
    grown = plan(THREE, NETWORK, [*hosts("a", "b", "c"), host("aa", 4)])
    assert subnets(grown) == {**subnets(THREE), "aa": ("172.20.3.0/24",)}
    assert grown.generation == THREE.generation + 1


def test_a_node_that_left_keeps_its_subnet_and_gets_it_back() -> None:
    left = plan(THREE, NETWORK, [host("a", 1), host("c", 3)])
    assert by_name(left)["b"] == replace(by_name(THREE)["b"], state="retired")
    joined = plan(left, NETWORK, [host("a", 1), host("c", 3), host("d", 4)])
    assert by_name(joined)["d"].subnets == ("172.20.3.0/24",)
    back = plan(joined, NETWORK, [host("a", 1), host("b", 22), host("c", 3), host("d", 4)])
    assert by_name(back)["b"] == Lease("b", ("172.20.1.0/24",), "198.51.100.22")
    assert by_name(back)["b"].why == "reused"


def test_a_retired_node_is_nobodys_peer() -> None:
    left = plan(THREE, NETWORK, [host("a", 1), host("c", 3)])
    assert [peer.node for peer in peers_of(left, "a")] == ["c"]
    with pytest.raises(Refused, match="b: its lease is missing: the ledger has 2 active nodes"):
        peers_of(left, "b")


def test_a_released_subnet_goes_to_the_next_new_node() -> None:
    left = plan(THREE, NETWORK, [host("a", 1), host("c", 3)])
    released = release(left, "b")
    assert (released.generation, [lease.name for lease in released.leases]) == (left.generation + 1, ["a", "c"])
    assert by_name(plan(released, NETWORK, [host("a", 1), host("c", 3), host("d", 4)]))["d"].subnets == ("172.20.1.0/24",)
    assert release(released, "b") == released


def test_an_active_lease_cannot_be_released() -> None:
    with pytest.raises(Refused, match="b: its lease is active: only a retired lease can be released"):
        release(THREE, "b")


def test_a_moved_underlay_address_changes_one_line() -> None:
    moved = plan(THREE, NETWORK, [host("a", 1), host("b", 22), host("c", 3)])
    assert moved.leases == (THREE.leases[0], replace(THREE.leases[1], underlay="198.51.100.22"), THREE.leases[2])


def test_a_pin_wins_over_what_the_node_had() -> None:
    pinned = plan(THREE, NETWORK, [host("a", 1), host("b", 2, subnet="172.20.9.0/24"), host("c", 3)])
    assert subnets(pinned) == {**subnets(THREE), "b": ("172.20.9.0/24",)}
    assert by_name(pinned)["b"].why == "pinned"


def test_what_a_pin_vacates_is_not_given_away_in_the_same_run() -> None:
    pinned = plan(THREE, NETWORK, [host("a", 1), host("b", 2, subnet="172.20.9.0/24"), host("c", 3), host("d", 4)])
    assert by_name(pinned)["d"].subnets == ("172.20.3.0/24",)


def test_two_nodes_can_swap_their_subnets_by_pins() -> None:
    pins = [host("a", 1, subnet="172.20.1.0/24"), host("b", 2, subnet="172.20.0.0/24"), host("c", 3)]
    assert subnets(plan(THREE, NETWORK, pins)) == {"a": ("172.20.1.0/24",), "b": ("172.20.0.0/24",), "c": ("172.20.2.0/24",)}


def test_what_is_reserved_is_never_handed_out() -> None:
    network = Network.of("172.20.0.0/16", reserved=["172.20.0.0/23", "172.20.3.128/25"])
    assert subnets(plan(None, network, hosts("a", "b"))) == {"a": ("172.20.2.0/24",), "b": ("172.20.4.0/24",)}


def test_what_others_hold_is_not_given_to_a_new_node() -> None:
    ledger = plan(None, NETWORK, hosts("a", "b"), ["172.20.0.0/23", "172.20.3.0/26", "203.0.113.0/24"])
    assert [lease.subnets for lease in ledger.leases] == [("172.20.2.0/24",), ("172.20.4.0/24",)]
    assert plan(ledger, NETWORK, hosts("a", "b"), ["172.20.0.0/23"]) == ledger


def test_a_range_may_grow_and_get_a_neighbour() -> None:
    small = plan(None, Network.of("172.20.0.0/23"), hosts("a", "b"))
    for wider in ("172.20.0.0/22", ["172.20.0.0/23", "172.30.0.0/16"], ["172.30.0.0/16", "172.20.0.0/23"]):
        grown = plan(small, Network.of(wider), hosts("a", "b", "c"))
        assert subnets(grown).items() >= subnets(small).items()
        assert by_name(grown)["c"].subnets in {("172.20.2.0/24",), ("172.30.0.0/24",)}


def test_hosts_may_have_subnets_of_other_sizes() -> None:
    ledger = plan(None, NETWORK, [host("a", 1, node_prefix=26), host("b", 2, node_prefix="22"), host("c", 3), host("d", 4, node_prefix=26)])
    assert subnets(ledger) == {"a": ("172.20.0.0/26",), "b": ("172.20.4.0/22",), "c": ("172.20.1.0/24",), "d": ("172.20.0.64/26",)}


def test_an_ipv6_cluster_is_planned_like_any_other() -> None:
    ledger = plan(None, Network.of("2001:db8:244::/48"), [Host.of("a", "2001:db8::1"), Host.of("b", "2001:db8::2")])
    assert peers_of(ledger, "a") == (Peer("b", ("2001:db8:244:1::/64",), "2001:db8::2", "02:f1:02:44:00:01"),)


def test_dual_stack_can_come_later_and_moves_nothing() -> None:
    dual = plan(THREE, DUAL, hosts("a", "b", "c"))
    assert subnets(dual)["b"] == ("172.20.1.0/24", "2001:db8:244:1::/64")
    reversed_families = Network.of(["2001:db8:244::/48", "172.20.0.0/16"], "10.68.0.0/16", [64, 24])
    assert plan(dual, reversed_families, hosts("a", "b", "c")).leases == dual.leases


BOTH = [Host.of(name, [f"2001:db8::{n}", f"198.51.100.{n}"]) for n, name in enumerate("ab", 1)]


def test_with_underlay_addresses_of_both_families_a_device_carries_each() -> None:
    ledger = plan(None, DUAL, BOTH)
    assert peers_of(ledger, "a") == (
        Peer("b", ("172.20.1.0/24",), "198.51.100.2", "02:f1:ac:14:01:00"),
        Peer("b", ("2001:db8:244:1::/64",), "2001:db8::2", "02:f1:02:44:00:01"),
    )
    assert _plan.node_of(ledger.leases[1]) == {
        "subnets": ["172.20.1.0/24", "2001:db8:244:1::/64"],
        "underlay": "198.51.100.2",
        "underlay6": "2001:db8::2",
        "state": "active",
    }


@pytest.mark.parametrize("underlays", [["198.51.100.1", "198.51.100.2"], ["2001:db8::1", "2001:db8::2"]])
def test_with_underlay_addresses_of_one_family_one_device_carries_both(underlays: list[str]) -> None:
    ledger = plan(None, DUAL, [Host.of(name, underlay) for name, underlay in zip("ab", underlays)])
    assert peers_of(ledger, "a") == (Peer("b", ("172.20.1.0/24", "2001:db8:244:1::/64"), underlays[1], "02:f1:ac:14:01:00"),)


def test_an_underlay_address_that_no_pod_subnet_needs_is_left_out() -> None:
    assert plan(None, NETWORK, BOTH) == plan(None, NETWORK, hosts("a", "b"))
    six = plan(None, Network.of("2001:db8:244::/48"), BOTH)
    assert [(lease.underlay, lease.underlay6) for lease in six.leases] == [("2001:db8::1", ""), ("2001:db8::2", "")]


def test_each_device_may_have_a_mac_that_flannel_had_chosen() -> None:
    macs = ["fe:00:00:00:00:04", "fe:00:00:00:00:06"]
    ledger = plan(None, DUAL, [Host.of("a", ["198.51.100.1", "2001:db8::1"], mac=macs), BOTH[1]])
    assert [vtep.mac for vtep in ledger.leases[0].vteps] == macs
    assert plan(ledger, DUAL, BOTH) == ledger
    assert _plan.ledger_of(_plan.document_of(ledger)) == ledger


def test_ipv6_subnets_that_are_longer_than_64_have_macs_of_their_own() -> None:
    ledger = plan(None, Network.of("2001:db8:244::/64", node_prefix=80), [Host.of("a", "2001:db8::1"), Host.of("b", "2001:db8::2")])
    assert [lease.vtep_mac for lease in ledger.leases] == ["02:f1:00:00:00:00", "02:f1:00:00:00:01"]


def test_a_lease_keeps_a_mac_that_flannel_had_chosen() -> None:
    adopted = plan(None, NETWORK, [host("a", 1, mac="FE:00:00:00:00:0A"), host("b", 2, mac="02:f1:ac:14:01:00")])
    assert [(lease.mac, lease.vtep_mac) for lease in adopted.leases] == [
        ("fe:00:00:00:00:0a", "fe:00:00:00:00:0a"),
        (None, "02:f1:ac:14:01:00"),
    ]
    assert plan(adopted, NETWORK, hosts("a", "b")) == adopted


def test_capacity_counts_what_still_fits() -> None:
    assert _plan.capacity(THREE) == {"total": 256, "taken": 3, "free": 253}
    assert _plan.capacity(plan(None, Network.of("172.20.0.0/22", reserved="172.20.1.16/28"), [host("a", 1, node_prefix=26)])) == {
        "total": 4,
        "taken": 1,
        "free": 3,
    }, "the /26 lies beside what is reserved, in a subnet that no other node could have"


def test_an_edge_node_does_not_break_what_a_large_one_needs() -> None:
    network = Network.of("172.20.0.0/21")
    sizes = {"e1": 26, "l1": 23, "e2": 26, "l2": 23, "e3": 26, "n1": 24, "l3": 23}
    ledger = None
    for count in range(1, len(sizes) + 1):  # one at a time, as they are bought
        joined = [host(name, number, node_prefix=sizes[name]) for number, name in enumerate([*sizes][:count], 1)]
        ledger = plan(ledger, network, joined)
    assert ledger
    assert subnets(ledger) == {
        "e1": ("172.20.0.0/26",),
        "e2": ("172.20.0.64/26",),
        "e3": ("172.20.0.128/26",),
        "l1": ("172.20.2.0/23",),
        "l2": ("172.20.4.0/23",),
        "l3": ("172.20.6.0/23",),
        "n1": ("172.20.1.0/24",),
    }


def test_what_a_pin_left_beside_itself_goes_first_where_somebody_needs_more() -> None:
    network = Network.of("172.20.0.0/21")
    pinned = [host("l1", 1, node_prefix=23, subnet="172.20.6.0/23"), host("p", 2, subnet="172.20.3.0/24")]
    ledger = plan(None, network, pinned)
    joined = plan(ledger, network, [*pinned, host("first", 3), host("l2", 4, node_prefix=23), host("l3", 5, node_prefix=23)])
    new = {name: subnets(joined)[name] for name in ("first", "l2", "l3")}
    assert new == {"first": ("172.20.2.0/24",), "l2": ("172.20.0.0/23",), "l3": ("172.20.4.0/23",)}


# --- a node by a new name -------------------------------------------------------------------------------------------------


def test_a_renamed_node_takes_its_lease_along_and_nothing_else_changes() -> None:
    given = [host("a", 1), host("z", 2).renamed("b"), host("c", 3)]
    renamed = plan(THREE, NETWORK, given)
    assert renamed.leases == (THREE.leases[0], THREE.leases[2], replace(THREE.leases[1], name="z"))
    assert by_name(renamed)["z"].why == "kept"
    assert [peer.mac for peer in peers_of(renamed, "a")] == ["02:f1:ac:14:02:00", "02:f1:ac:14:01:00"]
    assert plan(renamed, NETWORK, given) == renamed, "the variable may stay"
    assert plan(renamed, NETWORK, [host("a", 1), host("z", 2), host("c", 3)]) == renamed, "or go"


def test_a_retired_node_may_come_back_by_another_name() -> None:
    left = plan(THREE, NETWORK, [host("a", 1), host("c", 3)])
    back = plan(left, NETWORK, [host("a", 1), host("c", 3), host("B2", 2).renamed("b")])
    assert by_name(back)["B2"] == replace(by_name(THREE)["b"], name="B2")
    assert by_name(back)["B2"].why == "reused"


def test_a_name_may_change_in_case_alone() -> None:
    renamed = plan(THREE, NETWORK, [host("a", 1), host("B", 2).renamed("b"), host("c", 3)])
    assert subnets(renamed) == {"a": ("172.20.0.0/24",), "B": ("172.20.1.0/24",), "c": ("172.20.2.0/24",)}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([host("z", 2).renamed("y")], "z: podnet_renamed_from is y: the ledger has no lease of this name"),
        ([host("b", 22), host("z", 2).renamed("b")], "z: podnet_renamed_from is b: a host of the inventory has this name"),
        ([host("z", 9).renamed("b")], "z: podnet_renamed_from is b: it was at 198.51.100.2 and z is at 198.51.100.9"),
        ([host("c", 2).renamed("b")], "c: podnet_renamed_from is b: c has a lease of its own, 172.20.2.0/24: leave it out, or release"),
        ([host("y", 2).renamed("b"), host("z", 2).renamed("b")], "z: podnet_renamed_from is b: the ledger has no lease of this name"),
    ],
)
def test_a_rename_that_cannot_be_is_refused(given: list[Host], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        plan(THREE, NETWORK, given)


def test_an_old_name_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="a: podnet_renamed_from is node_1: expected an RFC 1123 name"):
        host("a", 1).renamed("node_1")


def test_a_new_node_at_a_retired_ones_address_gets_its_own_lease_and_a_warning_that_names_both() -> None:
    replaced = plan(THREE, NETWORK, [host("a", 1), host("z", 2), host("c", 3)])
    assert by_name(replaced)["z"].subnets == ("172.20.3.0/24",)
    assert _plan.warnings(replaced) == (
        (
            "z: podnet_underlay_address is 198.51.100.2: the retired b with 172.20.1.0/24 had the same, and z got a lease of its own, as "
            "another node: if it is b by a new name, say podnet_renamed_from: b."
        ),
    )
    assert _plan.warnings(plan(replaced, NETWORK, [host("a", 1), host("z", 2), host("c", 3)])) == ()


# --- room -----------------------------------------------------------------------------------------------------------------


def test_from_80_percent_a_plan_warns_of_the_end() -> None:
    network = Network.of("172.20.0.0/20", node_prefix=24)  # 16
    names = [f"n{number:02}" for number in range(1, 17)]
    assert _plan.warnings(plan(None, network, hosts(*names[:12]))) == ()
    assert _plan.warnings(plan(None, network, hosts(*names[:13]))) == (
        (
            "the inventory: podnet_cluster_cidr is 172.20.0.0/20: 13 of its 16 subnets of /24 are taken and 3 are free: add a range "
            "(or widen one: podnet_cluster_cidr may list several IPv4 ranges), give new nodes a longer podnet_node_prefix, or release a "
            "retired lease with state: absent."
        ),
    )
    assert len(_plan.warnings(plan(None, network, hosts(*names)))) == 1


def test_each_family_warns_of_its_own_end() -> None:
    network = Network.of(["172.20.0.0/16", "2001:db8:244::/62"])
    (warning,) = _plan.warnings(plan(None, network, hosts("a", "b", "c", "d")))
    assert "podnet_cluster_cidr is 2001:db8:244::/62: 4 of its 4 subnets of /64 are taken and 0 are free: add a range" in warning


def test_a_further_range_makes_room() -> None:
    full = plan(None, Network.of("172.20.0.0/23"), hosts("a", "b"))
    with pytest.raises(Refused, match=r"c: podnet_cluster_cidr is 172.20.0.0/23: it has 2 subnets of /24 and none is free"):
        plan(full, full.network, hosts("a", "b", "c"))
    grown = plan(full, Network.of(["172.20.0.0/23", "172.30.0.0/16"]), hosts("a", "b", "c"))
    assert subnets(grown) == {**subnets(full), "c": ("172.30.0.0/24",)}
    assert _plan.capacity(grown) == {"total": 258, "taken": 3, "free": 255}


def test_a_smaller_share_for_new_nodes_makes_room() -> None:
    full = plan(None, Network.of("172.20.0.0/23", reserved="172.20.1.0/25"), hosts("a"))
    grown = plan(full, full.network, [host("a", 1), host("b", 2, node_prefix=26), host("c", 3, node_prefix=26)])
    assert subnets(grown) == {**subnets(full), "b": ("172.20.1.128/26",), "c": ("172.20.1.192/26",)}


@pytest.mark.parametrize(
    ("subnet", "mac", "vtep", "gateway"),
    [
        ("172.20.1.0/24", "02:f1:ac:14:01:00", "172.20.1.0", "172.20.1.1"),
        ("203.0.113.252/30", "02:f1:cb:00:71:fc", "203.0.113.252", "203.0.113.253"),
        ("2001:db8:244:3b::/64", "02:f1:02:44:00:3b", "2001:db8:244:3b::", "2001:db8:244:3b::1"),
        ("2001:db8:244:3b00::/56", "02:f1:02:44:3b:00", "2001:db8:244:3b00::", "2001:db8:244:3b00::1"),
        ("2001:db8:244::3:0/112", "02:f1:00:00:00:03", "2001:db8:244::3:0", "2001:db8:244::3:1"),
    ],
)
def test_a_subnet_says_who_its_vtep_is(subnet: str, mac: str, vtep: str, gateway: str) -> None:
    assert (_plan.vtep_mac(subnet), _plan.vtep_address(subnet), _plan.pod_gateway(subnet)) == (mac, vtep, gateway)


def test_subnet_env_reads_as_flannel_writes_it() -> None:
    assert _plan.subnet_env(["172.20.1.0/24"], "172.20.0.0/16", 1450, masquerade=True) == (
        "FLANNEL_NETWORK=172.20.0.0/16\nFLANNEL_SUBNET=172.20.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
    )
    assert _plan.subnet_env(["2001:db8:244:3b::/64", "172.20.1.0/24"], DUAL.cluster_cidrs, "1430", masquerade=False) == (
        "FLANNEL_NETWORK=172.20.0.0/16\nFLANNEL_SUBNET=172.20.1.1/24\n"
        "FLANNEL_IPV6_NETWORK=2001:db8:244::/48\nFLANNEL_IPV6_SUBNET=2001:db8:244:3b::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n"
    )


def test_net_conf_says_what_flannel_would_not_assume() -> None:
    vxlan = {"Type": "vxlan", "VNI": 1, "Port": 8472}
    assert _plan.net_conf(NETWORK) == {"Network": "172.20.0.0/16", "SubnetLen": 24, "Backend": vxlan}
    assert _plan.net_conf(DUAL, direct_routing=True) == {
        "EnableIPv6": True,
        "Network": "172.20.0.0/16",
        "SubnetLen": 24,
        "IPv6Network": "2001:db8:244::/48",
        "IPv6SubnetLen": 64,
        "Backend": {**vxlan, "DirectRouting": True},
    }
    only_six = _plan.net_conf(Network.of("2001:db8:244::/48"), backend="host-gw")
    assert only_six == {
        "EnableIPv4": False,
        "EnableIPv6": True,
        "IPv6Network": "2001:db8:244::/48",
        "IPv6SubnetLen": 64,
        "Backend": {"Type": "host-gw"},
    }


NETWORKS: list[tuple[dict[str, Any], str]] = [
    ({"cluster_cidr": None}, "podnet_cluster_cidr is missing: give the range"),
    ({"cluster_cidr": []}, "podnet_cluster_cidr is missing"),
    ({"cluster_cidr": "pods"}, "podnet_cluster_cidr is pods: expected a network such as 172.20.0.0/16"),
    ({"cluster_cidr": 172}, "podnet_cluster_cidr is 172: expected a network"),
    ({"cluster_cidr": {"ipv4": "172.20.0.0/16"}}, "podnet_cluster_cidr is {'ipv4': '172.20.0.0/16'}: expected a network"),
    ({"cluster_cidr": "172.20.0.0"}, "podnet_cluster_cidr is 172.20.0.0: expected a network"),
    ({"cluster_cidr": "172.20.0.0/255.255.0.0"}, "expected a network"),
    ({"cluster_cidr": "172.20.0.0/33"}, "expected a network"),
    ({"cluster_cidr": "172.20.0.0/16\nFLANNEL_NETWORK=0.0.0.0/0"}, r"'172.20.0.0/16\\nFLANNEL_NETWORK=0.0.0.0/0': expected a network"),
    ({"cluster_cidr": "172.20.0.0/16 "}, "expected a network"),
    ({"cluster_cidr": "172.020.0.0/16"}, "expected a network"),
    ({"cluster_cidr": "172.20.1.0/16"}, "172.20.1.0/16: it has bits set beyond its length: write 172.20.0.0/16"),
    ({"cluster_cidr": "::ffff:172.20.0.0/112"}, "expected a network of unicast addresses"),
    ({"cluster_cidr": "fe80::%eth0/64"}, "expected a network"),
    ({"cluster_cidr": "224.0.0.0/8"}, "expected a network of unicast addresses"),
    ({"cluster_cidr": "0.0.0.0/0"}, "expected a network of unicast addresses"),
    (
        {"cluster_cidr": ["172.20.0.0/16", "172.20.128.0/17"]},
        "podnet_cluster_cidr is 172.20.128.0/17: it overlaps podnet_cluster_cidr 172.20.0.0/16",
    ),
    ({"service_cidr": "172.16.0.0/12"}, "podnet_cluster_cidr is 172.20.0.0/16: it overlaps podnet_service_cidr 172.16.0.0/12"),
    ({"service_cidr": "172.20.3.0/24"}, "podnet_service_cidr is 172.20.3.0/24: it overlaps podnet_cluster_cidr 172.20.0.0/16"),
    ({"node_prefix": 16}, "podnet_node_prefix is 16: expected 17 to 30, to split podnet_cluster_cidr 172.20.0.0/16"),
    ({"node_prefix": 31}, "podnet_node_prefix is 31: expected 17 to 30"),
    ({"node_prefix": "/24"}, "podnet_node_prefix is /24: expected a number from 1 to 128"),
    ({"node_prefix": True}, "podnet_node_prefix is True: expected a number"),
    ({"node_prefix": [24, 64]}, "podnet_node_prefix is .24, 64.: expected one for each family of podnet_cluster_cidr: at most 1"),
    ({"reserved": "172.20.1.7/24"}, "podnet_reserved is 172.20.1.7/24: it has bits set beyond its length: write 172.20.1.0/24"),
]


@pytest.mark.parametrize(("given", "sentence"), NETWORKS)
def test_a_network_that_cannot_work_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused, match=f"^the inventory: .*{sentence}") as refusal:
        Network.of(**{"cluster_cidr": "172.20.0.0/16", **given})
    assert "\n" not in str(refusal.value)


HOSTS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "the inventory: a host's name is '': expected an RFC 1123 name"),
    ({"name": "../../x"}, "a host's name is ../../x: expected an RFC 1123 name"),
    ({"name": "a\nb"}, r"a host's name is 'a\\nb': expected"),
    ({"name": "node_1"}, "expected an RFC 1123 name"),
    ({"name": "-a"}, "expected an RFC 1123 name"),
    ({"name": "a" * 64}, "expected an RFC 1123 name"),
    ({"name": ".".join(["a" * 50] * 6)}, "expected an RFC 1123 name"),
    ({"name": "nod\u212a"}, "expected an RFC 1123 name"),
    ({"underlay": None}, "a: podnet_underlay_address is missing: give the address by which the other nodes reach it"),
    ({"underlay": "node1.example.com"}, "a: podnet_underlay_address is 'node1.example.com': expected an IPv4 or IPv6 address"),
    ({"underlay": "198.51.100.01"}, "a: podnet_underlay_address is '198.51.100.01': expected an IPv4 or IPv6 address"),
    ({"underlay": "198.51.100.1/24"}, "a: podnet_underlay_address is"),
    ({"underlay": "fe80::1%eth0"}, "a: podnet_underlay_address is"),
    ({"underlay": "::ffff:198.51.100.1"}, "a: podnet_underlay_address is"),
    ({"underlay": "0.0.0.0"}, "a: podnet_underlay_address is 0.0.0.0: expected"),
    ({"underlay": "127.0.0.1"}, "a: podnet_underlay_address is 127.0.0.1: expected"),
    ({"underlay": "::1"}, "a: podnet_underlay_address is ::1: expected"),
    ({"underlay": "239.0.0.1"}, "a: podnet_underlay_address is 239.0.0.1: expected"),
    ({"underlay": "255.255.255.255"}, "a: podnet_underlay_address is 255.255.255.255: expected"),
    ({"underlay": "172.20.9.9"}, "a: podnet_underlay_address is 172.20.9.9: it lies in podnet_cluster_cidr 172.20.0.0/16"),
    (
        {"underlay": ["198.51.100.1", "198.51.100.2"]},
        "a: podnet_underlay_address is 198.51.100.1, 198.51.100.2: expected one address, or a",
    ),
    ({"underlay": ["198.51.100.1", "::1"]}, "a: podnet_underlay_address is ::1: expected the unicast"),
    ({"underlay": "10.68.0.2"}, "a: podnet_underlay_address is 10.68.0.2: it lies in podnet_service_cidr 10.68.0.0/16"),
    ({"subnet": "172.20.1.1/24"}, "a: podnet_pod_subnet is 172.20.1.1/24: it has bits set beyond its length: write 172.20.1.0/24"),
    ({"subnet": "172.21.1.0/24"}, "a: podnet_pod_subnet is 172.21.1.0/24: it is outside of podnet_cluster_cidr 172.20.0.0/16"),
    ({"subnet": "172.20.0.0/16"}, "a: podnet_pod_subnet is 172.20.0.0/16: expected a /24, as podnet_node_prefix says"),
    ({"subnet": "172.20.1.0/25"}, "a: podnet_pod_subnet is 172.20.1.0/25: expected a /24"),
    ({"subnet": "172.20.1.0/24", "node_prefix": 25}, "a: podnet_pod_subnet is 172.20.1.0/24: expected a /25"),
    ({"subnet": "2001:db8:244::/64"}, "a: podnet_pod_subnet is 2001:db8:244::/64: it is outside of podnet_cluster_cidr"),
    ({"subnet": "172.20.255.0/24"}, "a: podnet_pod_subnet is 172.20.255.0/24: podnet_reserved 172.20.240.0/20 is never handed out"),
    ({"subnet": ["172.20.1.0/24", "172.20.2.0/24"]}, "a: podnet_pod_subnet is 172.20.1.0/24, 172.20.2.0/24: a node has one"),
    ({"node_prefix": 16}, "a: podnet_node_prefix is 16: expected 17 to 30"),
    ({"node_prefix": [24, 64]}, "a: podnet_node_prefix is .24, 64.: expected one for each family"),
    ({"mac": "01:00:5e:00:00:01"}, "a: podnet_vtep_mac is 01:00:5e:00:00:01: expected a unicast MAC"),
    ({"mac": "00:00:00:00:00:00"}, "a: podnet_vtep_mac is 00:00:00:00:00:00: expected a unicast MAC"),
    ({"mac": 1921681}, "a: podnet_vtep_mac is '1921681': expected a MAC"),
    (
        {"mac": [f"fe:00:00:00:00:0{n}" for n in (1, 2, 3)]},
        "a: podnet_vtep_mac is fe:.*: expected one MAC, or a list of one for the IPv4 and",
    ),
]


@pytest.mark.parametrize(("given", "sentence"), HOSTS)
def test_a_host_that_cannot_work_is_refused(given: dict[str, Any], sentence: str) -> None:
    network = Network.of("172.20.0.0/16", "10.68.0.0/16", reserved="172.20.240.0/20")
    with pytest.raises(Refused, match=sentence) as refusal:
        plan(None, network, [Host.of(**{"name": "a", "underlay": "198.51.100.1", **given})])
    assert "\n" not in str(refusal.value)


PAIRS: list[tuple[list[Host], str]] = [
    ([host("a", 1), host("b", 1)], "b: podnet_underlay_address is 198.51.100.1: a has the same"),
    ([host("D", 4), host("d", 5)], "d: the host's name is d: D is the same name to Kubernetes"),
    ([host("a", 1), host("a", 2)], "a: the host's name is a: a is the same name"),
    ([host("B", 1)], "B: the host's name is B: b is the same name"),
    (
        [host("d", 4, subnet="172.20.9.0/24"), host("e", 5, subnet="172.20.9.0/24")],
        "d: podnet_pod_subnet is 172.20.9.0/24: it overlaps 172.20.9.0/24 of e: no two",
    ),
    (
        [host("d", 4, subnet="172.20.8.0/22", node_prefix=22), host("e", 5, subnet="172.20.9.0/24")],
        "d: podnet_pod_subnet is 172.20.8.0/22: it overlaps 172.20.9.0/24 of e",
    ),
    ([host("b", 2), host("d", 4, subnet="172.20.1.0/24")], "d: podnet_pod_subnet is 172.20.1.0/24: it overlaps 172.20.1.0/24 of b: no"),
    ([host("d", 4, subnet="172.20.1.0/24")], r"it overlaps 172.20.1.0/24 of b \(retired: `state: absent` with its name releases it\)"),
    ([host("d", 4, mac="fe:00:00:00:00:01"), host("e", 5, mac="FE:00:00:00:00:01")], "e: podnet_vtep_mac is fe:00:00:00:00:01: d has the"),
    ([host("a", 1), host("d", 4, mac="02:f1:ac:14:00:00")], "d: podnet_vtep_mac is 02:f1:ac:14:00:00: a has the same"),
]


@pytest.mark.parametrize(("given", "sentence"), PAIRS)
def test_two_nodes_that_cannot_both_be_are_refused_by_name(given: list[Host], sentence: str) -> None:
    for order in (given, given[::-1]):
        with pytest.raises(Refused, match=sentence):
            plan(THREE, NETWORK, order)


@pytest.mark.parametrize(
    ("underlay", "sentence"),
    [
        (
            "198.51.100.2",
            "b: podnet_underlay_address is 198.51.100.2: a has 198.51.100.1 and 2001:db8::1: give each node an underlay address",
        ),
        ("2001:db8::2", "b: podnet_underlay_address is 2001:db8::2: a has 198.51.100.1 and 2001:db8::1: give each node"),
        (["2001:db8::1", "198.51.100.2"], "b: podnet_underlay_address is 2001:db8::1: a has the same"),
    ],
)
def test_a_node_that_the_others_could_not_reach_is_refused(underlay: Any, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        plan(None, DUAL, [BOTH[0], Host.of("b", underlay)])


@pytest.mark.parametrize("lease", [{"underlay": "2001:db8::9"}, {"subnets": ["172.20.0.0/24"]}, {"underlay6": "198.51.100.9"}])
def test_a_ledger_in_which_a_second_address_cannot_be_is_refused(lease: dict[str, Any]) -> None:
    document = _plan.document_of(plan(None, DUAL, BOTH))
    document["nodes"]["a"].update(lease)
    with pytest.raises(Refused, match=r"a: underlay6 is .*: expected an IPv6 address beside an IPv4 one, and a pod subnet of each family"):
        _plan.ledger_of(document)


def test_a_range_that_would_leave_a_node_out_is_refused() -> None:
    sentence = r"^the inventory: podnet_cluster_cidr is 172.20.1.0/24, 172.30.0.0/16: it leaves out 172.20.0.0/24 of a:"
    with pytest.raises(Refused, match=sentence.replace(".", r"\.")):
        plan(THREE, Network.of(["172.20.1.0/24", "172.30.0.0/16"], node_prefix=25), hosts("a", "b", "c"))


def test_a_family_that_nodes_have_cannot_be_taken_away() -> None:
    dual = plan(None, DUAL, hosts("a", "b"))
    with pytest.raises(Refused, match=r"podnet_cluster_cidr is 172\.20\.0\.0/16: it leaves out 2001:db8:244::/64 of a:"):
        plan(dual, Network.of("172.20.0.0/16"), hosts("a", "b", "c"))


def test_a_full_range_says_what_it_holds_and_what_to_do() -> None:
    network = Network.of("172.20.0.0/22", reserved="172.20.3.0/24")
    sentence = (
        r"d: podnet_cluster_cidr is 172.20.0.0/22: it has 4 subnets of /24 and none is free \(3 leases, 1 reserved ranges\): "
        r"add a range \(or widen one: podnet_cluster_cidr may list several IPv4 ranges\), give new nodes a longer podnet_node_prefix, or "
        r"release a retired lease with state: absent\."
    )
    with pytest.raises(Refused, match=sentence):
        plan(None, network, hosts("a", "b", "c", "d"))
    assert len(plan(None, network, hosts("a", "b", "c")).leases) == 3


def test_flannels_file_has_the_range_of_the_nodes_own_subnet() -> None:
    network = Network.of(["172.20.0.0/16", "2001:db8:244::/48", "172.30.0.0/16"], node_prefix=[24, 64])
    nodes: tuple[Any, ...] = ((), "172.20.1.0/24", ["2001:db8:244:1::/64", "172.30.1.0/24"])
    confs = [_plan.net_conf(_plan.range_of(network, subnets)) for subnets in nodes]
    assert [conf["Network"] for conf in confs] == ["172.20.0.0/16", "172.20.0.0/16", "172.30.0.0/16"]
    assert {(conf["SubnetLen"], conf["IPv6Network"], conf["IPv6SubnetLen"]) for conf in confs} == {(24, "2001:db8:244::/48", 64)}


def test_subnet_env_names_all_ranges_of_a_family() -> None:
    env = _plan.subnet_env("172.30.1.0/24", ["172.20.0.0/16", "172.30.0.0/16"], 1450, masquerade=True)
    assert env.startswith("FLANNEL_NETWORK=172.20.0.0/16,172.30.0.0/16\nFLANNEL_SUBNET=172.30.1.1/24\n")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"vni": 0}, "podnet_vni is 0: expected a number from 1 to 16777215"),
        ({"port": 65536}, "podnet_port is 65536: expected a number from 1 to 65535"),
        ({"backend": "udp"}, "podnet_backend is udp: expected vxlan or host-gw"),
    ],
)
def test_a_backend_that_cannot_work_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        _plan.net_conf(NETWORK, **given)


@pytest.mark.parametrize(
    ("mtu", "cidr"), [(67, "172.20.0.0/16"), ("1450\nX=1", "172.20.0.0/16"), (1450, "172.30.0.0/16"), (1450, "2001:db8::/32")]
)
def test_a_subnet_env_that_would_mislead_is_refused(mtu: Any, cidr: str) -> None:
    with pytest.raises(Refused, match="subnet_env: "):
        _plan.subnet_env("172.20.1.0/24", cidr, mtu, masquerade=True)
