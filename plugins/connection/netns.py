# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection plugin that enters a node of a lab on this machine. I/O: processes in the node, files of the node and of the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: netns
short_description: Run tasks in a node of a lab on this machine
version_added: 0.1.0
author:
  - podnet contributors (@podnet)
description:
  - Enters the namespaces of a node that M(podnet.baremetal.lab) made on the controller, with C(nsenter).
  - Commands run as root, in root's home, with an environment of their own and not the controller's.
  - Files are written and read directly, through the node's root directory, without a process.
  - C(become) to root is not needed and, with nothing to do, does no harm. To another user it works as elsewhere, by C(sudo) or C(su).
options:
  lab_directory:
    description: The directory of the lab, as given to M(podnet.baremetal.lab).
    type: path
    default: /run/podnet-lab
    env:
      - name: PODNET_LAB_DIRECTORY
    vars:
      - name: podnet_lab_directory
  node:
    description:
      - The node, by its name or its address in the lab.
      - V(switch) is where the links of the nodes meet.
    type: str
    default: inventory_hostname
    vars:
      - name: inventory_hostname
      - name: ansible_host
      - name: podnet_lab_node
extends_documentation_fragment:
  - connection_pipelining
requirements:
  - root, on the controller
  - C(nsenter) of util-linux, 2.24 or newer
  - Linux 5.6 or newer
notes:
  - A node sees the machine's root, and so the controller's Python. Set C(ansible_python_interpreter) to V({{ ansible_playbook_python }}),
    since discovery may find another one that lacks what the modules import.
  - The host is unreachable when its node does not run.
seealso:
  - module: podnet.baremetal.lab
  - plugin: podnet.baremetal.lab
    plugin_type: inventory
"""

EXAMPLES = r"""
# hosts.yml: any inventory becomes one of a lab by its connection; podnet.baremetal.lab_up makes the nodes
kube_node:
  hosts:
    node1:
      ansible_host: 198.51.100.1
  vars:
    ansible_connection: podnet.baremetal.netns
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any, BinaryIO

from ansible.errors import AnsibleConnectionFailure, AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase
from ansible.utils.display import Display
from ansible_collections.podnet.baremetal.plugins.module_utils._lab import ENVIRONMENT, Record, open_inside, read

display = Display()
NAMESPACES = ["--mount", "--uts", "--ipc", "--net", "--pid"]
LOGIN = {**ENVIRONMENT, "HOME": "/root", "LANG": "C.UTF-8", "LOGNAME": "root", "SHELL": "/bin/sh", "USER": "root"}


class Connection(ConnectionBase):
    """A node of a lab. Nothing stays open between two operations, so each looks the node up again."""

    transport = "podnet.baremetal.netns"
    has_pipelining = True
    default_user = "root"  # what everything runs as already: Ansible then leaves out a become to root
    get_option: Callable[..., Any]

    def _connect(self) -> Connection:
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, *_: Any, **__: Any) -> tuple[int, bytes, bytes]:
        node = self._running()
        display.vvv(f"EXEC {cmd}", host=node.node.name)
        enter = ["nsenter", f"--target={node.pid}", *NAMESPACES, f"--wd=/proc/{node.pid}/root{LOGIN['HOME']}"]
        done = subprocess.run([*enter, "/bin/sh", "-c", cmd], input=in_data or b"", capture_output=True, check=False, env=LOGIN)
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        node = self._running()
        display.vvv(f"PUT {in_path} TO {out_path}", host=node.node.name)
        if not os.path.exists(in_path):
            raise AnsibleFileNotFound(f"{in_path} is to be put on {node.node.name}, and is not there.")
        with open(in_path, "rb") as source, self._inside(node, out_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as target:
            shutil.copyfileobj(source, target)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        node = self._running()
        display.vvv(f"FETCH {in_path} TO {out_path}", host=node.node.name)
        with self._inside(node, in_path, os.O_RDONLY) as source, open(out_path, "wb") as target:
            shutil.copyfileobj(source, target)

    def close(self) -> None:
        self._connected = False

    def reset(self) -> None:
        self.close()  # the next operation is a new one anyway

    def _running(self) -> Record:
        node, directory = self.get_option("node"), self.get_option("lab_directory")
        for record in read(directory):
            # A delegated task has the inventory_hostname of the host that it is delegated from; only ansible_host is the node's own.
            if node in (record.node.name, record.node.address.partition("/")[0]) and record.alive:
                return record
        raise AnsibleConnectionFailure(f"{node} is not a running node of the lab in {directory}: run podnet.baremetal.lab_up.")

    def _inside(self, node: Record, path: str, flags: int) -> BinaryIO:
        try:
            return os.fdopen(open_inside(node, path, flags), "wb" if flags & os.O_WRONLY else "rb")
        except OSError as error:
            raise AnsibleError(f"{node.node.name}: {path}: {error.strerror}.") from None
