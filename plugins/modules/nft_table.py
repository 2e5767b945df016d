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
  rules:
    description: What stands between the braces of the table, as C(nft -f) takes it. Required for O(state=present).
    type: str
  persistent:
    description:
      - Whether the node has the table again after a boot. V(true) writes what C(nft -f) is given to a file in C(/var/lib/podnet-boot), in
        the same run, and V(false) and O(state=absent) take that file away. Without it the file is left as it is.
      - The role C(podnet.baremetal.flannel) brings what reads the file, see docs/reboot.md of this collection.
    type: bool
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
  description: What C(nft -f) was given, or in check mode would be given.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._boot import DIRECTORY
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Target
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._nft import nft_target
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name
from ansible_collections.podnet.baremetal.plugins.module_utils._persistent import persistent

ARGUMENTS: dict[str, Any] = {
    "family": {"type": "str", "choices": ["arp", "bridge", "inet", "ip", "ip6", "netdev"], "default": "inet"},
    "name": {"type": "str", "required": True},
    "rules": {"type": "str"},
    "persistent": {"type": "bool"},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {"required_if": [("state", "present", ["rules"])]}


def _target(options: dict[str, Any]) -> Target[Any]:
    target = nft_target(node_name(options), options)
    return persistent(target, options, {f"{DIRECTORY}/{target.family}-{target.table}.nft": lambda: target.text})


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
