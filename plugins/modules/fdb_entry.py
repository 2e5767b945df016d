#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which underlay address a VTEP MAC lives at: one fdb entry. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fdb_entry
short_description: Which underlay address a VTEP MAC lives at
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Makes, moves or deletes one entry in the forwarding database (fdb) of a VXLAN device.
  - A unicast MAC has one destination, so another one takes its place. The all-zero MAC and multicast MACs may have many,
    so there each destination is an entry of its own.
  - For all entries of a node's peers at once use M(podnet.baremetal.vxlan_peers).
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.entry
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
options:
  mac:
    description: The MAC of the other node's VTEP.
    type: str
    required: true
  destination:
    description: The underlay address of the other node.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Reach the VTEP of node2 by its underlay address
  podnet.baremetal.fdb_entry:
    mac: 02:f1:ac:14:01:00
    destination: 198.51.100.2
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
    - bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.2 self permanent
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._entry import entry_target
from ansible_collections.podnet.baremetal.plugins.module_utils._fdb_entry import FdbEntry
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_address, valid_device, valid_fdb_mac
from ansible_collections.podnet.baremetal.plugins.module_utils._kernel import KernelTarget
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name

ARGUMENTS: dict[str, Any] = {
    "device": {"type": "str", "default": "flannel.1"},
    "mac": {"type": "str", "required": True},
    "destination": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def _target(options: dict[str, Any]) -> KernelTarget:
    node = node_name(options)
    entry = FdbEntry(
        valid_device(node, "device", options["device"]),
        valid_fdb_mac(node, "mac", options["mac"]),
        valid_address(node, "destination", options["destination"]),
    )
    return entry_target(node, entry, options["state"])


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
