# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that are cut off on purpose, and come back by themselves. I/O: a lab, and ssh into one of its nodes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module
from booted import wait_until
from labs import CHECKOUT, DIRECTORY, Lab, Play, lab_module, play, take_away

MODULE = Module("connection_guard")
NODES = [f"node{n}" for n in range(1, 51)]
ADDRESSES = {node: f"198.51.100.{n}" for n, node in enumerate(NODES, start=1)}
SOON, LATE = 3, 3600  # seconds
MANAGEMENT = "203.0.113.1"  # behind the switch, which is every node's default gateway
# Each takes the node of this address from whoever manages it.
CUTS = (
    "ip addr del {address}/24 dev eth0",
    "ip addr flush dev eth0",
    "ip link set eth0 down",
    "ip route del default",
    "ip route replace default via 198.51.100.99",
    "ip route add unreachable 203.0.113.0/24",
    "ip route add 203.0.113.0/24 via 198.51.100.99 metric 5",
    "ip -4 route flush table main",
    "ip rule add pref 100 unreachable",
    "ip addr add 203.0.113.1/32 dev eth0",
)
# Nobody listens at this port, so it is refused where a packet goes there and another one comes back.
PROBE = """
import errno, socket, sys, time
asked = {}
for address in sys.argv[2:]:
    asked[address] = socket.socket()
    asked[address].bind((sys.argv[1], 0))
    asked[address].setblocking(False)
    asked[address].connect_ex((address, 9))
time.sleep(0.5)
print(*[address for address, each in asked.items() if each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED])
"""
SSH = CHECKOUT / "build" / "ssh"
SSHD = f"""
cp -a '{SSH}/usr' /
grep -q ^sshd: /etc/passwd || echo 'sshd:x:999:65534::/run/sshd:/usr/sbin/nologin' >>/etc/passwd
mkdir -m 755 /run/sshd
install -D -m 600 /dev/stdin /root/.ssh/test
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh-test
exec /usr/sbin/sshd -D -e -f /dev/null -o HostKey=/etc/ssh-test -o AuthorizedKeysFile=/root/.ssh/test -o PidFile=none -o StrictModes=no
"""
# Lost packets are noticed after two seconds; what is open is kept for the next task.
QUICK = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ServerAliveInterval=1 -o ServerAliveCountMax=2"
SHOWN = "ip addr; ip -4 route show table all; ip -6 route; ip rule; ip -6 rule"  # IPv6 has its own pace in the table local
PASSING = re.compile(r"valid_lft .*| tentative| nodad")


class Site:
    """Fifty nodes, and who manages them from behind their gateway."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.run("switch", "ip", "addr", "add", f"{MANAGEMENT}/32", "dev", "lo")

    def guard(self, node: str, then: str = "true", check: bool = False, **options: Any) -> dict[str, Any]:
        """What the module answers, by the short road, and a command right behind it."""
        given = {"node": node, **options}
        if options["state"] == "armed":
            put_back = MODULE.validated({**given, "state": "put_back"})
            given["program"] = MODULE.program(put_back, check=False, diff=False).decode()
        program = MODULE.program(MODULE.validated(given), check=check, diff=False).decode()
        said = self.lab.run(node, "sh", "-c", f"/usr/bin/python3 -I -S - && {then}", input=program).stdout
        return dict(json.loads(said.splitlines()[0]))

    def cut_off(self, node: str, way: str, seconds: int) -> dict[str, Any]:
        """Arm, and cut the node off right behind that."""
        return self.guard(node, way.format(address=ADDRESSES[node]), state="armed", seconds=seconds, token="cut")

    def reached(self) -> set[str]:
        said = self.lab.run("switch", "/usr/bin/python3", "-I", "-S", "-c", PROBE, MANAGEMENT, *ADDRESSES.values()).stdout
        return {node for node, address in ADDRESSES.items() if address in said.split()}

    def timers(self, node: str) -> list[str]:
        return [line for line in self.lab.run(node, "ps", "-e", "-ww", "-o", "args").stdout.splitlines() if line.startswith("sh -c sleep")]

    def files(self, node: str) -> str:
        return self.lab.run(node, "find", "/run", "-name", "podnet-guard").stdout

    def shown(self) -> set[str]:
        listings = {node: self.lab.run(node, "sh", "-c", SHOWN).stdout for node in NODES}
        return {f"{node}: {PASSING.sub('', line)}" for node, listing in listings.items() for line in listing.splitlines()}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    directory = f"{DIRECTORY}-{os.getpid()}-guard"
    try:
        nodes = [{"name": node, "address": f"{address}/24"} for node, address in ADDRESSES.items()]
        lab_module({"directory": directory, "nodes": nodes, "shared": [str(CHECKOUT)]})
        yield Site(Lab(directory))
    finally:
        take_away(directory)


def test_a_node_that_is_cut_off_comes_back_by_itself_fifty_of_fifty(site: Site) -> None:
    wait_until(lambda: site.reached() == set(NODES))
    before, first = site.shown(), dict(zip(NODES, CUTS))
    for node, way in first.items():
        site.cut_off(node, way, LATE)
    assert site.reached() == set(NODES) - set(first), "each of these cuts a node off, and nobody puts it back before its time"
    for node in first:
        site.lab.run(node, "/usr/bin/python3", "/run/podnet-guard/cut.py")  # as if its time had come
        assert site.guard(node, state="confirmed")["failed"]

    for node, way in zip(NODES, cycle(CUTS)):
        assert "failed" not in site.cut_off(node, way, SOON)
    wait_until(lambda: site.reached() == set(NODES))
    too_late = [
        f"{node}: nobody confirmed in time that this node can still be reached, so it has put its network back: ip " for node in NODES
    ]
    came_back = [site.guard(node, state="confirmed")["msg"].startswith(text) for node, text in zip(NODES, too_late)]
    assert came_back.count(True) == 50
    assert site.shown() ^ before == set()


def test_a_guard_that_is_confirmed_leaves_nothing_and_one_that_is_armed_anew_has_one_timer(site: Site) -> None:
    assert site.guard("node1", state="confirmed")["commands"] == []
    foreseen = site.guard("node1", state="armed", token="one", check=True)
    assert (foreseen["changed"], site.timers("node1"), site.files("node1")) == (True, [], "")
    for token in ("one", "two"):
        site.guard("node1", state="armed", token=token)
    assert [line.split()[-1] for line in site.timers("node1")] == ["/run/podnet-guard/two.py"]
    assert site.lab.run("node1", "/usr/bin/python3", "/run/podnet-guard/two.py").stdout.startswith('{"changed": false')
    assert site.guard("node1", state="confirmed")["commands"] == ["rm -r /run/podnet-guard"]
    assert (site.timers("node1"), site.files("node1")) == ([], "")


def test_pods_that_came_since_and_their_ranges_are_left_alone(site: Site) -> None:
    site.lab.run("node1", "ip", "route", "add", "172.20.1.0/24", "via", "198.51.100.2")
    site.guard("node1", state="armed", token="pods", ranges=["172.20.0.0/16"])
    pods = "ip link add cni0 type bridge; ip addr add 172.20.0.1/24 dev cni0; ip link set cni0 up; ip route del 172.20.1.0/24;"
    site.lab.run("node1", "sh", "-c", f"{pods} ip route add 172.20.3.0/24 via 198.51.100.3; ip route add 192.0.2.0/24 via 198.51.100.3")
    said = json.loads(site.lab.run("node1", "/usr/bin/python3", "/run/podnet-guard/pods.py").stdout)
    assert said["commands"] == ["ip -4 route del 192.0.2.0/24 via 198.51.100.3 dev eth0"]
    site.guard("node1", state="confirmed")
    site.lab.run("node1", "sh", "-c", "ip link del cni0; ip route del 172.20.3.0/24")


def test_what_cannot_be_put_back_is_said_and_the_rest_is_put_back(site: Site) -> None:
    site.lab.run("node1", "ip", "link", "add", "eth9", "type", "bridge")
    site.guard("node1", state="armed", token="gone")
    edited = "sed -i 's/ip link set dev eth9 mtu 1500/ip link set dev eth9 mtu 9/g' /run/podnet-guard/saved.json; ip route del default"
    site.lab.run("node1", "sh", "-c", edited)
    said = json.loads(site.lab.run("node1", "/usr/bin/python3", "/run/podnet-guard/gone.py").stdout)
    assert said["commands"] == ["ip -4 route append default via 198.51.100.254 dev eth0"]
    assert said["msg"].startswith("node1: not as it was: ip link set dev eth9 mtu 9 down: Error: mtu less than device minimum")
    assert "mtu less than device minimum" in site.guard("node1", state="confirmed")["msg"]
    site.lab.run("node1", "ip", "link", "del", "eth9")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seconds": 0}, "node1: seconds is 0: expected a number from 1 to 3600."),
        ({"ranges": ["172.20.0.1/16"]}, "node1: ranges is 172.20.0.1/16: it has host bits: write 172.20.0.0/16."),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_armed(site: Site, options: dict[str, Any], sentence: str) -> None:
    assert site.guard("node1", state="armed", token="no", **options)["msg"] == sentence
    assert site.files("node1") == ""


class Managed:
    """node1 with sshd, and ansible-playbook, whose ssh is in the switch and has the address of who manages the nodes."""

    def __init__(self, site: Site, place: Path) -> None:
        key, ssh = place / "key", place / "ssh"
        subprocess.run([SSH / "usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        net = f"nsenter --net=/proc/{site.lab.pids()['switch']}/ns/net"
        ssh.write_text(f"#!/bin/sh\nexec {net} '{SSH}/usr/bin/ssh' -F none -i '{key}' -b {MANAGEMENT} {QUICK} \"$@\"\n")
        ssh.chmod(0o755)
        self.log = place / "log"
        with self.log.open("w") as log, key.with_suffix(".pub").open() as public:
            self.sshd = subprocess.Popen([*site.lab.enter("node1"), "sh", "-c", SSHD], stdin=public, stderr=log)
        wait_until(lambda: "Server listening on 0.0.0.0" in self.log.read_text())
        self._variables = {"ansible_ssh_executable": str(ssh), "ansible_control_path_dir": str(place), "ansible_timeout": 5}

    def play(self, *tasks: tuple[str, Any]) -> Play:
        each = [{"name": str(number), module: options} for number, (module, options) in enumerate(tasks)]
        common = {"ansible_connection": "ssh", "ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3"}
        plays = [{"hosts": "all", "gather_facts": False, "tasks": each}]
        return play(plays, inventory=f"{ADDRESSES['node1']},", variables={**common, **self._variables})

    def connections(self) -> int:
        return self.log.read_text().count("Accepted publickey")


@pytest.fixture
def managed(site: Site, tmp_path: Path) -> Iterator[Managed]:
    here = Managed(site, tmp_path)
    yield here
    site.lab.run("node1", "pkill", "-x", "sshd")
    here.sshd.wait()


def command(text: str) -> tuple[str, Any]:
    return "ansible.builtin.command", {"argv": text.split()}


def guard(state: str, **options: Any) -> tuple[str, Any]:
    return "podnet.baremetal.connection_guard", {"state": state, **options}


def test_management_by_ssh_that_a_task_cuts_off_is_back_and_the_next_run_says_what_happened(managed: Managed, site: Site) -> None:
    before = site.shown()
    harmless = command("ip addr add 192.0.2.9/32 dev eth0")
    managed.play(guard("armed", seconds=LATE), harmless, guard("confirmed"), command("ip addr del 192.0.2.9/32 dev eth0")).succeeded()
    assert managed.connections() == 2, "the tasks share a connection, and who confirms comes by a new one"

    cut = managed.play(guard("armed", seconds=10), command("ip addr flush dev eth0"), guard("confirmed"))
    assert [each.unreachable for each in cut.outcomes] == [False, True]
    wait_until(lambda: "node1" in site.reached())
    told = managed.play(guard("confirmed"))
    assert "so it has put its network back: ip addr replace 198.51.100.1/24 " in told.one().msg
    assert site.shown() ^ before == set()
