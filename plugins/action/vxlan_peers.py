# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of vxlan_peers: finds the plan of the ledger, or packs the peers, and sends it to the node. I/O on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, about
from ansible_collections.podnet.baremetal.plugins.module_utils._inputs import valid_device
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import located
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import planned
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import Module, ShortRoad

DEVICE6 = "flannel-v6.1"  # as flannel names it for the VNI 1


class ActionModule(ShortRoad):
    """Puts the plan in the place of the ledger's path or of the peers."""

    MODULE = Module("vxlan_peers")

    def answer(self, given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        options = self.MODULE.validated(given)
        try:
            plan = self._plan(options)
        except Refused as error:
            return {"failed": True, "msg": str(error), "commands": []}
        return self.sent({**options, "ledger": None, "peers": None, **plan}, task_vars)

    def _plan(self, options: Mapping[str, Any]) -> dict[str, Any]:
        for each in ("device", "device6"):
            valid_device(options["node"], each, options[each] or DEVICE6)
        if options["ledger"]:
            lease, plan = planned(located(options["ledger"], self._loader.path_dwim), options["node"])
            own = [lease[mac] for mac in ("mac", "mac6") if mac in lease]
            device6 = (options["device6"] or DEVICE6) if "mac6" in lease else None
            ledger = {"generation": lease["generation"], "cluster_cidrs": lease["cluster_cidr"]}
            return {"plan": plan, "own": own, "device6": device6, **ledger}
        if options["peers"] is None:
            return {}
        with about(options["node"]):
            return {"plan": pack_plan(options["peers"])}
