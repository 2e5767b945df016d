# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that flanneld made, node by node as it was recorded, is adopted; then one of ours that lost its ledger. I/O: the lab."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd import Access, Etcd
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import etcd_place
from etcds import PREFIX, etcd
from labs import CHECKOUT, DIRECTORY, Lab, Play, play, take_away

GOLDEN = CHECKOUT / "tests" / "golden"
RECORDED = GOLDEN / "vxlan"  # recorded from flanneld v0.28.9
LEASES = {
    "node1": ("10.244.97", "198.18.0.11", "d6:02:2d:21:82:55"),
    "node2": ("10.244.3", "198.18.0.12", "5a:98:46:fc:8e:ec"),
    "node3": ("10.244.76", "198.18.0.13", "c6:79:f4:4c:3a:b6"),
}
# What flanneld writes on its device: the commands and the recordings of what they printed.
SHOWN = {
    "ip -d link": "ip-d-link.txt",
    "ip addr": "ip-addr.txt",
    "ip -d neigh show": "ip-neigh.txt",
    "bridge -d fdb show dev flannel.1": "bridge-fdb-flannel.txt",
    "ip -d route": "ip-route.txt",
}
# These print the attributes that the kernel and iproute2 know, more with every version.
BY_VERSION = {"ip -d link", "ip addr"}
OVERLAY = (
    "Allocate the pod subnets in the ledger",
    "Make the VXLAN device of this node",
    "Reach the other nodes, and nobody else",
)
# What of the overlay is new: that a node makes it again at boot.
PEERS = "install -m 0644 /dev/stdin /var/lib/podnet-peers.nft"
KEPT = [f"install -D -m 0644 /dev/stdin /var/lib/podnet-boot/{name}.sh" for name in ("device", "peers")]
# What site.yml adds to a node that flanneld set up, with what is not on the overlay's device: docs/adopt.md lists it.
ADDED = [
    "Write what is to be at boot, and once what was before",
    "Make the VXLAN device of this node",
    "Let in the peers alone, and masquerade what leaves the cluster",
    "Reach the other nodes, and nobody else",
    "Tell the CNI plugins and flannel's users about it",
    "Write the CNI configuration",
]
UNREACHABLE = [f"ip route replace unreachable {cidr} metric 4278198272 proto 86" for cidr in ("10.244.0.0/16", "fd00:10:244::/48")]
PODS = "/tmp/pods.conflist"


@dataclass(frozen=True)
class Cluster:
    """The recorded nodes in a lab, with their inventory and ledger."""

    lab: Lab
    directory: Path

    @property
    def ledger(self) -> Path:
        return self.directory / "podnet-ledger.json"

    def play(self, playbook: str | list[dict[str, Any]], *arguments: str, **variables: Any) -> Play:
        name = f"playbooks/{playbook}.yml" if isinstance(playbook, str) else playbook
        return play(name, *arguments, inventory=self.directory / "hosts.yml", variables=variables)

    def run(self, node: str, command: str, **options: Any) -> str:
        return self.lab.run(node, *command.split(), **options).stdout

    def tables(self) -> dict[str, list[str]]:
        """What each node shows of flannel.1."""
        return {f"{node}: {command}": of_flannel(self.run(node, command)) for node in LEASES for command in SHOWN}


def of_flannel(text: str) -> list[str]:
    """The lines about flannel.1 of a listing, each link's on one line, in a stable order."""
    lines = re.sub(r"\n\s+", " ", text).splitlines()
    own = [re.sub(r"^\d+: | tentative", "", line) for line in lines if "flannel.1" in line or (" dst " in line and " dev " not in line)]
    return sorted(line.strip() for line in own if not line.startswith("#"))


def written(lab: str, directory: Path, hosts: Mapping[str, Any], cluster_cidr: Any) -> Cluster:
    """A cluster whose inventory is written, and whose nodes are still to be made."""
    variables = {
        "podnet_cluster_cidr": cluster_cidr,
        "cni_plugin_directory": "/usr/lib/cni",
        "ansible_connection": "podnet.baremetal.netns",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    inventory = {"all": {"vars": {"podnet_lab_directory": lab}}, "kube_node": {"hosts": hosts, "vars": variables}}
    (directory / "hosts.yml").write_text(json.dumps(inventory))
    return Cluster(Lab(lab), directory)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    hosts = {node: {"ansible_host": underlay} for node, (_subnet, underlay, _mac) in LEASES.items()}
    here = written(f"{DIRECTORY}-{os.getpid()}-adopt", tmp_path_factory.mktemp("inventory"), hosts, "10.244.0.0/16")
    try:
        here.play("lab_up").succeeded()
        for node in LEASES:
            flanneld(here, node)
        here.play(pods("present")).succeeded()
        yield here
    finally:
        take_away(here.lab.directory)


def pods(state: str) -> list[dict[str, Any]]:
    """A play that attaches a pod to each node by what flannel's CNI plugin hands to the bridge plugin, or detaches it."""
    return [{"hosts": "kube_node", "gather_facts": False, "tasks": [pod("pod", state, conflist=PODS)]}]


def pod(name: str, state: str = "present", **options: Any) -> dict[str, Any]:
    return {"podnet.baremetal.cni_pod": {"name": name, "plugin_directory": "/usr/lib/cni", "state": state, **options}}


def flanneld(cluster: Cluster, node: str) -> None:
    """Make of a node what flanneld made of it, and what its CNI plugin hands to the bridge plugin."""
    subnet, _underlay, _mac = LEASES[node]
    vteps = {name: (f"{its_subnet}.0", underlay, mac) for name, (its_subnet, underlay, mac) in LEASES.items()}
    cluster.run(node, "mkdir -p /run/flannel /etc/cni/net.d")
    for command in device("flannel.1", "mtu 1450", vteps, node, 24):
        cluster.run(node, command)
    cluster.run(node, "tee /run/flannel/subnet.env", input=(RECORDED / f"{node}.subnet.env").read_text())
    cluster.run(node, "tee /etc/cni/net.d/10-flannel.conflist", input=(RECORDED / "10-flannel.conflist").read_text())
    cluster.run(node, "nft -f -", input=masquerade(subnet))
    delegate = json.loads((RECORDED / f"{node}.delegate.json").read_text())
    conflist = {"cniVersion": delegate["cniVersion"], "name": delegate["name"], "plugins": [delegate]}
    cluster.run(node, f"tee {PODS}", input=json.dumps(conflist))


def device(name: str, mtu: str, vteps: Mapping[str, tuple[str, str, str]], node: str, length: int) -> Iterator[str]:
    """The commands that make a device of flanneld with its peers: each has the address of its VTEP, its underlay address and its MAC."""
    address, underlay, mac = vteps[node]
    yield f"ip link add {name} address {mac} {mtu} txqueuelen 0 type vxlan id 1 local {underlay} dev eth0 dstport 8472 nolearning"
    yield f"sysctl -q -w net.ipv6.conf.{name.replace('.', '/')}.accept_ra=0"
    yield f"ip addr add {address}/{128 if ':' in address else 32} dev {name}"
    yield f"ip link set {name} up"
    for peer, home, its_mac in (vtep for other, vtep in vteps.items() if other != node):
        yield f"ip neigh replace {peer} lladdr {its_mac} dev {name} nud permanent"
        yield f"bridge fdb replace {its_mac} dev {name} dst {home} self permanent"
        yield f"ip route replace {peer}/{length} via {peer} dev {name} onlink"


def masquerade(subnet: str) -> str:
    """flanneld's iptables rules as they were recorded, by nft: chain FLANNEL-POSTRTG and the jump to it."""
    recorded = (RECORDED / "node1.nft-ruleset.txt").read_text()
    rules = re.search(r"\tchain FLANNEL-POSTRTG \{.*?\n\t\}", recorded, re.DOTALL)
    assert rules
    hook = "type nat hook postrouting priority srcnat; policy accept; jump FLANNEL-POSTRTG;"
    return f"table ip nat {{\n{rules[0].replace('10.244.97', subnet)}\n\tchain POSTROUTING {{ {hook} }}\n}}\n"


def names(outcomes: Play) -> list[str]:
    """The tasks that changed something, each once."""
    return list(dict.fromkeys(each.task.split(" : ")[-1] for each in outcomes.changed))


def on_the_overlay(outcomes: Play) -> list[tuple[str, list[str]]]:
    """What was done on each node to its device and its entries."""
    return [(each.host, each.commands) for each in outcomes.changed if each.task.split(" : ")[-1] in OVERLAY]


def leases(cluster: Cluster) -> dict[str, Any]:
    return dict(json.loads(cluster.ledger.read_text())["nodes"])


EXPECTED = {
    node: {"subnets": [f"{subnet}.0/24"], "underlay": underlay, "mac": mac, "state": "active"}
    for node, (subnet, underlay, mac) in LEASES.items()
}


def test_the_nodes_are_as_flanneld_left_them(cluster: Cluster) -> None:
    shown = cluster.tables()
    recorded = {
        f"{node}: {command}": of_flannel((RECORDED / f"{node}.{file}").read_text()) for node in LEASES for command, file in SHOWN.items()
    }
    for what, lines in recorded.items():
        if what.split(": ")[1] in BY_VERSION:
            assert set(" ".join(lines).split()) <= set(" ".join(shown[what]).split()), what
        else:
            assert shown[what] == lines, what


def test_conflicts_between_sources_are_listed_node_by_node_and_nothing_is_written(cluster: Cluster) -> None:
    refused = cluster.play("adopt", adopt_kubernetes=str(GOLDEN / "kube" / "nodes.json"))
    (failed,) = (each for each in refused.outcomes if each.failed)
    source = GOLDEN / "kube" / "nodes.json"
    assert failed.msg.splitlines() == [
        "6 conflicts stand against adopting the cluster, and nothing was written:",
        f"  node1: VTEP MAC is 76:6b:67:40:a0:c6 in {source}, d6:02:2d:21:82:55 in flannel.1",
        f"  node1: pod subnet is 10.244.0.0/24 in {source}, 10.244.97.0/24 in flannel.1 and subnet.env",
        f"  node2: VTEP MAC is 5a:98:46:fc:8e:ec in flannel.1, ea:48:43:a6:a0:1f in {source}",
        f"  node2: pod subnet is 10.244.1.0/24 in {source}, 10.244.3.0/24 in flannel.1 and subnet.env",
        f"  node3: VTEP MAC is 6e:74:ee:7f:03:8b in {source}, c6:79:f4:4c:3a:b6 in flannel.1",
        f"  node3: pod subnet is 10.244.2.0/24 in {source}, 10.244.76.0/24 in flannel.1 and subnet.env",
    ]
    assert (refused.changed, cluster.ledger.exists()) == ([], False)


def test_a_node_that_answers_with_an_error_stops_the_run(cluster: Cluster) -> None:
    text = (RECORDED / "node2.subnet.env").read_text()
    cluster.run("node2", "tee /run/flannel/subnet.env", input=text.replace("/24", "/240"))
    refused = cluster.play("adopt")
    cluster.run("node2", "tee /run/flannel/subnet.env", input=text)
    (failed,) = (each for each in refused.outcomes if each.failed)
    assert failed.msg.startswith("node2: /run/flannel/subnet.env: its content is damaged: ")
    assert (refused.of("Write the leases"), cluster.ledger.exists()) == ([], False)


def test_a_cluster_of_flanneld_is_adopted_as_it_is_and_no_node_is_changed(cluster: Cluster) -> None:
    before = cluster.tables()
    predicted = cluster.play("adopt", "--check", "--diff", adopt_etcd=str(RECORDED / "etcd-keys.json")).succeeded()
    assert not cluster.ledger.exists()
    made = cluster.play("adopt", "--diff", adopt_etcd=str(RECORDED / "etcd-keys.json")).succeeded()
    assert names(predicted) == names(made) == ["Write the leases that the cluster has into the ledger"]
    assert predicted.changed[0].diff == made.changed[0].diff
    assert made.changed[0].commands == [
        "network 10.244.0.0/16",
        *(f"lease {node} {subnet}.0/24 (adopted)" for node, (subnet, _underlay, _mac) in LEASES.items()),
    ]
    assert leases(cluster) == EXPECTED
    assert "warnings" not in made.changed[0].result
    assert cluster.tables() == before
    text = cluster.ledger.read_text()
    assert cluster.play("adopt").succeeded().changed == []
    assert cluster.ledger.read_text() == text


def test_site_then_finds_the_overlay_as_it_wants_it_and_lists_what_it_adds(cluster: Cluster) -> None:
    before = cluster.tables()
    predicted = cluster.play("site", "--check", "--diff").succeeded()
    assert names(predicted) == ADDED
    assert on_the_overlay(predicted) == [
        *((node, [*UNREACHABLE[:1], KEPT[0]]) for node in LEASES),
        *((node, [PEERS, KEPT[1]]) for node in LEASES),
    ], "it is taken as it is, its packets are kept in, and it comes back at boot"
    files = predicted.of("Tell the CNI plugins", "node1")[0].commands
    assert [command.split()[-1] for command in files if "install -m" in command] == [
        "/etc/kube-flannel/net-conf.json",
        "/etc/iproute2/rt_protos.d/podnet.conf",
        "/etc/podnet/podnet.nft",
        "/etc/systemd/system/podnet-firewall.service",
        "/etc/systemd/system/multi-user.target.d/podnet-firewall.conf",
        "/etc/systemd/system/nftables.service.d/podnet-firewall.conf",
        "/etc/podnet/restore.sh",
        "/etc/podnet/subnet.env",
        "/etc/systemd/system/podnet.service",
        "/etc/systemd/system/podnet.timer",
        "/etc/systemd/system/multi-user.target.d/podnet.conf",
    ], "/run/flannel/subnet.env is right as it is"
    assert cluster.tables() == before


def test_the_first_site_loses_no_packet_between_pods_and_the_second_changes_nothing(cluster: Cluster) -> None:
    before = cluster.tables()
    with cluster.lab.start("node1", "sh", "-c", "echo $$; exec ip netns exec pod ping -q -i 0.005 10.244.3.2") as pings:
        assert pings.stdout
        pid = pings.stdout.readline().strip()
        cluster.play("site").succeeded()
        cluster.run("node1", f"kill -INT {pid}")
        report = pings.stdout.read()
    sent, received = map(int, re.findall(r"(\d+) packets transmitted, (\d+) received", report)[0])
    assert sent > 100, "it ran beside the playbook, however fast that was"
    assert sent - received <= 1, report  # the last one may be on its way when ping is told to end
    assert cluster.tables() == before
    assert cluster.play("site").succeeded().changed == []


def test_a_new_pod_finds_its_place_beside_those_that_run(cluster: Cluster) -> None:
    attached = cluster.play([{"hosts": "node1", "gather_facts": False, "tasks": [pod("later")]}]).succeeded()
    assert attached.outcomes[0].result["addresses"] == ["10.244.97.3/24"]
    cluster.run("node1", "ip netns exec later ping -q -c 3 -i 0.05 -M do -s 1422 10.244.3.2")
    cluster.play([{"hosts": "node1", "gather_facts": False, "tasks": [pod("later", "absent")]}]).succeeded()


def test_a_node_is_read_back_compared_with_the_ledger_and_loses_the_route_of_a_node_that_left(cluster: Cluster) -> None:
    info, ledger = "podnet.baremetal.overlay_info", {"ledger": str(cluster.ledger)}
    tasks = [
        {info: ledger},
        {info: ledger, "vars": {"ansible_pipelining": False}},
        {"podnet.baremetal.vxlan_peers": {"purge": True, "peers": [peer("node2")]}, "check_mode": True},
        {info: {**ledger, "node": "node9"}},
    ]
    run = cluster.play([{"hosts": "node1", "gather_facts": False, "tasks": tasks}])
    short, ordinary, purge, unknown = run.outcomes
    assert short.result["drift"] == {"commands": [], "missing": [], "refused": ""}
    assert short.result["peers"] == [{name: value for name, value in peer(node).items() if name != "node"} for node in ("node2", "node3")]
    for name in ("changed", "device", "device6", "subnet_env", "peers", "drift", "commands"):
        assert short.result[name] == ordinary.result[name], "the short road and the ordinary module say the same"
    assert purge.commands[0] == "ip route del 10.244.76.0/24 via 10.244.76.0 dev flannel.1 onlink proto 3"
    assert unknown.failed
    assert unknown.msg == f"node9: its lease is missing: the ledger {cluster.ledger} has no active node of this name."


def peer(node: str) -> dict[str, Any]:
    subnet, underlay, mac = LEASES[node]
    return {"node": node, "subnets": [f"{subnet}.0/24"], "underlay": underlay, "mac": mac}


def test_a_cluster_of_ours_that_lost_its_ledger_is_adopted_and_site_changes_nothing(cluster: Cluster) -> None:
    cluster.play(pods("absent")).succeeded()
    cluster.play("reset").succeeded()
    cluster.ledger.unlink()
    cluster.play("site").succeeded()
    made = leases(cluster)
    assert [lease["subnets"] for lease in made.values()] == [["10.244.0.0/24"], ["10.244.1.0/24"], ["10.244.2.0/24"]]
    cluster.ledger.unlink()
    cluster.play("adopt").succeeded()
    assert leases(cluster) == made
    assert cluster.play("site").succeeded().changed == []


def recorded_keys() -> dict[str, str]:
    """The leases of flanneld as etcdctl printed them, each on the line after its key."""
    lines = (RECORDED / "etcd-keys.txt").read_text().splitlines()
    return {key: value for key, value in zip(lines, lines[1:]) if key.startswith(f"{PREFIX}/subnets/")}


def test_the_module_needs_no_node_and_says_what_it_cannot_read(cluster: Cluster, tmp_path: Path) -> None:
    """Run on hosts that nobody can reach."""
    options = {"ledger": str(cluster.directory / "other.json"), "cluster_cidr": "10.244.0.0/16", "etcd": str(RECORDED / "etcd-keys.txt")}
    module = "podnet.baremetal.adopt_leases"
    keys = recorded_keys()
    tasks = [
        {module: options, "check_mode": True, "register": "planned"},
        {"ansible.builtin.debug": {"msg": "{{ lookup('ansible.builtin.file', planned.ledger) | from_json }}"}},
        {module: {**options, "etcd": "/nowhere/keys.txt"}, "ignore_errors": True},
        *({module: {**options, "ledger": "{{ server }}"}, "check_mode": looking} for looking in (True, False, False)),
        {module: {**options, "ledger": "/nowhere/ledger.json"}},
    ]
    hosts = {"vars": {"ansible_connection": "podnet.baremetal.netns", "podnet_lab_directory": "/nowhere"}}
    with etcd(tmp_path) as server:
        for key, value in keys.items():
            server.put(key, value, 3600)  # as a flanneld that runs does
        run = cluster.play([{"hosts": "node1", "gather_facts": False, "tasks": tasks, **hosts}], server=server.url)
        place = etcd_place(server.url)
        assert place
        held = {key: stored.value for key, stored in Etcd(place, Access()).snapshot().keys.items()}
    planned, copy, unread, would, did, again, nowhere = run.outcomes
    assert would.commands == did.commands
    assert (did.result["leases"], again.result["changed"]) == (planned.result["leases"], False)
    assert json.loads(held.pop("podnet/ledger"))["nodes"] == EXPECTED
    assert {f"{PREFIX}/{key}": value for key, value in held.items()} == {**keys, f"{PREFIX}/config": held["config"]}
    assert {name: lease["mac"] for name, lease in planned.result["leases"].items()} == {name: lease[2] for name, lease in LEASES.items()}
    assert copy.result["msg"]["nodes"] == EXPECTED
    assert not (cluster.directory / "other.json").exists()
    assert unread.msg.startswith("adopt_etcd is /nowhere/keys.txt: the file cannot be read: ")
    assert nowhere.msg.startswith("/nowhere/ledger.json: podnet_ledger is in no directory")


def test_an_unreachable_node_is_a_warning_and_keeps_what_another_source_says_of_it(cluster: Cluster) -> None:
    lost = {node: lease for node, lease in leases(cluster).items() if node != "node3"}
    keys = "".join(
        f"/coreos.com/network/subnets/{n}-24\n{json.dumps({'PublicIP': underlay, 'BackendType': 'vxlan'})}\n"
        for n, underlay in (("10.244.2.0", "198.18.0.13"), ("10.244.9.0", "198.18.0.19"))
    )
    (cluster.directory / "keys.txt").write_text(keys)
    cluster.ledger.unlink()
    os.kill(cluster.lab.pids()["node3"], signal.SIGKILL)
    run = cluster.play("adopt")
    assert run.code == 0
    alone = run.one("Write the leases", "node1")
    assert alone.result["warnings"] == [
        "node3: could not be reached, so only other sources speak for them.",
        "node3: no source knows their pod subnets: site.yml gives them free ones, so adopt again first where they have some.",
    ]
    assert leases(cluster) == lost
    more = cluster.play("adopt", adopt_etcd=str(cluster.directory / "keys.txt")).one("Write the leases", "node1")
    assert [warning.split(":")[0] for warning in more.result["warnings"]] == ["node3", "node3", "198.18.0.19"]
    assert leases(cluster)["node3"] == {"subnets": ["10.244.2.0/24"], "underlay": "198.18.0.13", "state": "active"}
    assert leases(cluster)["198.18.0.19"] == {"subnets": ["10.244.9.0/24"], "underlay": "198.18.0.19", "state": "retired"}


# --- dual stack -------------------------------------------------------------------------------------------------------------

DUAL = {
    "flannel.1": {
        "node1": ("10.244.9.0", "198.18.0.11", "e2:c9:37:6e:f7:7d"),
        "node2": ("10.244.45.0", "198.18.0.12", "da:d0:88:de:9a:5a"),
        "node3": ("10.244.7.0", "198.18.0.13", "96:cd:68:24:e8:3a"),
    },
    "flannel-v6.1": {
        "node1": ("fd00:10:244:12::", "2001:db8:18::11", "62:42:e1:2f:e1:4b"),
        "node2": ("fd00:10:244:54::", "2001:db8:18::12", "6a:56:39:00:6a:9d"),
        "node3": ("fd00:10:244:64::", "2001:db8:18::13", "4e:bb:1e:ed:13:ef"),
    },
}


def test_a_dual_stack_cluster_of_flanneld_is_adopted_and_only_its_mtu_is_corrected(lab_directory: str, tmp_path: Path) -> None:
    four, six = DUAL["flannel.1"], DUAL["flannel-v6.1"]
    hosts = {node: {"ansible_host": four[node][1], "podnet_underlay_address": [four[node][1], six[node][1]]} for node in four}
    cluster = written(lab_directory, tmp_path, hosts, ["10.244.0.0/16", "fd00:10:244::/48"])
    cluster.play("lab_up").succeeded()
    for node in four:
        cluster.run(node, "mkdir -p /run/flannel")
        cluster.run(node, "tee /run/flannel/subnet.env", input=(GOLDEN / "dual" / f"{node}.subnet.env").read_text())
        for command in (*device("flannel.1", "mtu 1450", four, node, 24), *device("flannel-v6.1", "mtu 1430", six, node, 64)):
            cluster.run(node, command)
    cluster.play("adopt", adopt_etcd=str(GOLDEN / "dual" / "etcd-keys.json")).succeeded()
    assert leases(cluster)["node1"] == {
        "subnets": ["10.244.9.0/24", "fd00:10:244:12::/64"],
        "underlay": "198.18.0.11",
        "underlay6": "2001:db8:18::11",
        "mac": "e2:c9:37:6e:f7:7d",
        "mac6": "62:42:e1:2f:e1:4b",
        "state": "active",
    }
    predicted = cluster.play("site", "--check").succeeded()
    assert all(predicted.of(task) for task in OVERLAY)
    assert on_the_overlay(predicted) == [
        *((node, [*UNREACHABLE, "ip link set dev flannel.1 mtu 1430", KEPT[0]]) for node in four),
        *((node, [PEERS, KEPT[1]]) for node in four),
    ]
