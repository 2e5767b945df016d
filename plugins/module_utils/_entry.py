# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One entry of a VXLAN device as a target: it is there, or it is not. I/O through the kernel."""

from __future__ import annotations

from ansible_collections.podnet.baremetal.plugins.module_utils._kernel import Kernel, KernelTarget
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import Entry, scope_of


def entry_target(node: str, entry: Entry, state: str) -> KernelTarget:
    """The target of the modules for one entry."""
    scope = scope_of(entry.device, [entry])
    return KernelTarget(node, entry.device, scope, (entry,) if state == "present" else (), kernel=Kernel.writable(node))
