#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace on the node's pod network, attached as a container runtime does it. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cni_pod
short_description: Attaches a network namespace to the node's pod network as a container runtime does
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Runs the CNI plugins of the node's own configuration list for a network namespace, as containerd, CRI-O and others do by libcni
    (CNI specification 0.3.1, 0.4.0 and 1.0.0). With it a node's pod network can be tried before there is a kubelet.
  - An attached pod is checked, by the plugins' own CHECK where the configuration's version has it, otherwise by looking for the
    interface and its addresses in the namespace. One that is broken is detached and attached again.
  - The result is kept in C(/var/lib/cni/results), as libcni keeps it. A pod is detached by the configuration with which it was attached.
  - If a plugin fails, the whole chain is undone and the message carries the plugin's own words.
requirements:
  - python >= 3.9
  - iproute2
  - root, so in general C(become=true)
options:
  name:
    description: The container ID.
    type: str
    required: true
  netns:
    description:
      - The network namespace, a path; C(/run/netns/NAME) if not given.
      - One below C(/run/netns) is made if it is missing. O(state=absent) removes the default one.
    type: str
  ifname:
    description: The name of the interface in the namespace.
    type: str
    default: eth0
  port_mappings:
    description: Ports of the node that lead to the pod. A plugin of the list must declare the capability C(portMappings).
    type: list
    elements: dict
    suboptions:
      host_port:
        description: The port of the node.
        type: int
        required: true
      container_port:
        description: The port of the pod.
        type: int
        required: true
      protocol:
        description: The transport protocol.
        type: str
        choices: [tcp, udp, sctp]
        default: tcp
      host_ip:
        description: The node's address, if it is not to be all of them.
        type: str
seealso:
  - module: podnet.baremetal.cni_conflist
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.attachment
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
"""

EXAMPLES = r"""
- name: A pod is attached to the node's network
  podnet.baremetal.cni_pod:
    name: pod1
  register: pod1

- name: It is there
  ansible.builtin.debug:
    var: pod1.addresses

- name: The pod leaves
  podnet.baremetal.cni_pod:
    name: pod1
    state: absent
"""

RETURN = r"""
result:
  description: What the last plugin of the chain returned, a CNI result. Empty if the pod is not attached.
  returned: success
  type: dict
addresses:
  description: The pod's addresses, with prefix length.
  returned: success
  type: list
  elements: str
  sample: [172.20.1.2/24]
interface:
  description: The interface in the namespace.
  returned: success
  type: str
  sample: eth0
netns:
  description: The network namespace.
  returned: success
  type: str
  sample: /run/netns/pod1
commands:
  description: What was done, or would be done, one for each plugin.
  returned: always
  type: list
  elements: str
  sample:
    - CNI_COMMAND=ADD CNI_CONTAINERID=pod1 CNI_NETNS=/run/netns/pod1 CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin /opt/cni/bin/bridge
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._cni import Pod
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name, require_net_admin

PORT_MAPPING: dict[str, Any] = {
    "host_port": {"type": "int", "required": True},
    "container_port": {"type": "int", "required": True},
    "protocol": {"type": "str", "choices": ["tcp", "udp", "sctp"], "default": "tcp"},
    "host_ip": {"type": "str"},
}
ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "netns": {"type": "str"},
    "conflist": {"type": "str"},
    "conflist_directory": {"type": "str", "default": "/etc/cni/net.d"},
    "plugin_directory": {"type": "str", "default": "/opt/cni/bin"},
    "ifname": {"type": "str", "default": "eth0"},
    "port_mappings": {"type": "list", "elements": "dict", "options": PORT_MAPPING},
    "timeout": {"type": "int", "default": 60},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def _target(options: dict[str, Any]) -> Pod:
    node = node_name(options)
    require_net_admin(node)
    return Pod(options, node)


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
