# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of vxlan_peers: finds the plan of the ledger and sends it to the node, by the short road if it can. I/O on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, about
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_device
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.module_utils._peers_options import ARGUMENTS, RULES
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import planned
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import by_the_short_road


class ActionModule(ActionBase):
    """Puts the plan in the place of the ledger's path or of the peers, then runs on the node what the module runs."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = ActionBase.validate_argument_spec(self, argument_spec=ARGUMENTS, **RULES)
        try:
            options = self._with_plan(options, options["node"] or (task_vars or {})["inventory_hostname"])
        except Refused as error:
            return {**result, "failed": True, "msg": str(error), "commands": []}
        answer = by_the_short_road(self, task_vars or {}, options)
        if answer is None:
            answer = self._execute_module(module_args=options, task_vars=task_vars)
        return {**result, **answer}

    def _with_plan(self, options: Mapping[str, Any], host: str) -> dict[str, Any]:
        given = {name: value for name, value in options.items() if name not in {"ledger", "peers"} and value is not None}
        valid_device(host, "device", given["device"])
        if options["ledger"]:
            lease, plan = planned(self._loader.path_dwim(options["ledger"]), options["node"])
            given |= {"plan": plan, "own": lease["mac"]}
        elif options["peers"] is not None:
            with about(host):
                given["plan"] = pack_plan(options["peers"])
        return given
