# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nightly look: what `--check` of site.yml says, as exit code, JSON and metrics. I/O: the lab."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from labs import CHECKOUT, DIRECTORY, INVENTORY, Lab, environment, take_away

ROUTE = "ip route replace 172.20.0.0/24 via 172.20.0.0 dev flannel.1 onlink proto 86"


@dataclass(frozen=True)
class Night:
    """What a run of nightly.yml left behind."""

    code: int
    output: str
    json: Path
    textfile: Path

    @property
    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.json.read_text()))

    @property
    def metrics(self) -> list[str]:
        return [line for line in self.textfile.read_text().splitlines() if not line.startswith("#")]


@dataclass(frozen=True)
class Cluster:
    """Two nodes with their pod network, and a directory for what the runs write."""

    lab: Lab
    place: Path

    def night(self, *arguments: str, enabled: str = "podnet.baremetal.drift") -> Night:
        """Run nightly.yml as a timer would, with the callback plugins that are `enabled`."""
        given = {"podnet_lab_directory": self.lab.directory, "podnet_ledger": str(self.place / "ledger.json")}
        written = {"PODNET_DRIFT_JSON": str(self.place / "drift.json"), "PODNET_DRIFT_TEXTFILE": str(self.place / "podnet.prom")}
        callbacks = {"ANSIBLE_STDOUT_CALLBACK": "default", "ANSIBLE_CALLBACKS_ENABLED": enabled, "PODNET_DRIFT_CLUSTER": "lab"}
        command = [str(Path(sys.executable).parent / "ansible-playbook"), f"--inventory={INVENTORY}", "--extra-vars", json.dumps(given)]
        done = subprocess.run(
            [*command, *arguments, "playbooks/nightly.yml"],
            cwd=CHECKOUT,
            env={**environment(), **callbacks, **written},
            capture_output=True,
            text=True,
            check=False,
        )
        return Night(done.returncode, " ".join((done.stdout + done.stderr).split()), self.place / "drift.json", self.place / "podnet.prom")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    lab, place = Lab(f"{DIRECTORY}-{os.getpid()}-nightly"), tmp_path_factory.mktemp("nightly")
    try:
        lab.play("playbooks/lab_up.yml", lab_nodes=2).succeeded()
        lab.play("playbooks/site.yml", podnet_ledger=str(place / "ledger.json")).succeeded()
        yield Cluster(lab, place)
    finally:
        take_away(lab.directory)


def test_a_sound_cluster_is_0_and_a_deleted_route_is_named_in_all_three_and_a_dead_node_is_not_sound(cluster: Cluster) -> None:
    sound = cluster.night("--check", "--diff")
    assert sound.code == 0, sound.output
    report = sound.report
    assert not report["differs"]
    assert {name: (node["state"], node["peers"]) for name, node in report["nodes"].items()} == {"node1": ("same", 1), "node2": ("same", 1)}
    assert report["ledger"] == {"changes": [], "total": 256, "free": 254}
    assert 'podnet_subnets_free{cluster="lab"} 254' in sound.metrics
    assert [oct(file.stat().st_mode & 0o777) for file in (sound.json, sound.textfile)] == ["0o644", "0o644"]

    cluster.lab.run("node2", "ip", "route", "del", "172.20.0.0/24")
    spoilt = cluster.night("--check", "--diff")
    assert spoilt.code == 2
    assert f"node2 would change: {ROUTE}" in spoilt.output
    (change,) = spoilt.report["nodes"]["node2"]["changes"]
    assert (change["commands"], change["diff"][0]["after"]) == ([ROUTE], f"{ROUTE}\n")
    assert spoilt.report["nodes"]["node1"] == report["nodes"]["node1"]
    assert [line for line in spoilt.metrics if line.startswith(("podnet_drift", "podnet_peers"))] == [
        'podnet_drift{cluster="lab",node="node1"} 0',
        'podnet_drift{cluster="lab",node="node2"} 1',
        'podnet_peers{cluster="lab",node="node1"} 1',
        'podnet_peers{cluster="lab",node="node2"} 0',
    ]
    assert "172.20.0.0/24" not in cluster.lab.run("node2", "ip", "route").stdout  # it was a look

    os.kill(cluster.lab.pids()["node2"], signal.SIGKILL)
    dead = cluster.night("--check")
    assert dead.code == 4
    assert (dead.report["differs"], dead.report["nodes"]["node2"]["state"]) == (True, "unreachable")
    assert 'podnet_checked{cluster="lab",node="node2"} 0' in dead.metrics
    assert not any(line.startswith('podnet_drift{cluster="lab",node="node2"}') for line in dead.metrics)


def test_a_run_that_would_not_only_look_or_that_nobody_writes_down_is_refused(cluster: Cluster) -> None:
    before = {path: path.read_bytes() for path in cluster.place.iterdir()}
    changing = cluster.night()
    assert changing.code == 2
    assert "podnet.baremetal.nightly only looks: run it with --check." in changing.output
    assert {path: path.read_bytes() for path in cluster.place.iterdir()} == before
    unwritten = cluster.night("--check", enabled="ansible.posix.timer")
    assert unwritten.code == 2
    assert "callbacks_enabled does not have podnet.baremetal.drift" in unwritten.output
