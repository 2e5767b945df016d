#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The onlink route to another node's pod subnet. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_route
short_description: The onlink route to another node's pod subnet
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Makes, changes or deletes the route to one pod subnet through a VXLAN device, with this collection's route protocol (86).
  - A route to the same subnet that leads elsewhere and is not ours is never replaced or deleted; that is an error.
  - For all entries of a node's peers at once use M(podnet.baremetal.vxlan_peers).
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.entry
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
options:
  subnet:
    description: The pod subnet of the other node.
    type: str
    required: true
  gateway:
    description: The address of the other node's VTEP. The network address of O(subnet) by default, as flannel has it.
    type: str
"""

EXAMPLES = r"""
- name: Lead to the pods of node2
  podnet.baremetal.pod_route:
    subnet: 172.20.1.0/24
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
    - ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._entry import entry_target
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_address, valid_device, valid_subnet
from ansible_collections.podnet.baremetal.plugins.module_utils._kernel import KernelTarget
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name
from ansible_collections.podnet.baremetal.plugins.module_utils._pod_route import PodRoute

ARGUMENTS: dict[str, Any] = {
    "device": {"type": "str", "default": "flannel.1"},
    "subnet": {"type": "str", "required": True},
    "gateway": {"type": "str"},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def _target(options: dict[str, Any]) -> KernelTarget:
    node = node_name(options)
    subnet = valid_subnet(node, "subnet", options["subnet"])
    gateway = options["gateway"] or subnet.partition("/")[0]
    entry = PodRoute(valid_device(node, "device", options["device"]), subnet, valid_address(node, "gateway", gateway))
    return entry_target(node, entry, options["state"])


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
