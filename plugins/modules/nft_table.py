#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One nftables table with exactly these rules. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nft_table
short_description: One nftables table with exactly these rules
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Makes an nftables table hold exactly the given rules, and no other table is touched.
  - The rules are compared with those in the kernel, in the spelling of the node's own C(nft), so what somebody deleted or added
    by hand is repaired, and a second run changes nothing.
  - A table is replaced in one transaction. Either all of it takes effect or the table before stays in force.
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
options:
  family:
    description: Family of the table.
    type: str
    choices: [arp, bridge, inet, ip, ip6, netdev]
    default: inet
  name:
    description: Name of the table.
    type: str
    required: true
  ledger:
    description:
      - Path of the ledger on the controller, as M(podnet.baremetal.pod_subnet) returns it. Or the place in etcd that this module has
        read in the same run.
      - With it, O(rules) declare the sets C(peers) and C(peers6), and the table C(inet podnet) is loaded with the IPv4 and IPv6 underlay
        addresses of the other nodes in them. What they hold later is for M(podnet.baremetal.vxlan_peers) to keep, and is not compared.
      - Without O(rules) the table C(inet podnet) stays as it is, if it is there, and lets in these addresses beside those that it does. So
        a peer that changes its address is let in by either, until M(podnet.baremetal.vxlan_peers) keeps out the old one.
    type: path
  plan:
    description: The peers as the action plugin packs them for the way to the nodes. Not for users.
    type: str
  own:
    description: The MACs of this node's own devices, which are in O(plan) like the others. Not for users.
    type: list
    elements: str
    default: []
  rules:
    description: What stands between the braces of the table, as C(nft -f) takes it. Required for O(state=present) without O(ledger).
    type: str
requirements:
  - nftables on the node
  - the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN, so in general C(become=true)
"""

EXAMPLES = r"""
- name: Masquerade what leaves the cluster
  podnet.baremetal.nft_table:
    name: podnet
    rules: |
      chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 172.20.0.0/16 ip daddr != 172.20.0.0/16 masquerade fully-random
      }
  become: true
"""

RETURN = r"""
commands:
  description: What C(nft -f) was given, or in check mode would be given. Without O(rules) each as a command.
  returned: always
  type: list
  elements: str
forwarding:
  description:
    - Who else on the node decides what is forwarded. To accept a packet in one table lifts no drop in another.
    - It is read from what C(nft list chains) prints, and where iptables does without nftables from what C(iptables -S) prints.
  returned: success and O(rules) is given or O(state=absent)
  type: dict
  contains:
    dropping:
      description: For which of V(ipv4) and V(ipv6) the chain C(FORWARD) of iptables has the policy C(DROP), as Docker and ufw set it.
      type: list
      elements: str
      sample: []
    accepting:
      description: For which of them the role C(flannel) has its chain C(PODNET-FORWARD) there.
      type: list
      elements: str
      sample: []
    ufw:
      description: Whether ufw is active.
      type: bool
      sample: false
    firewalld:
      description: Whether firewalld is active.
      type: bool
      sample: false
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Target
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._nft import nft_target
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name

ARGUMENTS: dict[str, Any] = {
    "family": {"type": "str", "choices": ["arp", "bridge", "inet", "ip", "ip6", "netdev"], "default": "inet"},
    "name": {"type": "str", "required": True},
    "ledger": {"type": "path"},
    "plan": {"type": "str"},
    "own": {"type": "list", "elements": "str", "default": []},
    "rules": {"type": "str"},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {"required_if": [("state", "present", ["rules", "ledger", "plan"], True)]}


def _target(options: dict[str, Any]) -> Target[Any]:
    return nft_target(node_name(options), options)


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
