# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that each module is on the short road does the module's whole work by itself. I/O: a Python of its own, in a namespace."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module
from node import OPTIONS, PEERS, Node

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
FILE = "{directory}/one.conf"
OVERLAY = {option: OPTIONS[option] for option in ("local", "mac", "addresses")}
CONFLIST = {
    "path": "{directory}/10-flannel.conflist",
    "form": "bridge",
    "subnets": ["172.20.0.0/24"],
    "cluster_cidrs": ["172.20.0.0/16"],
    "mtu": 1450,
    "plugin_directory": "/usr/lib/cni",
}
RUNTIME = {"runtime": "crio", "config": "{directory}/crio.conf", "path": "{directory}/d/99.conf", "plugin_directory": "/opt/own/bin"}

# module: (what it is told to make, what it is told to take away)
LIVES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vxlan_device": (
        {**OPTIONS, "name": "vx7", "vni": 7, "mac": "02:f1:00:00:00:07", "addresses": ["172.20.7.0/32"]},
        {"name": "vx7", "state": "absent"},
    ),
    "vxlan_peers": ({"plan": pack_plan(PEERS[:1]), "purge": True}, {"plan": pack_plan([]), "purge": True}),
    "static_neigh": ({"address": "172.20.9.0", "mac": "02:f1:ac:14:09:00"}, {"address": "172.20.9.0", "state": "absent"}),
    "fdb_entry": (
        {"mac": "02:f1:ac:14:09:00", "destination": "198.51.100.9"},
        {"mac": "02:f1:ac:14:09:00", "destination": "198.51.100.9", "state": "absent"},
    ),
    "pod_route": ({"subnet": "172.20.9.0/24"}, {"subnet": "172.20.9.0/24", "state": "absent"}),
    "nft_table": (
        {"name": "podnet-test", "rules": "chain input {\n type filter hook input priority 0; policy accept;\n}"},
        {"name": "podnet-test", "state": "absent"},
    ),
    "node_files": ({"files": [{"path": FILE, "content": "1\n"}]}, {"files": [{"path": FILE}], "state": "absent"}),
    "kubelet_flags": (  # of the file that the test lays there: first one flag goes, then the other
        {"version": "1.24", "files": ["{directory}/*.env"]},
        {"version": "1.27", "files": ["{directory}/*.env"]},
    ),
    "cni_runtime": (RUNTIME, {**RUNTIME, "state": "absent"}),
    "cni_conflist": (CONFLIST, {"path": CONFLIST["path"], "state": "absent"}),
}


def told(module: Module, options: dict[str, Any], directory: Path, *, check: bool = False) -> dict[str, Any]:
    """What the program answers to the options, as its action would send them."""
    given = json.loads(json.dumps({"node": "node1", **options}).replace("{directory}", str(directory)))
    command = shlex.split(module.command.format(python=shlex.quote(sys.executable)))
    text = module.program(module.validated(given), check=check, diff=True)
    answer: dict[str, Any] = json.loads(subprocess.run(command, input=text, capture_output=True, check=True, cwd="/").stdout)
    assert "failed" not in answer, answer
    return answer


@pytest.mark.parametrize("name", LIVES)
def test_a_program_makes_leaves_alone_and_takes_away(overlay: Node, tmp_path: Path, name: str) -> None:
    module = Module(name)
    (tmp_path / "kubeadm-flags.env").write_text('ARGS="--container-runtime=remote --network-plugin=cni"\n')
    present, absent = LIVES[name]
    foreseen, made, again = (told(module, present, tmp_path, check=check) for check in (True, False, False))
    assert (foreseen["changed"], made["changed"], again["changed"]) == (True, True, False)
    assert foreseen["commands"] == made["commands"] != []
    assert [told(module, absent, tmp_path)["changed"] for _time in range(2)] == [True, False]


def test_a_program_that_only_looks_says_what_is_there(overlay: Node, tmp_path: Path) -> None:
    said = told(Module("overlay_info"), {"subnet_env": "{directory}/subnet.env", "plan": pack_plan(PEERS), **OVERLAY}, tmp_path)
    assert (said["changed"], said["device"]["name"], len(said["peers"])) == (False, "flannel.1", 2)
    assert said["drift"] == {"commands": [], "missing": [], "refused": ""}


def test_every_module_that_a_node_runs_has_an_action_with_its_program() -> None:
    on_a_node = {path.stem for path in PLUGINS.glob("modules/[!_]*.py")} - {"adopt_leases", "lab", "pod_subnet", "verify_report"}
    actions = {path.stem for path in PLUGINS.glob("action/*.py") if f'Module("{path.stem}")' in path.read_text()}
    assert actions == on_a_node == {*LIVES, "cni_pod", "connection_guard", "mesh_probe", "overlay_info", "pod_echo"}
