# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods of a node where what is forwarded is dropped: by a policy of iptables, by a real ufw, by a real firewalld. I/O: labs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from booted import wait_until
from labs import CHECKOUT, Lab, Play, play

UNIT = "/etc/systemd/system/podnet-firewall.service"
# A pod behind cni0 of node1, as its CNI plugins would attach it.
POD = (
    "sysctl -q -w net.ipv4.ip_forward=1",
    "ip link add cni0 type bridge",
    "ip addr add 172.20.0.1/24 dev cni0",
    "ip link set cni0 up",
    "ip netns add pod",
    "ip link add pod0 type veth peer name eth0 netns pod",
    "ip link set pod0 master cni0 up",
    "ip -n pod addr add 172.20.0.2/24 dev eth0",
    "ip -n pod link set eth0 up",
    "ip -n pod route add default via 172.20.0.1",
)
NO_POD = ("ip netns del pod", "ip link del cni0")
DROP = ("iptables -P FORWARD DROP", "ip6tables -P FORWARD DROP")
ACCEPT = ("iptables -P FORWARD ACCEPT", "ip6tables -P FORWARD ACCEPT")
# A port that nobody listens at refuses; where packets are dropped, nothing is said. ufw forwards pings in any case.
PROBE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=2)
except ConnectionRefusedError:
    print("an answer")
except OSError:  # nothing, or that a firewall forbids it
    print("nothing")
"""
UFW = CHECKOUT / "build" / "ufw"
# What ufw's package does when it is installed, and who switches it on.
WITH_UFW = (
    f"cp -a '{UFW}/etc' '{UFW}/usr' /",
    f"cp -a '{UFW}/lib/ufw' /lib",
    "cp -a /usr/share/ufw/iptables/. /etc/ufw",
    "cp /usr/share/ufw/ufw.conf /etc/ufw",
    "ufw --force enable",
)
NO_UFW = "rm -r /etc/ufw /etc/default/ufw /usr/share/ufw /lib/ufw"
FIREWALLD = CHECKOUT / "build" / "firewalld"
# What the installation of firewalld and the start of its services do: the actions that polkit knows are chosen then.
WITH_FIREWALLD = f"""
cp -a '{FIREWALLD}/etc' '{FIREWALLD}/usr' /
cd /usr/share/polkit-1/actions
cp org.fedoraproject.FirewallD1.server.policy.choice org.fedoraproject.FirewallD1.policy
mkdir -p /run/dbus
dbus-daemon --system --fork
firewalld --nofork --nopid >/run/firewalld.log 2>&1 </dev/null &
"""
ZONES = ("firewall-cmd --list-all-zones", "firewall-cmd --permanent --list-all-zones")
USER_RULES = ("cat /etc/ufw/user.rules", "cat /etc/ufw/user6.rules")
TOLD = """\
ufw allow 8472/udp comment 'podnet'
ufw allow from 172.20.0.0/16 comment 'podnet'
ufw route allow from 172.20.0.0/16 comment 'podnet'
ufw route allow to 172.20.0.0/16 comment 'podnet'
"""


class Node:
    """node1 of the lab with its ledger, and a pod that reaches the switch or does not."""

    def __init__(self, lab: Lab, ledger: Path) -> None:
        self._lab = lab
        self._inputs = {"podnet_ledger": str(ledger)}

    def role(self, *arguments: str, **inputs: Any) -> Play:
        plays = [{"hosts": "node1", "gather_facts": False, "become": True, "roles": ["podnet.baremetal.flannel"]}]
        return self._lab.play(plays, *arguments, **self._inputs, **inputs).succeeded()

    def run(self, *commands: str, check: bool = True) -> str:
        return "".join(self._lab.run("node1", *shlex.split(command), check=check).stdout for command in commands)

    def reaches(self) -> bool:
        """Whether the pod gets an answer from outside of the cluster."""
        switch = self._lab.run("switch", "ip", "-br", "addr", "show", "br0").stdout.split()[2].split("/")[0]
        return self._lab.run("node1", "ip", "netns", "exec", "pod", "python3", "-c", PROBE, switch).stdout == "an answer\n"

    def iptables(self) -> str:
        return self.run("iptables -S", "ip6tables -S")


@pytest.fixture(scope="module")
def node(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    here = Node(lab, tmp_path_factory.mktemp("inventory") / "podnet-ledger.json")
    here.run(*POD)
    yield here
    here.run(*ACCEPT, *NO_POD)


@pytest.fixture
def alone(lab_directory: str, tmp_path: Path) -> Node:
    """The same in a lab of its own, with firewalld, which goes with it."""
    play("playbooks/lab_up.yml", variables={"podnet_lab_directory": lab_directory, "lab_nodes": 1}).succeeded()
    here = Node(Lab(lab_directory), tmp_path / "podnet-ledger.json")
    here.run(*POD)
    Lab(lab_directory).run("node1", "sh", "-c", WITH_FIREWALLD)
    wait_until(lambda: here.run("firewall-cmd --state", check=False) == "running\n")
    return here


def names(play: Play) -> list[str]:
    return [each.task.split(" : ")[-1] for each in play.changed]


def test_a_policy_of_iptables_that_drops_is_handled_now_and_at_boot_and_so_is_ufw_and_both_are_left_as_they_were(node: Node) -> None:
    node.run(*DROP)
    before = node.iptables()
    foreseen, done = node.role("--check"), node.role()
    assert names(foreseen) == names(done)
    assert "Accept there what pods send and get" in names(done)
    assert node.reaches()
    accepting = node.iptables()
    assert "-A PODNET-FORWARD -s 172.20.0.0/16 -j ACCEPT\n-A PODNET-FORWARD -d 172.20.0.0/16 -j ACCEPT\n" in accepting
    assert accepting.count("PODNET") == 4, "IPv6 has no range, and nothing is done about it"
    assert node.role().changed == []

    table = node.run("nft list table inet podnet")
    node.run("nft delete table inet podnet", "iptables -F", "iptables -X")
    assert not node.reaches()
    for _time in range(2):  # when it boots, and once more when it is started again
        for may_fail, command in re.findall(r"^ExecStart(?:Post)?=(-?)(.*)$", node.run(f"cat {UNIT}"), re.MULTILINE):
            node.run(command, check=not may_fail)
        assert (node.run("nft list table inet podnet"), node.iptables()) == (table, accepting)
    assert node.reaches()

    node.run("iptables -F", "iptables -X", *ACCEPT, *WITH_UFW)
    unaware = node.run("ufw show added", *USER_RULES)
    assert not node.reaches()
    node.role()
    assert node.reaches()
    assert TOLD in node.run("ufw show added")
    assert "PODNET" not in node.iptables()
    node.run("ufw reload")
    assert node.reaches(), "ufw keeps it"
    node.run("iptables -N PODNET-FORWARD", "iptables -I FORWARD -j PODNET-FORWARD")  # as if Docker had been there before ufw
    node.role(flannel_state="absent")
    assert node.run("ufw show added", *USER_RULES) == unaware
    assert "PODNET" not in node.iptables()
    node.run("ufw --force disable", "iptables -F", "iptables -X", "ip6tables -F", "ip6tables -X", *DROP, NO_UFW)
    assert node.iptables() == before


def test_a_firewall_of_ones_own_is_left_alone(node: Node) -> None:
    node.run(*DROP)
    before = node.iptables()
    node.role(podnet_firewall="none", podnet_masquerade=False)
    assert node.iptables() == before
    assert "podnet" not in node.run("nft list tables")
    assert "chain" not in node.run("cat /etc/podnet/podnet.nft")
    node.role(flannel_state="absent")
    node.run(*ACCEPT)


def test_firewalld_lets_pods_in_and_out_and_keeps_that_and_is_left_as_it_was(alone: Node) -> None:
    before = alone.run(*ZONES)
    assert not alone.reaches()
    foreseen, done = alone.role("--check"), alone.role()
    assert names(foreseen) == names(done)
    assert {"Let VXLAN in", "Trust what pods send"} <= set(names(done))
    assert alone.reaches()
    assert alone.run("firewall-cmd --zone=public --list-ports", "firewall-cmd --zone=trusted --list-sources") == "8472/udp\n172.20.0.0/16\n"
    assert alone.role().changed == []
    alone.run("firewall-cmd --reload")
    assert alone.reaches(), "firewalld keeps it"
    alone.role(flannel_state="absent")
    assert alone.run(*ZONES) == before
    assert not alone.reaches()
