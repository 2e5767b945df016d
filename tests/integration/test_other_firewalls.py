# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods of a node where iptables drops what is forwarded, by a policy of its own and by that of a real ufw. I/O: the lab."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labs import CHECKOUT, Lab, Play

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
except TimeoutError:
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
    for _ in range(2):  # when it boots, and once more when it is started again
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
