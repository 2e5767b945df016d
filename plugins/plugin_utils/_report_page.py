# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verification as one HTML page that needs nothing else: text by Jinja2, and the data from which its script draws. Pure."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from ansible_collections.podnet.baremetal.plugins.plugin_utils._report import fault, figures, milliseconds, natural, verdict
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Document, Node, Path, Peer
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

FILES = ("page.html.j2", "page.css", "page.js")
# Within <script>, where the parser looks for an end of the element, whatever the text is.
ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}
# What a card shows as it is. What follows from other nodes is in `peers`.
SHOWN = (
    *("state", "reason", "underlay", "interface", "subnets", "device", "device6", "drift", "lease", "subnet_env", "bridge"),
    *("allocations", "counters", "limits", "settings", "filters", "applied", "pod"),
)


def page(document: Document, files: Mapping[str, str]) -> str:
    """The page, of the texts of `FILES`. Its policy admits its own style and script, by their hashes, and nothing else."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters["milliseconds"] = milliseconds
    return environment.from_string(files["page.html.j2"]).render(
        style=Markup(files["page.css"]),
        style_hash=_hash(files["page.css"]),
        script=Markup(files["page.js"]),
        script_hash=_hash(files["page.js"]),
        data=Markup(json.dumps(page_data(document), separators=(",", ":")).translate(ESCAPES)),
        document=document,
        figures=figures(document),
        problems=document["problems"],
        verdict=verdict(document),
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def page_data(document: Document) -> dict[str, Any]:
    """What the script draws: each node, and for each kind of path a matrix of round trips.

    A cell is the median in milliseconds, null for a pair that was not tested, or -1, -2 ... for the first, second ... of `words`.
    """
    names = sorted(document["nodes"], key=natural)
    words: dict[str, int] = {}
    problems = document["problems"]
    identities = {name: _identities(document["nodes"][name]) for name in names}
    nodes = [_card(name, document["nodes"][name], names, identities) for name in names]
    for number, problem in enumerate(problems):
        for name in set(problem["nodes"]) & set(names):
            nodes[names.index(name)]["problems"].append(number)
    views = [{"title": title, "rows": _rows(paths, names, document["nodes"], words)} for title, paths in _kinds(document["paths"]).items()]
    services = [{**path, "fault": fault(path, document["nodes"])} for path in document["paths"] if path["target"] == "service"]
    return {"network": document["network"], "nodes": nodes, "views": views, "words": list(words), "services": services}


def _kinds(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """The paths between nodes by what they connect, those from pods first; by family too, where there are two."""
    families = len({":" in path["address"] for path in paths})
    kinds: dict[str, list[Path]] = {}
    for path in paths:
        if path["target"] != "service":
            family = (", IPv6" if ":" in path["address"] else ", IPv4") if families > 1 else ""
            kinds.setdefault(f"{path['source']} to {path['target']}{family}", []).append(path)
    return dict(sorted(kinds.items(), key=lambda kind: (not kind[0].startswith("pod to pod"), kind[0])))


def _rows(paths: Iterable[Path], names: Sequence[str], nodes: Mapping[str, Node], words: dict[str, int]) -> list[list[float | None]]:
    number = {name: index for index, name in enumerate(names)}
    rows: list[list[float | None]] = [[None] * len(names) for _name in names]
    for path in paths:
        if path["from"] not in number or path["to"] not in number:
            continue
        wrong = fault(path, nodes) or ("" if path["rtt"] else "no round trip measured")
        found: float = -1 - words.setdefault(wrong, len(words)) if wrong else (path["rtt"] or [0, 0])[1]
        row, column = rows[number[path["from"]]], number[path["to"]]
        before = row[column]
        row[column] = found if before is None or (before >= 0 and (found < 0 or found > before)) else before
    return rows


def _card(name: str, node: Node, names: Sequence[str], identities: Mapping[str, list[tuple[str, ...]]]) -> dict[str, Any]:
    """A node, its peers told apart into those that are as their own node is, those that lack and those that differ."""
    held = Counter(map(_identity, node["peers"]))
    wanted = {other: identities[other] for other in names if other != name and identities[other]}
    right = {other for other, own in wanted.items() if all(held[each] for each in own)}
    known = {each for own in wanted.values() for each in own}
    return {
        "name": name,
        **{field: value for field, value in node.items() if field in SHOWN},
        "identities": identities[name],
        "peers": len(node["peers"]),
        "lacking": [names.index(other) for other in wanted if other not in right] if node["state"] == "verified" else [],
        "others": [peer for peer in node["peers"] if _identity(peer) not in known],
        "problems": [],
    }


def _identity(peer: Peer) -> tuple[str, ...]:
    return (peer["underlay"], peer["mac"], *peer["subnets"])


def _identities(node: Node) -> list[tuple[str, ...]]:
    """What other nodes are to have of it: one entry for each of its devices or, where they are not known, as its lease has them."""
    devices = [(device["local"], device["mac"]) for device in (node["device"], node["device6"]) if device]
    leased = list(zip(node["lease"]["underlays"], node["lease"]["macs"])) if node["lease"] else []
    both = devices or leased
    by_device = [[subnet for subnet in node["subnets"] if (":" in subnet) == (number == 1)] for number in range(2)]
    return [(*one, *own) for one, own in zip(both, by_device if len(both) > 1 else [node["subnets"]])]
