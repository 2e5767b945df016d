#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The leases of a running cluster, taken into the ledger. Documentation of the action of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt_leases
short_description: The leases of a running cluster, taken into the ledger
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Writes a lease for every node whose pod subnet some source knows, and keeps pod subnet, underlay address and VTEP MAC as they are.
    So M(podnet.baremetal.vxlan_device) and M(podnet.baremetal.vxlan_peers) find nothing to change on a node that flanneld set up.
  - Sources are what M(podnet.baremetal.overlay_info) found on the nodes, Kubernetes' Node objects, flannel's keys in etcd, the variables
    of the inventory, and the ledger itself if there is one. All that are given must agree.
  - If they do not, the task fails with a list of all conflicts, node by node, and nothing is written.
  - A node that the inventory does not have becomes a retired lease. A host that no source knows gets none. Both are warned of.
  - Runs on the controller and contacts no host. Use it with C(run_once=true), or the playbook C(podnet.baremetal.adopt).
options:
  ledger:
    description: As in M(podnet.baremetal.pod_subnet).
    type: path
    required: true
  cluster_cidr:
    description: As in M(podnet.baremetal.pod_subnet). Every pod subnet of the cluster must be inside of it.
    type: raw
    required: true
  service_cidr:
    description: As in M(podnet.baremetal.pod_subnet).
    type: raw
  node_prefix:
    description:
      - As in M(podnet.baremetal.pod_subnet). A node whose subnet has another length keeps it.
      - It is the length of the subnet of a node that has a VXLAN device and no C(subnet.env).
    type: raw
  reserved:
    description: As in M(podnet.baremetal.pod_subnet).
    type: raw
  vni:
    description: The VXLAN network identifier of the inventory. A source that says another one is a conflict.
    type: int
    default: 1
  port:
    description: The UDP port of the inventory. A node whose device has another one is a conflict.
    type: int
    default: 8472
  nodes:
    description:
      - What M(podnet.baremetal.overlay_info) returned, by the names of the hosts.
      - A result without C(device) is one of a host that could not be reached, and is warned of.
    type: dict
    default: {}
  kubernetes:
    description: A file on the controller with what C(kubectl get nodes -o json) prints.
    type: path
  etcd:
    description:
      - A file on the controller with what C(etcdctl get --prefix /coreos.com/network) prints, with or without C(-w json).
      - It knows nodes by their underlay addresses alone, which are looked up in the inventory.
    type: path
  etcd_user:
    description: As in M(podnet.baremetal.pod_subnet), as all further options of etcd are. They are for O(ledger), where that is in etcd.
    type: str
  etcd_password:
    description: The password of O(etcd_user).
    type: str
  etcd_ca:
    description: A file with the certificates of the authorities that may have signed etcd's.
    type: path
  etcd_certificate:
    description: A file with our own certificate.
    type: path
  etcd_key:
    description: The file of its key.
    type: path
  brief:
    description: As in M(podnet.baremetal.pod_subnet).
    type: bool
    default: false
notes:
  - Under C(check_mode), RV(ledger) names a copy that holds what would be, which later tasks of the same run read in its place. Nothing
    is written beside the inventory or to etcd.
seealso:
  - module: podnet.baremetal.overlay_info
  - module: podnet.baremetal.pod_subnet
extends_documentation_fragment:
  - podnet.baremetal._attributes
"""

EXAMPLES = r"""
- name: Look at every node
  podnet.baremetal.overlay_info:
    brief: true
  become: true
  register: found

- name: Take the leases over
  podnet.baremetal.adopt_leases:
    ledger: "{{ inventory_dir }}/podnet-ledger.json"
    cluster_cidr: 10.244.0.0/16
    nodes: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'found'))) }}"
    kubernetes: nodes.json
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
  description: How often the ledger has changed.
  returned: success
  type: int
  sample: 1
network:
  description: What all nodes share, as the ledger has it.
  returned: success
  type: dict
  sample: {cluster_cidr: [10.244.0.0/16], service_cidr: [10.68.0.0/16], node_prefix: [24], reserved: []}
capacity:
  description: As in M(podnet.baremetal.pod_subnet).
  returned: success and not O(brief)
  type: dict
  sample: {total: 256, taken: 3, free: 253}
leases:
  description: As in M(podnet.baremetal.pod_subnet). C(why) is V(adopted) for those that are new in the ledger.
  returned: success and not O(brief)
  type: dict
  sample:
    node1:
      subnets: [10.244.97.0/24]
      underlay: 198.51.100.1
      mac: 'd6:02:2d:21:82:55'
      gateways: [10.244.97.1]
      vtep_addresses: [10.244.97.0]
      state: active
      why: adopted
commands:
  description: The changes, one for each line of the ledger that changes.
  returned: always
  type: list
  elements: str
  sample: [lease node1 10.244.97.0/24 (adopted)]
"""

from typing import Any, NoReturn

from ansible_collections.podnet.baremetal.plugins.module_utils._adopt import ARGUMENTS
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run


def _elsewhere(_options: dict[str, Any]) -> NoReturn:
    raise Refused("podnet.baremetal.adopt_leases runs as an action on the controller, and its action plugin was not found there.")


def main() -> None:
    run(ARGUMENTS, _elsewhere)


if __name__ == "__main__":
    main()
