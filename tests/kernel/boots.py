# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node boots from, for kernel tests: the modules' texts and restore.sh. I/O: a network namespace, strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._boot import device_text, peers_text
from ansible_collections.podnet.baremetal.plugins.module_utils._vtep import vtep_target
from node import OPTIONS, Node, target

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "flannel" / "files" / "restore.sh"
TABLE = "table inet podnet\ndelete table inet podnet\ntable inet podnet {\nchain c {\n counter accept\n}\n}\n"
STRACE = ["strace", "-f", "-qq", "-e", "trace=sendmsg,sendto", "-e", "signal=none", "-o"]
PUT_BACK = "The overlay of this node is not as it was left: putting it back.\n"


class Boot:
    """A node's texts in a directory of the test's, and what restore.sh makes of them."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node = node
        self.directory = directory
        self.command = ["sh", str(directory / "restore.sh")]
        self.environment = {**os.environ, "RUNTIME_DIRECTORY": str(directory / "run"), "STATE_DIRECTORY": str(directory / "texts")}
        self.texts = directory / "texts"
        self.texts.mkdir()
        (directory / "subnet.env").write_text("FLANNEL_NETWORK=172.20.0.0/16\n")
        (self.texts / ".made-by-podnet").touch()
        (directory / "podnet.nft").write_text(TABLE)
        shutil.copy(SCRIPT, directory)
        self.want()

    def want(self, devices: dict[str, Any] | None = None, **entries: Any) -> None:
        """Write the texts for another device and other peers."""
        parts = vtep_target("node1", {**OPTIONS, **(devices or {})}).parts
        (self.texts / "device.sh").write_text(device_text(thing for part in parts for thing in part.desired))
        (self.texts / "peers.sh").write_text(peers_text(target(**entries).objects()))

    def run(self, *, code: int = 0, around: tuple[str, ...] = ()) -> str:
        """What the script says."""
        done = subprocess.run([*around, *self.command], env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    def replay(self) -> None:
        """Have it put everything back, though nothing is lacking."""
        (self.directory / "run" / ".left-by-podnet").unlink(missing_ok=True)
        assert self.run() == PUT_BACK

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command, env=self.environment, stdout=subprocess.PIPE, text=True)

    def written(self) -> list[str]:
        """The messages by which one run changed the kernel, each by its type."""
        log = self.directory / "strace"
        self.run(around=(*STRACE, str(log)))
        return re.findall(r"(?:RTM_(?:NEW|DEL|SET)\w+|NFT_MSG_(?:NEW|DEL)\w+)", log.read_text())

    def shown(self) -> list[str]:
        """All of the node but the numbers of its interfaces, which a new device does not get back."""
        shown = [self.node.dump(), self.node.run("ip nexthop"), self.node.run("nft list ruleset")]
        lines = [re.sub(r"^\d+: |@if\d+", "", line) for text in shown for line in text.splitlines()]
        files = [path.read_text() for path in sorted(self.directory.glob("run/*.env"))]
        ras = [path.read_text() for path in Path("/proc/sys/net/ipv6/conf").glob("flannel*/accept_ra")]
        return sorted([*lines, *files, *ras])
