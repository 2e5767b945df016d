# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of nft_table: tells the node who its peers are. I/O on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import located
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import planned
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module, ShortRoad


class ActionModule(ShortRoad):
    """Puts the plan in the place of the ledger's path."""

    MODULE = Module("nft_table")

    def answer(self, given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = self.MODULE.validated(given)
        if not options["ledger"]:
            return self.sent(options, task_vars)
        try:
            found = planned(located(options["ledger"], self._loader.path_dwim), options["node"])
        except Refused as error:
            return {"failed": True, "msg": str(error), "commands": []}
        return self.sent({**options, "ledger": None, "plan": found.plan, "own": found.own}, task_vars)
