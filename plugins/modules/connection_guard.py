#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that puts its network back unless a new connection confirms it. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: connection_guard
short_description: A node puts its network back unless a new connection confirms it
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Goes around tasks that may cut the node off, O(state=armed) before them and O(state=confirmed) behind them.
  - Armed, the node keeps a copy of its links (up or down, MTU), addresses, rules and routes, and starts a timer. When its time has come
    and nobody has confirmed, the node puts back what differs, and tells the journal what that was.
  - To confirm, the module closes the connection that is there, so that it takes a new one. Where the node cannot be reached by that,
    nothing is confirmed. Where the timer was faster, it fails and says what was put back. So does the next task that arms or confirms.
  - What needs a link that came or went since is left alone, as are files, firewalls and sysctls.
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.node
attributes:
  idempotent:
    support: partial
    details: To arm again saves the state anew and starts the timer anew.
options:
  state:
    description:
      - V(armed) saves the state and starts the timer. V(confirmed) stops it, and changes nothing where none was started.
      - V(put_back) is what the timer does. Not for users.
    type: str
    choices: [armed, confirmed, put_back]
    required: true
  seconds:
    description: How long the node waits for the confirmation. Longer than the tasks in between, and a new connection, take.
    type: int
    default: 120
  ranges:
    description: Addresses and routes within these are left alone, such as those of pods.
    type: list
    elements: str
    default: []
  token:
    description: What tells this time from others, as the action plugin makes it. Not for users.
    type: str
  program:
    description: What the timer starts, as the action plugin makes it. Not for users.
    type: str
requirements:
  - iproute2 on the node
  - the capability CAP_NET_ADMIN, so in general C(become=true)
notes:
  - The timer is a transient unit of systemd, C(podnet-guard-*.timer), where systemd runs, and a process elsewhere. A reboot ends both.
  - A connection that nothing can keep open, as C(ssh) without C(ControlPersist), is a new one in each task.
"""

EXAMPLES = r"""
- name: Have the node put its network back if this goes wrong
  podnet.baremetal.connection_guard:
    state: armed
    seconds: 60
    ranges: ["{{ podnet_cluster_cidr }}"]
  become: true

- name: Give the node its new network
  ansible.builtin.command:
    argv: [netplan, apply]
  changed_when: true
  become: true

- name: It can still be reached
  podnet.baremetal.connection_guard:
    state: confirmed
  become: true
"""

RETURN = r"""
commands:
  description: What was done, or in check mode would be done, as a person would type it.
  returned: always
  type: list
  elements: str
  sample: [rm -r /run/podnet-guard]
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._guard import Armed, Confirmed, PutBack, guard_target
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name

ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["armed", "confirmed", "put_back"], "required": True},
    "seconds": {"type": "int", "default": 120},
    "ranges": {"type": "list", "elements": "str", "default": []},
    "token": {"type": "str", "no_log": False},
    "program": {"type": "str"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def _target(options: dict[str, Any]) -> Armed | Confirmed | PutBack:
    return guard_target(node_name(options), options)


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
