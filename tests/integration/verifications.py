# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents of verifications as clusters of any size give them, sound or with everything that can be wrong. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple, cast

from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document, Node, Path, Peer, Pod, Problem

GONE = "Connection timed out"


class Ends(NamedTuple):
    """Where a path starts and ends."""

    one: str
    source: Any
    to: str
    target: Any


def verification(count: int, *, broken: bool = False, dual: bool = False, each: int = 0) -> Document:
    """Of `count` nodes, all pairs or `each` to so many others. `broken`: a node is gone, one has no route, one has a wrong MAC."""
    names = [f"node{number}" for number in range(1, count + 1)]
    nodes = {name: _node(number, count, dual=dual) for number, name in enumerate(names)}
    if broken:
        nodes[names[-1]] = _gone(nodes[names[-1]])
    paths = list(_paths(names, nodes, broken=broken, each=each))
    found = _problems(names, nodes, paths) if broken else []
    problems = sorted(found, key=lambda problem: (problem["severity"], -problem["paths"]))  # as a verification has them
    return {
        "version": 1,
        "made": "2026-11-28T02:00:00Z",
        "took": 1.5 + count / 10,
        "network": {
            "cluster_cidrs": ["172.20.0.0/14", "2001:db8:20::/48"][: 1 + dual],
            "service_cidrs": ["10.68.0.0/16"],
            "vni": 1,
            "port": 8472,
            "mtu": 1450,
            "ledger": "inventories/prod/podnet-ledger.json",
            "generation": 12,
        },
        "sample": {"each": each, "run": 0, "tested": len({(p["from"], p["to"]) for p in paths}), "pairs": count * (count - 1)},
        "nodes": nodes,
        "paths": paths,
        "problems": problems,
    }


def _peer(number: int, *, dual: bool) -> Peer:
    block, third = divmod(number, 256)
    subnets = [f"172.{20 + block}.{third}.0/24", f"2001:db8:20:{number:x}::/64"][: 1 + dual]
    mac = f"02:f1:ac:{20 + block:02x}:{third:02x}:00"
    return {"subnets": subnets, "underlay": f"198.51.{100 + number // 250}.{number % 250 + 1}", "mac": mac}


def _node(number: int, count: int, *, dual: bool) -> Node:
    own = _peer(number, dual=dual)
    first = own["subnets"][0].removesuffix("0/24")
    addresses = [f"{first}7", f"2001:db8:20:{number:x}::7"][: 1 + dual]
    return {
        "state": "verified",
        "reason": "",
        "underlay": [own["underlay"]],
        "interface": "eth0",
        "subnets": own["subnets"],
        "device": {
            "name": "flannel.1",
            "up": True,
            "vni": 1,
            "port": 8472,
            "local": own["underlay"],
            "interface": "eth0",
            "mac": own["mac"],
            "mtu": 1450,
            "addresses": [f"{first}0/32"],
        },
        "device6": None,
        "peers": [_peer(other, dual=dual) for other in range(count) if other != number],
        "drift": {"commands": [], "missing": [], "refused": ""},
        "lease": {"subnets": own["subnets"], "underlays": [own["underlay"]], "macs": [own["mac"]]},
        "subnet_env": {"networks": ["172.20.0.0/14"], "subnets": own["subnets"], "mtu": 1450, "masquerade": True},
        "bridge": {"name": "cni0", "addresses": [f"{first}1/24"], "mtu": 1450},
        "allocations": [f"{first}{last}" for last in range(2, 8)],
        "counters": {"flannel.1 tx_dropped": 0, "flannel.1 rx_dropped": 0, "UdpInCsumErrors": 0, "IpOutNoRoutes": 0},
        "limits": [{"name": "neighbours", "used": count + 6, "limit": 1024}, {"name": "conntrack", "used": 812, "limit": 262144}],
        "settings": {"net.ipv4.ip_forward": 1, "net.ipv4.conf.eth0.rp_filter": 0},
        "filters": ["table inet podnet, chain input: udp dport 8472 drop, counter packets 0"],
        "admitted": None,
        "underlay_routes": {},
        "routes": {},
        "applied": {"generation": 12, "at": "2026-11-28T01:58:00Z"},
        "pod": {"addresses": addresses, "gateway": f"{first}1", "mtu": 1450},
    }


def _gone(node: Node) -> Node:
    nothing: Node = {**node, "state": "unreachable", "reason": f"Failed to connect to the host via ssh: {GONE}"}
    return {
        **nothing,
        "device": None,
        "peers": [],
        "drift": None,
        "subnet_env": None,
        "bridge": None,
        "allocations": [],
        "counters": {},
        "limits": [],
        "settings": {},
        "filters": [],
        "applied": None,
        "pod": None,
    }


def _paths(names: list[str], nodes: dict[str, Node], *, broken: bool, each: int) -> Iterator[Path]:
    chance = Random(len(names))
    for number, one in enumerate(names):
        if not nodes[one]["pod"]:
            continue
        following = [names[(number + step) % len(names)] for step in range(1, (each or len(names) - 1) + 1)]
        for to in following:
            for source in ("pod", "node"):
                for target, address in _targets(nodes[to]):
                    failed = broken and _fails(names, one, to, target)
                    yield _path(Ends(one, source, to, target), address, nodes[one]["pod"], None if failed else _trip(one, to, chance))


def _fails(names: list[str], one: str, to: str, target: str) -> bool:
    """node1 has a wrong MAC for node2, node3 has no route to the first; the last one is gone."""
    return (target != "node" and ((one, to) == ("node1", "node2") or (one == "node3" and to == "node1"))) or to == names[-1]


def _targets(node: Node) -> Iterator[tuple[str, str]]:
    pods = node["pod"]["addresses"] if node["pod"] else [subnet.split("/")[0][:-1] + "7" for subnet in node["subnets"]]
    yield from (("pod", address) for address in pods)
    yield ("node", node["underlay"][0])
    yield ("gateway", node["subnets"][0].removesuffix("0/24") + "1")


def _trip(one: str, to: str, chance: Random) -> list[float]:
    """Slower between racks, and very much so from and to node7."""
    least = (6 if "node7" in (one, to) else 1) * (0.06 + chance.random() / 20 + (0.18 if rack(one) != rack(to) else 0))
    return [round(least, 3), round(least * 1.2, 3), round(least * 2, 3)]


def _path(ends: Ends, address: str, pod: Pod | None, trip: list[float] | None) -> Path:
    one, source, to, target = ends
    return {
        "from": one,
        "source": source,
        "to": to,
        "target": target,
        "address": address,
        "sent": 3,
        "received": 3 if trip else 0,
        "rtt": trip,
        "fits": True if trip else None,
        "above": False if trip else None,
        "seen": pod["addresses"][":" in address] if pod and trip and source == target == "pod" else "",
        "answered": to if target == "pod" and trip else "",
        "error": "" if trip or one != "node3" else "Network is unreachable",
    }


def renamed(document: Document, suffix: str) -> Document:
    """The same with another name for every node, and every text that speaks of one."""

    def other(value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\bnode\d+\b", lambda name: name[0] + suffix, value)
        if isinstance(value, list):
            return [other(each) for each in value]
        return {other(key): other(each) for key, each in value.items()} if isinstance(value, dict) else value

    fields = {name: other(value) for name, value in document.items() if name in ("nodes", "paths", "problems")}
    return cast(Document, {**document, **fields})


def rack(name: str) -> int:
    """Twenty nodes share one."""
    return (int(name.removeprefix("node")) - 1) // 20


def _problems(names: list[str], nodes: dict[str, Node], paths: list[Path]) -> list[Problem]:
    wrong = "02:f1:ac:14:63:00"
    nodes["node1"]["peers"][0]["mac"] = wrong
    nodes["node3"]["peers"] = nodes["node3"]["peers"][1:]
    repair = "ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent"
    route = "ip route replace 172.20.0.0/24 via 172.20.0.0 dev flannel.1 onlink proto 86"
    nodes["node1"]["drift"] = {"commands": [repair], "missing": [], "refused": ""}
    nodes["node3"]["drift"] = {"commands": [route], "missing": ["172.20.0.0/24"], "refused": ""}
    failed = [path for path in paths if not path["received"]]

    def lost(one: str, to: str) -> int:
        return sum(path["to"] == to and one in ("", path["from"]) for path in failed)

    return [
        {
            "severity": "warning",
            "cause": "nearly-full",
            "nodes": ["node2"],
            "hop": "node2: neighbour table",
            "text": "The neighbour table of node2 holds 940 of at most 1,024 entries; when it is full, node2 reaches no new address.",
            "repair": "sysctl -w net.ipv4.neigh.default.gc_thresh3=8192",
            "paths": 0,
        },
        {
            "severity": "error",
            "cause": "wrong-mac",
            "nodes": ["node1", "node2"],
            "hop": "node1: neighbour 172.20.1.0 on flannel.1",
            "text": f"node1 sends to node2 with the MAC {wrong}, and node2's flannel.1 has 02:f1:ac:14:01:00.",
            "repair": repair,
            "paths": lost("node1", "node2"),
        },
        {
            "severity": "error",
            "cause": "no-route",
            "nodes": ["node3", "node1"],
            "hop": "node3: route to 172.20.0.0/24",
            "text": "node3 has no route to 172.20.0.0/24, the pods of node1.",
            "repair": route,
            "paths": lost("node3", "node1"),
        },
        {
            "severity": "error",
            "cause": "unreachable",
            "nodes": [names[-1]],
            "hop": "",
            "text": f"{names[-1]} cannot be reached by Ansible, and no other node reaches its address {nodes[names[-1]]['underlay'][0]}.",
            "repair": "",
            "paths": lost("", names[-1]),
        },
    ]
