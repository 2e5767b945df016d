# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three real nodes, broken in each way that a verification knows: it says where and why, and the command that it names repairs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from ansible_collections.podnet.baremetal.plugins.plugin_utils._problems import problems
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Path, Problem
from mesh_nodes import Mesh, mesh


class Nodes(ExitStack):
    """Three nodes that are right: those of the test before, unless it left them broken."""

    def __init__(self) -> None:
        super().__init__()
        self.made: Mesh | None = None

    def right(self) -> Mesh:
        if not self.made or self.made.is_broken:
            self.close()
            self.made = self.enter_context(mesh())
        return self.made


@pytest.fixture(scope="module")
def all_nodes() -> Iterator[Nodes]:
    with Nodes() as nodes:
        yield nodes


@pytest.fixture
def nodes(all_nodes: Nodes) -> Mesh:
    return all_nodes.right()


# What is done to a node or to the switch; then the cause, the hop, the nodes and the repair that a verification says, without a ledger.
FAULTS = {
    "a route that is gone": (
        ["node1: ip route del 172.20.2.0/24"],
        ("no-route", "node1: route to 172.20.2.0/24", ["node1", "node2"]),
        "ansible node1 --become --args 'ip route replace 172.20.2.0/24 via 172.20.2.0 dev flannel.1 onlink'",
    ),
    "a route that leads elsewhere": (
        ["node1: ip route replace 172.20.2.0/24 via 198.51.100.99 dev eth0"],
        ("wrong-route", "node1: route to 172.20.2.0/24", ["node1", "node2"]),
        "ansible node1 --become --args 'ip route replace 172.20.2.0/24 via 172.20.2.0 dev flannel.1 onlink'",
    ),
    "a neighbour with another MAC": (
        ["node1: ip neigh replace 172.20.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent"],
        ("wrong-mac", "node1: neighbour 172.20.2.0 on flannel.1", ["node1", "node2"]),
        "ansible node1 --become --args 'ip neigh replace 172.20.2.0 lladdr 02:f1:ac:14:02:00 dev flannel.1 nud permanent'",
    ),
    "a neighbour that is gone": (
        ["node1: ip neigh del 172.20.2.0 dev flannel.1"],
        ("no-neighbour", "node1: neighbour 172.20.2.0 on flannel.1", ["node1", "node2"]),
        "ansible node1 --become --args 'ip neigh replace 172.20.2.0 lladdr 02:f1:ac:14:02:00 dev flannel.1 nud permanent'",
    ),
    "an fdb entry that is gone": (
        ["node1: bridge fdb del 02:f1:ac:14:02:00 dev flannel.1"],
        ("no-fdb", "node1: fdb entry 02:f1:ac:14:02:00 on flannel.1", ["node1", "node2"]),
        "ansible node1 --become --args 'bridge fdb replace 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.2 self permanent'",
    ),
    "an fdb entry that leads to another node": (
        ["node1: bridge fdb replace 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.3 self permanent"],
        ("wrong-underlay", "node1: fdb entry 02:f1:ac:14:02:00 on flannel.1", ["node1", "node2"]),
        "ansible node1 --become --args 'bridge fdb replace 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.2 self permanent'",
    ),
    "a rule that drops the port": (
        [
            "node2: nft add table inet others",
            "node2: nft add chain inet others guard '{ type filter hook input priority 0; }'",
            "node2: nft add rule inet others guard ip saddr 198.51.100.1 udp dport 8472 counter drop",
        ],
        ("filtered", "node2: nft inet others guard", ["node2", "node1"]),
        "ansible node2 --become --args 'nft delete rule inet others guard handle 2'",
    ),
    "a rule of an iptables without nftables": (
        ["node2: iptables-legacy -A INPUT -s 198.51.100.1 -p udp --dport 8472 -j DROP"],
        ("filtered", "node2: iptables-legacy ip filter INPUT", ["node2", "node1"]),
        "ansible node2 --become --args 'iptables-legacy -t filter -D INPUT -s 198.51.100.1/32 -p udp -m udp --dport 8472 -j DROP'",
    ),
    "a policy of an iptables without nftables": (
        ["node2: iptables-legacy -P FORWARD DROP"],
        ("filtered", "node2: iptables-legacy ip filter FORWARD", ["node2", "node1", "node3"]),
        "\n".join(f"ansible node2 --become --args 'iptables-legacy -I FORWARD {end} 172.20.0.0/16 -j ACCEPT'" for end in ("-s", "-d")),
    ),
    "a chain that drops pods by its policy": (
        [
            "node2: nft add table ip filter",
            "node2: nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'",
        ],
        ("filtered", "node2: nft ip filter FORWARD", ["node2", "node1", "node3"]),
        "\n".join(
            f"ansible node2 --become --args 'nft insert rule ip filter FORWARD ip {end} 172.20.0.0/16 accept'" for end in ("saddr", "daddr")
        ),
    ),
    "an underlay that takes less than the device thinks": (
        ["node1: ip link set eth0 mtu 1400"],
        ("mtu", "node1: eth0", ["node1", "node2", "node3"]),
        "ansible node1 --become --args 'ip link set eth0 mtu 1500'",
    ),
    "a reverse path filter": (
        [
            "node2: sysctl -q -w net.ipv4.conf.eth0.rp_filter=1",
            "node2: ip route add 198.51.100.1 dev eth1 src 198.51.100.2",
        ],
        ("rp-filter", "node2: eth0", ["node2", "node1"]),
        "ansible node2 --become --args 'sysctl -w net.ipv4.conf.eth0.rp_filter=2'",
    ),
    "a rule that masquerades": (
        [
            "node1: nft add table ip nat",
            "node1: nft add chain ip nat POSTROUTING '{ type nat hook postrouting priority 100; }'",
            "node1: nft add rule ip nat POSTROUTING ip saddr 172.20.0.0/16 ip daddr 172.20.0.0/16 counter masquerade",
        ],
        ("masqueraded", "node1: nft ip nat POSTROUTING", ["node1"]),
        "ansible node1 --become --args 'nft delete rule ip nat POSTROUTING handle 2'",
    ),
    "a node that does not forward": (
        ["node2: sysctl -q -w net.ipv4.ip_forward=0"],
        ("no-forward", "node2: net.ipv4.ip_forward", ["node2"]),
        "ansible node2 --become --args 'sysctl -w net.ipv4.ip_forward=1'",
    ),
}


PLAYBOOK = "ansible-playbook podnet.baremetal.site --limit"


# Where the modules of the role verify ask, and not the tests' own packets.
PROBED = ("a route that is gone", "a neighbour with another MAC", "a rule that drops the port")


def failed(paths: list[Path]) -> list[Path]:
    """Those that are not what they should be; which source a pod sees is a matter of the diagnosis."""
    return [
        path for path in paths if not path["received"] or path["fits"] is False or path["above"] or path["answered"] not in ("", path["to"])
    ]


def errors(found: list[Problem]) -> list[Problem]:
    return [problem for problem in found if problem["severity"] == "error"]


def test_three_nodes_that_are_right_have_no_problem(nodes: Mesh) -> None:
    document = nodes.document()
    assert failed(document["paths"]) == []
    assert problems(document) == []


def test_the_tables_of_a_node_say_what_its_packets_depend_on(nodes: Mesh) -> None:
    found = nodes.document()["nodes"]["node1"]
    assert found["bridge"] == {"name": "cni0", "addresses": ["172.20.1.1/24"], "mtu": 1450}
    assert (found["underlay"], found["interface"], found["subnets"]) == (["198.51.100.1"], "eth0", ["172.20.1.0/24"])
    assert found["allocations"] == nodes.by_name["node1"].pod_addresses
    assert found["underlay_routes"] == {f"198.51.100.{n}": {"interface": "eth0", "mtu": 1500} for n in (2, 3)}
    assert (found["routes"], found["admitted"], found["applied"], found["drift"]) == ({}, None, None, None)
    assert found["counters"]["flannel.1 tx_packets"] > 0
    assert found["counters"]["UdpInCsumErrors"] == found["counters"]["TcpExtIPReversePathFilter"] == 0
    assert found["settings"]["net.ipv4.ip_forward"] == 1
    assert found["settings"]["net.ipv4.conf.flannel/1.rp_filter"] == found["settings"]["net.ipv4.conf.eth0.rp_filter"] == 0
    assert "conntrack" in [limit["name"] for limit in found["limits"] if 0 < limit["used"] < limit["limit"]]
    assert [rule.split(" counter ")[0] for rule in found["filters"]] == [
        "nft inet podnet postrouting: ip saddr 172.20.0.0/16 ip daddr != 172.20.0.0/16"
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_broken_is_named_with_its_hop_and_the_named_command_repairs_it(nodes: Mesh, fault: str) -> None:
    commands, said, repair = FAULTS[fault]
    nodes.is_broken = True
    for command in commands:
        where, _colon, text = command.partition(": ")
        nodes.by_name[where].run(text)
    found = errors(problems(nodes.probed()) if fault in PROBED else nodes.problems())
    assert [(problem["cause"], problem["hop"], problem["nodes"]) for problem in found] == [said]
    assert found[0]["repair"] == repair
    assert found[0]["paths"]
    nodes.carry_out(repair)
    repaired = nodes.document()
    assert failed(repaired["paths"]) == []
    assert errors(problems(repaired)) == []
    nodes.is_broken = False


def test_a_node_with_the_subnet_of_another_is_named_and_its_playbook_gives_it_its_own_again(nodes: Mesh) -> None:
    nodes.is_broken = True
    first, second, third = nodes.members
    third.converge([first.peer], second.peer["subnets"][0])
    first.run(f"ip neigh replace 172.20.2.0 lladdr {third.peer['mac']} dev flannel.1 nud permanent")
    assert third.pod_addresses == second.pod_addresses
    found = errors(nodes.problems(ledger=True))
    assert [(problem["cause"], problem["hop"], problem["nodes"]) for problem in found] == [
        ("duplicate-subnet", "node3: pod subnet 172.20.2.0/24", ["node3", "node2"]),
    ]
    assert found[0]["repair"].splitlines() == [
        "ansible node3 --become --args 'ip address del 172.20.2.1/24 dev cni0'",
        f"{PLAYBOOK} node3",
    ]
    assert found[0]["paths"]
    nodes.carry_out(found[0]["repair"])
    first.converge([second.peer, third.peer])
    assert failed(nodes.paths()) == []
    assert errors(nodes.problems(ledger=True)) == []
    nodes.is_broken = False


def test_a_network_that_takes_less_than_both_ends_think_is_named_between_them(nodes: Mesh) -> None:
    nodes.is_broken = True
    nodes.switch.command("ip", "link", "set", "node1-eth0", "mtu", "1400")
    found = errors(nodes.problems())
    assert [(problem["cause"], problem["hop"], problem["nodes"]) for problem in found] == [
        ("mtu", "between node1 and node2: path MTU", ["node1", "node2", "node3"]),
    ]
    assert found[0]["repair"].startswith("let 1500 bytes pass between these nodes")
    nodes.switch.command("ip", "link", "set", "node1-eth0", "mtu", "1500")
    assert failed(nodes.paths()) == []
    nodes.is_broken = False
