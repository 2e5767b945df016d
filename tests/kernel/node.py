# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node for kernel tests: the network namespace of the test's process, and what its tables say."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Target, converge
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.module_utils._peers import PeersTarget, peers_target
from ansible_collections.podnet.baremetal.plugins.module_utils._vtep import vtep_target

CLONE_NEWNET = 0x40000000  # sched.h
libc = ctypes.CDLL(None, use_errno=True)

TABLES = (
    "ip -d link show type vxlan",
    "ip -d addr show",
    "ip -d neigh show nud permanent",
    "bridge fdb show",
    "ip -d -4 route show table all",
    "ip -d -6 route show table main",
)


# Lifetimes, and the multicast groups that the kernel joins in its own time.
PASSING = ("valid_lft", "33:33:", "01:00:5e:", "ff00::/8")


@dataclass(frozen=True)
class Node:
    """A node with eth0 (198.51.100.1/24 and .11, MTU 1500) and eth1, both up."""

    def run(self, command: str, given: str = "") -> str:
        """Run one command in the namespace, with this on its standard input, and return what it prints."""
        return subprocess.run(command.split(), input=given, check=True, capture_output=True, text=True).stdout

    def dump(self) -> str:
        """All that the kernel says of links, addresses, neighbours, fdb and routes, in a stable order."""
        lines = [line.strip() for table in TABLES for line in self.run(table).splitlines()]
        return "\n".join(sorted(line for line in lines if not any(word in line for word in PASSING)))

    def index(self, name: str) -> str:
        return self.run(f"ip -o link show dev {name}").split(":")[0]


OPTIONS: dict[str, Any] = {
    "name": None,
    "vni": 1,
    "port": 8472,
    "local": "198.51.100.1",
    "name6": None,
    "local6": None,
    "mac6": None,
    "interface": None,
    "mac": "02:f1:ac:14:00:00",
    "mtu": None,
    "learning": False,
    "ttl": 0,
    "addresses": ["172.20.0.0/32"],
    "recreate": False,
    "cluster_cidrs": ["172.20.0.0/16"],
    "reserved": [],
    "bridge": "cni0",
    "plan": None,
    "state": "present",
}
PEERS = (
    {"node": "node2", "subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "mac": "02:f1:ac:14:01:00"},
    {"node": "node3", "subnets": ["172.20.2.0/24"], "underlay": "198.51.100.3", "mac": "02:f1:ac:14:02:00"},
)
UNREACHABLE = "ip route replace unreachable 172.20.0.0/16 metric 4278198272 proto 86"
REACHABLE = UNREACHABLE.replace("replace", "del")
NEIGHBOURS = [f"ip neigh replace 172.20.{n}.0 lladdr 02:f1:ac:14:0{n}:00 dev flannel.1 nud permanent" for n in (1, 2)]
FDB = [f"bridge fdb replace 02:f1:ac:14:0{n}:00 dev flannel.1 dst 198.51.100.{n + 1} self permanent" for n in (1, 2)]
ROUTES = [f"ip route replace 172.20.{n}.0/24 via 172.20.{n}.0 dev flannel.1 onlink proto 86" for n in (1, 2)]


def device(check: bool = False, **options: Any) -> list[str]:
    """The commands of one run of vxlan_device."""
    return commands(vtep_target("node1", {**OPTIONS, **options}), check=check)


def target(wanted: Sequence[dict[str, Any]] = PEERS, *, purge: bool = True, nexthops: str = "auto", **options: Any) -> PeersTarget:
    """The target of vxlan_peers on node1."""
    given = {"node": "node1", "device": "flannel.1", "device6": None, "plan": pack_plan(wanted), "own": [], **options}
    return peers_target({"purge": purge, "nexthops": nexthops, **given})


def peers(check: bool = False, wanted: Sequence[dict[str, Any]] = PEERS, **options: Any) -> list[str]:
    """The commands of one run of vxlan_peers."""
    return commands(target(wanted, **options), check=check)


def commands(of: Target[Any], *, check: bool = False) -> list[str]:
    """The commands of one run."""
    return list(converge(of, check=check).result(diff=False)["commands"])
