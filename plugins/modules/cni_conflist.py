#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One CNI configuration file, validated and written so that a runtime sees it. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cni_conflist
short_description: One CNI configuration list, validated, and written so that a runtime sees it
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Writes the CNI configuration list of a node, by which a container runtime attaches pods to the network, or removes it.
  - The list is validated first. A runtime that is handed a broken list keeps the whole node from becoming ready.
  - The file is written beside its place and renamed within the directory, which is what containerd watches for. After
    M(ansible.builtin.copy) and M(ansible.builtin.template) containerd may stay unready until something else changes the directory.
  - It also looks at what would keep pods from being attached by it. A O(bridge) that has another address than the gateway of O(subnets)
    loses that address if no pod is attached, else the task is refused and names the pods. It is refused, too, where another bridge has
    an address of O(subnets), such as kubeasz's C(mynet0).
  - A directory that the module had to make is marked with the hidden file C(.made-by-podnet), and is removed by O(state=absent)
    when nothing else is in it. No other directory is removed.
requirements:
  - python >= 3.9
options:
  path:
    description: The file. Its name must end in C(.conflist). Runtimes take the first file in lexical order.
    type: str
    default: /etc/cni/net.d/10-flannel.conflist
  form:
    description:
      - What the first plugin of the list is. V(flannel) delegates to the bridge plugin by C(/run/flannel/subnet.env).
      - V(bridge) is the same chain without the flannel plugin, and needs O(subnets), O(cluster_cidrs) and O(mtu).
      - V(flannel) if neither O(form) nor O(content) is given.
    type: str
    choices: [flannel, bridge]
  content:
    description: A configuration list of your own, instead of O(form).
    type: dict
  name:
    description: The name of the network.
    type: str
    default: cbr0
  cni_version:
    description: The version of the CNI specification that the list follows. V(0.4.0) and newer let a runtime check its pods.
    type: str
    choices: [0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0]
    default: 0.3.1
  subnets:
    description:
      - The node's pod subnets, IPv4, IPv6 or both. A pod gets an address of each.
      - With O(form=flannel) they are not written, and only compared with the addresses of bridges.
    type: list
    elements: str
  cluster_cidrs:
    description: The networks of all pods, which contain O(subnets). A pod gets a route to each.
    type: list
    elements: str
  mtu:
    description: The MTU of the bridge and of the pods.
    type: int
  bridge:
    description: The name of the bridge.
    type: str
    default: cni0
  masquerade:
    description:
      - Whether the node masquerades what pods send out of the cluster by itself, as C(FLANNEL_IPMASQ=true) says.
      - If not, the bridge plugin of O(form=bridge) does it.
    type: bool
    default: true
  plugin_directory:
    description: Where the plugins are, one directory or several with colons between.
    type: str
    default: /opt/cni/bin
  require_plugins:
    description: Whether each plugin of the list must be there. With V(false) they are still to come.
    type: bool
    default: true
  shadows:
    description:
      - What becomes of the files of the directory that a runtime takes before O(path), such as kubeasz's C(10-default.conf).
      - V(report) leaves them, and RV(shadowed_by) names the first.
      - V(refuse) refuses the task while there is one.
      - V(move) adds C(.podnet-aside) to their names once O(path) is written. O(state=absent) gives them their names back.
    type: str
    choices: [report, refuse, move]
    default: report
  runtime:
    description:
      - The container runtime that is to look where O(path) and O(plugin_directory) are. If its configuration says otherwise, the task is
        refused; M(podnet.baremetal.cni_runtime) changes it.
      - V(auto) is each that has a configuration on the node, but for a containerd without CRI, as Docker brings it.
      - What counts are the files, not what a running process has read of them.
    type: str
    choices: [none, auto, containerd, crio]
    default: none
  runtime_config:
    description: Its configuration, for O(runtime=containerd) or O(runtime=crio). By default where it usually is.
    type: str
    default: ''
  mode:
    description: The mode of the file, as text with octal digits. CIS benchmarks want V(0600), and containerd reads that.
    type: raw
    default: '0600'
seealso:
  - module: podnet.baremetal.cni_pod
  - module: podnet.baremetal.cni_runtime
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
"""

EXAMPLES = r"""
- name: Pods are attached by flannel's plugin, as on any flannel node
  podnet.baremetal.cni_conflist:
    form: flannel

- name: Pods are attached by the bridge plugin, with no flannel binary
  podnet.baremetal.cni_conflist:
    form: bridge
    subnets: [172.20.1.0/24]
    cluster_cidrs: [172.20.0.0/16]
    mtu: 1450
    plugin_directory: /opt/kube/bin
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /etc/cni/net.d/10-flannel.conflist
wins:
  description: The file of that directory that a runtime takes, or would take once the change is made. Null if there is none.
  returned: success
  type: str
  sample: /etc/cni/net.d/10-flannel.conflist
shadowed_by:
  description: The file that a runtime takes before O(path), if there is one.
  returned: success
  type: str
  sample: /etc/cni/net.d/05-bridge.conflist
commands:
  description: What was done, or would be done, as a person would type it.
  returned: always
  type: list
  elements: str
  sample: [install -m 0600 /dev/stdin /etc/cni/net.d/10-flannel.conflist]
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._cni import Configuration, configuration
from ansible_collections.podnet.baremetal.plugins.module_utils._conflist import VERSIONS
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name

ARGUMENTS: dict[str, Any] = {
    "path": {"type": "str", "default": "/etc/cni/net.d/10-flannel.conflist"},
    "form": {"type": "str", "choices": ["flannel", "bridge"]},
    "content": {"type": "dict"},
    "name": {"type": "str", "default": "cbr0"},
    "cni_version": {"type": "str", "choices": list(VERSIONS), "default": "0.3.1"},
    "subnets": {"type": "list", "elements": "str"},
    "cluster_cidrs": {"type": "list", "elements": "str"},
    "mtu": {"type": "int"},
    "bridge": {"type": "str", "default": "cni0"},
    "masquerade": {"type": "bool", "default": True},
    "plugin_directory": {"type": "str", "default": "/opt/cni/bin"},
    "require_plugins": {"type": "bool", "default": True},
    "shadows": {"type": "str", "choices": ["report", "refuse", "move"], "default": "report"},
    "runtime": {"type": "str", "choices": ["none", "auto", "containerd", "crio"], "default": "none"},
    "runtime_config": {"type": "str", "default": ""},
    "mode": {"type": "raw", "default": "0600"},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {"mutually_exclusive": [("form", "content")]}


def _target(options: dict[str, Any]) -> Configuration:
    return configuration(options, node_name(options))


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
