#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of an overlay on a node: device, peers, and what a ledger would have otherwise. Ansible module; changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: overlay_info
short_description: What there is of an overlay on a node
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Reads the VXLAN device of a node, its peers as the kernel has them, and flannel's C(subnet.env), whoever made them.
  - With O(ledger) it also says what M(podnet.baremetal.vxlan_device) and M(podnet.baremetal.vxlan_peers) would do here.
  - It changes nothing, and a node without an overlay is no error.
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.node
options:
  ledger:
    description:
      - Path of the ledger on the controller, as M(podnet.baremetal.pod_subnet) returns it. RV(drift) compares the node with it.
    type: path
  name:
    description: Name of the device. C(flannel.) and O(vni) by default, as flannel names it.
    type: str
  name6:
    description: Name of the second device, the one for IPv6 pods alone. C(flannel-v6.) and O(vni) by default.
    type: str
  vni:
    description: VXLAN network identifier that is wanted.
    type: int
    default: 1
  port:
    description: UDP port that is wanted.
    type: int
    default: 8472
  interface:
    description: The underlay interface that is wanted. The one that carries the underlay address by default.
    type: str
  mtu:
    description: The MTU that is wanted. What the underlay interface leaves by default.
    type: int
  nexthops:
    description: As in M(podnet.baremetal.vxlan_peers).
    type: str
    choices: [always, auto, never]
    default: auto
  subnet_env:
    description: Where flannel's C(subnet.env) is on the node.
    type: str
    default: /run/flannel/subnet.env
  brief:
    description: Whether to return neither RV(peers) nor RV(drift), which are long where there are many nodes, nor what O(datapath) adds.
    type: bool
    default: false
  datapath:
    description:
      - Whether to return what else packets between pods depend on, from RV(underlay) to RV(applied).
      - Firewalls are read where there is C(nft), those of an iptables without nftables where there is C(iptables-legacy-save).
    type: bool
    default: false
  bridge:
    description: The bridge of this node's own pods.
    type: str
    default: cni0
  plan:
    description: The peers as the action plugin packs them for the way to the nodes. Not for users.
    type: str
  local:
    description: The underlay address of the lease. Not for users.
    type: str
  mac:
    description: The MAC of the lease. Not for users.
    type: str
  local6:
    description: The second underlay address of the lease. Not for users.
    type: str
  mac6:
    description: The second MAC of the lease. Not for users.
    type: str
  addresses:
    description: The VTEP addresses of the lease. Not for users.
    type: list
    elements: str
    default: []
  cluster_cidrs:
    description: The ranges of the cluster's pods. Not for users.
    type: list
    elements: str
    default: []
  reserved:
    description: Parts of them that no node gets. Not for users.
    type: list
    elements: str
    default: []
requirements:
  - pyroute2 0.7.2 or newer on the node (Debian, Ubuntu and Fedora have it as C(python3-pyroute2))
  - with O(ledger) the capability CAP_NET_ADMIN, so in general C(become=true)
"""

EXAMPLES = r"""
- name: Look at the overlay of every node
  podnet.baremetal.overlay_info:
    ledger: "{{ inventory_dir }}/podnet-ledger.json"
  become: true
  register: overlay

- name: Say what differs
  ansible.builtin.debug:
    var: overlay.drift.commands
"""

RETURN = r"""
device:
  description: The VXLAN device, null where there is none by this name.
  returned: success
  type: dict
  sample:
    name: flannel.1
    vni: 1
    port: 8472
    local: 198.51.100.1
    interface: eth0
    mac: '02:f1:ac:14:00:00'
    mtu: 1450
    up: true
    addresses: [172.20.0.0/32]
device6:
  description: The second device that flannel has for IPv6 pods, C(flannel-v6.) and the VNI, null where there is none.
  returned: success
  type: dict
subnet_env:
  description: What flannel's file says, null where there is none.
  returned: success
  type: dict
  sample: {networks: [172.20.0.0/16], subnets: [172.20.0.0/24], mtu: 1450, masquerade: true}
generation:
  description: The generation of the ledger that last changed this node, 0 where none did.
  returned: success
  type: int
  sample: 3
peers:
  description:
    - The peers that the kernel has on the devices, from routes, neighbours and fdb entries together.
    - A text is empty, or the list of subnets, where one of these is missing.
  returned: success and not O(brief)
  type: list
  elements: dict
  sample:
    - {subnets: [172.20.1.0/24], underlay: 198.51.100.2, mac: '02:f1:ac:14:01:00'}
unreachable_ranges:
  description: The ranges whose packets are refused where no route to a peer has them, instead of leaving by the default route.
  returned: success and not O(brief)
  type: list
  elements: str
  sample: [172.20.0.0/16]
drift:
  description: What the ledger would have otherwise; null without O(ledger).
  returned: success and not O(brief)
  type: dict
  contains:
    commands:
      description: The iproute2 commands that would bring the node in line, in their order.
      type: list
      elements: str
      sample: [ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent]
    missing:
      description: The pod subnets of peers that this node has no route to.
      type: list
      elements: str
      sample: [172.20.2.0/24]
    refused:
      description: Why M(podnet.baremetal.vxlan_device) or M(podnet.baremetal.vxlan_peers) would refuse it; empty where they would not.
      type: str
      sample: ''
lease:
  description: What the ledger has for the node, null without O(ledger).
  returned: success and O(datapath)
  type: dict
  sample: {subnets: [172.20.0.0/24], underlays: [198.51.100.1], macs: ['02:f1:ac:14:00:00']}
underlay:
  description: The underlay addresses of the devices.
  returned: success and O(datapath), as all that follows
  type: list
  elements: str
  sample: [198.51.100.1]
interface:
  description: The underlay interface, empty where there is no device.
  returned: success and O(datapath)
  type: str
  sample: eth0
subnets:
  description: The pod subnets that the node serves, as C(subnet.env) or, without one, the bridge has them.
  returned: success and O(datapath)
  type: list
  elements: str
  sample: [172.20.0.0/24]
bridge:
  description: The bridge that pods hang on, null where there is none.
  returned: success and O(datapath)
  type: dict
  sample: {name: cni0, addresses: [172.20.0.1/24], mtu: 1450}
allocations:
  description: The addresses that host-local has given to pods.
  returned: success and O(datapath)
  type: list
  elements: str
  sample: [172.20.0.2]
counters:
  description: What the kernel counted of packets, drops and errors, as C(nstat) and C(ip -s link) say it.
  returned: success and O(datapath)
  type: dict
  sample: {UdpInCsumErrors: 0, flannel.1 tx_dropped: 0}
limits:
  description: How full the tables of neighbours and of tracked connections are.
  returned: success and O(datapath)
  type: list
  elements: dict
  sample:
    - {name: conntrack, used: 12, limit: 262144}
settings:
  description: The sysctls of forwarding and of reverse path filters.
  returned: success and O(datapath)
  type: dict
  sample: {net.ipv4.ip_forward: 1, net.ipv4.conf.eth0.rp_filter: 2}
filters:
  description: Rules that drop what comes to the VXLAN port, chains that drop by policy, and rules that translate source addresses.
  returned: success and O(datapath)
  type: list
  elements: str
  sample: ['nft ip filter FORWARD: type filter hook forward priority filter; policy drop;']
admitted:
  description: The underlay addresses that the firewall of the role flannel lets in, null where there is none.
  returned: success and O(datapath)
  type: list
  elements: str
  sample: [198.51.100.2]
underlay_routes:
  description: The interface by which the node sends to each peer's underlay address, and what it sends there in one piece.
  returned: success and O(datapath)
  type: dict
  sample: {198.51.100.2: {interface: eth0, mtu: 1500}}
routes:
  description: Routes to pods that do not lead through the devices, as flannel's host-gw makes them, with their gateways.
  returned: success and O(datapath)
  type: dict
  sample: {}
applied:
  description: The generation of the ledger that last changed this node, and when; null where none did.
  returned: success and O(datapath)
  type: dict
  sample: {generation: 3, at: '2026-11-28T01:58:00Z'}
commands:
  description: Nothing.
  returned: always
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._info import overlay
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run

ARGUMENTS: dict[str, Any] = {
    "ledger": {"type": "path"},
    "name": {"type": "str"},
    "name6": {"type": "str"},
    "vni": {"type": "int", "default": 1},
    "port": {"type": "int", "default": 8472},
    "interface": {"type": "str"},
    "mtu": {"type": "int"},
    "nexthops": {"type": "str", "choices": ["always", "auto", "never"], "default": "auto"},
    "subnet_env": {"type": "str", "default": "/run/flannel/subnet.env"},
    "brief": {"type": "bool", "default": False},
    "datapath": {"type": "bool", "default": False},
    "plan": {"type": "str"},
    "local": {"type": "str"},
    "mac": {"type": "str"},
    "local6": {"type": "str"},
    "mac6": {"type": "str"},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "cluster_cidrs": {"type": "list", "elements": "str", "default": []},
    "reserved": {"type": "list", "elements": "str", "default": []},
    "bridge": {"type": "str", "default": "cni0"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def main() -> None:
    run(ARGUMENTS, overlay, **RULES)


if __name__ == "__main__":
    main()
