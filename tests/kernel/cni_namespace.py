# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node for CNI: network and mount namespaces with an /etc, /run and /var/lib of their own. Run as a program it is the node's process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLUGINS = "/usr/lib/cni"  # of Debian's containernetworking-plugins
COLLECTIONS = Path(__file__).resolve().parents[2] / "build" / "collections"
MODULES = "ansible_collections.podnet.baremetal.plugins.modules"


@contextmanager
def cni_node() -> Iterator[CniNode]:
    """A node that lasts at most as long as the test's process: its own process reads from a pipe that we hold."""
    arguments = ["unshare", "--mount", "--net", sys.executable, __file__]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield CniNode(process.pid)


@dataclass(frozen=True)
class CniNode:
    """The namespaces of a process."""

    pid: int

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        entering = ["nsenter", f"--target={self.pid}", "--mount", "--net"]
        environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
        return subprocess.run([*entering, *arguments], env=environment, input=text, capture_output=True, text=True, check=False)

    def command(self, *arguments: str, text: str = "") -> str:
        process = self.run(*arguments, text=text)
        assert process.returncode == 0, f"{' '.join(arguments)}: {process.stdout}{process.stderr}"
        return process.stdout

    def path(self, path: str) -> Path:
        """A path of the node, seen from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def module(self, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module of ours on the node as Ansible does; what it returned, be it a failure."""
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "node": "node1", "_ansible_check_mode": check, "_ansible_diff": True}})
        process = self.run(sys.executable, "-m", f"{MODULES}.{module}", text=arguments)
        assert process.stdout.lstrip().startswith("{"), f"{process.stdout}{process.stderr}"
        return dict(json.loads(process.stdout))

    def plugin(self, name: str, program: str) -> None:
        """Put a plugin of the test's own beside the real ones, in /run/plugins."""
        directory = self.path("/run/plugins")
        directory.mkdir(exist_ok=True)
        file = directory / name
        # The interpreter's real path: that of a virtual environment has the checkout's spaces, which a first line cannot have.
        file.write_text(f"#!{os.path.realpath(sys.executable)}\n{program}")
        file.chmod(0o755)


def prepare() -> None:
    """Make the node what a machine is on which no pod has ever been."""
    for directory in ("/run", "/var/lib"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    for directory in ("/run/upper", "/run/work"):
        os.mkdir(directory)
    overlay = ["mount", "-t", "overlay", "-o", "lowerdir=/etc,upperdir=/run/upper,workdir=/run/work", "overlay", "/etc"]
    subprocess.run(overlay, check=True)
    shutil.rmtree("/etc/cni", ignore_errors=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")  # a new namespace has the machine's


if __name__ == "__main__":
    prepare()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
