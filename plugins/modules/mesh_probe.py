#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches whom, asked from a node and from its pod, all at once. Ansible module; changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_probe
short_description: Asks from a node and from its pod whom they reach, all at once
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Sends small packets to every pod, gateway and node from the node itself and from its pod, which M(podnet.baremetal.pod_echo) attached.
    Then one that may not be fragmented and fills the MTU of its route, and one that is a byte longer.
  - Pods are asked by UDP, and say whose they are and which source address they saw. Gateways and nodes are asked by ICMP echo.
  - One process with one socket for each family and kind does all that. It starts no other process.
  - It changes nothing. Where a path loses everything is no failure of the task, and stands in RV(paths).
  - The action plugin shows RV(msg) of each node on standard error as soon as the node has answered.
requirements:
  - python >= 3.9
  - root, so in general C(become=true)
options:
  targets:
    description:
      - Whom to ask. By default the hosts of the play and what they have in O(pods), up to O(full_mesh) of them all, else O(sample) others.
      - Of the node itself only what is not where the packet comes from.
    type: list
    elements: dict
    suboptions:
      node:
        description: The name of the node.
        type: str
        required: true
      pods:
        description: The addresses of its pod.
        type: list
        elements: str
        default: []
      gateways:
        description: Its addresses in its pod subnets.
        type: list
        elements: str
        default: []
      addresses:
        description: Its underlay addresses.
        type: list
        elements: str
        default: []
  pods:
    description: The variable in which each host of the play has what M(podnet.baremetal.pod_echo) returned.
    type: str
    default: verify_pod
  full_mesh:
    description: Up to how many nodes every pair is tested in every run.
    type: int
    default: 50
  sample:
    description: How many others each node is tested to where there are more. Runs one after the other cover every pair in the end.
    type: int
    default: 10
  run:
    description: The number of the run, which says whose turn it is. By default the one after that in O(previous).
    type: int
  previous:
    description: The JSON report of the previous run, on the controller. Without it the run is number 0.
    type: path
  netns:
    description: The network namespace of the node's pod. Without it, packets are sent from the node alone.
    type: str
  port:
    description: The UDP port on which pods answer.
    type: int
    default: 8473
  count:
    description: How many small packets are sent to each address.
    type: int
    default: 3
  timeout:
    description: How many seconds after the last packet an answer may take.
    type: int
    default: 1
  service:
    description: An address with a port that TCP is to connect to, as that of the API server's service, C(10.68.0.1:443).
    type: str
  service_if_kubelet:
    description: Whether that is tried only where a process C(kubelet) runs.
    type: bool
    default: false
attributes:
  check_mode:
    description: It changes nothing, in check mode or out of it.
    support: full
  diff_mode:
    description: It changes nothing, so there is nothing to show.
    support: full
seealso:
  - module: podnet.baremetal.pod_echo
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.node
"""

EXAMPLES = r"""
- name: A pod answers on each node
  podnet.baremetal.pod_echo:
  register: verify_pod

- name: Every node and its pod ask all others
  podnet.baremetal.mesh_probe:
    netns: "{{ verify_pod.netns }}"
  register: verify_probe
"""

RETURN = r"""
paths:
  description:
    - A path for each address that was asked from each end.
    - C(rtt) is the least, the median and the most, in milliseconds. C(fits) says whether a packet of exactly the MTU went through, C(above)
      whether one byte more did. C(seen) is the source that the other end saw, C(answered) the node whose pod answered, C(error) what the
      sender was told.
  returned: success
  type: list
  elements: dict
  sample:
    - from: node1
      source: pod
      to: node2
      target: pod
      address: 172.20.1.2
      sent: 3
      received: 3
      rtt: [0.11, 0.15, 0.4]
      fits: true
      above: false
      seen: 172.20.0.2
      answered: node2
      error: ""
msg:
  description: The same in one line.
  returned: always
  type: str
  sample: "node1: 15 of 15 answer, 0.11/0.15/0.40 ms"
sample:
  description: How many others each node was tested to, 0 for all, in which run, and how many of all ordered pairs that are.
  returned: when O(targets) is not given
  type: dict
  sample: {each: 0, run: 0, tested: 6, pairs: 6}
commands:
  description: None, as nothing is changed.
  returned: always
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._probe import mesh

TARGET: dict[str, Any] = {
    "node": {"type": "str", "required": True},
    "pods": {"type": "list", "elements": "str", "default": []},
    "gateways": {"type": "list", "elements": "str", "default": []},
    "addresses": {"type": "list", "elements": "str", "default": []},
}
ARGUMENTS: dict[str, Any] = {
    "targets": {"type": "list", "elements": "dict", "options": TARGET},
    "pods": {"type": "str", "default": "verify_pod"},
    "full_mesh": {"type": "int", "default": 50},
    "sample": {"type": "int", "default": 10},
    "run": {"type": "int"},
    "previous": {"type": "path"},
    "netns": {"type": "str"},
    "port": {"type": "int", "default": 8473},
    "count": {"type": "int", "default": 3},
    "timeout": {"type": "int", "default": 1},
    "service": {"type": "str"},
    "service_if_kubelet": {"type": "bool", "default": False},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def main() -> None:
    run(ARGUMENTS, mesh, **RULES)


if __name__ == "__main__":
    main()
