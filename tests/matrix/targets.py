# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster whose nodes have Python 3.9 to 3.13 and pyroute2 0.7.2 to the newest, as `make test-matrix` gives them. I/O: a lab."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from labs import CHECKOUT, DIRECTORY, Lab, Play, lab_module, play, take_away

PYTHONS: dict[str, str] = json.loads(os.environ["MATRIX_TARGETS"])  # version: interpreter
NODES = {f"node{number}": python for number, python in enumerate(PYTHONS.values(), 1)}
ROADS = pytest.mark.parametrize("pipelining", [True, False], ids=["the short road", "ordinary modules"])
BREAK = {"peers": "bridge fdb flush dev flannel.1", "site": "ip link del flannel.1"}


class Cluster:
    """A lab whose nodes have an interpreter each, with its inventory and ledger."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self._inventory = directory / "hosts.yml"
        hosts = {name: {"ansible_host": f"198.51.100.{name[-1]}", "ansible_python_interpreter": NODES[name]} for name in NODES}
        shared = {
            "ansible_connection": "podnet.baremetal.netns",
            "podnet_lab_directory": self.lab.directory,
            "podnet_cluster_cidr": "172.20.0.0/16",
            "cni_plugin_directory": "/usr/lib/cni",
            "verify_report_directory": str(directory / "report"),
        }
        self._inventory.write_text(json.dumps({"kube_node": {"hosts": hosts, "vars": shared}}))

    def play(self, name: str, *, pipelining: bool) -> Play:
        variables = {"podnet_lab_directory": self.lab.directory, "ansible_pipelining": pipelining}
        return play(f"playbooks/{name}.yml", "--diff", inventory=self._inventory, variables=variables).succeeded()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    lab = Lab(f"{DIRECTORY}-{os.getpid()}-targets")
    homes = {str(Path(python).resolve().parents[1]) for python in NODES.values()} - {"/usr"}
    nodes = [{"name": name, "address": f"198.51.100.{name[-1]}/24"} for name in NODES]
    try:
        lab_module({"directory": lab.directory, "nodes": nodes, "shared": [str(CHECKOUT), *sorted(homes)]})
        yield Cluster(lab, tmp_path)
    finally:
        take_away(lab.directory)


@ROADS
def test_nodes_with_every_python_get_their_network_are_repaired_and_give_it_back(cluster: Cluster, pipelining: bool) -> None:
    cluster.play("site", pipelining=pipelining)
    assert cluster.play("site", pipelining=pipelining).changed == [], "the second run"
    for playbook, broken in (("peers", list(NODES)), ("site", ["node1"])):
        for name in broken:
            cluster.lab.run(name, *BREAK[playbook].split())
        assert {each.host for each in cluster.play(playbook, pipelining=pipelining).changed} == set(broken), playbook
    assert cluster.play("site", pipelining=pipelining).changed == [], "after the repair"
    assert "Everything that was tested is as it should be" in str(cluster.play("verify", pipelining=pipelining).outcomes[-1].result)
    cluster.play("reset", pipelining=pipelining)
    assert ["flannel.1" in cluster.lab.run(name, "ip", "link").stdout for name in NODES] == [False] * len(NODES)
