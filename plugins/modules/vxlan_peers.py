#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a node needs to reach its peers: neighbours, fdb entries and routes in one pass. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vxlan_peers
short_description: Everything a node needs to reach its peers, in one pass
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Makes the neighbours, fdb entries and routes of a VXLAN device those that its peers need, in one pass, and with O(purge)
    no others.
  - The peers come from the ledger on the controller (O(ledger) and O(node)), or are given as a list (O(peers)).
  - In check mode the device need not be there yet. The module then says what it would do once it is.
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.entry
  - podnet.baremetal._attributes.owner
options:
  ledger:
    description:
      - Path of the ledger on the controller, as M(podnet.baremetal.pod_subnet) returns it. Or the place in etcd that this module has
        read in the same run.
      - The peers are every other node with an active lease in it.
    type: path
  peers:
    description: The peers, for who has no ledger.
    type: list
    elements: dict
    suboptions:
      node:
        description: The name of the peer.
        type: str
        required: true
      subnets:
        description: Its pod subnets.
        type: list
        elements: str
        required: true
      underlay:
        description: Its underlay address.
        type: str
        required: true
      mac:
        description: The MAC of its VTEP.
        type: str
        required: true
  plan:
    description: The peers as the action plugin packs them for the way to the nodes, the same for all of them. Not for users.
    type: str
  own:
    description: The MACs of this node's own devices, which are in O(plan) like the others. Not for users.
    type: list
    elements: str
    default: []
  device6:
    description:
      - The VXLAN device for IPv6 pod subnets, where O(device) carries IPv4 ones alone, as C(flannel-v6.1) beside C(flannel.1).
      - With O(ledger) it is C(flannel-v6.1) by default, and counts only for a node that has a pod subnet and an underlay address of each
        family. For others O(device) carries all.
    type: str
  cluster_cidrs:
    description: The ranges of the cluster's pods, as the action plugin finds them in the ledger. Not for users.
    type: list
    elements: str
    default: []
  purge:
    description:
      - Whether to delete every other permanent neighbour and fdb entry of the device, and every other route of ours through it.
      - What the kernel learned by itself, routes of another protocol and everything on other devices is left alone.
    type: bool
    default: false
  nexthops:
    description:
      - Whether each IPv4 route names a nexthop object (C(ip nexthop)) that has its gateway, instead of the gateway itself.
        Packets go the same way. Programming is then linear in the number of routes, and with gateways quadratic.
      - V(auto) does so for more than 1,000 IPv4 pod subnets.
      - A kernel that does not know nexthop objects (before 5.3) gets gateways in any case.
      - C(ip route del SUBNET via GATEWAY) does not find a route that names a nexthop, and flanneld deletes in this way.
        Where it runs on the node, too, say V(never).
    type: str
    choices: [always, auto, never]
    default: auto
  firewall:
    description:
      - A file on the node with the underlay addresses of the peers as nft text, for who loads the firewall at boot, such as
        C(/var/lib/podnet-peers.nft). Its directory must be there.
      - With it also the sets C(peers) and C(peers6) of the nftables table C(inet podnet), where that is there, hold these addresses and no
        others. M(podnet.baremetal.nft_table) makes it, and the role C(flannel) gives it rules that let in nobody else.
      - An address is let in before the entries of its peer are made, and kept out after they are gone, each in one transaction.
    type: str
  persistent:
    description:
      - Whether the node has its peers again after a boot. V(true) writes the commands that make them to
        C(/var/lib/podnet-boot/peers.sh), in the same run, and V(false) takes that file away. Without it the file is left as it is.
      - The role C(podnet.baremetal.flannel) brings what reads the file, see docs/reboot.md of this collection.
      - The file holds all peers of the node, so V(true) takes O(purge=true).
    type: bool
  node:
    description:
      - The name of this node in O(ledger), whose own lease is not among its peers, and what messages call it.
      - The name of the host in the inventory by default.
    type: str
"""

EXAMPLES = r"""
- name: Reach every other node of the ledger, and nobody else
  podnet.baremetal.vxlan_peers:
    ledger: "{{ inventory_dir }}/podnet-ledger.json"
    purge: true
  become: true

- name: Reach one more node
  podnet.baremetal.vxlan_peers:
    peers:
      - node: node2
        subnets: [172.20.1.0/24]
        underlay: 198.51.100.2
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

from ansible_collections.podnet.baremetal.plugins.module_utils._boot import PEERS_FILE, peers_text
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Target
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name
from ansible_collections.podnet.baremetal.plugins.module_utils._peers import guarded_target
from ansible_collections.podnet.baremetal.plugins.module_utils._persistent import persistent

PEER: dict[str, Any] = {
    "node": {"type": "str", "required": True},
    "subnets": {"type": "list", "elements": "str", "required": True},
    "underlay": {"type": "str", "required": True},
    "mac": {"type": "str", "required": True},
}

ARGUMENTS: dict[str, Any] = {
    "device": {"type": "str", "default": "flannel.1"},
    "ledger": {"type": "path"},
    "peers": {"type": "list", "elements": "dict", "options": PEER},
    "plan": {"type": "str"},
    "own": {"type": "list", "elements": "str", "default": []},
    "device6": {"type": "str"},
    "purge": {"type": "bool", "default": False},
    "nexthops": {"type": "str", "choices": ["always", "auto", "never"], "default": "auto"},
    "cluster_cidrs": {"type": "list", "elements": "str", "default": []},
    "generation": {"type": "int"},
    "older": {"type": "bool", "default": False},
    "beside_flanneld": {"type": "bool", "default": False},
    "firewall": {"type": "str"},
    "persistent": {"type": "bool"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {
    "mutually_exclusive": [("ledger", "peers", "plan")],
    "required_one_of": [("ledger", "peers", "plan")],
}


def _target(options: dict[str, Any]) -> Target[Any]:
    if options["persistent"] and not options["purge"]:
        raise refuse(node_name(options), "persistent", "true", "the file holds all peers of the node: expected purge: true beside it")
    target = guarded_target(options)
    return persistent(target, options, {PEERS_FILE: lambda: peers_text(target.objects())})


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
