# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods lose of what they send each other, a packet every millisecond both ways, while playbooks change the cluster. I/O: a lab.

With `-s` it prints a line for each change and direction.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import meter
import pytest
from labs import CHECKOUT, DIRECTORY, INVENTORY, Lab, Play, environment, play, take_away

ENDS = (("node1", "172.20.0.2", "172.20.1.2"), ("node2", "172.20.1.2", "172.20.0.2"))  # the first pod of each, and the other
NODES = ("node1", "node2", "node3")
ENOUGH = 300  # packets of a direction without which there was no stream
SOURCE = Path(meter.__file__).read_text()
COLLECTIONS = CHECKOUT / "build" / "collections" / "ansible_collections"
MOVED = "198.51.100.12"
PORT = {"podnet_port": 4789}
VNI = {**PORT, "podnet_vni": 2}
GUARD = "nft insert rule inet podnet input udp dport 4789 jump vxlan"
RECREATE = "recreate flannel.1: every pod of the node is cut off meanwhile"
INSTALL = "install -D -m 0644 /dev/stdin"
ADMIT = "Let in who changes its underlay address"
DEVICE, FIREWALL = "Make the VXLAN device of this node", "Let in the peers alone, and masquerade what leaves the cluster"
REACH, FILES = "Reach the other nodes, and nobody else", "Tell the CNI plugins and flannel's users about it"

# What a version before this one had in the place of what this one has: a table with a rule less and a chain more, and other files for
# the boot.
EARLIER = (
    ("roles/flannel/vars/main/texts.yml", "    {{ family }} saddr {{ of(family, flannel_lease.cluster_cidr) }} accept\n", ""),
    ("roles/flannel/vars/main/texts.yml", "| trim }}", "| trim ~ '\\nchain earlier {\\n}' }}"),
    ("roles/flannel/files/restore.sh", "| sort | cksum", "| sort | sha1sum"),
    ("roles/flannel/files/podnet.service", "TimeoutStartSec=180", "TimeoutStartSec=90"),
    ("plugins/module_utils/_boot.py", "# Written by {}", "# By {}"),
)


@dataclass
class Stream:
    """Packets from one node's pod to the other's: how many were sent and, by its number, when one was that came, in nanoseconds."""

    sent: int
    came: dict[int, int]

    @property
    def lost(self) -> int:
        return self.sent - len(self.came)

    @property
    def gap(self) -> float:
        """The milliseconds between two packets that came, where there are most of those that one or more in between did not."""
        neighbours = pairwise(sorted(self.came.items()))
        return max((after[1] - before[1] for before, after in neighbours if after[0] - before[0] > 1), default=0) / 1e6


@dataclass
class Cluster:
    """The lab with a ledger of its own, and the inventory as the tests before have left it."""

    lab: Lab
    ledger: Path
    arguments: list[str] = field(default_factory=list)
    nodes: int = 3

    @property
    def variables(self) -> dict[str, Any]:
        return {"podnet_lab_directory": self.lab.directory, "podnet_ledger": str(self.ledger), "lab_nodes": self.nodes}

    def play(self, name: str, *arguments: str, **variables: Any) -> Play:
        return play(f"playbooks/{name}.yml", *self.arguments, *arguments, variables={**self.variables, **variables})

    def run(self, node: str, command: str) -> str:
        return self.lab.run(node, *command.split()).stdout

    def overlay(self, node: str) -> str:
        """The device of the node, and what it has for its peers."""
        shown = ("ip -d -o link show flannel.1", "ip -d neigh show dev flannel.1 nud permanent", "bridge fdb show dev flannel.1")
        more = ("ip -d -4 route show dev flannel.1", "nft list set inet podnet peers")
        return "".join(self.run(node, command) for command in (*shown, *more))

    def underlays(self, node: str) -> set[str]:
        """The addresses of the underlay that are in it."""
        return set(re.findall(r"198\.51\.100\.\d+", self.overlay(node)))

    @contextmanager
    def streams(self, change: str) -> Iterator[list[Stream]]:
        """Both directions while something changes. When it has, the list has what became of them."""
        streams: list[Stream] = []
        with ExitStack() as processes:
            ends = [processes.enter_context(self._end(*end)) for end in ENDS]
            pipes = [(end.stdin, end.stdout) for end in ends if end.stdin and end.stdout]
            assert [said.readline() for _told, said in pipes] == ["ready\n"] * len(ENDS)
            for told, _said in pipes:
                told.write("go\n")
                told.flush()
            yield streams
            for told, _said in pipes:
                told.close()
            (one, of_one), (other, of_other) = (json.loads(said.read()) for _told, said in pipes)
        streams += [Stream(one, dict(of_other)), Stream(other, dict(of_one))]
        for stream, direction in zip(streams, ("there", "back")):
            row = f"{change:22} {direction:5} {stream.sent:6} sent {stream.lost:5} lost, in a row for at most {stream.gap:5.0f} ms\n"
            sys.stdout.write(row)

    def _end(self, node: str, own: str, other: str) -> subprocess.Popen[str]:
        inside = ("ip", "netns", "exec", "loss", sys.executable, "-I", "-S", "-c", SOURCE)
        return self.lab.start(node, *inside, own, other, stdin=subprocess.PIPE)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that an earlier version has set up, two with a pod, and a fourth one that is not in the inventory yet."""
    directory = f"{DIRECTORY}-{os.getpid()}-loss"
    scratch = tmp_path_factory.mktemp("loss")
    try:
        play("playbooks/lab_up.yml", variables={"podnet_lab_directory": directory, "lab_nodes": 4}).succeeded()
        here = Cluster(Lab(directory), scratch / "podnet-ledger.json")
        earlier_site(here, earlier_version(scratch / "collections"))
        here.lab.task("podnet.baremetal.cni_pod", {"name": "loss", "plugin_directory": "/usr/lib/cni"}, hosts="node1,node2").succeeded()
        yield here
    finally:
        take_away(directory)


def earlier_version(collections: Path) -> Path:
    """The collection as it is installed, but for what it says otherwise."""
    copy = collections / "ansible_collections" / "podnet" / "baremetal"
    for part in ("meta", "playbooks", "plugins", "roles"):
        shutil.copytree(CHECKOUT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name, now, then in EARLIER:
        text = (copy / name).read_text()
        assert now in text
        (copy / name).write_text(text.replace(now, then))
    for namespace in ("ansible", "community"):
        (copy.parents[1] / namespace).symlink_to(COLLECTIONS / namespace)
    return collections


def earlier_site(cluster: Cluster, collections: Path) -> None:
    """Its site.yml, with another range of services, so that the ledger changes by the upgrade, too."""
    variables = json.dumps({**cluster.variables, "podnet_service_cidr": "10.96.0.0/16"})
    command = [str(Path(sys.executable).parent / "ansible-playbook"), f"--inventory={INVENTORY}", "--extra-vars", variables]
    its_own = {**environment(), "ANSIBLE_COLLECTIONS_PATH": str(collections)}
    done = subprocess.run([*command, "podnet.baremetal.site"], env=its_own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def assert_nothing_is_lost(streams: list[Stream]) -> None:
    assert [stream.lost for stream in streams] == [0, 0]
    assert all(stream.sent > ENOUGH for stream in streams), "there was no stream"


def commands(done: Play, task: str) -> dict[str, list[str]]:
    """What a task did on the hosts that it changed."""
    return {each.host: each.commands for each in done.of(task) if each.changed}


def test_a_packet_without_its_route_counts_as_lost(cluster: Cluster) -> None:
    route = "172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86"
    with cluster.streams("a route is away") as streams:
        cluster.lab.run("node1", "sh", "-ec", f"sleep 0.5; ip route del {route}; sleep 0.1; ip route add {route}; sleep 0.5")
    assert streams[0].lost > 0
    assert streams[1].lost == 0
    assert streams[0].gap > 0
    assert max(streams[0].came) == streams[0].sent, "what comes after a gap is seen"


def test_an_upgrade_of_the_collection_loses_nothing(cluster: Cluster) -> None:
    before = {node: cluster.overlay(node) for node in NODES}
    assert "chain earlier" in cluster.run("node2", "nft list table inet podnet")
    with cluster.streams("upgrade") as streams:
        done = cluster.play("site").succeeded()
    assert_nothing_is_lost(streams)
    assert {each.task.split(" : ")[1] for each in done.changed if each.host == "node2"} == {DEVICE, FIREWALL, REACH, FILES}
    assert commands(done, DEVICE)["node2"] == [f"{INSTALL} /var/lib/podnet-boot/device.sh"]
    assert commands(done, REACH)["node2"] == [f"{INSTALL} /var/lib/podnet-boot/peers.sh"]
    assert "chain earlier" not in cluster.run("node2", "nft list table inet podnet")
    assert json.loads(cluster.ledger.read_text())["generation"] == 2
    assert {node: cluster.overlay(node) for node in NODES} == before


def test_a_run_that_has_nothing_to_do_loses_nothing(cluster: Cluster) -> None:
    with cluster.streams("nothing to do") as streams:
        done = cluster.play("site").succeeded()
    assert_nothing_is_lost(streams)
    assert done.changed == []


def test_a_peer_that_joins_costs_the_others_nothing(cluster: Cluster) -> None:
    before, cluster.nodes = cluster.underlays("node1"), 4
    with cluster.streams("a peer joins") as streams:
        cluster.play("site", "--limit=node4").succeeded()
        cluster.play("peers", "--limit=!node4").succeeded()
    assert_nothing_is_lost(streams)
    assert cluster.underlays("node1") - before == {"198.51.100.4"}


def test_a_peer_that_leaves_costs_the_others_nothing(cluster: Cluster) -> None:
    before, cluster.nodes = cluster.underlays("node1"), 3
    with cluster.streams("a peer leaves") as streams:
        cluster.play("peers").succeeded()
    assert_nothing_is_lost(streams)
    assert before - cluster.underlays("node1") == {"198.51.100.4"}


def test_a_smaller_mtu_loses_nothing(cluster: Cluster) -> None:
    before = {node: cluster.overlay(node) for node in NODES}
    with cluster.streams("a smaller MTU") as streams:
        done = cluster.play("site", "--tags=flannel", podnet_mtu=1400).succeeded()
    assert_nothing_is_lost(streams)
    assert {each[0] for each in commands(done, DEVICE).values()} == {"ip link set dev flannel.1 mtu 1400"}
    assert {node: cluster.overlay(node).replace(" mtu 1400 ", " mtu 1450 ", 1) for node in NODES} == before


def test_mtu_ttl_and_learning_put_back_in_place_lose_nothing(cluster: Cluster) -> None:
    before = {node: cluster.overlay(node) for node in NODES}
    with cluster.streams("MTU, TTL and learning") as streams:
        for node in NODES:
            cluster.run(node, "ip link set dev flannel.1 type vxlan ttl 64 learning")
        done = cluster.play("site", "--tags=flannel").succeeded()
    assert_nothing_is_lost(streams)
    repaired = [f"ip link set dev flannel.1 {what}" for what in ("type vxlan nolearning", "type vxlan ttl 0", "mtu 1450")]
    assert [each[:-1] for each in commands(done, DEVICE).values()] == [repaired] * 3, "the last one writes the file for the boot"
    assert {node: cluster.overlay(node).replace(" mtu 1450 ", " mtu 1400 ", 1) for node in NODES} == before


def test_another_underlay_address_of_a_node_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "moved.yml").write_text(json.dumps({"all": {"hosts": {"node2": {"podnet_underlay_address": MOVED}}}}))
    cluster.arguments.append(f"--inventory={tmp_path}/moved.yml")
    cluster.run("node2", f"ip addr add {MOVED}/24 dev eth0")
    with cluster.streams("an underlay address") as streams:
        done = cluster.play("site").succeeded()
    assert_nothing_is_lost(streams)
    assert commands(done, DEVICE)["node2"][0] == f"ip link set dev flannel.1 type vxlan local {MOVED}"
    for node in ("node1", "node3"):
        assert commands(done, ADMIT)[node] == [f"nft add element inet podnet peers {{ {MOVED} }}"]
        assert {MOVED, "198.51.100.2"} & cluster.underlays(node) == {MOVED}


def test_a_new_device_is_refused_and_where_it_is_allowed_a_diff_says_so_beforehand(cluster: Cluster) -> None:
    before = {node: cluster.overlay(node) for node in NODES}
    refused = cluster.play("site", "--tags=flannel_device", **PORT)
    assert (refused.code, refused.changed) == (2, [])
    why = "port is 8472 and must be 4789: the kernel changes this only by recreating the device"
    assert [why in each.msg for each in refused.of(DEVICE)] == [True] * 3
    foreseen = cluster.play("site", "--tags=flannel_device", "--check", "--diff", podnet_recreate=True, **PORT).succeeded()
    shown = {each.host: each.diff["after"].splitlines()[:3] for each in foreseen.of(DEVICE) if each.changed}
    assert {host: lines[:2] for host, lines in shown.items()} == {node: [GUARD, f"# {RECREATE}"] for node in NODES}
    assert all(lines[2].startswith("ip link add name flannel.1 ") for lines in shown.values())
    assert {node: cluster.overlay(node) for node in NODES} == before


@pytest.mark.parametrize(("change", "variables", "guards"), [("another port", PORT, [GUARD]), ("another VNI", VNI, [])])
def test_a_new_device_loses_what_is_sent_until_it_is_there_and_nothing_later(
    cluster: Cluster, change: str, variables: dict[str, Any], guards: list[str]
) -> None:
    with cluster.streams(change) as streams:
        done = cluster.play("site", "--tags=flannel,flannel_device", podnet_recreate=True, **variables).succeeded()
    looked = done.of(DEVICE)[: len(NODES)]
    assert [(each.changed, each.result["warnings"]) for each in looked] == [(False, [f"{each.host}: {RECREATE}."]) for each in looked]
    first = [*guards, "ip link del flannel.1"]
    assert [each[: len(first)] for each in commands(done, DEVICE).values()] == [first] * len(NODES)
    assert all(stream.lost > 0 for stream in streams)
    assert [max(stream.came) for stream in streams] == [stream.sent for stream in streams]
