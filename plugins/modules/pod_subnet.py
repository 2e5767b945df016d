#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod subnet of every node, kept in the ledger. Documentation of the action of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_subnet
short_description: The pod subnet of every node, kept in a ledger
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Gives every node its share of the cluster CIDR, and keeps who has which in one document, the ledger, which belongs beside the
    inventory and into version control.
  - What is taken never moves. A new node gets the lowest free subnet, in the order of names. Where nodes have subnets of different sizes,
    a small one first gets what is too small for the largest. A node that leaves the inventory is
    retired, keeps its subnet, and gets it back when it returns. Only O(state=absent) gives a subnet free.
  - Runs on the controller, from the inventory alone. No host is contacted and no fact is needed, so C(--limit) and hosts that are
    down make no difference. Use it with C(run_once=true).
options:
  ledger:
    description:
      - The file of the ledger. Its directory must exist. A relative path starts at the playbook's directory.
        Runs that start at once wait for each other by a lock on the directory.
      - Or keys in etcd 3.4 or newer, as C(etcd://host:2379/prefix), or C(etcds://) with TLS. Further hosts follow after commas. Without a
        prefix it is flannel's own, C(/coreos.com/network). Runs that start at once are kept apart by compare-and-swap. The leases are
        also written as the keys that flanneld reads.
    type: path
    required: true
  state:
    description:
      - V(present) brings the ledger in line with the inventory.
      - V(absent) gives back the subnet of the retired node O(name).
    type: str
    choices: [present, absent]
    default: present
  name:
    description: The retired node whose subnet is given back. Required if O(state=absent).
    type: str
  cluster_cidr:
    description:
      - The range that pod subnets come from, or a list of ranges. IPv4 and IPv6 ranges together make dual stack. Of several ranges
        of one family the lowest free subnet comes first.
      - It may grow, but must contain every lease. Required if O(state=present).
    type: raw
  service_cidr:
    description: The range of services, or a list of ranges. It is only checked for overlaps, and noted.
    type: raw
  node_prefix:
    description:
      - The prefix length of a node's subnet. For both families a list, in the order of O(cluster_cidr).
      - By default 24 for IPv4 and 64 for IPv6.
    type: raw
  reserved:
    description: Ranges that no new node gets a subnet of. A lease that lies there already stays.
    type: raw
  hosts:
    description:
      - The nodes. By default every host of the groups C(kube_control_plane), C(kube_master) and C(kube_node) of the whole inventory,
        with its variables C(podnet_underlay_address) (else C(ansible_host)), C(podnet_pod_subnet), C(podnet_node_prefix),
        C(podnet_vtep_mac) and C(podnet_renamed_from).
      - These must be variables of the inventory. Those of plays and roles are not seen.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the node, as in RFC 1123.
        type: str
        required: true
      underlay:
        description:
          - The address by which other nodes reach it, or a list of one IPv4 and one IPv6 address. By default the name, if that is an
            address.
          - All nodes need addresses of the same families. With both, IPv6 pod subnets travel over IPv6 and IPv4 ones over IPv4.
        type: raw
      subnet:
        description: A pin, the subnet that the node is to have, or a list of one for each family. It moves the node if it has another.
        type: raw
      node_prefix:
        description: The prefix length of this node's subnet, if it differs from the others'.
        type: raw
      mac:
        description:
          - The MAC address of the node's VTEP, if it is not the one that follows from its subnet.
          - A list of two is for the devices of IPv4 and of IPv6, where the node has both.
        type: raw
      renamed_from:
        description:
          - The name that the node had in the ledger. It takes over that lease, if no host has this name any more and the underlay address
            is the same, and nothing else changes. Once that is done the option has no effect.
        type: str
  retire:
    description:
      - Whether nodes that are not among the hosts are retired.
      - Say V(false) where a run sees only a part of the cluster, such as a slice of a job of AWX. The other nodes then stay as they are.
    type: bool
    default: true
  leaving:
    description: Names of nodes that leave the cluster. They are retired as if they were not among the hosts, whatever O(retire) says.
    type: list
    elements: str
    default: []
  vni:
    description: The VXLAN network identifier that flannel's keys in etcd name. It is not used for a ledger in a file.
    type: int
    default: 1
  port:
    description: The UDP port that flannel's keys in etcd name. It is not used for a ledger in a file.
    type: int
    default: 8472
  etcd_user:
    description: The user of etcd who may read and write all keys below the prefix, where etcd has users.
    type: str
  etcd_password:
    description: The password of O(etcd_user). Keep it in a vault. It is never shown, written to a file, or sent to a node.
    type: str
  etcd_ca:
    description: A file with the certificates of the authorities that may have signed etcd's. By default those of the system.
    type: path
  etcd_certificate:
    description: A file with our own certificate, where etcd asks for one. With O(etcd_user) it must have no common name.
    type: path
  etcd_key:
    description: The file of its key, without a passphrase.
    type: path
  brief:
    description:
      - Whether to leave RV(leases) out. With thousands of nodes a registered result of all leases is much for
        what every later task of every host carries along. M(podnet.baremetal.vxlan_device) returns the lease of its node.
    type: bool
    default: false
notes:
  - Under C(check_mode), RV(ledger) names a copy that holds what would be, which later tasks of the same run read in its place. Nothing
    is written beside the inventory or to etcd.
  - A ledger in etcd is read once a run, by this module. Modules with an option C(ledger) that is given the same place find what it read.
seealso:
  - module: podnet.baremetal.vxlan_peers
  - plugin: podnet.baremetal.pod_subnets
    plugin_type: filter
extends_documentation_fragment:
  - podnet.baremetal._attributes
"""

EXAMPLES = r"""
- name: Every node has its pod subnet
  podnet.baremetal.pod_subnet:
    ledger: "{{ inventory_dir }}/podnet-ledger.json"
    cluster_cidr: 172.20.0.0/16
    service_cidr: 10.68.0.0/16
  run_once: true
  register: plan

- name: Show the gateway of this host's pods
  ansible.builtin.debug:
    var: plan.leases[inventory_hostname].gateways

- name: The same, for several controllers
  podnet.baremetal.pod_subnet:
    ledger: etcds://etcd1.example.com,etcd2.example.com/podnet/prod
    cluster_cidr: 172.20.0.0/16
    etcd_user: podnet
    etcd_password: "{{ vault_etcd_password }}"
    etcd_ca: /etc/ssl/etcd-ca.pem
  run_once: true

- name: The subnet of a node that will not return is free again
  podnet.baremetal.pod_subnet:
    ledger: "{{ inventory_dir }}/podnet-ledger.json"
    name: node7
    state: absent
  run_once: true
"""

RETURN = r"""
ledger:
  description:
    - The file to read the plan from. The ledger itself, or under C(check_mode) a copy if the ledger would change.
    - Of a ledger in etcd always a copy, which ends with the run.
  returned: success
  type: str
  sample: /srv/inventories/prod/podnet-ledger.json
generation:
  description: How often the ledger has changed. 0 if there is none.
  returned: success
  type: int
  sample: 3
network:
  description: What all nodes share, as the ledger has it.
  returned: success
  type: dict
  sample: {cluster_cidr: [172.20.0.0/16], service_cidr: [10.68.0.0/16], node_prefix: [24], reserved: []}
capacity:
  description: How many subnets of the common prefix length there are, are taken or reserved, and are free, in the scarcer family.
  returned: success
  type: dict
  sample: {total: 256, taken: 3, free: 253}
warnings:
  description:
    - That 80 % or more of a family's subnets are taken, and what to do.
    - That a new node has the underlay address of a retired one, and may be that one by another name.
  returned: when there are any
  type: list
  elements: str
leases:
  description:
    - What each node has, by its name.
    - A node with two devices has C(underlay6) and C(mac6), too.
    - C(why) is V(pinned), V(kept), V(new), or V(reused) for a node that has returned.
  returned: success and not O(brief)
  type: dict
  sample:
    node1:
      subnets: [172.20.0.0/24]
      underlay: 198.51.100.1
      mac: '02:f1:ac:14:00:00'
      gateways: [172.20.0.1]
      vtep_addresses: [172.20.0.0]
      state: active
      why: kept
commands:
  description: The changes, one for each line of the ledger and each of flannel's keys in etcd that changes.
  returned: always
  type: list
  elements: str
  sample: [lease node4 172.20.3.0/24 (new)]
"""

from typing import Any, NoReturn

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import ARGUMENT_SPEC, RULES
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run


def _elsewhere(_options: dict[str, Any]) -> NoReturn:
    raise Refused("podnet.baremetal.pod_subnet runs as an action on the controller, and its action plugin was not found there.")


def main() -> None:
    run(ARGUMENT_SPEC, _elsewhere, **RULES)


if __name__ == "__main__":
    main()
