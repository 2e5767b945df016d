# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory that changes under a cluster with traffic: whom it does not concern loses no packet and has no task changed. I/O: a lab."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from labs import DIRECTORY, Lab, Play, play, take_away

NODES = ("node1", "node2", "node3")
OTHERS = NODES[:2]  # node3 is what the steps are about
PODS = {"node1": "172.20.0.2", "node2": "172.20.1.2", "node3": "172.20.2.2"}
PEERS, LEDGER = "Reach the other nodes, and nobody else", "Allocate the pod subnets in the ledger"
DEVICE = "Make the VXLAN device of this node"
DEVICE_KEPT, KEPT = (f"install -D -m 0644 /dev/stdin /var/lib/podnet-boot/{name}.sh" for name in ("device", "peers"))
UNREACHABLE = "ip route replace unreachable 172.30.0.0/16 metric 4278198272 proto 86"
SETTLE = 1  # seconds after which a packet that has not come is lost
# In a pod: a numbered packet to each other pod every few milliseconds, and a note of all that come, by their source address, until told
# to stop; then what was sent to whom, and on the next line what has come from whom. Each direction is a flow of its own: the kernel's
# connection tracking may drop one of two first packets of one flow that come from both ends at once (nf_conntrack_resolve_clash()).
TALK = """
import collections, json, select, socket, sys
own, *others = sys.argv[1:]
talking, listening = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
listening.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)
listening.bind((own, 7000))
listening.setblocking(False)
sent, come = collections.Counter(), collections.defaultdict(set)
print("ready", flush=True)
sys.stdin.readline()
def listen():
    while True:
        try:
            data, (source, _) = listening.recvfrom(8)
        except BlockingIOError:
            return
        come[source].add(data)
while not select.select([sys.stdin], [], [], 0.005)[0]:
    for other in others:
        sent[other] += 1
        try:
            talking.sendto(sent[other].to_bytes(8, "big"), (other, 7000))
        except OSError:
            pass  # no route: it is lost, and the count says so
    listen()
sys.stdin.readline()
print(json.dumps(sent), flush=True)
sys.stdin.readline()
listen()
print(json.dumps({source: len(numbers) for source, numbers in come.items()}))
"""


class Cluster:
    """A lab of three nodes whose inventory is written anew for each step."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self._inventory = directory / "hosts.yml"
        self._ledger = directory / "podnet-ledger.json"

    def play(self, name: str, **variables: Any) -> Play:
        shared = {"podnet_lab_directory": self.lab.directory, **variables}
        return play(f"playbooks/{name}.yml", "--diff", inventory=self._inventory, variables=shared)

    def write(self, names: Sequence[str] = NODES, cluster_cidr: Any = "172.20.0.0/16", **of_node3: Any) -> None:
        """The inventory: the hosts in this order, the last one in the control plane."""
        hosts = {name: {"ansible_host": f"198.51.100.{name[4:]}", **(of_node3 if name == "node3" else {})} for name in names}
        shared = {
            "ansible_connection": "podnet.baremetal.netns",
            "ansible_python_interpreter": sys.executable,
            "podnet_cluster_cidr": cluster_cidr,
            "cni_plugin_directory": "/usr/lib/cni",
        }
        groups = {"kube_node": {"hosts": hosts, "vars": shared}, "kube_control_plane": {"hosts": {names[-1]: {}}}}
        self._inventory.write_text(json.dumps(groups))

    def leases(self) -> dict[str, str]:
        """The lines of the ledger, by the name that each begins with."""
        lines = (line.strip().rstrip(",") for line in self._ledger.read_text().splitlines())
        return dict(line.split(": ", 1) for line in lines if ": " in line and "generation" not in line and "nodes" not in line)

    def attach(self, *names: str, state: str = "present") -> None:
        options = {"name": "demo", "plugin_directory": "/usr/lib/cni", "state": state}
        tasks = [{"name": "attach", "podnet.baremetal.cni_pod": options}]
        plays = [{"hosts": ",".join(names), "gather_facts": False, "tasks": tasks}]
        play(plays, inventory=self._inventory, variables={"podnet_lab_directory": self.lab.directory}).succeeded()

    def drain(self, name: str) -> None:
        """Detach the pod before its node moves, and remove the bridge, to which the bridge plugin would not give another address."""
        self.attach(name, state="absent")
        self.lab.run(name, "ip", "link", "del", "cni0")

    @contextmanager
    def traffic(self, pods: dict[str, str]) -> Iterator[None]:
        """Every pod sends to every other meanwhile; at the end each packet must have come, and from the pod's own address."""
        talks = {node: self._talk(node, own, *(pod for pod in pods.values() if pod != own)) for node, own in pods.items()}
        try:
            self._tell(talks)
            yield
            self._tell(talks)
            sent = {node: talk.stdout.readline() for node, talk in talks.items() if talk.stdout}
            time.sleep(SETTLE)
            come = {node: talk.communicate("\n")[0] for node, talk in talks.items()}
        finally:
            for talk in talks.values():
                talk.kill()
                talk.wait()
        for node, own in pods.items():
            counts = json.loads(come[node])
            assert counts == {pods[other]: json.loads(sent[other])[own] for other in pods if other != node}, f"to {node}"
            assert min(counts.values()) > 20, "there was no stream"

    def _talk(self, node: str, *addresses: str) -> subprocess.Popen[str]:
        talk = self.lab.start(node, "ip", "netns", "exec", "demo", "python3", "-c", TALK, *addresses, stdin=subprocess.PIPE)
        assert talk.stdout
        assert talk.stdout.readline() == "ready\n"
        return talk

    @staticmethod
    def _tell(talks: dict[str, subprocess.Popen[str]]) -> None:
        """Let all begin, or end."""
        for talk in talks.values():
            assert talk.stdin
            talk.stdin.write("\n")
            talk.stdin.flush()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    lab = Lab(f"{DIRECTORY}-{os.getpid()}-leases")
    here = Cluster(lab, tmp_path_factory.mktemp("inventory"))
    here.write()
    try:
        here.play("lab_up").succeeded()
        here.play("site").succeeded()
        here.attach(*NODES)
        yield here
    finally:
        take_away(lab.directory)


def changed(play: Play) -> list[tuple[str, str]]:
    """Which task changed something on whom. The ledger's task runs once, on whichever host is first."""
    return sorted((each.task.split(" : ")[-1], "" if LEDGER in each.task else each.host) for each in play.changed)


def pods(*names: str) -> dict[str, str]:
    return {name: PODS[name] for name in names}


def test_another_order_of_the_inventory_changes_nothing_at_all(cluster: Cluster) -> None:
    before = cluster.leases()
    cluster.write(NODES[::-1])
    with cluster.traffic(pods(*NODES)):
        assert changed(cluster.play("site").succeeded()) == []
    assert cluster.leases() == before


def test_a_node_that_leaves_costs_the_others_the_entries_for_it_alone(cluster: Cluster) -> None:
    before = cluster.leases()
    cluster.write(OTHERS)
    with cluster.traffic(pods(*OTHERS)):
        left = cluster.play("site").succeeded()
    assert changed(left) == [(LEDGER, ""), *((PEERS, name) for name in OTHERS)]
    for name in OTHERS:
        assert left.one(PEERS, name).commands == [
            "install -m 0644 /dev/stdin /var/lib/podnet-peers.nft",
            "ip route del 172.20.2.0/24 via 172.20.2.0 dev flannel.1 onlink proto 86",
            "bridge fdb del 02:f1:ac:14:02:00 dev flannel.1 dst 198.51.100.3 self",
            "ip neigh del 172.20.2.0 dev flannel.1",
            "nft delete element inet podnet peers { 198.51.100.3 }",
            KEPT,
        ]
    assert cluster.leases() == {**before, '"node3"': before['"node3"'].replace("active", "retired")}


def test_a_node_that_returns_costs_the_others_the_same_entries_and_itself_nothing(cluster: Cluster) -> None:
    cluster.write()
    with cluster.traffic(pods(*OTHERS)):
        back = cluster.play("site").succeeded()
    assert changed(back) == [(LEDGER, ""), *((PEERS, name) for name in OTHERS)]
    assert {len(back.one(PEERS, name).commands) for name in OTHERS} == {6}
    with cluster.traffic(pods(*NODES)):
        assert changed(cluster.play("site").succeeded()) == []


def test_a_rebuilt_node_has_its_old_identity_and_nobody_else_is_changed(cluster: Cluster) -> None:
    before = cluster.leases()
    os.kill(cluster.lab.pids()["node3"], signal.SIGKILL)
    cluster.play("lab_up").succeeded()
    with cluster.traffic(pods(*OTHERS)):
        rebuilt = cluster.play("site").succeeded()
    assert {each.host for each in rebuilt.changed} == {"node3"}
    assert cluster.leases() == before
    cluster.attach("node3")
    for number in (1, 2):  # its new network card is known on the underlay once it has spoken, and until then packets go to the old one
        cluster.lab.run("node3", "ping", "-q", "-c", "1", f"198.51.100.{number}")
    with cluster.traffic(pods(*NODES)):
        assert changed(cluster.play("site").succeeded()) == []


def test_a_pin_moves_its_node_and_costs_the_others_the_entries_for_it_alone(cluster: Cluster) -> None:
    cluster.drain("node3")
    before = cluster.leases()
    cluster.write(podnet_pod_subnet="172.20.9.0/24")
    with cluster.traffic(pods(*OTHERS)):
        pinned = cluster.play("site").succeeded()
    assert {each for each in changed(pinned) if each[1] != "node3"} == {(LEDGER, ""), *((PEERS, name) for name in OTHERS)}
    for name in OTHERS:
        *commands, last = pinned.one(PEERS, name).commands
        assert (len(commands), last) == (6, KEPT)
        assert all("172.20.2.0" in each or "172.20.9.0" in each or "02:f1:ac:14:0" in each for each in commands)
    assert cluster.leases() == {**before, '"node3"': before['"node3"'].replace("172.20.2.0", "172.20.9.0")}
    cluster.attach("node3")
    with cluster.traffic({**pods(*OTHERS), "node3": "172.20.9.2"}):
        assert changed(cluster.play("site").succeeded()) == []


def test_a_further_range_is_told_to_every_node_and_no_entry_changes(cluster: Cluster) -> None:
    before = cluster.leases()
    cluster.write(cluster_cidr=["172.20.0.0/16", "172.30.0.0/16"], podnet_pod_subnet="172.20.9.0/24")
    with cluster.traffic({**pods(*OTHERS), "node3": "172.20.9.2"}):
        grown = cluster.play("site").succeeded()
    told = (
        "Let in the peers alone, and masquerade what leaves the cluster",
        DEVICE,
        "Tell the CNI plugins and flannel's users about it",
        "Write the CNI configuration",
    )
    assert changed(grown) == [(LEDGER, ""), *((task, name) for task in told for name in NODES)]
    assert all(each.commands == [UNREACHABLE, DEVICE_KEPT] for each in grown.changed if DEVICE in each.task)
    assert {name: line for name, line in cluster.leases().items() if before[name] != line}.keys() == {'"network"'}
    assert cluster.lab.run("node1", "cat", "/run/flannel/subnet.env").stdout.startswith("FLANNEL_NETWORK=172.20.0.0/16,172.30.0.0/16\n")
    assert '"Network": "172.20.0.0/16"' in cluster.lab.run("node1", "cat", "/etc/kube-flannel/net-conf.json").stdout


def test_pods_of_two_ranges_reach_each_other_by_their_own_addresses(cluster: Cluster) -> None:
    cluster.drain("node3")
    cluster.write(cluster_cidr=["172.20.0.0/16", "172.30.0.0/16"], podnet_pod_subnet="172.30.5.0/24")
    with cluster.traffic(pods(*OTHERS)):
        moved = cluster.play("site").succeeded()
    assert {each for each in changed(moved) if each[1] != "node3"} == {(LEDGER, ""), *((PEERS, name) for name in OTHERS)}
    assert '"Network": "172.30.0.0/16"' in cluster.lab.run("node3", "cat", "/etc/kube-flannel/net-conf.json").stdout
    cluster.attach("node3")
    with cluster.traffic({**pods(*OTHERS), "node3": "172.30.5.2"}):
        assert changed(cluster.play("site").succeeded()) == []


def test_a_node_with_a_route_where_pods_are_to_be_stops_the_run_before_anything_changes(cluster: Cluster) -> None:
    before = cluster.leases()
    cluster.lab.run("node2", "ip", "route", "add", "172.30.7.0/24", "via", "198.51.100.9")
    try:
        refused = cluster.play("site")
    finally:
        cluster.lab.run("node2", "ip", "route", "del", "172.30.7.0/24")
    (said,) = [each.msg for each in refused.outcomes if each.failed]
    assert said == (
        "node2: podnet_cluster_cidr is 172.20.0.0/16, 172.30.0.0/16: this node has a route of its own there, 172.30.7.0/24 via "
        "198.51.100.9 dev eth0 proto 3: keep it out with podnet_reserved, or give the cluster another range."
    )
    assert refused.changed == []
    assert cluster.leases() == before
