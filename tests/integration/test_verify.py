# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster is verified with pods of its own, and is afterwards what it was before, whatever happens in between. I/O: the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from labs import CHECKOUT, DIRECTORY, INVENTORY, Lab, Play, environment, play, take_away

NODES = ("node1", "node2", "node3")
POD = "/run/netns/podnet-verify"
# What a verification could have changed.
TABLES = ("ip addr", "ip route", "ip neigh show nud permanent", "bridge fdb show dev flannel.1", "ip netns list", "nft list ruleset")
FILES = "find /etc /run /var/lib -xdev -type f -printf %p%m%s\\n"
LINES = [f"{node}: 15 of 15 answer, " for node in NODES]


class Cluster:
    """The lab with an overlay, and what is verified of it."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.variables = {"podnet_ledger": str(directory / "podnet-ledger.json"), "verify_report_directory": str(directory)}

    def play(self, name: str, *arguments: str, **variables: Any) -> Play:
        return self.lab.play(f"playbooks/{name}.yml", *arguments, **self.variables, **variables)

    def dump(self) -> list[str]:
        lines = [
            f"{node}: {line.strip()}"
            for node in NODES
            for command in (*TABLES, FILES)
            for line in self.lab.run(node, *command.split()).stdout.splitlines()
        ]
        # Lifetimes, and which address host-local gives out next.
        return sorted(line for line in lines if not any(word in line for word in ("valid_lft", "last_reserved_ip", "linkdown")))

    def settled(self) -> list[str]:
        """The dump, once the kernel has seen that the bridges have no pod any more (linkwatch_event()) and is sure of all addresses."""
        assert eventually(lambda: not any(" cni0: <BROADCAST" in line or "tentative" in line for line in self.dump()))
        return self.dump()

    def pods(self) -> list[str]:
        return [node for node in NODES if self.lab.run(node, "test", "-e", POD, check=False).returncode == 0]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """In a lab of its own, which goes with all that is in it. It was verified once: the bridge comes with the first pod, and stays."""
    directory = f"{DIRECTORY}-{os.getpid()}-verify"
    try:
        play("playbooks/lab_up.yml", variables={"podnet_lab_directory": directory, "lab_nodes": 3}).succeeded()
        here = Cluster(Lab(directory), tmp_path_factory.mktemp("inventory"))
        here.play("site").succeeded()
        here.play("verify").succeeded()
        yield here
    finally:
        take_away(directory)


def probes(play: Play) -> dict[str, dict[str, Any]]:
    return {outcome.host: outcome.result for outcome in play.of("Whom the node and its pod reach")}


def kinds(probe: dict[str, Any]) -> Counter[str]:
    return Counter(f"{path['source']} {path['target']}" for path in probe["paths"])


def eventually(look: Callable[[], bool]) -> bool:
    for _time in range(600):
        if look():
            return True
        time.sleep(0.05)
    return False


def test_every_node_and_pod_reaches_all_others_and_the_cluster_is_left_as_it_was(cluster: Cluster) -> None:
    before = cluster.settled()
    run = cluster.play("verify").succeeded()
    assert run.changed == []
    assert sorted(line[: len(LINES[0])] for line in run.errors.splitlines() if " answer, " in line) == LINES
    found = probes(run)
    for node in NODES:
        assert kinds(found[node]) == {"pod pod": 2, "pod gateway": 3, "pod node": 3, "node pod": 3, "node gateway": 2, "node node": 2}
        assert {(path["received"], path["fits"], path["above"], path["error"]) for path in found[node]["paths"]} == {(3, True, False, "")}
        assert found[node]["sample"] == {"each": 0, "run": 0, "tested": 6, "pairs": 6}
    pods = {outcome.host: outcome.result["pod"]["addresses"][0] for outcome in run.of("A pod answers")}
    between = [path for node in NODES for path in found[node]["paths"] if path["target"] == "pod"]
    assert all(path["answered"] == path["to"] and path["address"] == pods[path["to"]] for path in between)
    # Nothing is translated: a pod sees the pod, and of a node the address of its VTEP, or of its bridge.
    subnets = {node: pods[node].rpartition(".")[0] for node in NODES}
    for path in between:
        end = "0" if path["to"] != path["from"] else "1"
        assert path["seen"] == (pods[path["from"]] if path["source"] == "pod" else f"{subnets[path['from']]}.{end}")
    assert cluster.pods() == []
    assert cluster.settled() == before


def test_a_run_that_is_killed_leaves_nothing(cluster: Cluster) -> None:
    before = cluster.settled()
    # Probes last longer than the look whether pods are there, and soon end by themselves: before ansible-core 2.19 they outlive the run.
    variables = {"podnet_lab_directory": cluster.lab.directory, "verify_packets": 100, "verify_lifetime": 2, **cluster.variables}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), f"--inventory={INVENTORY}", "--extra-vars", json.dumps(variables)]
    with subprocess.Popen(
        [*command, "playbooks/verify.yml"],
        cwd=CHECKOUT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        attached = eventually(lambda: cluster.pods() == list(NODES))
        running.kill()  # not its group: before ansible-core 2.19 what runs on nodes of a lab is of it, too
    assert attached
    assert eventually(lambda: cluster.pods() == [])
    assert eventually(lambda: cluster.dump() == before), set(cluster.dump()) ^ set(before)


def test_what_one_node_lacks_does_not_keep_the_others_from_being_verified(cluster: Cluster) -> None:
    lacking = {
        "podnet_lab_node": "{{ 'nobody' if inventory_hostname == 'node2' else inventory_hostname }}",
        "verify_plugin_directory": "{{ '/nowhere' if inventory_hostname == 'node3' else '/usr/lib/cni' }}",
    }
    run = cluster.play("verify", **lacking)
    assert {node: run.stats[node]["unreachable"] for node in NODES} == {"node1": 0, "node2": 1, "node3": 0}
    assert (run.stats["node3"]["failures"], run.stats["node3"]["rescued"]) == (0, 1)
    assert "there is no CNI plugin bridge that can be run in /nowhere" in run.one("Say why there is none").msg
    found = probes(run)
    assert kinds(found["node1"]) == {"pod gateway": 1, "pod node": 2, "node pod": 1, "node node": 1}
    assert kinds(found["node3"]) == {"node pod": 1, "node gateway": 1, "node node": 1}
    assert all(path["received"] == 3 for probe in found.values() for path in probe["paths"])


def test_under_check_no_pod_is_attached_and_a_sample_goes_on_where_the_last_report_ended(cluster: Cluster) -> None:
    before = cluster.settled()
    Path(cluster.variables["verify_report_directory"], "verification.json").write_text(json.dumps({"sample": {"run": 4}}))
    run = cluster.play("verify", "--check", verify_full_mesh=2, verify_sample=1).succeeded()
    found = probes(run)
    assert {node: [path["to"] for path in found[node]["paths"]] for node in NODES} == {
        "node1": ["node3"],
        "node2": ["node1"],
        "node3": ["node2"],
    }
    assert found["node1"]["sample"] == {"each": 1, "run": 5, "tested": 3, "pairs": 6}
    assert cluster.dump() == before
