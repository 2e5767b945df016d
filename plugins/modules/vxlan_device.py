#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VTEP: a VXLAN device with its addresses. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vxlan_device
short_description: The VTEP of a node, a VXLAN device with its addresses
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Makes the VXLAN device of a node what flannel would make it, changes in place what the kernel changes in place, and
    deletes it.
  - What the kernel takes only for a new device (the VNI, the port, the family of O(local) and options such as C(gbp) or
    C(l2miss) that somebody else set) is refused unless O(recreate=true), since a new device interrupts every pod of the node.
  - A change of the MAC, or a new device, takes entries along. The module puts back those that were there, in the same process.
  - A link of another kind by that name is an error and is left alone.
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
  - podnet.baremetal._attributes.owner
options:
  ledger:
    description:
      - Path of the ledger on the controller, as M(podnet.baremetal.pod_subnet) returns it. Or the place in etcd that this module has
        read in the same run.
      - With O(node) it says O(local), O(mac), O(addresses), O(cluster_cidrs) and O(reserved), unless they are given.
    type: path
  name:
    description:
      - Name of the device. C(flannel.) and O(vni) by default, as flannel names it, or C(flannel-v6.) and O(vni) where all O(addresses)
        are IPv6.
    type: str
  name6:
    description:
      - Name of the second device, that of O(local6). C(flannel-v6.) and O(vni) by default.
      - With O(state=absent) a second device is taken away only where it is named.
    type: str
  vni:
    description: VXLAN network identifier, 1 to 16777215.
    type: int
    default: 1
  port:
    description: UDP port, 1 to 65535.
    type: int
    default: 8472
  local:
    description: The underlay address of this node. Required for O(state=present). An interface of the node must carry it.
    type: str
  local6:
    description:
      - The IPv6 underlay address of a dual-stack node whose O(local) is IPv4. A second device then sends from it and carries the IPv6
        addresses, as flannel has it. Without it, one device carries both families.
      - The two share O(vni) and O(port), which the kernel allows only to one device over IPv4 and one over IPv6.
    type: str
  interface:
    description: The underlay interface. The one that carries O(local), or for the second device O(local6), by default.
    type: str
  mac:
    description: MAC of the device. Required for O(state=present) without O(ledger), see the filter P(podnet.baremetal.vtep_mac#filter).
    type: str
  mac6:
    description: MAC of the second device. Required with O(local6) without O(ledger).
    type: str
  mtu:
    description:
      - MTU of the device.
      - By default, and at most, the MTU of the underlay interface minus what VXLAN adds, 50 bytes over IPv4 and 70 over IPv6.
      - A pod has one MTU for both families, so of two devices both have the lesser one. Where IPv6 is carried it is at least 1280.
    type: int
  cluster_cidrs:
    description:
      - The ranges of the cluster's pods. A route of this node's main table that lies there is refused, unless it goes through an overlay
        device or O(bridge), is ours, or leads to another node's pod subnet by way of that node's underlay address.
      - A route that is wider than a range is refused only if the node is connected to that network.
      - The node gets an C(unreachable) route for each range, with a metric that every other route goes before, so that packets for a pod
        whose node has no route yet, or none any more, do not leave by the default route. Such routes of ours for other ranges go.
      - With O(state=absent) these routes go with the devices, if any range is named.
    type: list
    elements: str
    default: []
  reserved:
    description: Parts of O(cluster_cidrs) that no node gets. Routes there are nobody's concern.
    type: list
    elements: str
    default: []
  bridge:
    description: The bridge of this node's own pods.
    type: str
    default: cni0
  plan:
    description: The pod subnets of all nodes, as the action plugin packs them for the way to the nodes. Not for users.
    type: str
  learning:
    description: Whether the device learns from traffic where MACs live. An overlay made of static entries has no use for it.
    type: bool
    default: false
  ttl:
    description: TTL of the outer packets, 0 for the kernel's choice.
    type: int
    default: 0
  addresses:
    description:
      - The addresses of the device with their prefix length. It gets these and loses all others but its link-local ones.
      - The new ones come before the old ones go, since routes and neighbours go with the last address.
    type: list
    elements: str
    default: []
  recreate:
    description:
      - Whether to make a new device where the kernel does not change the present one. Every pod of the node is cut off meanwhile.
      - The task warns of it, also in check mode, and its diff has the line C(# recreate) with the name of the device.
    type: bool
    default: false
  persistent:
    description:
      - Whether the node has the device again after a boot. V(true) writes the commands that make it to C(/var/lib/podnet-boot/device.sh),
        in the same run. V(false) takes that file away, with O(state=absent) also that of M(podnet.baremetal.vxlan_peers).
        Without it the files are left as they are.
      - The role C(podnet.baremetal.flannel) brings what reads the file, see docs/reboot.md of this collection.
      - There is one such file on a node, for one overlay.
    type: bool
requirements:
  - the capability CAP_NET_ADMIN, so in general C(become=true)
  - pyroute2 0.7.2 or newer on the node (Debian, Ubuntu and Fedora have it as C(python3-pyroute2))
"""

EXAMPLES = r"""
- name: Make the VTEP of node1
  podnet.baremetal.vxlan_device:
    local: 198.51.100.1
    mac: 02:f1:ac:14:00:00
    addresses: [172.20.0.0/32]
  become: true

- name: Make the two VTEPs of a dual-stack node
  podnet.baremetal.vxlan_device:
    local: 198.51.100.1
    mac: 02:f1:ac:14:00:00
    local6: 2001:db8::1
    mac6: 02:f1:02:44:00:00
    addresses: [172.20.0.0/32, "fd00:10:244::/128"]
  become: true

- name: Make the VTEP of every node as the ledger has it
  podnet.baremetal.vxlan_device:
    ledger: "{{ inventory_dir }}/podnet-ledger.json"
  become: true
  register: vtep
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
    - ip link set dev flannel.1 mtu 1450
device:
  description: The device as it is wanted; not returned for O(state=absent).
  returned: success and state is present
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: flannel.1
    interface:
      description: The underlay interface.
      type: str
      sample: eth0
    local:
      description: The underlay address.
      type: str
      sample: 198.51.100.1
    mac:
      description: Its MAC.
      type: str
      sample: 02:f1:ac:14:00:00
    mtu:
      description: Its MTU.
      type: int
      sample: 1450
device6:
  description: The second device in the same way, where there is one.
  returned: success, state is present and the node has an underlay address of each family
  type: dict
  sample: {name: flannel-v6.1, interface: eth0, local: '2001:db8::1', mac: '02:f1:02:44:00:00', mtu: 1430}
lease:
  description: The lease of the node, as M(podnet.baremetal.pod_subnet) has it, with the ranges of the cluster.
  returned: success and O(ledger) is given
  type: dict
  sample:
    subnets: [172.20.0.0/24]
    underlay: 198.51.100.1
    mac: '02:f1:ac:14:00:00'
    gateways: [172.20.0.1]
    vtep_addresses: [172.20.0.0]
    state: active
    cluster_cidr: [172.20.0.0/16]
    reserved: []
    generation: 3
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._boot import DEVICE_FILE, PEERS_FILE, device_text
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Target
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name
from ansible_collections.podnet.baremetal.plugins.module_utils._persistent import persistent
from ansible_collections.podnet.baremetal.plugins.module_utils._vtep import GuardedDevices, vtep_target

ARGUMENTS: dict[str, Any] = {
    "ledger": {"type": "path"},
    "name": {"type": "str"},
    "vni": {"type": "int", "default": 1},
    "port": {"type": "int", "default": 8472},
    "local": {"type": "str"},
    "name6": {"type": "str"},
    "local6": {"type": "str"},
    "mac6": {"type": "str"},
    "interface": {"type": "str"},
    "mac": {"type": "str"},
    "mtu": {"type": "int"},
    "learning": {"type": "bool", "default": False},
    "ttl": {"type": "int", "default": 0},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "recreate": {"type": "bool", "default": False},
    "cluster_cidrs": {"type": "list", "elements": "str", "default": []},
    "reserved": {"type": "list", "elements": "str", "default": []},
    "bridge": {"type": "str", "default": "cni0"},
    "plan": {"type": "str"},
    "persistent": {"type": "bool"},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "generation": {"type": "int"},
    "older": {"type": "bool", "default": False},
    "beside_flanneld": {"type": "bool", "default": False},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {"required_if": [("state", "present", ["local", "mac"])], "required_together": [("local6", "mac6")]}


def _target(options: dict[str, Any]) -> Target[Any]:
    node = node_name(options)
    devices = vtep_target(node, options)
    texts: dict[str, Callable[[], str]] = {DEVICE_FILE: lambda: device_text(thing for part in devices.parts for thing in part.desired)}
    if options["state"] == "absent":  # the entries of its peers go with it
        texts[PEERS_FILE] = str
        return persistent(devices, options, texts)
    return persistent(GuardedDevices(node, devices, options["port"]), options, texts)


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
