#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One report of what a verification found on all nodes. Documentation of the action of the same name, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_report
short_description: One report of what a verification found on all nodes
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Collects what the tasks of the role P(podnet.baremetal.verify#role) registered on each host (C(verify_pod), C(verify_probe) and
    C(verify_tables)) into one document, finds what is wrong, and says it in four forms.
  - These are a table in the terminal, C(verification.json), C(verification.xml) in the form of JUnit, and C(verification.html), one page
    that needs no other file and no network.
  - A host whose tasks did not run is in the report as unreachable.
  - It fails where there is an error, after everything is written. Warnings do not make it fail.
  - Runs on the controller and contacts no host. Use it with C(run_once=true).
options:
  directory:
    description: Where the files are written, on the controller. It is made where it is missing. Files of the run before are replaced.
    type: path
    required: true
  hosts:
    description: The hosts that are in the report. All hosts of the play by default.
    type: list
    elements: str
  cluster_cidrs:
    description: The ranges of the cluster's pods. Those in the nodes' C(subnet.env) by default.
    type: list
    elements: str
  service_cidrs:
    description: The ranges of services.
    type: list
    elements: str
  vni:
    description: The VXLAN network identifier. That of most nodes by default.
    type: int
  port:
    description: The UDP port. That of most nodes by default.
    type: int
  mtu:
    description: The MTU of pods. That of most nodes' VXLAN devices by default.
    type: int
  ledger:
    description: The ledger that the nodes were compared with, on the controller. Without it nothing is said of leases.
    type: path
  fail:
    description: Whether the task fails where an error was found.
    type: bool
    default: true
notes:
  - Under C(check_mode) the table is printed and no file is written.
seealso:
  - module: podnet.baremetal.overlay_info
extends_documentation_fragment:
  - podnet.baremetal._attributes
"""

EXAMPLES = r"""
- name: Say what was found
  podnet.baremetal.verify_report:
    directory: "{{ inventory_dir }}/verification"
    ledger: "{{ inventory_dir }}/podnet-ledger.json"
  run_once: true
"""

RETURN = r"""
msg:
  description: All of it in one sentence.
  returned: always
  type: str
  sample: "1 error found: see /srv/inventories/prod/verification/verification.html."
files:
  description: The files that were written.
  returned: success or failure because of errors
  type: list
  elements: str
  sample:
    - /srv/inventories/prod/verification/verification.json
    - /srv/inventories/prod/verification/verification.xml
    - /srv/inventories/prod/verification/verification.html
problems:
  description: What is wrong, errors first, as in C(verification.json).
  returned: success or failure because of errors
  type: list
  elements: dict
  sample:
    - severity: error
      cause: wrong-mac
      nodes: [node1, node2]
      hop: "node1: neighbour 172.20.1.0 on flannel.1"
      text: node1 sends to node2 with the MAC 02:f1:ac:14:63:00, and node2's flannel.1 has 02:f1:ac:14:01:00.
      repair: ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent
      paths: 4
commands:
  description: Nothing.
  returned: always
  type: list
  elements: str
  sample: []
"""

from typing import Any, NoReturn

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._report_arguments import ARGUMENTS


def _elsewhere(_options: dict[str, Any]) -> NoReturn:
    raise Refused("podnet.baremetal.verify_report runs as an action on the controller, and its action plugin was not found there.")


def main() -> None:
    run(ARGUMENTS, _elsewhere)


if __name__ == "__main__":
    main()
