# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a cluster on the lab, told with the playbooks: predicted, made, repaired, shrunk, grown, taken away. I/O: the lab."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.plugin_utils._problems import problems
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document, Network, Sample
from labs import Lab, Play

NODES = ("node1", "node2", "node3")
# What a person would look at to tell whether a node is as it was; sizes of directories of an overlay file system aside.
TABLES = (
    "ip -d link show",
    "ip addr show",
    "ip neigh show nud permanent",
    "bridge fdb show",
    "ip -d route show table all",
    "nft list ruleset",
    "sysctl net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables",
)
FILES = ["find", "/etc", "/run", "/var", "-xdev", "-path", "/var/cache", "-prune", "-o", "-type", "f", "-printf", "%p %m %u %s %T@\n"]
DIRECTORIES = ["find", "/etc", "/run", "/var", "-xdev", "-path", "/var/cache", "-prune", "-o", "-type", "d", "-printf", "%p %m %u\n"]

# What else is to be found byte for byte, on one node.
MORE_TABLES = ("ip rule", "ip -6 rule", "ip nexthop", "bridge -d link", "sysctl --all --pattern ^net[.]")
HASHES = "find /etc /run /var/lib /usr/lib/systemd -xdev -type f -exec sha256sum {} +"
COUNTED = "nf_conntrack_count"
# What was there before us, of every kind that we make ourselves.
PLANTED = """
ip link add other type vxlan id 7 local 198.51.100.1 dev eth0 dstport 8472 nolearning
ip link set other up
ip addr add 203.0.113.1/32 dev other
bridge fdb append 02:00:00:00:00:09 dev other dst 198.51.100.9 self permanent
ip neigh replace 203.0.113.9 lladdr 02:00:00:00:00:09 dev other nud permanent
ip route add 203.0.113.0/24 via 198.51.100.9 dev eth0 proto static
ip route add 203.0.113.0/24 via 198.51.100.9 dev eth0 proto 86 table 77
ip nexthop add id 7 via 198.51.100.9 dev eth0 proto static
ip rule add to 203.0.113.0/24 lookup 77
nft add table inet somebody
nft add chain inet somebody forward '{ type filter hook forward priority 0; policy accept; }'
sysctl -q -w net.ipv4.conf.lo.rp_filter=2
mkdir -p /etc/cni/net.d /etc/systemd/system/multi-user.target.d /run/flannel
for file in /etc/cni/net.d/99-somebody.conflist /etc/sysctl.d/99-somebody.conf /etc/modules-load.d/somebody.conf \
    /etc/systemd/system/multi-user.target.d/somebody.conf /etc/systemd/system/somebody.service /run/flannel/somebody.env; do
    echo "# somebody's" >$file
done
"""
TAKEN_BACK = """
ip rule del to 203.0.113.0/24 lookup 77
ip link del other
ip route del 203.0.113.0/24 proto static
ip route del 203.0.113.0/24 table 77
ip nexthop del id 7
nft delete table inet somebody
sysctl -q -w net.ipv4.conf.lo.rp_filter=0
rm /etc/sysctl.d/99-somebody.conf /etc/modules-load.d/somebody.conf /etc/systemd/system/somebody.service
rm -r /etc/cni/net.d /etc/systemd/system/multi-user.target.d /run/flannel
"""

SPOILED = [
    ("node1", "ip route del 172.20.1.0/24"),
    ("node1", "ip neigh del 172.20.2.0 dev flannel.1"),
    ("node1", "bridge fdb del 02:f1:ac:14:01:00 dev flannel.1"),
    ("node1", "ip link set dev flannel.1 mtu 1400"),
    ("node1", "ip route add 203.0.113.0/24 via 198.51.100.9 dev eth0 proto static"),
    ("node1", "nft add table ip somebody"),
    ("node1", "ip route del unreachable 172.20.0.0/16 metric 4278198272"),
    ("node1", "nft flush set inet podnet peers"),
    ("node1", "truncate -s 0 /var/lib/podnet-peers.nft"),
    ("node2", "ip link set dev flannel.1 address 02:00:00:00:00:09"),
    ("node2", "sed -i s/ip_forward=1/ip_forward=0/ /etc/sysctl.d/90-podnet.conf"),
    ("node3", "sysctl -w net.ipv4.ip_forward=0"),
    ("node3", "rm /run/flannel/subnet.env"),
    ("node3", "truncate -s 0 /etc/cni/net.d/10-flannel.conflist"),
    ("node2", "nft add element inet podnet peers { 203.0.113.9 }"),
    ("node3", "nft add rule inet podnet vxlan counter accept"),
]
# What was not ours among it: taking it away succeeds only if it is still there.
FOREIGN = [("node1", "ip route del 203.0.113.0/24"), ("node1", "nft delete table ip somebody")]
PEERS_OF_NODE1 = "nft add element inet podnet peers { 198.51.100.2, 198.51.100.3 }"
PEERS_OF_NODE3 = "add element inet podnet peers { 198.51.100.1, 198.51.100.2 }"
CONFLIST = "cat /etc/cni/net.d/10-flannel.conflist"
CNI = "Write the CNI configuration, or take it away"


class Cluster:
    """The lab with a ledger of its own."""

    def __init__(self, lab: Lab, ledger: Path) -> None:
        self.lab = lab
        self.ledger = ledger

    def play(self, name: str, *arguments: str, **variables: Any) -> Play:
        return self.lab.play(f"playbooks/{name}.yml", *arguments, podnet_ledger=str(self.ledger), **variables)

    def site(self, *arguments: str, **variables: Any) -> Play:
        return self.play("site", *arguments, **variables).succeeded()

    def run(self, node: str, command: str) -> str:
        return self.lab.run(node, *command.split()).stdout

    def dump(self, node: str) -> list[str]:
        """Everything of the node that a run could change, once the kernel has settled its own link-local addresses."""
        for _attempt in range(100):
            if not self.run(node, "ip -6 addr show tentative"):
                break
            time.sleep(0.1)
        lines = [line.strip() for table in TABLES for line in self.run(node, table).splitlines()]
        lines += [line for find in (FILES, DIRECTORIES) for line in self.lab.run(node, *find).stdout.splitlines()]
        return sorted(line for line in lines if "valid_lft" not in line)

    def tables(self, node: str) -> list[str]:
        """The overlay's own tables, without what the kernel adds by itself in its own time."""
        shown = (
            "ip -d link show flannel.1",
            "ip -4 addr show flannel.1",
            "ip neigh show dev flannel.1 nud permanent",
            "bridge fdb show dev flannel.1",
            "nft list table inet podnet",
        )
        return sorted(line for table in (*shown, "ip -d -4 route") for line in self.run(node, table).splitlines())


@pytest.fixture(scope="module")
def cluster(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    here = Cluster(lab, tmp_path_factory.mktemp("inventory") / "podnet-ledger.json")
    yield here
    here.play("demo", demo_state="absent")
    here.play("reset").succeeded()


def everything(cluster: Cluster) -> list[str]:
    """The dumps of all nodes, and of node1 each byte that a run could change."""
    shown = [cluster.lab.run("node1", *command.split(), check=False).stdout for command in (*MORE_TABLES, HASHES)]
    return [*dumps(cluster), *(line for text in shown for line in text.splitlines() if COUNTED not in line)]


def dumps(cluster: Cluster) -> list[str]:
    """The dumps of all nodes."""
    return [f"{node}: {line}" for node in NODES for line in cluster.dump(node)]


def changes_to(before: list[str], after: list[str]) -> dict[str, list[str]]:
    """What differs between two dumps; empty for nothing."""
    lines = {"gone": sorted(set(before) - set(after)), "new": sorted(set(after) - set(before))}
    return {word: differing for word, differing in lines.items() if differing}


def reports(play: Play) -> list[tuple[str, str, bool, list[str], Any]]:
    """What each task said on each host, in the words that must not differ between a prediction and the deed."""
    return [(each.task, each.host, each.changed, each.commands, each.result.get("diff")) for each in play.outcomes]


def test_check_mode_predicts_the_first_run_and_changes_nothing_then_the_second_run_is_clean(cluster: Cluster) -> None:
    before = dumps(cluster)
    predicted = cluster.site("--check", "--diff")
    assert changes_to(before, dumps(cluster)) == {}
    assert not cluster.ledger.exists()

    made = cluster.site("--diff")
    assert reports(made) == reports(predicted)
    assert sum(len(each.commands) for each in made.outcomes) > 30

    again = cluster.site("--diff")
    assert again.changed == []
    assert {host: stats["changed"] for host, stats in again.stats.items()} == dict.fromkeys(NODES, 0)
    prepared = [each.task.split(" : ")[1] for each in again.of("podnet.baremetal.host : ", "node1") if not each.skipped]
    assert [task for task in prepared if not task.startswith(("Validating arguments", "Prepare the node"))] == [
        "Read the settings",
        "Write what is to be at boot, and once what was before",
    ], "each costs a call of the node"


def test_the_tables_are_those_of_the_ledger(cluster: Cluster) -> None:
    leases = json.loads(cluster.ledger.read_text())["nodes"]
    assert [lease["subnets"] for lease in leases.values()] == [["172.20.0.0/24"], ["172.20.1.0/24"], ["172.20.2.0/24"]]
    assert cluster.run("node1", "ip -4 route show dev flannel.1").splitlines() == [
        "172.20.1.0/24 via 172.20.1.0 proto podnet onlink ",
        "172.20.2.0/24 via 172.20.2.0 proto podnet onlink ",
    ]
    assert cluster.run("node1", "cat /run/flannel/subnet.env") == (
        "FLANNEL_NETWORK=172.20.0.0/16\nFLANNEL_SUBNET=172.20.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
    )


def test_pods_reach_each_other_with_full_size_packets_and_are_not_translated(cluster: Cluster, tmp_path: Path) -> None:
    table = tmp_path / "demo.txt"
    cluster.play("demo", demo_table=str(table)).succeeded()
    rows = [row for row in table.read_text().splitlines() if row.startswith("node")]
    assert len(rows) == 3
    assert all(row.count(" / ") == 6 for row in rows), table.read_text()
    assert cluster.run("node1", "ip netns exec demo ip -4 route").splitlines() == [
        "default via 172.20.0.1 dev eth0 ",
        "172.20.0.0/24 dev eth0 proto kernel scope link src 172.20.0.2 ",
        "172.20.0.0/16 via 172.20.0.1 dev eth0 ",
    ]
    assert seen_source(cluster, "node1", "demo", "node2", "172.20.1.2") == "172.20.0.2"
    assert seen_source(cluster, "node1", "", "node2", "172.20.1.2") == "172.20.0.0"


def test_pods_are_reached_where_every_reverse_path_is_checked_strictly(cluster: Cluster) -> None:
    # The kernel takes the larger of two values (IN_DEV_RPFILTER), and 2 is loose.
    settings = "net.ipv4.conf.all.rp_filter net.ipv4.conf.eth0.rp_filter net.ipv4.conf.flannel/1.rp_filter net.ipv4.conf.cni0.rp_filter"
    before = {node: cluster.run(node, f"sysctl {settings}").replace(" = ", "=").split() for node in NODES}
    for node in NODES:
        cluster.run(node, f"sysctl -w {settings.replace('filter', 'filter=1')}")
    try:
        cluster.run("node1", "ip netns exec demo ping -c 1 -W 5 172.20.1.2")
        cluster.run("node1", "ping -c 1 -W 5 172.20.1.2")
        cluster.run("node1", "ping -c 1 -W 5 -I 198.51.100.1 172.20.1.2")
        cluster.run("node1", "ip netns exec demo ping -c 1 -W 5 198.51.100.2")
    finally:
        for node, values in before.items():
            cluster.run(node, f"sysctl -w {' '.join(values)}")


def test_what_leaves_the_cluster_has_the_nodes_address(cluster: Cluster) -> None:
    listener = cluster.lab.run("switch", "ip", "-br", "addr", "show", "br0").stdout.split()[2].split("/")[0]
    assert seen_source(cluster, "node1", "demo", "switch", listener) == "198.51.100.1"


def test_what_is_wrong_in_the_tables_is_named_with_the_playbook_that_repairs_it(cluster: Cluster) -> None:
    wrong = {
        "node1": "ip route del 172.20.1.0/24",
        "node2": "ip neigh replace 172.20.2.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent",
        "node3": "nft delete element inet podnet peers { 198.51.100.1 }",
    }
    for node, command in wrong.items():
        cluster.run(node, command)
    assert {(each["cause"], each["hop"], each["repair"]) for each in problems(verification(cluster))} == {
        ("no-route", "node1: route to 172.20.1.0/24", "ansible-playbook podnet.baremetal.peers --limit node1"),
        ("wrong-mac", "node2: neighbour 172.20.2.0 on flannel.1", "ansible-playbook podnet.baremetal.peers --limit node2"),
        ("filtered", "node3: nft inet podnet, set peers", "ansible-playbook podnet.baremetal.peers --limit node3"),
    }
    cluster.play("peers", "--limit", "node1,node2,node3").succeeded()
    assert problems(verification(cluster)) == []


def verification(cluster: Cluster) -> Document:
    """The tables of all nodes against the ledger, and no paths."""
    options = {"ledger": str(cluster.ledger), "datapath": True}
    read = cluster.lab.task("podnet.baremetal.overlay_info", options, hosts=":".join(NODES)).succeeded()
    network: Network = {
        "cluster_cidrs": ["172.20.0.0/16"],
        "service_cidrs": [],
        "vni": 1,
        "port": 8472,
        "mtu": 1450,
        "ledger": str(cluster.ledger),
        "generation": json.loads(cluster.ledger.read_text())["generation"],
    }
    nodes: dict[str, Any] = {each.host: {**each.result, "state": "verified", "reason": "", "pod": None} for each in read.outcomes}
    sample: Sample = {"each": 0, "run": 0, "tested": 0, "pairs": 0}
    return {"version": 1, "made": "", "took": 0, "network": network, "sample": sample, "nodes": nodes, "paths": [], "problems": []}


def test_what_somebody_spoiled_is_repaired_exactly_and_what_is_not_ours_stays(cluster: Cluster) -> None:
    before = [cluster.tables(node) for node in NODES]
    table = cluster.run("node3", "nft --stateless --terse list table inet podnet")
    for node, command in SPOILED:
        cluster.run(node, command)
    repaired = cluster.site("--diff")
    assert [(each.host, each.task.split(" : ")[1], each.commands) for each in repaired.changed] == [
        (
            "node2",
            "Write what is to be at boot, and once what was before",
            ["install -m 0644 /dev/stdin /etc/sysctl.d/90-podnet.conf"],
        ),
        ("node3", "Give the settings their values, now and at boot", []),
        (
            "node1",
            "Make the VXLAN device of this node",
            ["ip route replace unreachable 172.20.0.0/16 metric 4278198272 proto 86", "ip link set dev flannel.1 mtu 1450"],
        ),
        ("node2", "Make the VXLAN device of this node", ["ip link set dev flannel.1 address 02:f1:ac:14:01:00"]),
        (
            "node3",
            "Let in the peers alone, and masquerade what leaves the cluster",
            [f"flush table inet podnet\n{table}# The underlay addresses of the peers.\n{PEERS_OF_NODE3}\n"],
        ),
        (
            "node1",
            "Reach the other nodes, and nobody else",
            [
                PEERS_OF_NODE1,
                "install -m 0644 /dev/stdin /var/lib/podnet-peers.nft",
                "ip neigh replace 172.20.2.0 lladdr 02:f1:ac:14:02:00 dev flannel.1 nud permanent",
                "bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.2 self permanent",
                "ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86",
            ],
        ),
        (
            "node2",
            "Reach the other nodes, and nobody else",
            [
                "ip neigh replace 172.20.0.0 lladdr 02:f1:ac:14:00:00 dev flannel.1 nud permanent",
                "ip neigh replace 172.20.2.0 lladdr 02:f1:ac:14:02:00 dev flannel.1 nud permanent",
                "nft delete element inet podnet peers { 203.0.113.9 }",
            ],
        ),
        ("node3", "Tell the CNI plugins and flannel's users about it", ["install -m 0644 /dev/stdin /run/flannel/subnet.env"]),
        ("node3", "Write the CNI configuration", ["install -m 0600 /dev/stdin /etc/cni/net.d/10-flannel.conflist"]),
    ]
    for node, command in FOREIGN:
        cluster.run(node, command)
    assert [cluster.tables(node) for node in NODES] == before
    assert cluster.site().changed == []


def test_a_part_of_a_run_learns_the_lease_itself_and_a_part_left_out_takes_no_other_along(cluster: Cluster) -> None:
    before = cluster.run("node2", CONFLIST)
    for arguments in (["--tags=cni"], [f"--start-at-task={CNI}", "--skip-tags=cni_install"]):
        cluster.run("node2", "truncate -s 0 /etc/cni/net.d/10-flannel.conflist")
        part = cluster.site("--limit=node2", *arguments)
        assert [each.task.split(" : ")[1] for each in part.changed] == ["Write the CNI configuration"]
        assert cluster.run("node2", CONFLIST) == before


def test_a_peer_that_left_the_inventory_is_purged_and_comes_back_the_same(cluster: Cluster, tmp_path: Path) -> None:
    before = {node: cluster.tables(node) for node in ("node1", "node2")}
    ledger = cluster.ledger.read_text()
    gone = cluster.play("peers", "--limit", "node1,node2", lab_nodes=2).succeeded()
    assert [each.task.split(" : ")[1] for each in gone.changed] == [
        "Allocate the pod subnets in the ledger",
        "Reach the other nodes, and nobody else",
        "Reach the other nodes, and nobody else",
    ]
    assert gone.of("Reach", "node1")[0].commands == [
        "install -m 0644 /dev/stdin /var/lib/podnet-peers.nft",
        "ip route del 172.20.2.0/24 via 172.20.2.0 dev flannel.1 onlink proto 86",
        "bridge fdb del 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.3 self",
        "ip neigh del 172.20.2.0 dev flannel.1",
        "nft delete element inet podnet peers { 198.51.100.3 }",
        "install -D -m 0644 /dev/stdin /var/lib/podnet-boot/peers.sh",
    ]
    assert json.loads(cluster.ledger.read_text())["nodes"]["node3"]["state"] == "retired"
    cluster.play("peers").succeeded()
    assert {node: cluster.tables(node) for node in ("node1", "node2")} == before
    assert json.loads(cluster.ledger.read_text())["nodes"] == json.loads(ledger)["nodes"]


def test_a_join_costs_one_task_on_each_other_node(cluster: Cluster) -> None:
    play = cluster.play("peers").succeeded()
    on_nodes = [each for each in play.of(host="node2") if "Validating arguments" not in each.task]
    assert [each.task.split(" : ")[1] for each in on_nodes] == ["Reach the other nodes, and nobody else"]


@pytest.mark.parametrize(
    ("variables", "sentences"),
    [
        (
            {
                "podnet_underlay_interface": "{{ 'eth9' if inventory_hostname == 'node1' else 'eth0' }}",
                "podnet_mtu": "{{ 1500 if inventory_hostname == 'node2' else 0 }}",
                "podnet_vni": "{{ 0 if inventory_hostname == 'node3' else 1 }}",
            },
            [
                "node1: interface (podnet_underlay_interface) is eth9: this node has no such interface",
                "node2: mtu (podnet_mtu) is 1500: eth0 has an MTU of 1500 and VXLAN takes 50 of it",
                "node3: vni (podnet_vni) is 0",
            ],
        ),
        ({"podnet_port": 70000}, ["node1: port (podnet_port) is 70000"]),
        ({"podnet_cluster_cidr": "198.51.0.0/16"}, ["podnet_underlay_address"]),
        ({"podnet_service_cidr": "172.20.0.0/20"}, ["podnet_service_cidr"]),
        ({"podnet_cluster_cidr": "172.20.0.0/33"}, ["podnet_cluster_cidr"]),
        ({"podnet_cluster_cidr": "172.21.0.0/16"}, ["podnet_cluster_cidr"]),
        ({"podnet_pod_subnet": "172.20.0.0/24"}, ["podnet_pod_subnet"]),
        ({"podnet_pod_subnet": "10.0.0.0/24"}, ["podnet_pod_subnet"]),
        ({"podnet_underlay_address": "198.51.100.1"}, ["podnet_underlay_address"]),
        ({"podnet_underlay_address": "nonsense"}, ["podnet_underlay_address"]),
    ],
)
def test_what_cannot_work_is_one_sentence_and_no_node_and_no_ledger_is_changed(
    cluster: Cluster, variables: dict[str, Any], sentences: list[str]
) -> None:
    before, ledger = [cluster.tables(node) for node in NODES], cluster.ledger.read_text()
    refused = cluster.play("site", **variables)
    failed = [each for each in refused.outcomes if each.failed]
    assert refused.code != 0
    assert failed
    for sentence in sentences:
        assert any(sentence in each.msg for each in failed), [each.msg for each in failed]
    assert all(each.msg.count("\n") == 0 and each.msg.endswith(".") for each in failed)
    assert refused.changed == []
    assert ([cluster.tables(node) for node in NODES], cluster.ledger.read_text()) == (before, ledger)


def test_a_reset_is_refused_while_pods_are_attached_and_names_them(cluster: Cluster) -> None:
    refused = cluster.play("reset")
    assert all(f"{each.host}: pods are attached to cni0, by veth" in each.msg for each in refused.outcomes if each.failed)
    assert len([each for each in refused.outcomes if each.failed]) == 3
    assert refused.changed == []


def test_a_node_after_reset_is_as_it_was_before_site(cluster: Cluster) -> None:
    cluster.play("demo", demo_state="absent").succeeded()
    cluster.play("reset").succeeded()
    cluster.lab.run("node1", "sh", "-ec", PLANTED)
    before = everything(cluster)
    refused = cluster.play("site", "--limit=node2", "--tags=cni,host_services", "--skip-tags=host_services")
    assert refused.one("Refuse a node that has no overlay yet").msg == (
        'node2: cni_pod_subnets is ["172.20.1.0/24"], of an overlay that is not there: have the role flannel make that first, '
        "as with --tags flannel,cni."
    )
    assert (refused.code, refused.changed, changes_to(before, everything(cluster))) == (2, [], {})
    cluster.site()
    assert len(changes_to(before, everything(cluster))["new"]) > 100
    predicted = cluster.play("reset", "--check", "--diff").succeeded()
    taken = cluster.play("reset", "--diff").succeeded()
    assert reports(taken) == reports(predicted)
    assert changes_to(before, everything(cluster)) == {}
    assert cluster.play("reset").succeeded().changed == []
    cluster.lab.run("node1", "sh", "-ec", TAKEN_BACK)


def test_one_node_that_cannot_carry_it_stops_all_and_a_dead_one_stops_nobody(cluster: Cluster) -> None:
    before = dumps(cluster)
    refused = cluster.play("site", podnet_mtu="{{ 9000 if inventory_hostname == 'node2' else 0 }}")
    assert [each.host for each in refused.outcomes if each.failed] == ["node2"]
    assert refused.changed == []
    assert changes_to(before, dumps(cluster)) == {}

    os.kill(cluster.lab.pids()["node3"], signal.SIGKILL)
    try:
        made = cluster.play("site")
        assert {host: (stats["unreachable"], stats["failures"]) for host, stats in made.stats.items()} == {
            "node1": (0, 0),
            "node2": (0, 0),
            "node3": (1, 0),
        }
        assert "172.20.2.0/24" in cluster.run("node1", "ip route"), "the dead node keeps its lease, and its peers their routes"
        assert cluster.play("peers").changed == []
    finally:
        cluster.play("lab_up", lab_nodes=3).succeeded()
    assert {each.host for each in cluster.site().changed} == {"node3"}


def seen_source(cluster: Cluster, node: str, pod: str, at: str, address: str) -> str:
    """The source address that a listener sees: in the pod `demo` of a node, or on the switch."""
    listen = (
        "import socket\n"
        f"s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10); s.bind(('{address}', 9999))\n"
        "print('ready', flush=True); print(s.recvfrom(99)[1][0])\n"
    )
    send = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('{address}', 9999))"
    inside = [] if at == "switch" else ["ip", "netns", "exec", "demo"]
    with cluster.lab.start(at, *inside, "python3", "-c", listen) as listener:
        assert listener.stdout
        assert listener.stdout.readline() == "ready\n"
        cluster.lab.run(node, *(["ip", "netns", "exec", pod] if pod else []), "python3", "-c", send)
        return listener.stdout.readline().strip()
