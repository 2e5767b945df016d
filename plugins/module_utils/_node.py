# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node that this process is on: what it is called, whether it may be changed from here, and one run at a time. I/O."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse

CAP_NET_ADMIN = 12  # linux/capability.h
NAMESPACE = "/proc/self/ns/net"


def node_name(options: Mapping[str, Any]) -> str:
    """The name by which messages call this node: what the caller says, else its host name."""
    return options.get("node") or os.uname().nodename


def require_net_admin(node: str) -> None:
    """Refuse at the start what the kernel would refuse in the middle. Reads CapEff, proc(5)."""
    with open("/proc/self/status", encoding="ascii") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    if not effective >> CAP_NET_ADMIN & 1:
        user = f"user {os.geteuid()} without CAP_NET_ADMIN"
        raise Refused(f"{node}: the module runs as {user}: run it as root, with become: true.")


def refuse_flanneld(node: str, options: Mapping[str, Any]) -> None:
    """Refuse to be the second owner of the tables of this network namespace, unless the options say that flanneld may run beside."""
    if options.get("beside_flanneld"):
        return
    here = os.stat(NAMESPACE).st_ino
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:  # or it has ended
            if name.read() == "flanneld\n" and os.stat(f"/proc/{pid}/ns/net").st_ino == here:
                why = "it changes the same entries: stop it, or say podnet_beside_flanneld: true (beside_flanneld: true)"
                raise refuse(node, "flanneld", f"running as process {pid}", why)


@contextmanager
def node_lock() -> Iterator[None]:
    """Keep other runs on this node away until left. Not for use inside itself.

    flock(2) on the network namespace itself (namespaces(7)) leaves no file, dies with its process, is there before any
    directory is made and after it is removed, and is another one in each node of the lab.
    """
    namespace = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(namespace, fcntl.LOCK_EX)
        yield
    finally:
        os.close(namespace)
