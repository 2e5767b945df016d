# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster whose nodes reboot, lose their power, are spoiled and leave, with a real systemd. I/O: booted nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from booted import Booted, booted, wait_until
from labs import Play

NODES = ("node1", "node2")
OVERLAY = (
    "ip -d link show dev flannel.1",
    "ip addr show dev flannel.1 scope global",
    "ip neigh show dev flannel.1 nud permanent",
    "bridge fdb show dev flannel.1",
    "ip -4 route show proto 86",
    "ip -6 route show proto 86",
    "nft list table inet podnet",
    "cat /run/flannel/subnet.env",
    "sysctl net.ipv4.ip_forward net.ipv6.conf.flannel/1.accept_ra",
)
# Stands in for the kubelet and for its runtime, and writes down what there is when it starts.
STAND_IN = f"""[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '{{ systemctl show -p ActiveState -p ExecMainStatus podnet; {"; ".join(OVERLAY)}; }} >/run/%N.saw 2>&1'
[Install]
WantedBy=multi-user.target
"""
# A network of somebody who wants flannel.1 to have nothing that systemd-networkd did not give it.
NETWORK = "[Match]\nName=flannel.1\n[Link]\nRequiredForOnline=no\n"


class Cluster:
    """Booted nodes with a ledger of their own."""

    def __init__(self, nodes: Booted, ledger: Path) -> None:
        self.nodes = nodes
        self.variables = {"podnet_ledger": str(ledger), "lab_nodes": len(NODES), "cni_plugin_directory": "/usr/lib/cni"}

    def play(self, name: str, *arguments: str) -> Play:
        return self.nodes.play(f"playbooks/{name}.yml", *arguments, **self.variables).succeeded()

    def flannel(self, **inputs: Any) -> Play:
        """The role alone, on node1."""
        role = {"name": "Join", "ansible.builtin.import_role": {"name": "podnet.baremetal.flannel"}}
        return self.nodes.play([{"hosts": "node1", "gather_facts": False, "tasks": [role]}], **self.variables, **inputs).succeeded()

    def run(self, command: str, node: str = "node1") -> str:
        return self.nodes.run(node, *command.split()).stdout

    def overlay(self) -> str:
        """The overlay of node1, but for the number of the device."""
        return self.text("".join(self.nodes.run("node1", *command.split(), check=False).stdout for command in OVERLAY))

    def text(self, said: str) -> str:
        return re.sub(r"^\d+: ", "", said, flags=re.MULTILINE)

    def pods(self, state: str = "present") -> list[str]:
        """Attach a pod to each node, or detach them. Their addresses."""
        options = {"name": "demo", "plugin_directory": "/usr/lib/cni", "state": state}
        task = self.nodes.task("podnet.baremetal.cni_pod", options, hosts=",".join(NODES)).succeeded()
        return [outcome.result["addresses"][0].split("/")[0] for outcome in task.outcomes if outcome.result["addresses"]]

    def units(self) -> str:
        """What systemd knows of units that are ours, and what wants them."""
        wants = self.run("systemctl show --property Wants multi-user.target")
        return self.run("systemctl list-units --all --plain --no-legend podnet.*") + " ".join(re.findall(r"podnet[.]\S+", wants))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with booted("reboot", nodes=len(NODES)) as nodes:
        here = Cluster(nodes, tmp_path_factory.mktemp("inventory") / "podnet-ledger.json")
        for unit in ("kubelet", "containerd"):
            nodes.run("node1", "tee", f"/etc/systemd/system/{unit}.service", input=STAND_IN)
            nodes.run("node1", "systemctl", "enable", unit)
        here.play("site")
        yield here


@pytest.fixture
def right(cluster: Cluster) -> str:
    """The overlay of node1 as it has to be again."""
    assert "172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink" in cluster.overlay()
    return cluster.overlay()


def test_a_node_comes_back_with_its_overlay_before_its_kubelet_and_its_runtime_start(cluster: Cluster, right: str) -> None:
    cluster.nodes.reboot("node1")
    for unit in ("kubelet", "containerd"):
        saw = cluster.text(cluster.run(f"cat /run/{unit}.saw"))
        assert saw == f"ExecMainStatus=0\nActiveState=inactive\n{right}", "it had run to its end"
    assert cluster.overlay() == right
    one, two = cluster.pods()
    for node, other in (("node1", two), ("node2", one)):
        cluster.run(f"ip netns exec demo ping -c 1 -W 5 -s 1422 -M do {other}", node)
    cluster.pods("absent")


def test_the_unit_puts_back_what_somebody_took_away(cluster: Cluster, right: str) -> None:
    for spoil in ("ip route flush dev flannel.1", "ip neigh flush dev flannel.1 nud permanent", "ip link del flannel.1"):
        cluster.run(spoil)
        assert cluster.overlay() != right
        cluster.run("systemctl start podnet")
        assert cluster.overlay() == right
    cluster.nodes.run("node1", "install", "-D", "-m", "0644", "/dev/stdin", "/run/systemd/network/0-all.network", input=NETWORK)
    cluster.run("ln -s /lib/systemd/system/systemd-networkd.service /run/systemd/system/dbus-org.freedesktop.network1.service")
    for command in ("daemon-reload", "restart systemd-networkd"):
        cluster.run(f"systemctl {command}")
    cluster.run("networkctl reconfigure flannel.1")
    wait_until(lambda: not cluster.run("ip -4 addr show dev flannel.1"))
    cluster.run("systemctl start podnet")
    assert cluster.overlay() == right
    cluster.run("systemctl stop systemd-networkd.socket systemd-networkd.service")


def test_a_node_that_is_not_to_come_back_has_nothing_that_would_bring_it_back(cluster: Cluster, right: str) -> None:
    assert cluster.units().endswith("podnet.service"), "it is wanted"
    cluster.flannel(flannel_persistent=False)
    assert (cluster.units(), cluster.overlay()) == ("", right)
    assert cluster.run("find /etc /var/lib -path *podnet-boot* -o -path */systemd/system/podnet.* -o -path */restore.sh") == ""
    assert cluster.flannel(flannel_persistent=False).changed == []


def test_the_timer_puts_back_what_somebody_took_away_also_after_a_power_cut(cluster: Cluster, right: str) -> None:
    cluster.flannel(flannel_repair=True, flannel_repair_interval="1s")
    for _boot in range(2):
        cluster.run("ip link del flannel.1")
        wait_until(lambda: cluster.overlay() == right)
        cluster.nodes.cut_power("node1")
        cluster.nodes.power_on("node1")
    assert cluster.overlay() == right


def test_nothing_of_a_unit_is_left_after_reset_though_it_failed(cluster: Cluster) -> None:
    cluster.run("ip route replace 172.20.1.0/24 via 198.51.100.2")
    wait_until(lambda: "failed" in cluster.units())
    assert cluster.run("ip route show 172.20.1.0/24") == "172.20.1.0/24 via 198.51.100.2 dev eth0 \n"
    cluster.play("reset", "--limit", "node1")
    assert cluster.units() == ""
    assert cluster.run("find /etc /run /var/lib -name *podnet* -not -path /run/podnet*") == ""
    assert cluster.run("ip route show 172.20.1.0/24") == "172.20.1.0/24 via 198.51.100.2 dev eth0 \n"
    cluster.nodes.reboot("node1")
    assert "flannel.1" not in cluster.run("ip link")
