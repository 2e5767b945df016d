# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three nodes with a pod each, joined by a switch: namespaces, the real modules and CNI plugins, and who reaches whom by UDP."""

from __future__ import annotations

import errno
import json
import os
import select
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.plugin_utils._problems import problems
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import (
    Document,
    Network,
    Path,
    Problem,
    Source,
    Tables,
    Target,
)
from cni_namespace import PLUGINS, CniNode, cni_node
from node import CLONE_NEWNET, libc

T = TypeVar("T")
# What the role flannel masquerades: what pods send to others than pods.
MASQUERADE = """table inet podnet {
  chain postrouting { type nat hook postrouting priority srcnat; ip saddr 172.20.0.0/16 ip daddr != 172.20.0.0/16 counter masquerade; }
}"""
CLUSTER = "172.20.0.0/16"
MTU, HEADERS = 1450, 28  # IPv4 and UDP
PORT = 7000
POD = "pod"
ENDS: tuple[Source, ...] = ("pod", "node")
QUIET = 0.3  # seconds without an answer after which none comes
IP_MTU_DISCOVER, IP_FREEBIND = 10, 15  # linux/in.h
IP_PMTUDISC_PROBE = 3  # may not be fragmented, whatever the path was found to take before


@cache
def _module(name: str) -> Module:
    return Module(name)


@dataclass(frozen=True)
class Member:
    """A node of the mesh by its number, from 1."""

    number: int
    cni: CniNode

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def underlay(self) -> str:
        return f"198.51.100.{self.number}"

    @property
    def gateway(self) -> str:
        return f"172.20.{self.number}.1"

    @property
    def peer(self) -> dict[str, Any]:
        """As the other nodes have it."""
        subnet, mac = f"172.20.{self.number}.0/24", f"02:f1:ac:14:{self.number:02x}:00"
        return {"node": self.name, "subnets": [subnet], "underlay": self.underlay, "mac": mac}

    def run(self, command: str) -> str:
        return self.cni.command(*shlex.split(command))

    def start(self, module: str, **options: Any) -> subprocess.Popen[str]:
        """A module by the short road, as its action sends it."""
        here = _module(module)
        program = here.program(here.validated({"node": self.name, **options}), check=False, diff=False).decode()
        arguments = [
            "nsenter",
            f"--target={self.cni.pid}",
            "--mount",
            "--net",
            *shlex.split(here.command.format(python=shlex.quote(sys.executable))),
        ]
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(program)
        process.stdin.close()
        return process

    def module(self, module: str, **options: Any) -> dict[str, Any]:
        return answer(self.start(module, **options))

    def converge(self, peers: Sequence[Mapping[str, Any]], subnet: str = "") -> None:
        """What site.yml does, and a pod: the device, its peers, the bridge's conflist and the masquerading. Its own subnet by default."""
        subnet, mac = subnet or self.peer["subnets"][0], self.peer["mac"]
        self.module("cni_pod", name=POD, plugin_directory=PLUGINS, state="absent")
        own = {"local": self.underlay, "mac": mac, "addresses": [f"{subnet.split('/')[0]}/32"], "cluster_cidrs": [CLUSTER]}
        self.module("vxlan_device", **own)
        self.module("vxlan_peers", plan=pack_plan([peer for peer in peers if peer["node"] != self.name]), purge=True)
        bridge = {"form": "bridge", "subnets": [subnet], "cluster_cidrs": [CLUSTER], "mtu": MTU}
        self.module("cni_conflist", **bridge, plugin_directory=PLUGINS)
        self.module("cni_pod", name=POD, plugin_directory=PLUGINS)
        self.cni.command("nft", "--file", "-", text=f"table inet podnet\ndelete table inet podnet\n{MASQUERADE}")

    def inside(self, end: str, work: Callable[[], T]) -> T:
        """What the work returns, done in the node's network namespace or in that of its pod; in a thread, whose namespace it is."""
        path = f"/proc/{self.cni.pid}/ns/net" if end == "node" else f"/proc/{self.cni.pid}/root/run/netns/{POD}"
        results: list[T] = []

        def moved() -> None:
            namespace = os.open(path, os.O_RDONLY)
            if libc.setns(namespace, CLONE_NEWNET) == 0:
                results.append(work())
            os.close(namespace)

        thread = threading.Thread(target=moved)
        thread.start()
        thread.join()
        return results[0]

    @property
    def pod_addresses(self) -> list[str]:
        shown = json.loads(self.run(f"ip -n {POD} -json -4 address show dev eth0"))
        return [str(each["local"]) for each in shown[0]["addr_info"]]


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    process.stdout.close()
    process.wait()
    result: dict[str, Any] = json.loads(lines[-1])
    assert not result.get("failed"), result["msg"]
    return result


class Mesh:
    """The nodes with all that is measured and read of them."""

    def __init__(self, switch: CniNode, members: Sequence[Member]) -> None:
        self.switch, self.members = switch, members
        self.is_broken = False
        self.by_name = {member.name: member for member in members}

    def make(self) -> None:
        self.switch.command("ip", "link", "add", "switch", "up", "type", "bridge")
        for member in self.members:
            for interface in ("eth0", "eth1"):
                port = f"{member.name}-{interface}"
                self.switch.command(
                    "ip", "link", "add", port, "up", "master", "switch", "type", "veth", "peer", interface, "netns", str(member.cni.pid)
                )
                member.run(f"ip link set {interface} up")
            member.run(f"ip address add {member.underlay}/24 dev eth0")
            member.run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0")
        for member in self.members:
            member.converge([each.peer for each in self.members])

    def probed(self) -> Document:
        """What a verification finds now, where the modules of the role verify ask."""
        echo = {"name": "echo", "plugin_directory": PLUGINS}
        try:
            found = {each.name: each.module("pod_echo", **echo, port=PORT) for each in self.members}
            targets = [
                {
                    "node": each.name,
                    "pods": found[each.name]["pod"]["addresses"],
                    "gateways": found[each.name]["gateways"],
                    "addresses": [each.underlay],
                }
                for each in self.members
            ]
            asked = [
                each.start("mesh_probe", netns=found[each.name]["netns"], port=PORT, count=1, targets=targets) for each in self.members
            ]
            paths: list[Path] = [path for each in asked for path in answer(each)["paths"]]
            return self.document(paths, {name: each["pod"] for name, each in found.items()})
        finally:
            for each in self.members:
                each.module("pod_echo", **echo, state="absent")

    def document(self, paths: Sequence[Path] | None = None, pods: Mapping[str, Any] | None = None, *, ledger: bool = False) -> Document:
        """What a verification of them finds now, with these answers of theirs or those of its own packets."""
        paths = self.paths() if paths is None else list(paths)
        options: dict[str, Any] = {"datapath": True, "cluster_cidrs": [CLUSTER]}
        found = {each.name: each.start("overlay_info", **options) for each in self.members}
        nodes: dict[str, Any] = {}
        for member in self.members:
            tables = answer(found[member.name])
            lease = {"subnets": member.peer["subnets"], "underlays": [member.underlay], "macs": [member.peer["mac"]]}
            assert Tables.__annotations__.keys() - {"lease"} <= tables.keys()
            pod = pods[member.name] if pods else {"addresses": member.pod_addresses, "gateway": member.gateway, "mtu": MTU}
            nodes[member.name] = {**tables, "state": "verified", "reason": "", "lease": lease if ledger else None, "pod": pod}
        network: Network = {
            "cluster_cidrs": [CLUSTER],
            "service_cidrs": [],
            "vni": 1,
            "port": 8472,
            "mtu": MTU,
            "ledger": "ledger.json" if ledger else "",
            "generation": 1 if ledger else 0,
        }
        return {
            "version": 1,
            "made": "",
            "took": 0,
            "network": network,
            "sample": {"each": 0, "run": 0, "tested": 6, "pairs": 6},
            "nodes": nodes,
            "paths": paths,
            "problems": [],
        }

    def paths(self) -> list[Path]:
        """Everybody asks everybody else, once, then with packets of exactly the MTU and of one byte more."""
        with ExitStack() as stack:
            ends = [stack.enter_context(_End.open(member, end)) for member in self.members for end in ENDS]
            asked = [asked for end in ends for other in self.members if other is not end.member for asked in end.ask(other)]
            _serve(ends)
            return [path for each in asked for path in [each.path()]]

    def problems(self, *, ledger: bool = False) -> list[Problem]:
        return problems(self.document(ledger=ledger))

    def carry_out(self, repair: str) -> None:
        """The lines of a problem's repair: Ansible's command on these nodes, or a playbook of ours, by the modules that it runs."""
        for line in repair.splitlines():
            words = shlex.split(line)
            if words[0] == "ansible-playbook":
                for name in words[words.index("--limit") + 1].split(","):
                    self.by_name[name].converge([each.peer for each in self.members])
            else:
                assert (words[0], words[2], words[3]) == ("ansible", "--become", "--args"), line
                for name in words[1].split(","):
                    self.by_name[name].run(words[4])


@contextmanager
def mesh() -> Iterator[Mesh]:
    with ExitStack() as stack:
        switch = stack.enter_context(cni_node())
        made = Mesh(switch, [Member(number, stack.enter_context(cni_node())) for number in (1, 2, 3)])
        made.make()
        yield made


# --- who reaches whom ---


class _End:
    """A node or its pod: it answers with its name and the source that it sees, and asks."""

    def __init__(self, member: Member, end: Source) -> None:
        self.member, self.end = member, end
        self.asked: dict[bytes, _Asked] = {}
        # Each address by a socket of its own, so that an answer comes from where it was asked.
        addresses = member.pod_addresses if end == "pod" else [member.gateway, member.underlay]
        self.answering, self.asking = member.inside(end, lambda: ([_socket(each, PORT) for each in addresses], _socket("0.0.0.0", 0)))
        self.asking.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)

    @classmethod
    @contextmanager
    def open(cls, member: Member, end: Source) -> Iterator[_End]:
        made = cls(member, end)
        try:
            yield made
        finally:
            for each in (*made.answering, made.asking):
                each.close()

    def ask(self, other: Member) -> Iterator[_Asked]:
        pods: list[tuple[Target, str]] = [("pod", address) for address in other.pod_addresses]
        for target, address in [*pods, ("gateway", other.gateway), ("node", other.underlay)]:
            asked = _Asked(self, other.name, target, address)
            self.asked[asked.token] = asked
            asked.send()
            yield asked


class _Asked:
    """One address, asked from one end."""

    def __init__(self, end: _End, to: str, target: Target, address: str) -> None:
        self.end, self.to, self.target, self.address = end, to, target, address
        self.token = os.urandom(8)
        self.answers: dict[bytes, tuple[str, str]] = {}
        self.error = ""

    def send(self) -> None:
        for what, size in ((b"s", 0), (b"f", MTU - HEADERS), (b"a", MTU + 1 - HEADERS)):
            self.error = self.error or self._sent((self.token + what).ljust(size, b"."))

    def _sent(self, packet: bytes) -> str:
        """Why it was not; one that is too long is no error of the path."""
        try:
            self.end.asking.sendto(packet, (self.address, PORT))
        except OSError as error:
            return "" if error.errno == errno.EMSGSIZE else str(error.strerror)
        return ""

    def path(self) -> Path:
        there = self.answers.get(b"s")
        overlay = self.target != "node"  # which has the underlay's MTU
        name, seen = there if there and self.target == "pod" else ("", "")
        return {
            "from": self.end.member.name,
            "source": self.end.end,
            "to": self.to,
            "target": self.target,
            "address": self.address,
            "sent": 1,
            "received": len(self.answers.keys() & {b"s"}),
            "rtt": None,
            "fits": b"f" in self.answers if overlay else None,
            "above": b"a" in self.answers if overlay else None,
            "seen": seen,
            "answered": name,
            "error": self.error,
        }


def _serve(ends: Sequence[_End]) -> None:
    """Answer and collect until nothing more comes."""
    answering = {each: end for end in ends for each in end.answering}
    asking = {end.asking: end for end in ends}
    while ready := select.select([*answering, *asking], [], [], QUIET)[0]:
        for each in ready:
            said, sender = each.recvfrom(2048)
            if each in answering:
                with suppress(OSError):  # whom the node does not reach is not answered
                    each.sendto(b" ".join((said[:9], answering[each].member.name.encode(), sender[0].encode())), sender)
            elif said[:8] in asking[each].asked:
                name, seen = said[10:].decode().split(" ")
                asking[each].asked[said[:8]].answers[said[8:9]] = (name, seen)


def _socket(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)  # a broken node may not have it
    made.bind((address, port))
    return made
