# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook killed at random moments, two at once, an old ledger, flanneld on a node, and hostile data. I/O: a lab of two nodes.

PODNET_KILLS says how often it is killed, PODNET_SEED from where the moments are drawn, PODNET_KILLED which playbook: by default a play
with the role flannel, which has most of the steps and takes a third of the time of site.yml.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hostile import CANARY, TEXTS
from labs import CHECKOUT, DIRECTORY, INVENTORY, Lab, Play, environment, play, take_away

KILLS = int(os.environ.get("PODNET_KILLS", "3"))
KILLED = os.environ.get("PODNET_KILLED", "")
SEED = int(os.environ.get("PODNET_SEED", "7"))
NODES = ("node1", "node2")
PASSING = ("valid_lft", "fe80:")  # the link-local address comes in the kernel's own time
SHOWN = (
    "ip -d link show flannel.1",
    "ip addr show flannel.1",
    "ip -d neigh show dev flannel.1 nud permanent",
    "bridge fdb show dev flannel.1",
    "ip -d route show",
    "nft list ruleset",
    "cat /run/flannel/subnet.env /etc/kube-flannel/net-conf.json /var/lib/podnet.json",
    "find /run/flannel /etc/kube-flannel /etc/iproute2 /var/lib -maxdepth 1 -name *podnet*",
)
# What is there, and by which words of that a command that makes it knows it.
THERE = (
    "ip -o link show type vxlan",
    "ip -o addr show",
    "ip neigh show",
    "bridge fdb show dev flannel.1",
    "ip route show",
    "find /etc /run/flannel /var/lib -xdev",
)
MAKES = {
    r"ip link add name (\S+)": " {}: ",
    r"ip addr add (\S+)": " inet {} ",
    r"ip neigh replace (\S+)": "{} dev flannel.1 lladdr ",
    r"bridge fdb replace (\S+)": "{} dst ",
    r"ip route replace ((?:unreachable )?\S+)": "{} ",
    r"install .*?(/\S+)$": "{}\n",
}
ROLE = [{"hosts": "kube_node", "gather_facts": False, "become": True, "roles": [{"role": "podnet.baremetal.flannel"}]}]


class Cluster:
    """The lab with a ledger of its own."""

    def __init__(self, lab: Lab, ledger: Path) -> None:
        self.lab = lab
        self.ledger = ledger

    def role(self, *arguments: str, **variables: Any) -> Play:
        what: Any = f"playbooks/{KILLED}" if KILLED else ROLE
        return self.lab.play(what, *arguments, podnet_ledger=str(self.ledger), **variables)

    def away(self) -> Play:
        if KILLED:
            return self.lab.play("playbooks/reset.yml", podnet_ledger=str(self.ledger)).succeeded()
        return self.role(flannel_state="absent").succeeded()

    def peers(self, *arguments: str, **variables: Any) -> Play:
        return self.lab.play("playbooks/peers.yml", *arguments, podnet_ledger=str(self.ledger), **variables)

    def shown(self) -> list[str]:
        """What the overlay of both nodes is, without the numbers of links."""
        lines = []
        for node in NODES:
            for command in SHOWN:
                said = self.lab.run(node, *command.split(), check=False).stdout
                lines += [
                    f"{node}: {line.split(': ', 1)[-1]}" for line in said.splitlines() if "valid_lft" not in line and "fe80:" not in line
                ]
        return sorted(lines)

    def there(self) -> dict[str, str]:
        """What each node has, as the system's own commands tell it."""
        return {node: "".join(self.lab.run(node, *each.split(), check=False).stdout for each in THERE) for node in NODES}

    def start(self) -> subprocess.Popen[bytes]:
        """The same run, beside the test and in a session of its own."""
        variables = json.dumps({"podnet_lab_directory": self.lab.directory, "podnet_ledger": str(self.ledger)})
        command = [str(Path(sys.executable).parent / "ansible-playbook"), f"--inventory={INVENTORY}", "--extra-vars", variables]
        (self.ledger.parent / "role.yml").write_text(json.dumps(ROLE))
        command += [str(CHECKOUT / "playbooks" / KILLED) if KILLED else str(self.ledger.parent / "role.yml")]
        return subprocess.Popen(command, cwd=CHECKOUT, env=environment(), stdout=-3, stderr=-3, start_new_session=True)


def made_again(play: Play, there: dict[str, str]) -> list[str]:
    """Of the commands that a run reports those whose work was there before."""
    patterns = [(re.compile(pattern), words) for pattern, words in MAKES.items()]
    reported = [(each.host, command) for each in play.changed for command in each.commands]
    return [
        f"{host}: {command}"
        for host, command in reported
        for pattern, words in patterns
        if (found := pattern.match(command.replace("/dev/stdin ", ""))) and words.format(found[1]) in f"\n{there[host]}"
    ]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = f"{DIRECTORY}-{os.getpid()}-faults"
    try:
        play("playbooks/lab_up.yml", variables={"podnet_lab_directory": directory, "lab_nodes": 2}).succeeded()
        yield Cluster(Lab(directory), tmp_path_factory.mktemp("ledger") / "podnet-ledger.json")
    finally:
        take_away(directory)


def test_playbooks_killed_at_random_moments_and_two_at_once_come_to_one_state(cluster: Cluster) -> None:
    begun = time.monotonic()
    first = cluster.role().succeeded()
    lasted, golden, whole = time.monotonic() - begun, cluster.shown(), cluster.there()
    assert len(made_again(first, whole)) > 30, "what it knows by their words of the commands that a run reports"
    dice, killed, left = random.Random(SEED), 0, []
    cluster.away()
    while killed < KILLS:
        run = cluster.start()
        time.sleep(dice.uniform(0, lasted))
        if run.poll() is not None:  # it was faster than the first
            lasted /= 2
            continue
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        killed += 1
        if KILLS > 3 or killed == KILLS:
            there = cluster.there()
            then = cluster.role().succeeded()
            assert (cluster.shown(), made_again(then, there)) == (golden, [])
            left.append(sum(len(each.commands) for each in then.changed))
            cluster.away()
    with ThreadPoolExecutor(2) as both:
        for once in [both.submit(cluster.role) for _time in range(2)]:
            once.result().succeeded()
    assert cluster.shown() == golden
    assert cluster.role().succeeded().changed == []
    sys.stdout.write(f"killed {killed} times while it ran; the runs behind that had so many commands left: {sorted(left)}\n")


def test_an_old_copy_of_the_ledger_is_refused_by_the_nodes_that_a_newer_one_changed(cluster: Cluster) -> None:
    cluster.role().succeeded()
    old = cluster.ledger.read_text()
    cluster.peers(lab_nodes=1).succeeded()
    before = cluster.shown()
    cluster.ledger.write_text(old)
    for arguments in (["--check"], []):
        refused = cluster.peers(*arguments)
        sentences = {each.host: each.msg for each in refused.of("Reach") if each.failed}
        assert sentences.keys() == {"node1"}
        assert sentences["node1"].startswith("node1: the generation of the ledger is 1: this node was last changed by generation 2 (")
        assert (refused.code, refused.changed, cluster.shown()) == (2, [], before)
    assert [each.host for each in cluster.peers(podnet_older_ledger=True).succeeded().changed] == ["node1"]


def test_a_node_on_which_flanneld_runs_is_refused_and_the_other_is_not(cluster: Cluster) -> None:
    cluster.role().succeeded()
    before = cluster.shown()
    cluster.lab.run("node1", "cp", "/bin/sleep", "/run/flanneld")
    with cluster.lab.start("node1", "/run/flanneld", "600") as flanneld:
        try:
            while "flanneld\n" not in cluster.lab.run("node1", "ps", "-e", "-o", "comm").stdout:
                assert flanneld.poll() is None
            refused = cluster.peers()
            assert {each.host for each in refused.of("Reach") if each.failed} == {"node1"}
            assert "node1: flanneld is running as process " in refused.of("Reach", "node1")[0].msg
            assert cluster.peers(podnet_beside_flanneld=True).succeeded().changed == []
        finally:
            cluster.lab.run("node1", "pkill", "-x", "flanneld")
    assert cluster.shown() == before


def test_an_interval_that_systemd_does_not_take_is_refused_before_anything_is_changed(cluster: Cluster) -> None:
    interval = "{{ {'node1': '30', 'node2': '30s\n'}[inventory_hostname] }}"
    refused = cluster.lab.play("playbooks/site.yml", podnet_ledger=str(cluster.ledger), podnet_repair=True, podnet_repair_interval=interval)
    expected = "expected a whole number and its unit, s, min or h, such as 30s."
    assert [each.msg for each in refused.outcomes if each.failed] == [
        f'node1: flannel_repair_interval (podnet_repair_interval) is "30": {expected}',
        f'node2: flannel_repair_interval (podnet_repair_interval) is "30s\\n": {expected}',
    ]
    assert refused.changed == []


def test_what_a_node_tells_is_data_and_is_never_executed(cluster: Cluster) -> None:
    # But for halves of a character, which Ansible itself does not read.
    hostile = [text for text in TEXTS if text != "\ud800" and (CANARY in text or not text.isprintable())]
    cluster.lab.run("node1", "tee", "/run/hostile.json", input=json.dumps(hostile))
    read = "{{ (told.content | b64decode | from_json)[item] }}"
    asked = {"ledger": str(cluster.ledger.parent / "hostile.json"), "cluster_cidr": "172.20.0.0/16"}
    peer = {"node": read, "subnets": [read], "underlay": read, "mac": read}
    tasks: list[dict[str, Any]] = [
        {"name": "Ask the node", "ansible.builtin.slurp": {"path": "/run/hostile.json"}, "register": "told"},
        {"name": "Plan", "podnet.baremetal.pod_subnet": {**asked, "hosts": [{"name": read, "underlay": read, "subnet": read}]}},
        {"name": "Reach", "podnet.baremetal.vxlan_peers": {"peers": [peer]}},
    ]
    for task in tasks[1:]:
        task |= {"loop": list(range(len(hostile))), "failed_when": False}
    done = cluster.lab.play([{"hosts": "node1", "gather_facts": False, "become": True, "tasks": tasks}]).succeeded()
    said = [result for task in ("Plan", "Reach") for result in done.one(task).result["results"]]
    assert len(said) == 2 * len(hostile)
    assert all(each["msg"].isprintable() and not each["changed"] for each in said), said
    assert not Path(CANARY).exists()
    assert cluster.lab.run("node1", "ls", CANARY, check=False).returncode
    assert not (cluster.ledger.parent / "hostile.json").exists()
