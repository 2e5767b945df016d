# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection plugin to no node: every command has already succeeded and changed nothing. I/O: counts what it was sent, in a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = r"""
name: answering
short_description: Answer at once, as a node on which nothing is left to change
author: podnet contributors (@podnet)
description:
  - Runs nothing. What a run then costs is the controller's part of it.
  - E(BENCH_DELAY) has each command take so many seconds, of which none is CPU time.
extends_documentation_fragment:
  - connection_pipelining
options: {}
"""

# What the role host reads: the first line of each file, as grep(1) prints it.
SETTINGS = [
    "/proc/sys/net/ipv4/ip_forward:1",
    "/proc/sys/net/bridge/bridge-nf-call-iptables:1",
    "/sys/module/overlay/parameters/redirect_max:256",
    "/sys/module/vxlan/parameters/udp_port:4789",
    "/proc/1/comm:systemd",
]
# What any module of the playbooks may answer where nothing is left to change.
ANSWER: dict[str, Any] = {
    "changed": False,
    "commands": [],
    "device": {"name": "flannel.1", "mtu": 1450, "mac": "02:f1:0a:00:00:00"},
    "forwarding": {"dropping": [], "accepting": [], "ufw": False, "firewalld": False},
    "rc": 0,
    "start": None,
    "stdout": "\n".join(SETTINGS),
    "stdout_lines": SETTINGS,
    "stderr": "",
}
LINE = f"{json.dumps(ANSWER)}\n".encode()


class Connection(ConnectionBase):
    """A node that is as it shall be."""

    transport = "answering"
    has_pipelining = True
    get_option: Callable[..., Any]

    def _connect(self) -> Connection:
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, *_: Any, **__: Any) -> tuple[int, bytes, bytes]:
        count(len(cmd.encode()) + len(in_data or b""))
        time.sleep(float(os.environ.get("BENCH_DELAY", "0")))
        return 0, LINE, b""

    def put_file(self, in_path: str, *_: Any) -> None:
        count(os.stat(in_path).st_size)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """There is nothing to fetch."""

    def close(self) -> None:
        self._connected = False


def count(size: int) -> None:
    """One line a call, written at once: the workers of ansible-playbook share the file."""
    path = os.environ.get("BENCH_CALLS")
    if path:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, f"{size}\n".encode())
        os.close(file)
