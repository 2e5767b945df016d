#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module that makes or takes away a lab; the work and the I/O are in module_utils/_lab.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab
short_description: Make or take away a lab of bare-metal nodes in miniature
version_added: 0.1.0
author:
  - podnet contributors (@podnet)
description:
  - Makes nodes that are not machines. Each is a set of Linux namespaces (network, mount, UTS, IPC, PID) over this machine's own root,
    with a C(/etc), C(/run), C(/var) and C(/tmp) of its own, and an C(eth0) on a bridge that is their underlay.
  - Roles and playbooks run on them unchanged, through the connection plugin P(podnet.baremetal.netns#connection), with a real kernel.
  - The machine stays as it is. What a node writes is kept in memory and goes with it; no link, address, route or mount is ever seen on the
    machine, and all that it keeps is O(directory).
  - A node that another run left dead, or somebody changed the options of, is made anew; the others are not touched.
options:
  state:
    description:
      - With V(present), the nodes of O(nodes) run, and no others.
      - With V(absent), nothing of the lab is left.
    type: str
    choices: [present, absent]
    default: present
  directory:
    description:
      - Where the lab keeps the record of its nodes. Labs with different directories live side by side.
      - If not given, the value of the environment variable E(PODNET_LAB_DIRECTORY) is used, if there is one.
    type: path
    default: /run/podnet-lab
  nodes:
    description: The nodes, at least one. Required if O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Host name of the node, unique in the lab. V(switch) is taken.
        type: str
        required: true
      address:
        description:
          - Underlay address of the node, with its prefix, as in V(198.51.100.1/24). It may be IPv6.
          - The last host address of that network, such as C(198.51.100.254), is the switch's, and the node's default gateway.
        type: str
        required: true
      address6:
        description: A second underlay address, IPv6 beside an IPv4 O(nodes[].address), in the same form.
        type: str
  mtu:
    description: MTU of the underlay.
    type: int
    default: 1500
  shared:
    description:
      - Paths of the machine that the nodes have to see, such as the checkout and the Python that runs the modules.
      - A node sees the machine's files anyhow, and writes to a copy of its own. Only paths below C(/tmp) and C(/run), which are empty in a
        node, and on filesystems that are mounted elsewhere than on C(/home), C(/opt), C(/srv), C(/usr) and C(/var), need
        this; they are then read-only in the node.
    type: list
    elements: path
    default: []
notes:
  - C(/proc/sys) and C(/sys) are read-only in a node, except for what belongs to its network namespace.
  - A node has no service manager, its first process only waits.
requirements:
  - root
  - C(ip) of iproute2 and C(nsenter) of util-linux
  - Linux 5.6 or newer with overlayfs
extends_documentation_fragment:
  - podnet.baremetal._attributes
seealso:
  - plugin: podnet.baremetal.netns
    plugin_type: connection
  - plugin: podnet.baremetal.lab
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: Two nodes run
  podnet.baremetal.lab:
    nodes:
      - name: node1
        address: 198.51.100.1/24
      - name: node2
        address: 198.51.100.2/24

- name: Nothing is left of them
  podnet.baremetal.lab:
    state: absent
"""

RETURN = r"""
commands:
  description: What was done, or would be done, one line a node.
  type: list
  elements: str
  returned: always
  sample: ["lab: make node1 198.51.100.1/24 mtu 1500"]
nodes:
  description: The nodes that run.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Host name.
      type: str
    address:
      description: Underlay address with its prefix.
      type: str
    pid:
      description: The node's first process, as the machine numbers it. C(nsenter --target PID --all) enters the node.
      type: int
  sample:
    - name: node1
      address: 198.51.100.1/24
      pid: 4711
"""

from ansible.module_utils.common.parameters import env_fallback
from ansible_collections.podnet.baremetal.plugins.module_utils import _lab
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run

NODE = {"name": {"type": "str", "required": True}, "address": {"type": "str", "required": True}, "address6": {"type": "str"}}
ARGUMENTS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "directory": {"type": "path", "default": _lab.DIRECTORY, "fallback": (env_fallback, ["PODNET_LAB_DIRECTORY"])},
    "nodes": {"type": "list", "elements": "dict", "options": NODE},
    "mtu": {"type": "int", "default": 1500},
    "shared": {"type": "list", "elements": "path", "default": []},
}


def main() -> None:
    run(ARGUMENTS, _lab.lab, required_if=[("state", "present", ["nodes"])])


if __name__ == "__main__":
    main()
