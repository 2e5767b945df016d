#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which MAC a VTEP address has: one permanent neighbour. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: static_neigh
short_description: Which MAC a VTEP address has
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Makes, changes or deletes one permanent neighbour (a static ARP or NDP entry) of a VXLAN device.
  - A neighbour that the kernel learned by itself is not touched by O(state=absent).
  - For all entries of a node's peers at once use M(podnet.baremetal.vxlan_peers).
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.entry
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
options:
  address:
    description: The address of the other node's VTEP, which is the network address of its pod subnet.
    type: str
    required: true
  mac:
    description: The MAC of the other node's VTEP. Required for O(state=present).
    type: str
"""

EXAMPLES = r"""
- name: Tell the kernel the MAC of node2's VTEP
  podnet.baremetal.static_neigh:
    address: 172.20.1.0
    mac: 02:f1:ac:14:01:00
  become: true
"""

RETURN = r"""
commands:
  description:
    - What was done, or in check mode would be done, as iproute2 commands in their order.
    - On failure, the commands that had already taken effect.
  returned: always
  type: list
  elements: str
  sample:
    - ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._entry import entry_target
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_address, valid_device, valid_mac
from ansible_collections.podnet.baremetal.plugins.module_utils._kernel import KernelTarget
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name
from ansible_collections.podnet.baremetal.plugins.module_utils._static_neigh import StaticNeigh

ARGUMENTS: dict[str, Any] = {
    "device": {"type": "str", "default": "flannel.1"},
    "address": {"type": "str", "required": True},
    "mac": {"type": "str"},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {"required_if": [("state", "present", ["mac"])]}


def _target(options: dict[str, Any]) -> KernelTarget:
    node = node_name(options)
    entry = StaticNeigh(
        valid_device(node, "device", options["device"]),
        valid_address(node, "address", options["address"]),
        valid_mac(node, "mac", options["mac"]) if options["mac"] else "",
    )
    return entry_target(node, entry, options["state"])


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
