# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this process may change the network. I/O: reads /proc."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused

CAP_NET_ADMIN = 12  # linux/capability.h


def require_net_admin(node: str) -> None:
    """Refuse at the start what the kernel would refuse in the middle. Reads CapEff, proc(5)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    if not effective >> CAP_NET_ADMIN & 1:
        user = f"user {os.geteuid()} without CAP_NET_ADMIN"
        raise Refused(f"{node}: the module runs as {user}: run it as root, with become: true.")
