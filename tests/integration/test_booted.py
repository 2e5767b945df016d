# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes that boot a real systemd, and what is left of them. I/O: such nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from booted import CGROUP, booted, wait_until
from labs import module_environment

OWNER = """
import sys, time
from booted import booted
with booted("owner") as nodes:
    print(nodes.directory, nodes.keeper.pid, nodes.pids()["node1"], flush=True)
    time.sleep(600)
"""


def test_a_node_boots_reboots_and_loses_its_power_with_its_disk_kept() -> None:
    with booted("life", nodes=2) as nodes:
        first = nodes.pids()
        assert nodes.run("node1", "cat", "/proc/1/comm").stdout == "systemd\n"
        assert nodes.run("node1", "systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout == ""
        nodes.run("node1", "ping", "-c", "1", "-W", "5", "198.51.100.2")
        nodes.run("node1", "touch", "/etc/kept", "/run/lost")
        nodes.run("node1", "sysctl", "-w", "net.ipv4.ip_forward=1")

        nodes.reboot("node1")
        assert (nodes.pids()["node1"] != first["node1"], nodes.pids()["node2"]) == (True, first["node2"])
        assert nodes.run("node1", "ls", "/etc/kept").stdout == "/etc/kept\n"
        assert nodes.run("node1", "test", "-e", "/run/lost", check=False).returncode == 1
        assert nodes.run("node1", "sysctl", "-n", "net.ipv4.ip_forward").stdout == "0\n"

        nodes.cut_power("node1")
        assert list(nodes.pids()) == ["switch", "node2"]
        nodes.power_on("node1")
        nodes.run("node1", "ping", "-c", "1", "-W", "5", "198.51.100.2")
        started = nodes.task("ansible.builtin.systemd_service", {"name": "systemd-networkd", "state": "started"}).succeeded()
        assert started.one().changed
        assert nodes.run("node1", "systemctl", "is-active", "systemd-networkd").stdout == "active\n"


def test_nothing_is_left_of_nodes_whose_owner_was_killed() -> None:
    environment = {**module_environment(), "PYTHONPATH": f"{module_environment()['PYTHONPATH']}:{Path(__file__).parent}"}
    with subprocess.Popen([sys.executable, "-c", OWNER], env=environment, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        directory, keeper, node = owner.stdout.readline().split()
        assert cgroups(keeper) != []
        os.kill(owner.pid, signal.SIGKILL)
    wait_until(lambda: not Path("/proc", keeper).exists())
    assert [path for path in (Path(directory), Path("/proc", node)) if path.exists()] == []
    assert cgroups(keeper) == []
    assert directory not in Path("/proc/self/mountinfo").read_text()


def test_nodes_end_with_their_keeper_and_the_next_one_tidies_up() -> None:
    with booted("first") as nodes:
        os.kill(nodes.keeper.pid, signal.SIGKILL)
        wait_until(lambda: nodes.pids() == {})
        assert cgroups(str(nodes.keeper.pid)) != []
    assert not Path(nodes.directory).exists()
    with booted("second"):
        assert cgroups(str(nodes.keeper.pid)) == []


def cgroups(keeper: str) -> list[Path]:
    """Those that the keeper made, wherever cgroup2 is mounted here."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [path for _what, where, kind, *_rest in mounts if kind == "cgroup2" for path in Path(where).glob(f"{CGROUP}-{keeper}")]
