# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The case that started it, inventories/kubeasz, compared word by word with what flanneld gave its nodes. I/O: the lab, tests/golden."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from difflib import SequenceMatcher
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
import yaml
from labs import CHECKOUT, DIRECTORY, Lab, Play, play, take_away
from test_site import Cluster, changes_to, seen_source

INVENTORY = CHECKOUT / "inventories" / "kubeasz"
GOLDEN = CHECKOUT / "tests" / "golden"
RECORDED = GOLDEN / "vxlan"
DIFFERENCES: list[dict[str, Any]] = yaml.safe_load((GOLDEN / "differences.yml").read_text())
NODE, PEER = "node-161", "node-156"
POD = "demo"  # of playbooks/demo.yml
Lines = list[str]


class Kubeasz(Cluster):
    """The two nodes, with a lab and a ledger of their own: as they were before, what the kernel told, and who reached whom."""

    before: dict[str, Lines]
    events: Lines
    reached: str

    def play(self, name: str | list[dict[str, Any]], *arguments: str, **variables: Any) -> Play:
        given = {"podnet_lab_directory": self.lab.directory, "podnet_ledger": str(self.ledger), **variables}
        return play(
            f"playbooks/{name}.yml" if isinstance(name, str) else name, *arguments, inventory=INVENTORY, variables=given
        ).succeeded()

    def mac(self, node: str) -> str:
        """Of the node's VTEP."""
        return self.run(node, "cat /sys/class/net/flannel.1/address").strip()

    def settled(self, command: str) -> str:
        """What a command shows when the timers of new bridge ports have run out; 15 seconds, the forward delay (net/bridge/br_stp.c)."""
        deadline = time.monotonic() + 30
        while (shown := self.run(NODE, command)) and re.search(r"forward_delay_timer +(?!0\.00)", shown) and time.monotonic() < deadline:
            time.sleep(0.2)
        return shown

    def dumps(self) -> dict[str, Lines]:
        return {node: self.dump(node) for node in (NODE, PEER)}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubeasz]:
    directory = f"{DIRECTORY}-{os.getpid()}-kubeasz"
    inventory = tmp_path_factory.mktemp("inventory")
    made = Kubeasz(Lab(directory), inventory / "podnet-ledger.json")
    try:
        made.play("lab_up")
        made.before = made.dumps()
        made.events = events_during(made, made.site)
        made.play("demo", demo_table=str(inventory / "demo.txt"))
        made.reached = (inventory / "demo.txt").read_text()
        yield made
    finally:
        take_away(directory)


# --- the order of programming -----------------------------------------------

# What the kernel tells, in its order, until a route to 203.0.113.0/32 comes. Family 7 is AF_BRIDGE: the fdb.
LISTENER = """
from pyroute2 import IPRoute
WHICH = {"RTM_NEWLINK": "IFLA_IFNAME", "RTM_NEWADDR": "IFA_ADDRESS", "RTM_NEWNEIGH": "NDA_DST", "RTM_NEWROUTE": "RTA_DST"}
route = IPRoute()
route.bind()
print("ready", flush=True)
told = ""
while told != "route 203.0.113.0/32":
    for message in route.get():
        if message["event"] in WHICH:
            kind = "fdb" if message["family"] == 7 else message["event"][7:].lower()
            state = " permanent" if kind in ("fdb", "neigh") and message["state"] & 0x80 else ""
            length = f"/{message['dst_len']}" if kind == "route" else ""
            told = f"{kind} {message.get_attr(WHICH[message['event']])}{length}{state}"
            print(told, flush=True)
"""


def events_during(case: Kubeasz, deed: Callable[[], object]) -> Lines:
    listener = case.lab.start(NODE, sys.executable, "-c", LISTENER)
    assert listener.stdout
    assert listener.stdout.readline() == "ready\n"
    deed()
    for verb in "add", "del":
        case.run(NODE, f"ip route {verb} blackhole 203.0.113.0")
    return listener.communicate()[0].splitlines()


def test_the_order_is_flannels(case: Kubeasz) -> None:
    """The device and its address, then ARP, FDB and route of each peer (vxlan_network.go:356, :363, :380). Before all, the whole range."""
    order = ["route 172.20.0.0/16", "link flannel.1", "addr 172.20.1.0"]
    order += ["neigh 172.20.0.0 permanent", "fdb 10.9.1.156 permanent", "route 172.20.0.0/24"]
    assert [event for event in dict.fromkeys(case.events) if event in order] == order
    assert "neigh 172.20.0.0" not in case.events, "the kernel looked for the peer itself, since its route came before its neighbour"


# --- what that cluster shows --------------------------------------------------


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("ip -d link show flannel.1", "vxlan id 1 local 10.9.1.161 dev eth0 srcport 0 0 dstport 8472 nolearning "),
        ("ip link show flannel.1", " mtu 1450 "),
        ("ip addr show flannel.1", " 172.20.1.0/32 scope global flannel.1"),
        ("ip addr show cni0", " 172.20.1.1/24 "),
        ("ip link show cni0", " mtu 1450 "),
        ("ip route show dev flannel.1", "172.20.0.0/24 via 172.20.0.0 proto podnet onlink"),
        ("ip neigh show dev flannel.1", "172.20.0.0 lladdr {peer} PERMANENT"),
        ("bridge fdb show dev flannel.1", "{peer} dst 10.9.1.156 self permanent"),
        (
            "cat /run/flannel/subnet.env",
            "FLANNEL_NETWORK=172.20.0.0/16\nFLANNEL_SUBNET=172.20.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
        ),
        ("ip -n demo addr show eth0", " 172.20.1.2/24 "),
        ("ip -n demo link show eth0", " mtu 1450 "),
        ("ip -n demo route", "default via 172.20.1.1 dev eth0"),
        ("ip -n demo route", "172.20.0.0/16 via 172.20.1.1 dev eth0"),
    ],
)
def test_the_node_shows_what_the_cluster_of_the_case_shows(case: Kubeasz, command: str, shown: str) -> None:
    assert shown.format(peer=case.mac(PEER)) in case.run(NODE, command)


def test_pods_reach_each_other_with_full_size_packets(case: Kubeasz) -> None:
    rows = [row.split() for row in case.reached.splitlines() if row.startswith("node-")]
    assert [row[:2] for row in rows] == [[PEER, "172.20.0.2/24"], [NODE, "172.20.1.2/24"]]
    assert all(row.count("/") == 4 for row in rows), case.reached


@pytest.mark.parametrize(
    ("sender", "pod", "to", "source"),
    [
        (NODE, POD, (PEER, "172.20.0.2"), "172.20.1.2"),
        (NODE, "", (PEER, "172.20.0.2"), "172.20.1.0"),
        (NODE, "", (NODE, "172.20.1.2"), "172.20.1.1"),
    ],
)
def test_nothing_is_translated_on_its_way_to_a_pod(case: Kubeasz, sender: str, pod: str, to: tuple[str, str], source: str) -> None:
    assert seen_source(case, sender, pod, *to) == source


def test_the_second_run_changes_nothing(case: Kubeasz) -> None:
    assert case.site().changed == []
    assert case.play("lab_up").changed == []


def test_with_flannels_own_plugin_the_conflist_is_the_one_that_flannel_ships(case: Kubeasz) -> None:
    """Debian has no such plugin: one that is never run takes its place, and the list is not where a runtime looks."""
    case.run(NODE, "install -D /bin/true /run/plugins/flannel")
    path, directories = "/run/net.d/10-flannel.conflist", "/run/plugins:/opt/kube/bin"
    task = {"podnet.baremetal.cni_conflist": {"form": "flannel", "path": path, "plugin_directory": directories}}
    case.play([{"hosts": NODE, "gather_facts": False, "tasks": [task]}])
    assert json.loads(case.run(NODE, f"cat {path}")) == json.loads((RECORDED / "10-flannel.conflist").read_text())
    case.run(NODE, "rm -r /run/plugins /run/net.d")


# --- word by word -------------------------------------------------------------


def listing(text: str, names: str = r"flannel\.1|cni0|veth\w+") -> Lines:
    """What is said of these devices, and of routes to nowhere, sorted, without the kernel's numbers of interfaces and a bridge's clock."""
    text = re.sub(r"^\d+: ", "", re.sub(r"@if\d+", "", text), flags=re.MULTILINE)
    text = re.sub(r"(gc_timer +)[\d.]+", r"\1N", text)
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    wanted = {block for block in blocks if re.match(rf"({names}):|.* dev ({names}) |[0-9a-f:]{{17}} dst|unreachable ", block)}
    return [line.strip() for block in sorted(wanted) for line in block.splitlines()]


def flattened(value: Any, path: str = "") -> Lines:
    """One line for each value of a document."""
    if not isinstance(value, (dict, list)) or not value:
        return [f"{path} {json.dumps(value)}"]
    items = sorted(value.items()) if isinstance(value, dict) else enumerate(value)
    return [line for key, inner in items for line in flattened(inner, f"{path}.{key}" if path else str(key))]


def net_conf(text: str) -> Lines:
    return flattened(json.loads(text.splitlines()[1] if text.startswith("/") else text))


def result(text: str) -> Lines:
    document = json.loads(text)
    return flattened(document.get("result", document))  # libcni keeps it in an envelope


def delegate(text: str) -> Lines:
    """What the bridge plugin is given: flannel's plugin wrote it down, libcni makes it of our list."""
    document = json.loads(text)
    if "plugins" in document:
        document = {"name": document["name"], "cniVersion": document["cniVersion"], **document["plugins"][0]}
    return flattened(document)


def conflist(text: str) -> Lines:
    """The list; the options of its first plugin are those of `delegate`."""
    document = json.loads(text)
    document["plugins"][0] = {"type": document["plugins"][0]["type"]}
    return flattened(document)


def rules(hook: str, text: str, family: str = "ip") -> Lines:
    """The rules at a hook, as nft says them, but for those of the other family."""
    if text.startswith("#"):
        return [in_nft(line, family) for line in text.splitlines() if '"flanneld ' in line]
    chain = re.search(rf"hook {hook} .*\n((?:[^}}]*\n)*?)\t}}", text)
    other = {"ip": "ip6 ", "ip6": "ip "}[family]
    return [line.strip() for line in chain[1].splitlines() if not line.strip().startswith(other)] if chain else []


def in_nft(rule: str, family: str) -> str:
    """A rule of `iptables -S` or `ip6tables -S` in nft's words."""
    verdicts = {"RETURN": "return", "ACCEPT": "accept", "MASQUERADE --random-fully": "masquerade fully-random"}
    found = re.fullmatch(r'-A \S+ ?(.*?) ?-m comment --comment (".*?") -j (.*)', rule)
    assert found, rule
    match = re.sub(
        r"-m mark --mark (0x\w+)/(0x\w+)", lambda mark: f"meta mark & {int(mark[2], 16):#010x} == {int(mark[1], 16):#010x}", found[1]
    )
    match = re.sub(r"(! )?-([sd]) ", lambda side: f"{family} {side[2]}addr {'!= ' if side[1] else ''}", match)
    return f"{match} {verdicts.get(found[3], f'jump {found[3]}')} comment {found[2]}".strip()


def hook(text: str) -> Lines:
    return re.findall(r"type nat hook postrouting .*", text)


SYSCTLS = re.findall(r"^\S+", (RECORDED / "node1.sysctl.txt").read_text(), re.MULTILINE)
IN_THE_POD = "ip -n demo -d addr", "ip -n demo route", "ip -n demo -6 route"
# By recording: what shows the same on our node, and what makes lines to compare of both.
COMPARED: dict[str, tuple[tuple[str, ...], Callable[[str], Lines]]] = {
    "node1.ip-d-link.txt": (("ip -d link",), listing),
    "node1.ip-addr.txt": (("ip addr",), listing),
    "node1.ip-neigh.txt": (("ip -d neigh show",), partial(listing, names=r"flannel\.1")),
    "node1.bridge-fdb-flannel.txt": (("bridge -d fdb show dev flannel.1",), listing),
    "node1.ip-route.txt": (("ip -d route",), listing),
    "node1.ip-route-table-all.txt": (("ip -d route show table all",), listing),
    "node1.sysctl.txt": ((f"sysctl {' '.join(SYSCTLS)}",), str.splitlines),
    "node1.subnet.env": (("cat /run/flannel/subnet.env",), str.splitlines),
    "etcd-keys.txt": (("cat /etc/kube-flannel/net-conf.json",), net_conf),
    "10-flannel.conflist": (("cat /etc/cni/net.d/10-flannel.conflist",), conflist),
    "node1.delegate.json": (("cat /etc/cni/net.d/10-flannel.conflist",), delegate),
    "node1.cni-result.json": ((f"cat /var/lib/cni/results/cbr0-{POD}-eth0",), result),
    "node1.pod-addr-route.txt": (IN_THE_POD, partial(listing, names="eth0")),
    "node1.iptables-S-nat.txt": (("nft list table inet podnet",), partial(rules, "postrouting")),
    "node1.iptables-S-filter.txt": (("nft list table inet podnet",), partial(rules, "forward")),
    "node1.nft-ruleset.txt": (("nft list ruleset",), hook),
}
# These print the attributes that the kernel and iproute2 know, more with every version: equal words mean something on equal ones only.
BY_VERSION = {"node1.ip-d-link.txt", "node1.ip-addr.txt", "node1.pod-addr-route.txt"}


def forms(mac: str) -> Iterable[str]:
    """A MAC, the link-local address that the kernel makes of it (RFC 4291, appendix A), and a bridge's spelling of it."""
    first, *rest = bytes.fromhex(mac.replace(":", ""))
    yield mac
    yield str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes([first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]])))
    yield "8000." + ":".join(f"{byte:x}" for byte in (first, *rest))


# The recording's second peer is one like the first.
FLANNELS_NAMES = {"10.244.76.": "10.244.3.", "198.18.0.13": "198.18.0.12", "c6:79:f4:4c:3a:b6": "5a:98:46:fc:8e:ec"}


def our_names(case: Kubeasz) -> dict[str, str]:
    """What must differ, and what it is called in the recording: addresses, MACs, and names drawn at random."""
    ours = json.loads(case.run(NODE, f"cat /var/lib/cni/results/cbr0-{POD}-eth0"))["result"]["interfaces"]
    flannels = json.loads((RECORDED / "node1.cni-result.json").read_text())["interfaces"]
    macs = {case.mac(NODE): "d6:02:2d:21:82:55", case.mac(PEER): "5a:98:46:fc:8e:ec"}
    macs |= {our["mac"]: flannel["mac"] for our, flannel in zip(ours, flannels)}
    return {
        "172.20.0.0/16": "10.244.0.0/16",
        "172.20.1.": "10.244.97.",
        "172.20.0.": "10.244.3.",
        "10.9.1.161": "198.18.0.11",
        "10.9.1.156": "198.18.0.12",
        **{our: flannel for mac, golden in macs.items() for our, flannel in zip(forms(mac), forms(golden))},
        ours[1]["name"]: flannels[1]["name"],
        f"/run/netns/{POD}": "/run/netns/flr-pod1",
        f"link-netns {POD}": "link-netns flr-pod1",
        "link-netnsid 0": "link-netns flr-n1",  # the node, as its pod sees it: the recording's nodes have names in /run/netns
    }


def named(text: str, names: dict[str, str]) -> str:
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text)


Difference = tuple[str, str, str]


def differences(flannel: Lines, ours: Lines) -> set[Difference]:
    """The words that differ: what stands before them in the line, flannel's and ours."""
    found: set[Difference] = set()
    for kind, a, b, c, d in SequenceMatcher(None, flannel, ours, autojunk=False).get_opcodes():
        if kind != "equal":
            found |= set(_unpaired(flannel[a:b], ours[c:d]))
    return found


def _unpaired(flannel: Lines, ours: Lines) -> Iterator[Difference]:
    """Lines that begin alike are about the same thing; the others are there on one side only."""
    left = list(ours)
    for line in flannel:
        like = next((other for other in left if other.split()[0] == line.split()[0]), None)
        if like is None:
            yield "", line, ""
        else:
            left.remove(like)
            yield from _words(line.split(), like.split())
    yield from (("", "", line) for line in left)


def _words(flannel: Lines, ours: Lines) -> Iterator[Difference]:
    for kind, a, b, c, d in SequenceMatcher(None, flannel, ours, autojunk=False).get_opcodes():
        if kind != "equal":
            yield flannel[a - 1], " ".join(flannel[a:b]), " ".join(ours[c:d])


def compared(recording: str, flannel: Lines, ours: Lines, known: list[dict[str, Any]], iproute2: str) -> tuple[set[Difference], ...]:
    """The differences, and those that are listed for the recording."""
    listed = {(each["after"], each["flannel"], each["ours"]) for each in known if recording in each["recordings"]}
    found = differences(flannel, ours)
    as_recorded = platform.release().startswith("6.18.") and "iproute2-6.1." in iproute2
    if recording in BY_VERSION and not as_recorded:  # other versions print more words, and must still print all of these
        return {each for each in found if each[1]}, {each for each in listed if each[1]}
    return found, listed


@pytest.mark.parametrize("recording", COMPARED)
def test_what_differs_from_flannel_is_listed_and_nothing_else_does(case: Kubeasz, recording: str) -> None:
    commands, lines = COMPARED[recording]
    flannel = lines(named((RECORDED / recording).read_text(), FLANNELS_NAMES))
    ours = lines(named("".join(case.settled(command) for command in commands), our_names(case)))
    assert flannel or ours
    found, listed = compared(recording, flannel, ours, DIFFERENCES, case.run(NODE, "ip -V"))
    assert found == listed


def test_every_listed_difference_is_in_something_that_is_compared_and_has_its_reason() -> None:
    assert {recording for each in DIFFERENCES for recording in each["recordings"]} <= COMPARED.keys()
    assert all(each["what"] and each["reason"] for each in DIFFERENCES)


# --- the end ------------------------------------------------------------------

# What iproute2, host-local and cni_pod make for the first pod, with nothing in it any more.
LEFT_BY_PODS = {"/run/netns"}  # where `ip netns` keeps names, once it was used


def test_after_a_reset_the_nodes_are_as_they_were(case: Kubeasz) -> None:
    pod = {"name": POD, "plugin_directory": "/opt/kube/bin", "state": "absent"}
    case.play([{"hosts": "kube_node", "gather_facts": False, "tasks": [{"podnet.baremetal.cni_pod": pod}]}])
    case.play("reset")
    for node, after in case.dumps().items():
        changes = changes_to(case.before[node], after)
        assert "gone" not in changes
        assert {line.split()[0] for line in changes.get("new", [])} <= LEFT_BY_PODS


def test_after_lab_down_nothing_is_left_of_the_lab(case: Kubeasz) -> None:
    case.play("lab_down")
    assert not Path(case.lab.directory).exists()
    assert case.lab.pids() == {}
