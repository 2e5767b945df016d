# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Short-lived pods that answer, and who reaches whom among them, by the real CNI plugins on a node made of namespaces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cni_namespace import PLUGINS, CniNode, cni_node

LIFETIME = 30  # seconds; what a test that is killed leaves behind is gone then
TABLES = ("ip addr", "ip route", "ip -6 route", "ip netns list", "nft list ruleset", "find /run /etc/cni /var/lib/cni -printf %p%m\\n")
CLUSTER: dict[str, Any] = {"subnets": ["203.0.113.0/25", "2001:db8:0:1::/64"], "cluster_cidrs": ["203.0.113.0/24", "2001:db8::/48"]}
GATEWAYS = ["203.0.113.1", "2001:db8:0:1::1"]


@pytest.fixture(scope="module")
def node() -> Iterator[CniNode]:
    """A node with a pod that lives there, as on nodes of a cluster."""
    with cni_node() as node:
        configured(node)
        done(node.module("cni_pod", name="resident", plugin_directory=PLUGINS))
        echo(node)  # which waits for the bridge's IPv6 address
        echo(node, state="absent")
        yield node


def configured(node: CniNode, mtu: int = 1450) -> None:
    done(node.module("cni_conflist", plugin_directory=PLUGINS, form="bridge", mtu=mtu, **CLUSTER))


def done(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result["msg"]
    return result


def echo(node: CniNode, name: str = "podnet-verify", **options: Any) -> dict[str, Any]:
    return done(node.module("pod_echo", **{"name": name, "plugin_directory": PLUGINS, "lifetime": LIFETIME, **options}))


def dump(node: CniNode) -> list[str]:
    lines = [line.strip() for table in TABLES for line in node.command(*table.split()).splitlines()]
    return [line for line in lines if "valid_lft" not in line and "fe80" not in line]


def settled(node: CniNode) -> list[str]:
    """The same once the last run on the node, which may be a responder's last deed, has let go of it."""
    done(node.module("pod_echo", state="absent", name="nobody", plugin_directory=PLUGINS))
    return dump(node)


def verbs(result: dict[str, Any]) -> list[str]:
    return [command.split()[0].replace("CNI_COMMAND=", "") for command in result["commands"]]


def pid(node: CniNode) -> int:
    """The process that answers, as the commands that would end it name it."""
    (command,) = (command for command in echo(node, state="absent", check=True)["commands"] if command.startswith("kill"))
    return int(command.split()[-1])


def eventually(look: Callable[[], bool]) -> bool:
    for _time in range(1000):
        if look():
            return True
        time.sleep(0.02)
    return False


# --- a pod that answers ---------------------------------------------------------------------------------------------------------------


def test_a_pod_answers_stays_is_repaired_and_leaves_nothing(node: CniNode) -> None:
    before = dump(node)
    lives: list[tuple[dict[str, Any], list[str]]] = [({}, ["ip", "ip", "ADD", "ADD", "#"]), ({}, []), ({"port": 8474}, ["kill", "#"])]
    for options, expected in lives:
        promised = echo(node, check=True, **options)
        made = echo(node, **options)
        assert verbs(promised) == verbs(made) == expected
        assert promised["diff"]["after"] == made["diff"]["after"]
        assert (made["pod"]["gateway"], made["pod"]["mtu"], made["gateways"]) == (GATEWAYS[0], 1450, GATEWAYS)
    configured(node, mtu=1400)
    made = echo(node)
    assert (verbs(made), made["pod"]["mtu"]) == (["kill", "DEL", "DEL", "ADD", "ADD", "#"], 1400)
    os.kill(pid(node), signal.SIGSTOP)  # it hangs, and says no more who it is
    assert verbs(echo(node)) == ["kill", "#"]
    configured(node)
    assert verbs(echo(node, state="absent")) == ["kill", "DEL", "DEL", "ip"]
    assert verbs(echo(node, state="absent")) == []
    assert dump(node) == before


def test_a_pod_that_nobody_asks_any_more_leaves_by_itself(node: CniNode) -> None:
    before = dump(node)
    echo(node, lifetime=1)
    assert eventually(lambda: not node.path("/run/netns/podnet-verify").exists())
    assert settled(node) == before


def test_a_responder_that_is_told_to_end_takes_its_pod_along(node: CniNode) -> None:
    before = dump(node)
    echo(node)
    os.kill(pid(node), signal.SIGTERM)
    assert eventually(lambda: not node.path("/run/netns/podnet-verify").exists())
    assert settled(node) == before


def test_a_responder_leaves_a_pod_alone_that_is_not_its_own_any_more(node: CniNode) -> None:
    echo(node)
    old = pid(node)
    node.command("ip", "netns", "delete", "podnet-verify")
    assert echo(node, check=True)["pod"] is None
    echo(node)
    os.kill(old, signal.SIGTERM)
    assert eventually(lambda: not Path(f"/proc/{old}").exists())
    assert verbs(echo(node)) == []
    echo(node, state="absent")


def test_a_responder_keeps_no_lock_and_no_connection_of_the_run_that_started_it(node: CniNode) -> None:
    echo(node)
    kept = sorted(os.readlink(file).split(":")[0] for file in Path(f"/proc/{pid(node)}/fd").iterdir())
    assert kept == ["/dev/null"] * 3 + ["socket"] * 3
    echo(node, state="absent")


@pytest.mark.parametrize(
    ("module", "options", "sentence"),
    [
        ("pod_echo", {"port": 0}, "node1: port is 0: one from 1 to 65535 would be accepted."),
        ("pod_echo", {"lifetime": 0}, "node1: lifetime is 0: a number of seconds from 1 on would be accepted."),
        ("mesh_probe", {"count": 0}, "node1: count is 0: a number from 1 on would be accepted."),
        (
            "mesh_probe",
            {"service": "192.0.2.1:65536"},
            "node1: service is 192.0.2.1:65536: an address with a port would be accepted, such as 10.68.0.1:443.",
        ),
        ("mesh_probe", {"service": "here"}, "node1: service is here: an address with a port would be accepted, such as 10.68.0.1:443."),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(node: CniNode, module: str, options: dict[str, Any], sentence: str) -> None:
    assert node.module(module, **options)["msg"] == sentence


# --- who reaches whom -----------------------------------------------------------------------------------------------------------------


OTHER = {"node": "node2", "gateways": GATEWAYS}
FINE = {"sent": 3, "received": 3, "fits": True, "above": False, "error": ""}
LOST = {"received": 0, "rtt": None, "fits": False, "above": False, "seen": "", "answered": ""}
MODULES = "ansible_collections.podnet.baremetal.plugins.modules"
LISTEN = """
import socket, sys
with socket.create_server(("203.0.113.1", 6443)) as server:
    print("ready", flush=True)
    sys.stdin.read()
"""


class Pair:
    """The pod of node1, and one on the same bridge that answers as another node."""

    def __init__(self, node: CniNode) -> None:
        self.node = node
        self.pods = [echo(node)["pod"]["addresses"], self.answering_as("node2")]
        self.others = [{"pods": self.pods[1], **OTHER}]

    def answering_as(self, name: str) -> list[str]:
        """The addresses of the other pod."""
        options = {"name": "other", "plugin_directory": PLUGINS, "lifetime": LIFETIME, "node": name}
        said = self.node.command(sys.executable, "-m", f"{MODULES}.pod_echo", text=json.dumps({"ANSIBLE_MODULE_ARGS": options}))
        return list(json.loads(said)["pod"]["addresses"])

    def probe(self, **options: Any) -> dict[str, Any]:
        targets = [{"node": "node1", "pods": self.pods[0]}, *self.others]
        return done(self.node.module("mesh_probe", **{"targets": targets, "netns": "/run/netns/podnet-verify", **options}))

    def paths(self, **options: Any) -> dict[tuple[str, str, str], dict[str, Any]]:
        """What node1 says of its ways to the other pod, the gateways and a node: by where from, to what, and to which address."""
        said = self.probe(**options)["paths"]
        assert len(said) == len({place(path) for path in said})
        return {place(path): path for path in said}

    def path(self, source: str = "pod", target: str = "pod", **options: Any) -> dict[str, Any]:
        """The one to the other pod's IPv4 address, or to a service."""
        return self.paths(**options)[source, target, {"pod": self.pods[1][0], "service": SERVICE.partition(":")[0]}[target]]

    @contextmanager
    def spoilt(self, broken: str, repaired: str) -> Iterator[None]:
        """Break something on the node with one command, and repair it."""
        values = {"own": self.pods[0][0], "pod": self.pods[1][0], "port": self.port()}
        try:
            for command in broken.format(**values).split(" && "):
                self.node.command(*command.split())
            yield
        finally:
            for command in repaired.format(**values).split(" && "):
                self.node.command(*command.split())

    def port(self) -> str:
        """Of the bridge, to the other pod."""
        (link,) = json.loads(self.node.command("ip", "-n", "other", "-j", "link", "show", "eth0"))
        links = json.loads(self.node.command("ip", "-j", "link"))
        return str(next(each["ifname"] for each in links if each["ifindex"] == link["link_index"]))


@contextmanager
def started(node: CniNode, *command: str, word: bytes = b"") -> Iterator[None]:
    """A process of the node, which has said this word."""
    entering = ["nsenter", f"--target={node.pid}", "--mount", "--net"]
    with subprocess.Popen([*entering, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == word
        yield
        process.kill()


def place(path: dict[str, Any]) -> tuple[str, str, str]:
    return path["source"], path["target"], path["address"]


def part(path: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return {name: path[name] for name in like}


@pytest.fixture
def pair(node: CniNode) -> Iterator[Pair]:
    yield Pair(node)
    for name in ("podnet-verify", "other"):
        echo(node, name, state="absent")


def test_every_way_is_measured_at_once_in_both_families(pair: Pair) -> None:
    pair.node.command("ip", "addr", "add", "198.51.100.9/32", "dev", "lo")
    pair.others = [{**pair.others[0], "addresses": ["198.51.100.9"]}]
    paths = pair.paths()
    pair.node.command("ip", "addr", "del", "198.51.100.9/32", "dev", "lo")
    to_pods = [("pod", "pod", address) for address in pair.pods[1]] + [("node", "pod", address) for address in pair.pods[0] + pair.pods[1]]
    others = [("pod", "gateway", address) for address in GATEWAYS] + [("pod", "node", "198.51.100.9")]
    assert set(to_pods + others) < set(paths)
    sources = dict(zip((False, True), zip(pair.pods[0], GATEWAYS)))
    for key in to_pods + others:
        path, (pod, node) = paths[key], sources[":" in key[2]]
        assert part(path, FINE) == FINE
        least, median, most = path["rtt"]
        assert 0 < least <= median <= most
        answering = ("node1" if key[2] in pair.pods[0] else "node2", pod if key[0] == "pod" else node)
        assert (path["answered"], path["seen"]) == (answering if key[1] == "pod" else ("", ""))


def test_one_process_asks_eighty_ways_with_one_socket_of_a_kind(pair: Pair, tmp_path: Path) -> None:
    pair.others = [{**pair.others[0], "node": f"node{number}"} for number in range(2, 12)]
    targets = [{"node": "node1", "pods": pair.pods[0]}, *pair.others]
    options = {"node": "node1", "targets": targets, "netns": "/run/netns/podnet-verify", "count": 1}
    tracing = ["strace", "--follow-forks", "--quiet=all", f"--output={tmp_path}/calls", "--trace=execve,sendto"]
    command = [*tracing, sys.executable, "-m", f"{MODULES}.mesh_probe"]
    said = json.loads(pair.node.command(*command, text=json.dumps({"ANSIBLE_MODULE_ARGS": options})))
    calls = [line.split(maxsplit=1)[1] for line in (tmp_path / "calls").read_text().splitlines()]
    assert sum(call.startswith("execve(") for call in calls) == 1
    sent = [call for call in calls if call.startswith("sendto(") and "pnet" in call]
    assert len(said["paths"]) == 82
    assert len(sent) >= 3 * 82  # a small packet each, one that fills the MTU, and one that is longer
    # From the pod and from the node, by UDP and by ICMP, in two families.
    assert len({call.split(",")[0] for call in sent}) == 8


SERVICE = "192.0.2.1:443"
IN_POD = "ip netns exec podnet-verify ip "
NO_TABLE = "nft delete table ip somebody"
NAT = (
    "nft add table ip somebody && nft add chain ip somebody {hook} {{{{ type nat hook {hook} priority 0; }}}} && "
    "nft add rule ip somebody {hook} "
)
DROP = NAT.replace("nat hook", "filter hook")
ROUTE = "route replace 203.0.113.0/25 dev eth0 src {own}"
# What was done to the way from node1's pod, or from the node itself, to the other pod; how that is repaired; what is said of the way.
SPOILT: list[tuple[str, str, str, dict[str, Any]]] = [
    (
        "pod",
        IN_POD + "route add unreachable {pod}",
        IN_POD + "route del unreachable {pod}",
        {**LOST, "fits": None, "above": None, "error": "No route to host"},
    ),
    ("node", DROP.format(hook="output") + "udp dport 8473 drop", NO_TABLE, {**LOST, "error": "Operation not permitted"}),
    (
        "node",
        DROP.format(hook="output") + "ip daddr {pod} udp length > 1000 drop",
        NO_TABLE,
        {**FINE, "fits": False, "error": "Operation not permitted"},
    ),
    ("pod", "bridge link set dev {port} state 0", "bridge link set dev {port} state 3", {**LOST, "error": ""}),
    ("pod", "ip link set {port} mtu 1400", "ip link set {port} mtu 1450", {**FINE, "fits": False}),
    ("pod", IN_POD + ROUTE + " mtu 1400", IN_POD + ROUTE, {**FINE, "above": True}),
    (
        "node",
        "ip addr add 198.51.100.9 dev lo && " + NAT.format(hook="postrouting") + "udp dport 8473 snat to 198.51.100.9",
        "ip addr del 198.51.100.9/32 dev lo && " + NO_TABLE,
        {**FINE, "seen": "198.51.100.9"},
    ),
]


def test_what_is_wrong_with_a_way_is_said_as_the_sender_and_the_other_end_saw_it(pair: Pair) -> None:
    for source, broken, repaired, expected in SPOILT:
        with pair.spoilt(broken, repaired):
            assert part(pair.path(source), expected) == expected, broken
        assert part(pair.path(source), FINE) == FINE, repaired


def test_a_pod_that_answers_in_place_of_another_is_named(pair: Pair) -> None:
    assert pair.answering_as("node9") == pair.pods[1]
    said = pair.probe()
    assert {path["answered"] for path in said["paths"] if path["to"] == "node2" and path["target"] == "pod"} == {"node9"}
    assert said["msg"].endswith(", 4 are answered by another node")
    assert said["msg"].startswith("node1: 6 of 10 answer, ")


def test_a_service_is_tried_by_tcp_and_by_itself_only_where_a_kubelet_runs(pair: Pair) -> None:
    refused = {"sent": 1, "received": 0, "error": "Connection refused", "to": ""}
    dnat = f"ip daddr {SERVICE.partition(':')[0]} dnat to 203.0.113.1:6443"
    rules = [
        NAT.format(hook="prerouting") + f"tcp dport 443 {dnat}",
        NAT.format(hook="output").split(" && ", 1)[1] + f"tcp dport 443 {dnat}",
    ]
    route = "ip route add 192.0.2.0/24 dev cni0"
    with pair.spoilt(" && ".join([route, *rules]), NO_TABLE + " && " + route.replace("add", "del")):
        for source in ("pod", "node"):
            assert part(pair.path(source, "service", service=SERVICE), refused) == refused
        with started(pair.node, sys.executable, "-c", LISTEN, word=b"ready"):
            for source in ("pod", "node"):
                found = pair.path(source, "service", service=SERVICE)
                assert (found["sent"], found["received"], len(found["rtt"])) == (1, 1, 3)
            assert "service" not in {path["target"] for path in pair.probe(service=SERVICE, service_if_kubelet=True)["paths"]}
            pair.node.command("cp", "/usr/bin/cat", "/run/kubelet")
            with started(pair.node, "/run/kubelet", "/etc/hostname", "-", word=Path("/etc/hostname").read_bytes().strip()):
                assert pair.path("pod", "service", service=SERVICE, service_if_kubelet=True)["received"] == 1
