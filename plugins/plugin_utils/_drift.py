# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run under --check says that it would change, as a report and as metrics for Prometheus. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

VERSION = 1
LEDGER_ACTIONS = ("podnet.baremetal.pod_subnet", "pod_subnet")
ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Answer(NamedTuple):
    """What one task did on one host."""

    host: str
    action: str
    task: str
    result: Mapping[str, Any]

    @property
    def change(self) -> dict[str, Any]:
        """What it would do, in the words of `commands` where the task has them, and its diff, which is there under --diff."""
        parts = self.result.get("results") or [self.result]
        commands = [command for part in parts for command in part.get("commands") or ()]
        diffs = [part["diff"] for part in parts if part.get("diff")]
        return {"task": self.task, "commands": commands, **({"diff": diffs} if diffs else {})}


class Sample(NamedTuple):
    """One line of a metric, with what of the report it counts."""

    value: float | None
    labels: Mapping[str, str]


def drift(answers: Iterable[Answer], cluster: str, made: str) -> dict[str, Any]:
    """Of each node and of the ledger what would change. A node that failed or could not be reached is not said to be the same."""
    nodes: dict[str, dict[str, Any]] = {}
    ledger: dict[str, Any] = {"changes": [], "total": None, "free": None}
    for answer in answers:
        result, of_ledger = answer.result, answer.action in LEDGER_ACTIONS
        node = nodes.setdefault(answer.host, {"state": "same", "reason": "", "peers": None, "changes": []})
        if result.get("unreachable") or result.get("failed"):
            node.update(state="unreachable" if result.get("unreachable") else "failed", reason=str(result.get("msg") or ""))
        if result.get("changed"):
            (ledger if of_ledger else node)["changes"].append(answer.change)
        if of_ledger and result.get("capacity"):
            ledger.update({field: result["capacity"][field] for field in ("total", "free")})
        if isinstance(result.get("peers"), list):
            node["peers"] = sum(all(peer.values()) for peer in result["peers"])
    for node in nodes.values():
        if node["state"] == "same" and node["changes"]:
            node["state"] = "differs"
    differ = bool(ledger["changes"]) or any(node["state"] != "same" for node in nodes.values())
    return {"version": VERSION, "made": made, "cluster": cluster, "differs": differ, "ledger": ledger, "nodes": dict(sorted(nodes.items()))}


def metrics(report: Mapping[str, Any], timestamp: float) -> str:
    """The report in Prometheus' text format, for the textfile collector of node_exporter."""
    cluster = {"cluster": report["cluster"]}
    of_node = {name: ({**cluster, "node": name}, node) for name, node in report["nodes"].items()}
    checked = {name: node["state"] in ("same", "differs") for name, (_labels, node) in of_node.items()}
    return "".join(
        (
            *_metric(
                "podnet_drift",
                "Tasks of site.yml that would change the node. Missing for a node that could not be looked at.",
                (Sample(len(node["changes"]) if checked[name] else None, labels) for name, (labels, node) in of_node.items()),
            ),
            *_metric(
                "podnet_checked",
                "Whether the node could be looked at.",
                (Sample(checked[name], labels) for name, (labels, _node) in of_node.items()),
            ),
            *_metric(
                "podnet_peers",
                "Peers that the node has a route, a neighbour and an fdb entry for, of each device.",
                (Sample(node["peers"], labels) for labels, node in of_node.values()),
            ),
            *_metric("podnet_ledger_drift", "Tasks that would change the ledger.", [Sample(len(report["ledger"]["changes"]), cluster)]),
            *_metric("podnet_subnets_free", "Pod subnets that are left for new nodes.", [Sample(report["ledger"]["free"], cluster)]),
            *_metric("podnet_checked_timestamp_seconds", "When the run ended, in seconds since 1970.", [Sample(timestamp, cluster)]),
        )
    )


def _metric(name: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} gauge\n"
    for value, labels in samples:
        if value is not None:
            yield f"{name}{{{','.join(_label(*label) for label in labels.items())}}} {float(value):.15g}\n"


def _label(name: str, value: str) -> str:
    return f'{name}="{value.translate(ESCAPES)}"'
