# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge to Ansible: the only place that knows check mode, diff mode, `fail_json` and `exit_json`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Target, converge
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused

Parameters = dict[str, Any]


def run(argument_spec: dict[str, Any], target: Callable[[Parameters], Target[Any]], **rules: Any) -> None:
    """Run a module: its parameters say what the target is, the engine does the rest. `rules` are AnsibleModule's own."""
    module = AnsibleModule(argument_spec=argument_spec, supports_check_mode=True, **rules)
    try:
        outcome = converge(target(module.params), check=module.check_mode)
    except Refused as error:
        module.fail_json(msg=str(error), commands=[])
    except Failed as error:
        module.fail_json(msg=str(error), commands=list(error.done), changed=bool(error.done))
    module.exit_json(**outcome.result())


def node_name(parameters: Parameters) -> str:
    """The name by which messages call this node: what the caller says, else its host name."""
    return parameters.get("node") or os.uname().nodename
