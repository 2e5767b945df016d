# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that all modules of the collection share. No I/O."""

from __future__ import annotations


class ModuleDocFragment:
    """What every module supports, and the options that many have."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and predict what would change without changing anything.
    support: full
  diff_mode:
    description: Returns what changed, or in C(check_mode) would change, under C(diff).
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  platform:
    description: The systems that the module runs on.
    support: full
    platforms: linux
  action_group:
    description: Use C(group/podnet.baremetal.podnet) in C(module_defaults) to set defaults for all modules of the collection.
    support: full
    membership:
      - podnet.baremetal.podnet
"""

    NODE = r"""
options:
  node:
    description:
      - What messages call the node, and its name in a ledger.
      - The name of the host in the inventory by default.
    type: str
"""

    ATTACHMENT = r"""
options:
  conflist:
    description: The configuration to attach by; if not given, the first of O(conflist_directory), which is what a runtime takes.
    type: str
  conflist_directory:
    description: Where the runtime's configurations are.
    type: str
    default: /etc/cni/net.d
  plugin_directory:
    description: Where the plugins are, one directory or several with colons between.
    type: str
    default: /opt/cni/bin
  timeout:
    description: How many seconds a plugin may take.
    type: int
    default: 60
"""

    OWNER = r"""
options:
  beside_flanneld:
    description:
      - Whether flanneld may run on the node. Without it, a process of this name in the node's network namespace is refused, since it would
        take away what the module makes, and the other way round.
    type: bool
    default: false
  older:
    description:
      - Whether a ledger may undo what a newer one did. Without it, one of a lower generation than the last that changed this node is
        refused, in check mode, too. The node keeps that in C(/var/lib/podnet.json).
      - A ledger whose ranges share no address with that one's is of another cluster, and is taken.
    type: bool
    default: false
  generation:
    description: The generation of the ledger, as the action plugin finds it. Not for users.
    type: int
"""

    STATE = r"""
options:
  state:
    description: Whether it is to be there.
    type: str
    choices: [absent, present]
    default: present
"""

    ENTRY = r"""
options:
  device:
    description: The VXLAN device.
    type: str
    default: flannel.1
requirements:
  - the capability CAP_NET_ADMIN, so in general C(become=true)
notes:
  - The module reads the kernel before it writes, writes only what differs, and reads again afterwards.
  - A change of an entry is one C(replace), never a C(del) and an C(add), so no packet is lost.
"""
