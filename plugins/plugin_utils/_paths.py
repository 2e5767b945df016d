# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which ways a path of a verification is not what it should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ansible_collections.podnet.baremetal.plugins.plugin_utils._findings import ANSWER, REACH, SIZE, vteps
from ansible_collections.podnet.baremetal.plugins.plugin_utils._verification import Node, Path

SOURCE, LOSS = "source", "loss"


def failures(path: Path, nodes: Mapping[str, Node]) -> Iterator[str]:
    """The worst first."""
    if not path["received"]:
        yield REACH
        return
    if path["answered"] not in ("", path["to"]):
        yield ANSWER
    elif _is_translated(path, nodes):
        yield SOURCE
    if path["fits"] is False or path["above"]:
        yield SIZE
    if path["received"] < path["sent"]:
        yield LOSS


def _is_translated(path: Path, nodes: Mapping[str, Node]) -> bool:
    """Whether the other end saw another source: a pod's own address is known, of a node's that it is none of the other node's."""
    seen, sender, receiver = path["seen"], nodes.get(path["from"]), nodes.get(path["to"])
    if not seen or path["target"] != "pod" or not sender:
        return False
    if path["source"] == "pod":
        return bool(sender["pod"]) and seen not in (sender["pod"] or {"addresses": []})["addresses"]
    return bool(receiver) and path["from"] != path["to"] and seen in addresses_of(receiver)


def addresses_of(node: Node | None) -> list[str]:
    """All that a node itself may send from."""
    if not node:
        return []
    bridge = node["bridge"]["addresses"] if node["bridge"] else []
    own = [*bridge, *(address for device in vteps(node) for address in device["addresses"])]
    return [*(each.split("/")[0] for each in own), *node["underlay"]]
