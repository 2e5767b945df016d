# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge to Ansible: the only place that knows check mode, diff mode, `fail_json` and `exit_json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Target, answer

Parameters = dict[str, Any]


def run(argument_spec: dict[str, Any], target: Callable[[Parameters], Target[Any]], **rules: Any) -> None:
    """Run a module: its parameters say what the target is, the engine does the rest. `rules` are AnsibleModule's own."""
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **rules)
    result = answer(lambda: target(module.params), check=module.check_mode, diff=module._diff)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)
