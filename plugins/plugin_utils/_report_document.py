# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One document of what the tasks of a verification returned on each host. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, cast

from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import VERSION, Document, Network, Node, Path, Sample, Tables

TABLES, PROBE, POD = "verify_tables", "verify_probe", "verify_pod"
NOTHING: Tables = {
    "underlay": [],
    "interface": "",
    "subnets": [],
    "device": None,
    "device6": None,
    "peers": [],
    "drift": None,
    "lease": None,
    "subnet_env": None,
    "bridge": None,
    "allocations": [],
    "counters": {},
    "limits": [],
    "settings": {},
    "filters": [],
    "admitted": None,
    "underlay_routes": {},
    "routes": {},
    "applied": None,
}

Results = Mapping[str, Mapping[str, Any]]  # of one host: what each task registered, by the name of the variable


def document(hosts: Mapping[str, Results], network: Mapping[str, Any], made: str, took: float) -> Document:
    """`network`: what is known without the nodes; where that is None, the nodes say it. The problems are still to be found."""
    nodes = {name: _node(results) for name, results in hosts.items()}
    probes = [results.get(PROBE, {}) for results in hosts.values()]
    paths: list[Path] = [path for probe in probes for path in probe.get("paths", ())]
    return {
        "version": VERSION,
        "made": made,
        "took": took,
        "network": _network(network, nodes.values()),
        "sample": _sample(next((probe["sample"] for probe in probes if probe.get("sample")), {}), paths, len(nodes)),
        "nodes": nodes,
        "paths": paths,
        "problems": [],
    }


def _node(results: Results) -> Node:
    state, reason = _state(results)
    tables = {field: results.get(TABLES, {}).get(field, nothing) for field, nothing in NOTHING.items()}
    return cast(Node, {**tables, "state": state, "reason": reason, "pod": results.get(POD, {}).get("pod") or None})


def _state(results: Results) -> tuple[str, str]:
    for key, state in (("unreachable", "unreachable"), ("failed", "failed")):
        unhappy = next((result for result in results.values() if result.get(key)), None)
        if unhappy is not None:
            return state, str(unhappy.get("msg") or "")
    if TABLES not in results:
        return "unreachable", "No task of this run has reached it."
    return "verified", ""


def _network(known: Mapping[str, Any], nodes: Iterable[Node]) -> Network:
    asked = list(nodes)
    devices = [node["device"] for node in asked if node["device"]]
    ranges = {cidr: None for node in asked if node["subnet_env"] for cidr in node["subnet_env"]["networks"]}
    return {
        "cluster_cidrs": list(known["cluster_cidrs"] or ranges),
        "service_cidrs": list(known["service_cidrs"] or ()),
        "vni": known["vni"] or _most((device["vni"] for device in devices), 1),
        "port": known["port"] or _most((device["port"] for device in devices), 8472),
        "mtu": known["mtu"] or _most((device["mtu"] for device in devices), 0),
        "ledger": known["ledger"] or "",
        "generation": known["generation"] or 0,
    }


def _most(numbers: Iterable[int], otherwise: int) -> int:
    return max(Counter(numbers).items(), key=lambda found: found[1], default=(otherwise, 0))[0]


def _sample(said: Mapping[str, Any], paths: Iterable[Path], count: int) -> Sample:
    """`tested` counts what came back: a node that could not be asked has tested nobody."""
    tested = len({(path["from"], path["to"]) for path in paths if path["to"] not in ("", path["from"])})
    return {"each": said.get("each", 0), "run": said.get("run", 0), "tested": tested, "pairs": count * (count - 1)}
