# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPv6 and dual stack over every underlay that carries them, and what flannel gives such a node. I/O: labs, tests/golden."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from labs import CHECKOUT, DIRECTORY, Lab, Play, play, take_away
from test_kubeasz import Lines, compared, delegate, forms, listing, named, net_conf, rules
from test_site import Cluster, changes_to

RECORDED = CHECKOUT / "tests" / "golden" / "dual"
FOUR, SIX = "172.20.0.0/16", "fd00:10:244::/48"
UNDERLAY, UNDERLAY6 = "198.51.100.0/24", "2001:db8::/64"
BOTH = "both families over both underlays"
# The underlays, the ranges of pods, the devices and the MTU of each case.
CASES: dict[str, tuple[dict[str, str], list[str], list[str], int]] = {
    BOTH: ({"underlay": UNDERLAY, "underlay6": UNDERLAY6}, [FOUR, SIX], ["flannel.1", "flannel-v6.1"], 1430),
    "both families over IPv4": ({"underlay": UNDERLAY}, [FOUR, SIX], ["flannel.1"], 1450),
    "both families over IPv6": ({"underlay": UNDERLAY6}, [FOUR, SIX], ["flannel.1"], 1430),
    "IPv6 over IPv6": ({"underlay": UNDERLAY6}, [SIX], ["flannel-v6.1"], 1430),
    "IPv6 over IPv4": ({"underlay": UNDERLAY}, [SIX], ["flannel-v6.1"], 1450),
    "IPv4 over IPv6": ({"underlay": UNDERLAY6}, [FOUR], ["flannel.1"], 1430),
}
NODES = ("node1", "node2")
SYSCTLS = "sysctl net.ipv6.conf.all.forwarding net.bridge.bridge-nf-call-ip6tables net.ipv6.conf.eth0.accept_ra"
MORE_TABLES = (SYSCTLS, "ip -6 route", "find /var/lib/podnet-ipv6")


class Dual(Cluster):
    """Two nodes of a lab and an inventory of their own."""

    before: dict[str, list[str]]

    def __init__(self, name: str, directory: str, inventory: Path) -> None:
        super().__init__(Lab(directory), inventory / "podnet-ledger.json")
        self.inventory = inventory
        self.underlays, self.ranges, self.devices, self.mtu = CASES[name]
        self.describe(**self.underlays)

    def describe(self, **underlays: str) -> None:
        """Write the inventory."""
        plugin = {"plugin": "podnet.baremetal.lab", "nodes": 2, "directory": self.lab.directory, **underlays}
        (self.inventory / "lab.yml").write_text(json.dumps(plugin))

    def play(self, name: str, *arguments: str, **variables: Any) -> Play:
        given = {
            "podnet_ledger": str(self.ledger),
            "podnet_cluster_cidr": self.ranges,
            "cni_plugin_directory": "/usr/lib/cni",
            "demo_table": str(self.inventory / "demo.txt"),
            **variables,
        }
        return play(f"playbooks/{name}.yml", *arguments, inventory=self.inventory / "lab.yml", variables=given)

    def dumps(self) -> dict[str, list[str]]:
        more = {
            node: [line for table in MORE_TABLES for line in self.lab.run(node, *table.split(), check=False).stdout.splitlines()]
            for node in NODES
        }
        return {node: self.dump(node) + more[node] for node in NODES}

    def addresses(self, node: str) -> list[str]:
        """Those of the pod of a node."""
        shown = json.loads(self.run(node, "ip -n demo -json addr show dev eth0 scope global"))
        return [info["local"] for info in shown[0]["addr_info"] if info]  # one of another scope is empty

    def reached(self, address: str, size: int) -> bool:
        """Whether a packet of that size, not to be fragmented, comes from the pod of node1 to that address and back."""
        payload = str(size - (48 if ":" in address else 28))
        ping = ["ip", "netns", "exec", "demo", "ping", "-c", "1", "-W", "5", "-M", "do", "-s", payload, address]
        return self.lab.run("node1", *ping, check=False).returncode == 0


@contextmanager
def running(name: str, directory: Path) -> Iterator[Dual]:
    """The case with its lab, and nothing on it yet."""
    case = Dual(name, f"{DIRECTORY}-{os.getpid()}-dual", directory)
    try:
        case.play("lab_up").succeeded()
        yield case
    finally:
        take_away(case.lab.directory)


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dual]:
    with running(request.param, tmp_path_factory.mktemp("inventory")) as made:
        made.before = made.dumps()
        made.site()
        made.play("demo").succeeded()
        yield made


def test_pods_reach_each_other_with_packets_of_exactly_the_mtu_on_each_family(case: Dual) -> None:
    addresses = case.addresses("node2")
    assert [":" in address for address in addresses] == [":" in each for each in case.ranges]
    assert {(address, more) for address in addresses for more in (0, 1) if case.reached(address, case.mtu + more)} == {
        (address, 0) for address in addresses
    }
    assert "NO ANSWER" not in (case.inventory / "demo.txt").read_text()


def test_the_devices_have_that_mtu_and_there_are_no_others(case: Dual) -> None:
    links = {link["ifname"]: link["mtu"] for link in json.loads(case.run("node1", "ip -json link show type vxlan"))}
    assert links == dict.fromkeys(case.devices, case.mtu)
    assert f"FLANNEL_MTU={case.mtu}\n" in case.run("node1", "cat /run/flannel/subnet.env")


def test_the_second_run_changes_nothing(case: Dual) -> None:
    assert case.site().changed == []


# --- two devices: what flannel gives such a node -----------------------------------------


def in_the_pod(text: str) -> Lines:
    """The routes of a pod, without those of its link-local address."""
    return sorted(line.strip() for line in text.splitlines() if " dev eth0" in line and not line.startswith("fe80"))


two_devices = pytest.mark.parametrize("case", [BOTH], indirect=True)
OVERLAY = partial(listing, names=r"flannel\.1|flannel-v6\.1")
SHOWN: dict[str, tuple[tuple[str, ...], Callable[[str], Lines]]] = {
    "node1.ip-d-link.txt": (("ip -d link",), OVERLAY),
    "node1.ip-addr.txt": (("ip addr",), OVERLAY),
    "node1.ip-route.txt": (("ip -d route",), listing),
    "node1.ip-6-route.txt": (("ip -d -6 route",), partial(listing, names=r"flannel\.1|flannel-v6\.1|cni0")),
    "node1.ip-6-neigh.txt": (("ip -6 neigh show nud permanent",), OVERLAY),
    "node1.ip-neigh.txt": (("ip -d neigh show nud permanent",), OVERLAY),
    "node1.bridge-fdb-flannel.txt": (("bridge -d fdb show dev flannel.1",), listing),
    "node1.bridge-fdb-flannel-v6.txt": (("bridge -d fdb show dev flannel-v6.1",), listing),
    "node1.subnet.env": (("cat /run/flannel/subnet.env",), str.splitlines),
    "etcd-keys.txt": (("cat /etc/kube-flannel/net-conf.json",), net_conf),
    "node1.delegate.json": (("cat /etc/cni/net.d/10-flannel.conflist",), delegate),
    "node1.iptables-S-nat.txt": (("nft list table inet podnet",), partial(rules, "postrouting", family="ip")),
    "node1.ip6tables-S-nat.txt": (("nft list table inet podnet",), partial(rules, "postrouting", family="ip6")),
    "node1.pod-addr-route.txt": (("ip -n demo route", "ip -n demo -6 route"), in_the_pod),
}
DIFFERENCES: list[dict[str, Any]] = yaml.safe_load((RECORDED.parent / "differences-dual.yml").read_text())
MACS = {
    "02:f1:ac:14:00:00": "e2:c9:37:6e:f7:7d",
    "02:f1:02:44:00:00": "62:42:e1:2f:e1:4b",
    "02:f1:ac:14:01:00": "da:d0:88:de:9a:5a",
    "02:f1:02:44:00:01": "6a:56:39:00:6a:9d",
}
NAMES = {
    SIX: SIX,
    FOUR: "10.244.0.0/16",
    "172.20.0.": "10.244.9.",
    "172.20.1.": "10.244.45.",
    "fd00:10:244:1::": "fd00:10:244:54::",
    "fd00:10:244::": "fd00:10:244:12::",
    "198.51.100.1": "198.18.0.11",
    "198.51.100.2": "198.18.0.12",
    "2001:db8::1": "2001:db8:18::11",
    "2001:db8::2": "2001:db8:18::12",
    **{ours: flannels for mac, golden in MACS.items() for ours, flannels in zip(forms(mac), forms(golden))},
}
# The recording's third node is one like its second.
FLANNELS_NAMES = {
    "10.244.7.": "10.244.45.",
    "fd00:10:244:64::": "fd00:10:244:54::",
    "198.18.0.13": "198.18.0.12",
    "2001:db8:18::13": "2001:db8:18::12",
    "96:cd:68:24:e8:3a": "da:d0:88:de:9a:5a",
    "4e:bb:1e:ed:13:ef": "6a:56:39:00:6a:9d",
}


@two_devices
@pytest.mark.parametrize("recording", SHOWN)
def test_what_differs_from_a_dual_stack_node_of_flannel_is_listed_and_nothing_else_does(case: Dual, recording: str) -> None:
    commands, lines = SHOWN[recording]
    ours = lines(named("".join(case.run("node1", command) for command in commands), NAMES))
    flannel = lines(named((RECORDED / recording).read_text(), FLANNELS_NAMES))
    found, listed = compared(recording, flannel, ours, DIFFERENCES, case.run("node1", "ip -V"))
    assert flannel
    assert found == listed


@two_devices
def test_the_settings_of_both_devices_are_flannels(case: Dual) -> None:
    for device in ("flannel/1", "flannel-v6/1"):
        assert case.run("node1", f"sysctl -n net.ipv6.conf.{device}.accept_ra") == "0\n"
    assert case.run("node1", "sysctl -n net.ipv6.conf.all.forwarding net.bridge.bridge-nf-call-ip6tables") == "1\n1\n"


@two_devices
def test_a_join_costs_one_task_on_each_other_node_for_both_families(case: Dual) -> None:
    on_a_node = [each.task.split(" : ")[1] for each in case.play("peers").succeeded().of(host="node2")]
    assert on_a_node == ["Reach the other nodes, and nobody else"]


@two_devices
def test_what_is_spoiled_on_both_devices_is_foreseen_and_repaired(case: Dual) -> None:
    fdb = [f"bridge fdb show dev {device}" for device in case.devices]
    shown = ("ip route", "ip -6 route", "ip neigh show nud permanent", *fdb, "ip -d link show type vxlan")
    tables = [case.run("node1", table) for table in shown]
    for device in case.devices:
        case.run("node1", f"ip neigh flush dev {device} nud permanent")
        case.run("node1", f"ip link set dev {device} mtu 1300")
    case.run("node1", "sysctl -w net.ipv6.conf.all.forwarding=0")
    foreseen, done = case.site("--check"), case.site()
    assert [each.commands for each in foreseen.changed] == [each.commands for each in done.changed]
    assert len(done.changed) == 3
    assert [case.run("node1", table) for table in shown] == tables


@two_devices
def test_a_node_reaches_pods_of_both_families_with_its_devices_addresses(case: Dual) -> None:
    for address in case.addresses("node2"):
        assert " via " in case.run("node1", f"ip route get {address}")
        assert case.lab.run("node1", "ping", "-c", "1", "-W", "5", address, check=False).returncode == 0


# --- the end, of every case --------------------------------------------------------------


def test_after_a_reset_nothing_is_left(case: Dual) -> None:
    case.play("demo", demo_state="absent").succeeded()
    case.play("reset").succeeded()
    for node, after in case.dumps().items():
        changes = changes_to(case.before[node], after)
        assert "gone" not in changes, node
        assert {line.split()[0] for line in changes.get("new", [])} <= {"/run/netns"}


# --- what comes later ----------------------------------------------------------------------

ADVERTISE = """
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("br0"))
s.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), ("ff02::1", 0))  # RFC 4861, section 4.2
"""


def advertised(case: Dual) -> str:
    """The default routes of node1 that come from a router's advertisement, once there was time for one."""
    for _attempt in range(50):
        case.lab.run("switch", "python3", "-c", ADVERTISE)
        shown = case.run("node1", "ip -6 route show default proto ra")
        if shown:
            return shown
        time.sleep(0.1)
    return ""


def test_an_ipv4_cluster_becomes_dual_stack_without_losing_a_packet_or_its_default_route(tmp_path: Path) -> None:
    with running(BOTH, tmp_path) as case:
        case.site(podnet_cluster_cidr=FOUR)
        case.play("demo", podnet_cluster_cidr=FOUR).succeeded()
        first = case.ledger.read_text()
        assert "underlay6" not in first
        assert advertised(case)
        ping = ["ip", "netns", "exec", "demo", "ping", "-q", "-i", "0.01", case.addresses("node2")[0]]
        with case.lab.start("node1", *ping) as flow:
            case.site()
            case.lab.run("node1", "pkill", "-INT", "-x", "ping")
            assert flow.stdout
            assert " 0% packet loss" in flow.stdout.read()
        assert case.run("node1", "ip -6 route show default proto ra")
        case.run("node1", "ip -6 route del default proto ra")
        assert case.site("--check").changed == [], "also while the router is silent"
        assert advertised(case), "a node that forwards still listens to its router"
        assert case.site().changed == []
        case.play("demo", demo_state="absent").succeeded()
        case.play("demo").succeeded()
        assert [case.reached(address, case.mtu) for address in case.addresses("node2")] == [True, True]
        case.play("demo", demo_state="absent").succeeded()
        case.play("reset").succeeded()
        assert case.run("node1", SYSCTLS).split()[2::3] == ["0", "1", "1"]
