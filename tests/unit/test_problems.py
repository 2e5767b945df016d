# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems read off documents made by hand: one cause is one problem, with its hop, its repair and the paths that it explains."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.plugin_utils._problems import problems
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document, Node, Path, Problem, Source, Target

SITE, PEERS = "ansible-playbook podnet.baremetal.site --limit", "ansible-playbook podnet.baremetal.peers --limit"
OVERLAY: tuple[Target, ...] = ("pod", "gateway")
ENDS: tuple[Source, ...] = ("pod", "node")


def node(number: int, count: int) -> Node:
    """A node of so many that is right."""
    others = [n for n in range(1, count + 1) if n != number]
    return {
        "state": "verified",
        "reason": "",
        "underlay": [underlay(number)],
        "interface": "eth0",
        "subnets": [subnet(number)],
        "device": {
            "name": "flannel.1",
            "vni": 1,
            "port": 8472,
            "local": underlay(number),
            "interface": "eth0",
            "mac": mac(number),
            "mtu": 1450,
            "up": True,
            "addresses": [subnet(number).replace("/24", "/32")],
        },
        "device6": None,
        "peers": [{"subnets": [subnet(n)], "underlay": underlay(n), "mac": mac(n)} for n in others],
        "drift": {"commands": [], "missing": [], "refused": ""},
        "lease": {"subnets": [subnet(number)], "underlays": [underlay(number)], "macs": [mac(number)]},
        "subnet_env": None,
        "bridge": {"name": "cni0", "addresses": [subnet(number).replace("0/24", "1/24")], "mtu": 1450},
        "allocations": [pod(number)],
        "counters": {"UdpInCsumErrors": 0, "flannel.1 tx_packets": 5000, "flannel.1 tx_errors": 0, "flannel.1 tx_dropped": 3},
        "limits": [{"name": "conntrack", "used": 10, "limit": 1000}],
        "settings": {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.eth0.rp_filter": 0},
        "filters": [],
        "admitted": [underlay(n) for n in others],
        "underlay_routes": {underlay(n): {"interface": "eth0", "mtu": 1500} for n in others},
        "routes": {},
        "applied": {"generation": 7, "at": "2026-11-28T01:58:00Z"},
        "pod": {"addresses": [pod(number)], "gateway": subnet(number).replace("0/24", "1"), "mtu": 1450},
    }


def underlay(number: int) -> str:
    return f"198.51.100.{number}" if number < 255 else f"192.0.2.{number - 254}"


def subnet(number: int) -> str:
    return f"172.{20 + number // 256}.{number % 256}.0/24"


def mac(number: int) -> str:
    return f"02:f1:ac:14:{number // 256:02x}:{number % 256:02x}"


def pod(number: int) -> str:
    return subnet(number).replace("0/24", "2")


def path(here: int, source: Source, there: int, target: Target) -> Path:
    address = {"pod": pod(there), "gateway": subnet(there).replace("0/24", "1"), "node": underlay(there), "service": "10.68.0.1:443"}[
        target
    ]
    return {
        "from": f"node{here}",
        "source": source,
        "to": f"node{there}" if target != "service" else "",
        "target": target,
        "address": address,
        "sent": 3,
        "received": 3,
        "rtt": [0.1, 0.2, 0.3],
        "fits": True,
        "above": False,
        "seen": (pod(here) if source == "pod" else subnet(here).removesuffix("/24")) if target == "pod" else "",
        "answered": f"node{there}" if target == "pod" else "",
        "error": "",
    }


def document(count: int = 3, *, ledger: bool = True) -> Document:
    """A mesh that is right."""
    ways: list[tuple[Source, Target]] = [(source, target) for source in ("pod", "node") for target in ("pod", "gateway", "node")]
    made: Document = {
        "version": 1,
        "made": "2026-11-28T02:00:00Z",
        "took": 1.0,
        "network": {
            "cluster_cidrs": ["172.20.0.0/14"],
            "service_cidrs": ["10.68.0.0/16"],
            "vni": 1,
            "port": 8472,
            "mtu": 1450,
            "ledger": "podnet-ledger.json" if ledger else "",
            "generation": 7 if ledger else 0,
        },
        "sample": {"each": 0, "run": 0, "tested": count * (count - 1), "pairs": count * (count - 1)},
        "nodes": {f"node{number}": node(number, count) for number in range(1, count + 1)},
        "paths": [path(here, source, there, target) for here, there in permutations(range(1, count + 1), 2) for source, target in ways],
        "problems": [],
    }
    if not ledger:
        for each in made["nodes"].values():
            each["lease"] = each["drift"] = each["applied"] = None
    return made


def lose(made: Document, here: str, there: str, targets: tuple[Target, ...] = OVERLAY, sources: tuple[Source, ...] = ENDS) -> int:
    """Nothing comes back by these paths. How many they are."""
    lost = [each for each in made["paths"] if (each["from"], each["to"]) == (here, there)]
    lost = [each for each in lost if each["target"] in targets and each["source"] in sources]
    for each in lost:
        each.update({"received": 0, "rtt": None, "fits": None, "above": None, "seen": "", "answered": ""})
    return len(lost)


def only(made: Document) -> Problem:
    found = problems(made)
    assert len(found) == 1, found
    return found[0]


def changed(of: Any, **fields: object) -> Any:
    return {**of, **fields}


@pytest.mark.parametrize("ledger", [True, False])
def test_a_mesh_that_is_right_has_no_problem(ledger: bool) -> None:
    assert problems(document(ledger=ledger)) == []


def test_a_lost_route_is_one_problem_for_both_directions() -> None:
    made = document()
    made["nodes"]["node1"]["peers"] = made["nodes"]["node1"]["peers"][1:]
    lost = lose(made, "node1", "node2") + lose(made, "node2", "node1")
    assert only(made) == {
        "severity": "error",
        "cause": "no-route",
        "nodes": ["node1", "node2"],
        "hop": "node1: route to 172.20.2.0/24",
        "text": "node1 has no route to 172.20.2.0/24, the pods of node2.",
        "repair": f"{PEERS} node1",
        "paths": lost,
    }


def test_a_node_that_lost_all_peers_and_a_node_that_nobody_has_are_one_problem_each() -> None:
    made = document(5)
    made["nodes"]["node1"]["peers"] = []
    assert only(made)["nodes"] == ["node1", "node2", "node3", "node4", "node5"]
    made = document(6)
    for number in (1, 2, 3, 4, 5):
        made["nodes"][f"node{number}"]["peers"] = [each for each in made["nodes"][f"node{number}"]["peers"] if each["mac"] != mac(6)]
    found = only(made)
    assert (found["hop"], found["repair"]) == ("node1: route to 172.20.6.0/24", f"{PEERS} node1,node2,node3,node4,node5")
    assert found["text"].endswith("It is the same with node2, node3, node4 and node5.")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"mac": ""}, "no-neighbour"),
        ({"mac": mac(9)}, "wrong-mac"),
        ({"underlay": ""}, "no-fdb"),
        ({"underlay": underlay(9)}, "wrong-underlay"),
    ],
)
def test_an_entry_that_is_gone_or_wrong_is_named_by_what_it_is(change: dict[str, str], cause: str) -> None:
    made = document()
    first = made["nodes"]["node1"]
    first["peers"][0] = changed(first["peers"][0], **change)
    found = only(made)
    assert (found["cause"], found["nodes"], found["repair"]) == (cause, ["node1", "node2"], f"{PEERS} node1")


def test_what_breaks_something_else_is_not_blamed_for_a_lost_path() -> None:
    made = document()
    made["nodes"]["node1"]["underlay_routes"][underlay(2)]["mtu"] = 1400
    made["nodes"]["node2"]["settings"]["net.ipv4.ip_forward"] = 0
    lost = lose(made, "node1", "node2", ("gateway",))
    assert {each["cause"]: each["paths"] for each in problems(made)} == {"unexplained": lost, "mtu": 0, "no-forward": 0}


def test_a_reverse_path_filter_is_a_problem_only_where_it_is_strict_and_the_way_back_another() -> None:
    made = document()
    first = made["nodes"]["node1"]
    first["settings"]["net.ipv4.conf.eth0.rp_filter"] = 1
    assert problems(made) == []
    first["underlay_routes"][underlay(2)]["interface"] = "eth1"
    assert (only(made)["cause"], only(made)["nodes"]) == ("rp-filter", ["node1", "node2"])
    first["settings"]["net.ipv4.conf.all.rp_filter"] = 2
    assert problems(made) == []


def test_a_mac_that_the_node_itself_lost_is_the_nodes_problem_and_not_its_peers() -> None:
    made = document(4)
    there = made["nodes"]["node2"]["device"]
    assert there
    there["mac"] = "02:00:00:00:00:99"
    lost = sum(lose(made, each, "node2") for each in ("node1", "node3", "node4"))
    found = only(made)
    assert (found["cause"], found["nodes"], found["repair"], found["paths"]) == ("wrong-mac", ["node2"], f"{SITE} node2", lost)
    for each in made["nodes"].values():
        each["lease"] = None
    made["network"]["ledger"] = ""
    found = only(made)
    assert (found["nodes"][1], found["hop"]) == ("node2", "node1: neighbour 172.20.2.0 on flannel.1")
    assert found["repair"].splitlines() == [
        "ansible node1,node3,node4 --become --args 'ip neigh replace 172.20.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent'",
        "ansible node1,node3,node4 --become --args 'bridge fdb replace 02:00:00:00:00:99 dev flannel.1 dst 198.51.100.2 self permanent'",
    ]


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [("vni", 2, "wrong-vni"), ("port", 4789, "wrong-port"), ("up", False, "device-down"), ("mtu", 1500, "mtu"), ("mtu", 1400, "mtu")],
)
def test_what_a_device_has_wrong_is_said_once(field: str, value: object, cause: str) -> None:
    made = document()
    made["nodes"]["node2"]["device"] = changed(made["nodes"]["node2"]["device"], **{field: value})
    found = only(made)
    assert (found["cause"], found["nodes"][0]) == (cause, "node2")


def test_the_mtu_of_a_bridge_counts_only_where_a_pod_hangs_on_it() -> None:
    made = document()
    made["nodes"]["node1"]["bridge"] = {"name": "cni0", "addresses": ["172.20.1.1/24"], "mtu": 1500}
    assert only(made)["cause"] == "mtu"
    made["nodes"]["node1"]["pod"] = None
    assert problems(made) == []


def test_a_node_without_a_device_has_that_problem_alone_unless_it_reaches_pods_by_its_underlay() -> None:
    made = document(ledger=False)
    first = made["nodes"]["node1"]
    first.update({"device": None, "peers": [], "underlay": [], "admitted": None})
    found = only(made)
    assert (found["cause"], found["nodes"], found["repair"]) == (
        "no-device",
        ["node1"],
        "ansible node1 --become --args 'systemctl restart flanneld'",
    )
    first["routes"] = {subnet(2): underlay(2)}
    assert problems(made) == []


def test_routes_by_the_underlay_are_right_where_they_lead_to_the_node_itself() -> None:
    made = document()
    first = made["nodes"]["node1"]
    first["peers"] = first["peers"][1:]
    first["routes"] = {subnet(2): underlay(2)}
    assert problems(made) == []
    first["routes"] = {subnet(2): underlay(3)}
    assert only(made)["cause"] == "wrong-route"


def test_nodes_that_share_what_each_needs_for_itself_are_named_together() -> None:
    made = document(ledger=False)
    made["nodes"]["node3"]["underlay"] = [underlay(2)]
    made["nodes"]["node3"]["device"] = changed(made["nodes"]["node3"]["device"], mac=mac(2))
    assert {each["cause"] for each in problems(made)} >= {"duplicate-underlay", "duplicate-mac"}


def test_a_node_that_could_not_be_asked_is_one_problem_with_its_paths() -> None:
    made = document()
    made["nodes"]["node2"].update({"state": "unreachable", "reason": "No task has reached it."})
    lost = lose(made, "node1", "node2", (*OVERLAY, "node")) + lose(made, "node3", "node2", (*OVERLAY, "node"))
    found = only(made)
    assert (found["cause"], found["paths"], found["repair"]) == ("unreachable", lost, "ansible node2 --module-name ping")
    assert found["text"] == "node2 could not be looked at: No task has reached it."


def test_a_firewall_of_ours_that_does_not_know_a_peer_is_named() -> None:
    made = document()
    made["nodes"]["node2"]["admitted"] = [underlay(3)]
    lose(made, "node1", "node2")
    found = only(made)
    assert (found["cause"], found["hop"], found["repair"]) == ("filtered", "node2: nft inet podnet, set peers", f"{PEERS} node2")


def test_a_port_that_is_dropped_between_two_nodes_is_told_from_an_underlay_that_is_cut() -> None:
    made = document()
    lost = lose(made, "node1", "node2") + lose(made, "node2", "node1")
    found = only(made)
    assert (found["cause"], found["hop"], found["paths"]) == ("filtered", "between node1 and node2: UDP 8472", lost)
    lost += lose(made, "node1", "node2", ("node",)) + lose(made, "node2", "node1", ("node",))
    found = only(made)
    assert (found["cause"], found["hop"], found["paths"]) == ("underlay", "between node1 and node2", lost)


def test_a_port_that_is_dropped_between_all_nodes_is_one_problem() -> None:
    made = document(6)
    lost = sum(lose(made, f"node{here}", f"node{there}") for here, there in permutations(range(1, 7), 2))
    found = only(made)
    assert (len(found["nodes"]), found["paths"], found["repair"]) == (6, lost, "let UDP port 8472 pass between these nodes")
    assert found["text"].endswith("It is the same with node3, node4, node5 and node6.")


def test_a_rule_that_dropped_nothing_or_names_others_is_not_the_reason() -> None:
    made = document()
    lose(made, "node1", "node2")
    made["nodes"]["node2"]["filters"] = [
        "nft inet others in: ip saddr 203.0.113.0/24 udp dport 8472 counter packets 9 bytes 9 drop # handle 4",
        "nft inet others in: udp dport 8472 counter packets 0 bytes 0 drop # handle 5",
        "nft inet others in: ip saddr 198.51.100.0/24 udp dport 8472 counter packets 3 bytes 400 drop # handle 6",
    ]
    found = only(made)
    assert (found["hop"], found["repair"]) == (
        "node2: nft inet others in",
        "ansible node2 --become --args 'nft delete rule inet others in handle 6'",
    )


def test_a_rule_of_an_iptables_without_nftables_is_deleted_by_its_own_command() -> None:
    made = document()
    lose(made, "node1", "node2")
    made["nodes"]["node2"]["filters"] = ["iptables-legacy ip filter VXLAN: -s 198.51.100.1/32 -j DROP"]
    assert only(made)["repair"] == "ansible node2 --become --args 'iptables-legacy -t filter -D VXLAN -s 198.51.100.1/32 -j DROP'"


def test_a_pod_that_its_node_does_not_reach_either_is_the_pods_side() -> None:
    made = document()
    lost = lose(made, "node1", "node2", ("pod",)) + lose(made, "node3", "node2", ("pod",))
    found = only(made)
    assert (found["cause"], found["hop"], found["paths"]) == ("pod-side", "node2: cni0", lost)


def test_a_chain_that_drops_forwarded_packets_is_no_reason_for_what_the_node_itself_should_get() -> None:
    made = document()
    made["nodes"]["node2"]["filters"] = ["nft ip filter FORWARD: type filter hook forward priority filter; policy drop;"]
    lost = lose(made, "node1", "node2", ("pod",))
    found = only(made)
    assert (found["cause"], found["hop"], found["paths"], found["repair"]) == (
        "filtered",
        "node2: nft ip filter FORWARD",
        lost,
        f"{SITE} node2",
    )
    lose(made, "node1", "node2", ("gateway",), ("node",))
    assert {each["cause"] for each in problems(made)} == {"filtered", "unexplained"}


def test_a_pod_that_its_own_node_does_not_reach_is_the_pods_side_too() -> None:
    made = document()
    made["paths"].append({**path(1, "node", 1, "pod"), "received": 0})
    assert (only(made)["cause"], only(made)["nodes"]) == ("pod-side", ["node1"])


def test_what_no_table_explains_says_so_with_what_is_known() -> None:
    made = document()
    lose(made, "node1", "node2", ("gateway",), ("node",))
    found = only(made)
    assert (found["cause"], found["hop"]) == ("unexplained", "node1 to node2")
    assert "no table says why" in found["text"]


def test_a_service_that_does_not_answer_is_its_nodes_problem() -> None:
    made = document()
    made["paths"].append({**path(1, "pod", 1, "service"), "received": 0, "error": "Connection refused"})
    found = only(made)
    assert (found["cause"], found["nodes"]) == ("service", ["node1"])
    assert "(Connection refused)" in found["text"]


@pytest.mark.parametrize(
    ("change", "cause", "severity"),
    [
        ({"received": 2}, "loss", "warning"),
        ({"above": True}, "mtu-above", "warning"),
        ({"fits": False}, "mtu", "error"),
        ({"seen": "172.20.2.1"}, "masqueraded", "error"),
        ({"answered": "node3"}, "wrong-answer", "error"),
    ],
)
def test_what_comes_back_and_is_not_right_is_said_of_the_two(change: dict[str, object], cause: str, severity: str) -> None:
    made = document()
    made["paths"][0] = changed(made["paths"][0], **change)
    found = only(made)
    assert (found["cause"], found["severity"], found["paths"]) == (cause, severity, 1)


def test_masquerading_is_laid_to_the_rule_that_did_something_and_to_the_node_whose_address_was_seen() -> None:
    made = document()
    made["nodes"]["node2"]["filters"] = [
        "nft inet podnet postrouting: ip saddr 172.20.0.0/16 counter packets 9 bytes 9 masquerade # handle 3",
        "nft ip nat POSTROUTING: counter packets 0 bytes 0 masquerade # handle 4",
        "nft ip nat KUBE: counter packets 12 bytes 900 masquerade # handle 8",
    ]
    made["paths"][0]["seen"] = "172.20.2.1"
    found = only(made)
    assert (found["hop"], found["repair"]) == (
        "node2: nft ip nat KUBE",
        "ansible node2 --become --args 'nft delete rule ip nat KUBE handle 8'",
    )


def test_what_is_nearly_full_or_counted_as_wrong_is_a_warning() -> None:
    made = document()
    first = made["nodes"]["node1"]
    first["limits"] = [{"name": "conntrack", "used": 800, "limit": 1000}, {"name": "neighbours", "used": 799, "limit": 1000}]
    first["limits"].append({"name": "IPv6 neighbours", "used": 1000, "limit": 1000})
    first["counters"] = {"UdpInCsumErrors": 1, "flannel.1 tx_packets": 1000, "flannel.1 tx_dropped": 101}
    found = problems(made)
    assert {(each["severity"], each["cause"]) for each in found} == {("warning", cause) for cause in ("limit", "checksums", "drops")}
    assert [each["repair"] for each in found if each["cause"] == "limit"] == [
        "ansible node1 --become --args 'sysctl -w net.netfilter.nf_conntrack_max=2000'",
        "ansible node1 --become --args 'sysctl -w net.ipv6.neigh.default.gc_thresh3=2000'",
    ]


def test_bridge_pods_and_subnet_env_are_compared_with_the_subnet() -> None:
    made = document()
    first = made["nodes"]["node1"]
    first["subnets"] = ["172.20.9.0/24"]
    first["bridge"] = {"name": "cni0", "addresses": ["172.20.9.1/24"], "mtu": 1450}
    first["allocations"] = ["172.20.9.5"]
    assert [(each["cause"], each["repair"]) for each in problems(made)] == [
        ("wrong-subnet", f"ansible node1 --become --args 'ip address del 172.20.9.1/24 dev cni0'\n{SITE} node1"),
        ("stale-pods", "restart the pods on node1 that have these addresses, so that they get others"),
    ]
    first["subnets"], first["allocations"] = [subnet(1)], []
    assert only(made)["cause"] == "wrong-bridge"


def test_drift_is_told_where_nothing_says_it_better_and_a_newer_ledger_in_any_case() -> None:
    made = document()
    first = made["nodes"]["node1"]
    first["drift"] = {"commands": ["ip link set dev flannel.1 txqueuelen 0"], "missing": [], "refused": ""}
    assert (only(made)["cause"], only(made)["severity"]) == ("drift", "warning")
    first["counters"]["UdpInCsumErrors"] = 1
    assert {each["cause"] for each in problems(made)} == {"drift", "checksums"}
    first["counters"]["UdpInCsumErrors"] = 0
    first["drift"] = {"commands": [], "missing": [], "refused": "node1: flannel.1 is a bridge."}
    assert (only(made)["cause"], only(made)["severity"]) == ("refused", "error")
    first["applied"] = {"generation": 9, "at": "2026-11-28T01:58:00Z"}
    assert only(made)["cause"] == "older-ledger"


def test_the_second_device_is_what_counts_for_ipv6_pods() -> None:
    made = document(2)
    for number, each in enumerate(made["nodes"].values(), 1):
        six = f"2001:db8:244:{number}::/64"
        each["subnets"] = [*each["subnets"], six]
        each["lease"] = None
        each["settings"]["net.ipv6.conf.all.forwarding"] = 1
        each["device6"] = changed(each["device"], name="flannel-v6.1", mac=f"02:f1:00:00:06:{number:02x}")
    for number, each in enumerate(made["nodes"].values(), 1):
        other = 3 - number
        each["peers"].append({"subnets": [f"2001:db8:244:{other}::/64"], "underlay": underlay(other), "mac": f"02:f1:00:00:06:{other:02x}"})
    assert problems(made) == []
    made["nodes"]["node1"]["peers"][1]["mac"] = mac(2)
    assert only(made)["hop"] == "node1: neighbour 2001:db8:244:2:: on flannel-v6.1"
