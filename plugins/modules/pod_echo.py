#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A short-lived pod on the node's pod network that says whose it is to whoever asks it. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_echo
short_description: A short-lived pod that answers in the name of its node
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Attaches a network namespace to the node's pod network as M(podnet.baremetal.cni_pod) does, and starts a process that answers there by
    UDP, with the name of the node and the source address that it saw.
  - The process waits O(lifetime) seconds for the next question. Then it detaches the pod, removes the namespace and ends, so that nothing
    is left of a run that was interrupted. It does the same when it is told to end (SIGTERM).
  - It writes no file, and is known by an abstract socket in the pod's namespace.
  - A pod that an earlier run left behind is attached anew if it is broken, or was attached by another configuration. To look at one that
    is as it should be starts its lifetime anew.
requirements:
  - python >= 3.9
  - iproute2
  - root, so in general C(become=true)
options:
  name:
    description: The container ID. The network namespace is C(/run/netns/NAME).
    type: str
    default: podnet-verify
  port:
    description: The UDP port on which it answers.
    type: int
    default: 8473
  lifetime:
    description: How many seconds it waits for the next question.
    type: int
    default: 300
seealso:
  - module: podnet.baremetal.cni_pod
  - module: podnet.baremetal.mesh_probe
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.attachment
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
"""

EXAMPLES = r"""
- name: A pod answers on each node
  podnet.baremetal.pod_echo:
  register: verify_pod

- name: It is no longer needed
  podnet.baremetal.pod_echo:
    state: absent
"""

RETURN = r"""
pod:
  description: The pod's addresses, its first gateway and its MTU. Nothing where it is not attached.
  returned: success
  type: dict
  sample: {addresses: [172.20.1.2], gateway: 172.20.1.1, mtu: 1450}
gateways:
  description: The gateways in the pod's own subnets, one for each address.
  returned: success
  type: list
  elements: str
  sample: [172.20.1.1]
netns:
  description: The network namespace.
  returned: success
  type: str
  sample: /run/netns/podnet-verify
port:
  description: The UDP port on which the pod answers.
  returned: success
  type: int
  sample: 8473
commands:
  description: What was done, or would be done.
  returned: always
  type: list
  elements: str
  sample:
    - "# responder of node1 on UDP port 8473 in /run/netns/podnet-verify, for 300 seconds"
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._responder import echo_pod

ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "default": "podnet-verify"},
    "port": {"type": "int", "default": 8473},
    "lifetime": {"type": "int", "default": 300},
    "conflist": {"type": "str"},
    "conflist_directory": {"type": "str", "default": "/etc/cni/net.d"},
    "plugin_directory": {"type": "str", "default": "/opt/cni/bin"},
    "timeout": {"type": "int", "default": 60},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def main() -> None:
    run(ARGUMENTS, echo_pod, **RULES)


if __name__ == "__main__":
    main()
