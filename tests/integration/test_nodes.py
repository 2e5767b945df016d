# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes join, are replaced and leave while others are dead, out of reach or half installed, as docs/nodes.md tells it. I/O: a lab."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from labs import CHECKOUT, DIRECTORY, Lab, Play, environment, play, take_away

LET_IN = "Let in who changes its underlay address"
PEERS, LEDGER = "Reach the other nodes, and nobody else", "Allocate the pod subnets in the ledger"
BEGINS = "PLAY [Give the nodes their pod network]"
STAGES = (  # before there is a device, and before there is a firewall
    "Prepare the node, or take that away",
    "Let in the peers alone, and masquerade what leaves the cluster",
)
AWAY = {"podnet_lab_node": "nowhere"}  # the controller finds no way to the node, which goes on
OTHERS = ("node1", "node2", "node3")
TABLES = (
    "ip -d link show",
    "ip -4 addr show",
    "ip neigh show nud permanent",
    "bridge fdb show",
    "ip -d -4 route show table all",
    "nft --stateless --terse list ruleset",
    "find /etc /run /var/lib -xdev -type f -printf %p\\n",
)


class Cluster:
    """A lab whose inventory is written anew for each step, and a ledger beside it."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self._inventory = directory / "hosts.yml"
        self._ledger = directory / "podnet-ledger.json"

    def write(self, *names: str, **more: dict[str, Any]) -> None:
        """The inventory: these nodes at the addresses of their numbers, some of them with more variables."""
        hosts = {name: {"ansible_host": f"198.51.100.{name[-1]}", **more.get(name, {})} for name in names}
        shared = {
            "ansible_connection": "podnet.baremetal.netns",
            "ansible_python_interpreter": sys.executable,
            "podnet_lab_directory": self.lab.directory,
            "podnet_cluster_cidr": "172.20.0.0/16",
            "cni_plugin_directory": "/usr/lib/cni",
        }
        self._inventory.write_text(json.dumps({"kube_node": {"hosts": hosts, "vars": shared}}))

    def play(self, name: str, *arguments: str, **variables: Any) -> Play:
        here = {"podnet_lab_directory": self.lab.directory}
        return play(f"playbooks/{name}.yml", "--diff", *arguments, inventory=self._inventory, variables={**here, **variables})

    def leases(self) -> dict[str, tuple[str, str, str]]:
        """Subnet, underlay and state of each node in the ledger."""
        nodes = json.loads(self._ledger.read_text())["nodes"]
        return {name: (*lease["subnets"], lease["underlay"], lease["state"]) for name, lease in nodes.items()}

    def kill(self, *names: str) -> None:
        pids = self.lab.pids()
        for name in names:
            os.kill(pids[name], signal.SIGKILL)

    def kill_site_at(self, task: str, node: str) -> None:
        """Kill site.yml on a node when it begins a task of the play that changes something."""
        command = [str(Path(sys.executable).parent / "ansible-playbook"), f"--inventory={self._inventory}", f"--limit={node}"]
        told = {**environment(), "ANSIBLE_STDOUT_CALLBACK": "default"}
        with subprocess.Popen(
            [*command, "playbooks/site.yml"], cwd=CHECKOUT, env=told, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as run:
            assert run.stdout
            assert any(BEGINS in line for line in run.stdout)
            assert any(task in line for line in run.stdout)
            os.killpg(run.pid, signal.SIGKILL)

    def run(self, node: str, command: str) -> str:
        return self.lab.run(node, *command.split()).stdout

    def dump(self, node: str) -> set[str]:
        """The node's tables and the names of its files."""
        return {line for table in TABLES for line in self.run(node, table).splitlines() if "valid_lft" not in line}

    @contextmanager
    def pings(self) -> Iterator[None]:
        """A ping every few milliseconds by the overlay, from node1 to node2; at the end each must have been answered."""
        with self.lab.start("node1", "ping", "-q", "-i", "0.005", "-W", "1", "172.20.1.0") as stream:
            try:
                yield
            finally:
                self.lab.run("node1", "pkill", "-INT", "-x", "ping")  # it counts what was answered, and ends
            said, _errors = stream.communicate()
        assert " 0% packet loss" in said, said
        assert int(said.split("---\n")[1].split()[0]) > 20, "there was no stream"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Four machines, two of them in the overlay."""
    lab = Lab(f"{DIRECTORY}-{os.getpid()}-nodes")
    here = Cluster(lab, tmp_path_factory.mktemp("inventory"))
    try:
        here.write(*OTHERS, "node4")
        here.play("lab_up").succeeded()
        here.write("node1", "node2")
        here.play("site").succeeded()
        yield here
    finally:
        take_away(lab.directory)


def changed(run: Play) -> list[tuple[str, str]]:
    """Which task changed something on whom. The ledger's task runs once, on whichever host is first."""
    return sorted((each.task.split(" : ")[-1], "" if LEDGER in each.task else each.host) for each in run.changed)


def listed(run: Play) -> tuple[Any, Any]:
    """Who is left to do, as a pipeline reads it; a person reads the same names in what the last task says."""
    names = run.custom["podnet_pending"], run.custom["podnet_left_out"]
    assert [", ".join(each) in str(run.outcomes[-1].result["msg"]) for each in names] == [True, True]
    return names


def tasks_on(node: str, run: Play) -> list[str]:
    return [each.task.split(" : ")[1] for each in run.of(host=node)]


def told(*names: str) -> list[tuple[str, str]]:
    return [(PEERS, name) for name in names]


def test_a_half_installed_node_stops_nobody_elses_join_or_leave_and_is_listed(cluster: Cluster) -> None:
    for stage, joined in zip(STAGES, (["node4"], [])):
        cluster.write(*OTHERS, *joined)
        cluster.kill_site_at(stage, "node3")
        peers = cluster.play("peers")
        assert [each for each in changed(peers) if each[1] in OTHERS[:2]] == told(*OTHERS[:2]), stage
        assert tasks_on("node2", peers) == [PEERS]
        failed = ["node3", "node4"] if joined else []  # without a device there is nothing to hang an entry on
        assert sorted(each.host for each in peers.outcomes if each.failed) == failed
        assert (listed(peers), peers.code) == ((failed, []), 2 if failed else 0)


def test_a_join_takes_two_commands_and_one_task_on_each_other_node_though_all_but_one_of_them_are_dead(cluster: Cluster) -> None:
    before = cluster.leases()
    cluster.write(*OTHERS, "node4")
    cluster.kill("node2", "node3")
    site = cluster.play("site", "--limit", "node4").succeeded()
    assert (list(site.stats), listed(site)) == (["node4"], ([], list(OTHERS)))
    peers = cluster.play("peers")
    assert (changed(peers), listed(peers), peers.code) == (told("node1"), (["node2", "node3"], []), 4)
    assert tasks_on("node4", peers) == [PEERS]
    assert cluster.leases() == {**before, "node4": ("172.20.3.0/24", "198.51.100.4", "active")}
    cluster.run("node4", "ping -c 1 -W 5 172.20.0.0")


def test_a_dead_node_leaves_by_one_command_while_another_is_dead_which_the_next_run_brings_up_to_date(cluster: Cluster) -> None:
    left = cluster.play("leave", podnet_leaving="node3")
    assert (changed(left), listed(left), left.code) == ([(LEDGER, ""), *told("node1", "node4")], (["node2"], []), 4)
    assert cluster.leases()["node3"] == ("172.20.2.0/24", "198.51.100.3", "retired")
    assert cluster.play("leave", podnet_leaving="node3").changed == []
    cluster.write("node1", "node2", "node4")
    cluster.play("lab_up").succeeded()
    back = cluster.play("site", "--limit", "node2").succeeded()
    assert ({host for _task, host in changed(back)}, listed(back)) == ({"node2"}, ([], ["node1", "node4"]))
    for address in ("198.51.100.1", "198.51.100.4"):  # they know the network card that it had
        cluster.run("node2", f"ping -c 1 -W 5 {address}")
    cluster.run("node4", "ping -c 1 -W 5 172.20.1.0")


def test_another_machine_by_the_same_name_is_one_command_and_who_did_not_answer_is_told_by_the_next_run(cluster: Cluster) -> None:
    before, moved = cluster.leases(), {"ansible_host": "198.51.100.9"}
    cluster.write("node1", "node2", "node4", node4=moved)
    cluster.play("lab_up").succeeded()
    cluster.write("node1", "node2", "node4", node4=moved, node2=AWAY)
    with cluster.pings():
        site = cluster.play("site")
        assert [each for each in changed(site) if each[1] != "node4"] == [(LEDGER, ""), (LET_IN, "node1"), *told("node1")]
        assert site.one(LET_IN, "node1").commands == ["nft add element inet podnet peers { 198.51.100.9 }"]
        assert site.one(PEERS, "node1").commands == [
            "install -m 0644 /dev/stdin /var/lib/podnet-peers.nft",
            "bridge fdb replace 02:f1:ac:14:03:00 dev flannel.1 dst 198.51.100.9 self permanent",
            "nft delete element inet podnet peers { 198.51.100.4 }",
            "install -D -m 0644 /dev/stdin /var/lib/podnet-boot/peers.sh",
        ]
        assert (listed(site), site.code) == ((["node2"], []), 4)
        assert cluster.leases() == {**before, "node4": ("172.20.3.0/24", "198.51.100.9", "active")}
        cluster.write("node1", "node2", "node4", node4=moved)
        peers = cluster.play("peers").succeeded()
        assert (changed(peers), listed(peers)) == (told("node2"), ([], []))
    for address in ("172.20.0.0", "172.20.1.0"):
        cluster.run("node4", f"ping -c 1 -W 5 {address}")


def test_another_machine_at_the_same_address_is_one_command_and_concerns_no_other_node(cluster: Cluster) -> None:
    before = cluster.leases()
    cluster.write("node1", "node2", "worker9", worker9={"podnet_renamed_from": "node4"})
    cluster.play("lab_up").succeeded()
    with cluster.pings():
        site = cluster.play("site").succeeded()
    assert {host for _task, host in changed(site)} == {"", "worker9"}
    assert cluster.leases() == {**{name: before[name] for name in OTHERS}, "worker9": before["node4"]}
    cluster.run("worker9", "ping -c 1 -W 5 198.51.100.1")  # from a network card that node1 does not know yet
    cluster.run("worker9", "ping -c 1 -W 5 172.20.0.0")


def test_a_node_with_pods_and_one_that_is_unknown_do_not_leave(cluster: Cluster) -> None:
    before = cluster.leases(), cluster.dump("node1")
    for command in ("ip link add cni0 type bridge", "ip link add pod type veth peer eth9", "ip link set pod master cni0"):
        cluster.run("worker9", command)
    sentences = {
        "worker9": "worker9: pods are attached to cni0, by pod: detach them first, as by draining the node.",
        "node3": (
            "podnet_leaving is node3: expected one or more of the nodes node1, node2, worker9, with commas between them, and not all."
        ),
        "node1,node2,worker9": "podnet_leaving is node1,node2,worker9: expected",
    }
    for leaving, sentence in sentences.items():
        refused = cluster.play("leave", podnet_leaving=leaving)
        (said,) = (each.msg for each in refused.outcomes if each.failed)
        assert sentence in said
        assert (refused.changed, refused.code) == ([], 2)
    assert (cluster.leases(), cluster.dump("node1")) == before
    cluster.run("worker9", "ip link del pod")


def test_leaving_is_one_command_that_drops_nothing_of_the_rest(cluster: Cluster) -> None:
    before, leases = {name: cluster.dump(name) for name in OTHERS[:2]}, cluster.leases()
    predicted = cluster.play("leave", "--check", podnet_leaving="worker9").succeeded()
    with cluster.pings():
        left = cluster.play("leave", podnet_leaving="worker9").succeeded()
    assert reports(left) == reports(predicted)
    assert [each for each in changed(left) if each[1] != "worker9"] == [(LEDGER, ""), *told(*before)]
    assert listed(left) == ([], [])
    assert cluster.leases() == {**leases, "worker9": ("172.20.3.0/24", "198.51.100.9", "retired")}
    for name, lines in before.items():
        after = cluster.dump(name)
        assert after < lines
        assert all("172.20.3.0" in line or "02:f1:ac:14:03:00" in line for line in lines - after)
        assert "198.51.100.9" not in cluster.run(name, "nft list set inet podnet peers")
    assert "flannel.1" not in cluster.run("worker9", "ip link")


def reports(run: Play) -> list[tuple[str, str, bool, list[str], Any]]:
    """What each task said on each host, in the words that must not differ between a prediction and the deed."""
    return [(each.task, each.host, each.changed, each.commands, each.result.get("diff")) for each in run.outcomes]
