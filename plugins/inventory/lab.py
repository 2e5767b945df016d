# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory plugin that names the nodes of a lab. I/O: reads its file and the lab's directory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lab
short_description: The nodes of a lab on this machine
version_added: 0.1.0
author:
  - podnet contributors (@podnet)
description:
  - Gives the hosts C(node1), C(node2) and so on, with the first addresses of the underlay as C(ansible_host), entered by
    P(podnet.baremetal.netns#connection). All are in C(kube_node), and C(node1) is in C(kube_control_plane) too.
options:
  plugin:
    description: Marks the file as one for this plugin.
    required: true
    choices: [podnet.baremetal.lab]
  nodes:
    description:
      - How many nodes there are, unless a lab runs in O(directory), which then says so itself.
      - The extra variable C(lab_nodes) goes before both.
    type: int
    default: 3
  underlay:
    description: The network of the nodes. Its last host address is the switch's.
    type: str
    default: 198.51.100.0/24
  underlay6:
    description:
      - An IPv6 network beside an IPv4 O(underlay). The nodes then have an address of each, which C(podnet_underlay_address) lists.
    type: str
  directory:
    description:
      - The directory of the lab, as given to M(podnet.baremetal.lab).
      - The extra variable C(podnet_lab_directory) goes before it.
    type: path
    default: /run/podnet-lab
    env:
      - name: PODNET_LAB_DIRECTORY
requirements:
  - root, for what is run on the hosts
seealso:
  - module: podnet.baremetal.lab
  - plugin: podnet.baremetal.netns
    plugin_type: connection
"""

EXAMPLES = r"""
# lab.yml
plugin: podnet.baremetal.lab
nodes: 5
underlay: 192.0.2.0/24
"""

import ipaddress
import sys
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.vars import load_extra_vars
from ansible_collections.podnet.baremetal.plugins.module_utils._lab import nodes


class InventoryModule(BaseInventoryPlugin):
    """The hosts of one lab."""

    NAME = "podnet.baremetal.lab"
    trusted_by_default = True  # else `ansible-inventory --list` marks every value as unsafe

    get_option: Callable[..., Any]
    _read_config_data: Callable[..., Any]

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, *args: Any, **options: Any) -> None:
        super().parse(inventory, loader, path, *args, **options)
        self._read_config_data(path)
        extra = load_extra_vars(loader)
        directory = extra.get("podnet_lab_directory", self.get_option("directory"))
        count = extra.get("lab_nodes", len(nodes(directory)) or self.get_option("nodes"))
        underlay = ipaddress.ip_network(self.get_option("underlay"))
        underlay6 = ipaddress.ip_network(self.get_option("underlay6") or underlay)
        inventory.set_variable("all", "podnet_lab_directory", directory)
        inventory.set_variable("all", "lab_prefix", underlay.prefixlen)
        inventory.set_variable("all", "lab_prefix6", underlay6.prefixlen)
        for group in ("kube_control_plane", "kube_node"):
            inventory.add_group(group)
        inventory.set_variable("kube_node", "ansible_connection", "podnet.baremetal.netns")
        inventory.set_variable("kube_node", "ansible_python_interpreter", sys.executable)
        for number in range(1, _checked(path, count, underlay) + 1):
            host = inventory.add_host(f"node{number}", group="kube_node")
            inventory.set_variable(host, "ansible_host", str(underlay[number]))
            if underlay6 != underlay:
                inventory.set_variable(host, "podnet_underlay_address", [str(underlay[number]), str(underlay6[number])])
        inventory.add_child("kube_control_plane", "node1")


def _checked(path: str, count: Any, underlay: ipaddress.IPv4Network | ipaddress.IPv6Network) -> int:
    room = underlay.num_addresses - 3  # without the network's own address, the switch's and the broadcast address
    if not str(count).isdecimal() or not 1 <= int(count) <= room:
        raise AnsibleParserError(f"{path}: the number of nodes is {count}: the underlay {underlay} has room for 1 to {room} of them.")
    return int(count)
