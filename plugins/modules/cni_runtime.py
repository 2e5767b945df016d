#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container runtime that looks for CNI in certain directories. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cni_runtime
short_description: Where a container runtime looks for CNI configurations and plugins
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Has containerd or CRI-O look for CNI configurations and plugins in these directories, by a file of its own beside the runtime's
    configuration. Nothing is written where the runtime's own files say so already.
  - A containerd before 2.0 takes everything of its CRI plugin from the last file that says anything of it. So where the configuration is
    of version 1 or 2, the file also repeats what the runtime's files say of that plugin. Run the task again when they change.
  - Where containerd's main file does not import the new one, it is added to C(imports) there.
  - A runtime reads all this when it starts. The module restarts nothing.
requirements:
  - python >= 3.9
options:
  runtime:
    description: The container runtime.
    type: str
    choices: [containerd, crio]
    required: true
  config:
    description: Its main configuration file. By default C(/etc/containerd/config.toml) or C(/etc/crio/crio.conf).
    type: str
    default: ''
  path:
    description:
      - The file that is added. By default C(/etc/containerd/conf.d/99-podnet-cni.toml) or C(/etc/crio/crio.conf.d/99-podnet-cni.conf).
      - The last of its directory by name has the last word.
    type: str
    default: ''
  conf_directory:
    description: Where it is to look for configurations.
    type: str
    default: /etc/cni/net.d
  plugin_directory:
    description: Where it is to look for plugins. A containerd with C(bin_dirs) of its own looks there, too, and first.
    type: str
    default: /opt/cni/bin
seealso:
  - module: podnet.baremetal.cni_conflist
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
"""

EXAMPLES = r"""
- name: The containerd of Debian looks for plugins where everybody else puts them
  podnet.baremetal.cni_runtime:
    runtime: containerd
    plugin_directory: /opt/cni/bin
  notify: Restart containerd
"""

RETURN = r"""
commands:
  description: What was done, or would be done, as a person would type it. The diff has the text.
  returned: always
  type: list
  elements: str
  sample: [install -m 0600 /dev/stdin /etc/containerd/conf.d/99-podnet-cni.toml]
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name
from ansible_collections.podnet.baremetal.plugins.module_utils._runtime_files import RuntimeFiles, runtime_target

ARGUMENTS: dict[str, Any] = {
    "runtime": {"type": "str", "choices": ["containerd", "crio"], "required": True},
    "config": {"type": "str", "default": ""},
    "path": {"type": "str", "default": ""},
    "conf_directory": {"type": "str", "default": "/etc/cni/net.d"},
    "plugin_directory": {"type": "str", "default": "/opt/cni/bin"},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def _target(options: dict[str, Any]) -> RuntimeFiles:
    return runtime_target(node_name(options), options)


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
