# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role cni in other people's playbooks, and a running containerd that sees what is written. I/O: the lab, Debian's containerd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.modules.cni_conflist import ARGUMENTS
from containerds import LOOPBACK, Containerd, containerd, eventually
from labs import CHECKOUT, Lab

DIRECTORY = "/etc/cni/net.d"
CONFLIST = f"{DIRECTORY}/10-flannel.conflist"
BRIDGE: dict[str, Any] = {
    "form": "bridge",
    "subnets": ["172.20.1.0/24"],
    "cluster_cidrs": ["172.20.0.0/16"],
    "mtu": 1450,
    "plugin_directory": "/usr/lib/cni",
}
REWRITES = 100
# Writes one list after the other, each when it is told to, as the module does; without the start of a process for each.
WRITER = """
import json, sys
from ansible_collections.podnet.baremetal.plugins.module_utils._cni import configuration
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import answer
for line in sys.stdin:
    options = json.loads(line)
    print(json.dumps(answer(lambda: configuration(options, "node1"), check=False, diff=False)), flush=True)
"""


@pytest.fixture
def running(lab: Lab, tmp_path: Path) -> Iterator[Containerd]:
    with containerd(lab, "node1", tmp_path / "containerd.log") as here:
        yield here


def test_a_running_containerd_takes_each_of_a_hundred_rewrites(lab: Lab, running: Containerd) -> None:
    options = dict.fromkeys(ARGUMENTS) | {name: each["default"] for name, each in ARGUMENTS.items() if "default" in each} | BRIDGE
    assert running.status() == (False, [LOOPBACK])
    taken = 0
    python = ["env", f"PYTHONPATH={CHECKOUT}/build/collections", f"{CHECKOUT}/build/venv/bin/python", "-c", WRITER]
    with lab.start("node1", *python, stdin=-1) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for number in range(REWRITES):
            writer.stdin.write(json.dumps({**options, "name": f"network-{number}"}) + "\n")
            writer.stdin.flush()
            assert json.loads(writer.stdout.readline())["changed"]
            taken += running.took(f"network-{number}")
        writer.stdin.close()
    assert taken == REWRITES


def test_with_ansibles_own_modules_containerd_stays_without_network_until_something_else_happens(
    lab: Lab, running: Containerd, tmp_path: Path
) -> None:
    text = (CHECKOUT / "tests" / "golden" / "vxlan" / "10-flannel.conflist").read_text()
    (tmp_path / "conflist.j2").write_text(text)
    file = {"dest": CONFLIST, "mode": "0600"}
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.copy": {**file, "content": text}},
        {"ansible.builtin.file": {"path": CONFLIST, "state": "absent"}},
        {"ansible.builtin.template": {**file, "src": str(tmp_path / "conflist.j2")}},
    ]
    seen = len(running.events())
    lab.play([{"hosts": "node1", "gather_facts": False, "tasks": tasks}]).succeeded()
    # It loads the directory again for what it receives, and for nothing else.
    assert eventually(lambda: running.events()[seen:] == ["ignore CREATE", "receiving REMOVE", "ignore CREATE"]), running.events()
    assert running.status() == (False, [LOOPBACK])
    lab.task("podnet.baremetal.cni_conflist", BRIDGE).succeeded()
    assert running.took("cbr0")
    assert "receiving RENAME" in running.events()[seen:]
