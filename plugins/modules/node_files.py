#!/usr/bin/python
# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small text files of a node in one task, with the directories they need. Ansible module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_files
short_description: Small text files of a node in one task, with the directories they need
version_added: 0.1.0
author: podnet contributors (@podnet)
description:
  - Writes each file beside its place and renames it, so that a reader finds the old text or the new one, whole.
  - Makes the directories that are missing and marks them with the hidden file C(.made-by-podnet). O(state=absent) removes a file,
    and those directories when nothing else is in them. That leaves a node exactly as it was.
  - For files that only one task cares about M(ansible.builtin.copy) serves as well. This one writes several at the cost of one.
extends_documentation_fragment:
  - podnet.baremetal._attributes
  - podnet.baremetal._attributes.state
  - podnet.baremetal._attributes.node
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path of the file. A symbolic link is refused.
        type: str
        required: true
      content:
        description: The text. Required for O(state=present).
        type: str
      mode:
        description: The mode, as text with octal digits.
        type: raw
        default: '0644'
      once:
        description: Leave a file that is there already as it is, with its text, mode and owner. O(state=absent) removes it all the same.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Tell flannel's CNI plugin about the node
  podnet.baremetal.node_files:
    files:
      - path: /run/flannel/subnet.env
        content: "{{ '172.20.1.0/24' | podnet.baremetal.subnet_env('172.20.0.0/16', 1450) }}"
  become: true

- name: Note the kernel's version at the first run
  podnet.baremetal.node_files:
    files:
      - path: /var/lib/example/first-kernel
        content: "{{ ansible_facts.kernel }}\n"
        once: true
  become: true
"""

RETURN = r"""
commands:
  description: What was done, or in check mode would be done, as a person would type it.
  returned: always
  type: list
  elements: str
  sample: [install -m 0644 /dev/stdin /run/flannel/subnet.env]
"""

from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._files import TextFiles, files_target
from ansible_collections.podnet.baremetal.plugins.module_utils._module import run
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_name

FILE: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "content": {"type": "str"},
    "mode": {"type": "raw", "default": "0644"},
    "once": {"type": "bool", "default": False},
}
ARGUMENTS: dict[str, Any] = {
    "files": {"type": "list", "elements": "dict", "options": FILE, "required": True},
    "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
    "node": {"type": "str"},
}
RULES: dict[str, Any] = {}


def _target(options: dict[str, Any]) -> TextFiles:
    return files_target(node_name(options), options)


def main() -> None:
    run(ARGUMENTS, _target, **RULES)


if __name__ == "__main__":
    main()
