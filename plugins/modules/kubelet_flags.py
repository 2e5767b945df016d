#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units, drop-ins and environment files without the flags that a kubelet does not start with. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubelet_flags
short_description: Units and environment files without the flags that a kubelet does not start with
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - A kubelet does not start when it is given a flag that its version does not know, such as C(--network-plugin) since 1.24.
    This takes such flags, with their values, out of the files that it is started by. Everything else in them stays as it is.
  - Two flags that were renamed get their new name, C(--bootstrap-kubeconfig) and C(--kernel-memcg-notification).
  - A file is written beside its place and renamed, with the mode that it had. A link is followed to the file that it names.
  - Files that are not there are none to it. Comments are left alone.
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.node
options:
  version:
    description: The version of the kubelet, such as V(1.31) or V(v1.31.4).
    type: str
    required: true
  files:
    description: Absolute paths. They may have C(*) in them.
    type: list
    elements: str
    required: true
  exclude:
    description: Paths among them that are left alone.
    type: list
    elements: str
    default: []
seealso:
  - {plugin: podnet.baremetal.kubelet_arguments, plugin_type: filter}
"""

EXAMPLES = r"""
- name: Make the kubelet's units fit for the version that it is upgraded to
  podnet.baremetal.kubelet_flags:
    version: 1.31.4
    files:
      - /etc/systemd/system/kubelet.service
      - /etc/systemd/system/kubelet.service.d/*.conf
      - /var/lib/kubelet/kubeadm-flags.env
  become: true
"""

RETURN = r"""
commands:
  description: What was done, or in check mode would be done, as a person would type it. The diff has the text.
  returned: always
  type: list
  elements: str
  sample: [install -m 0644 /dev/stdin /var/lib/kubelet/kubeadm-flags.env]
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._flag_files import FlagFiles, flag_files_target
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name

ARGUMENTS: dict[str, Any] = {
    "version": {"type": "str", "required": True},
    "files": {"type": "list", "elements": "str", "required": True},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def _target(options: dict[str, Any]) -> FlagFiles:
    return flag_files_target(node_name(options), options)


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
