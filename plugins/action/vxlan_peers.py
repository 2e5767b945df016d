# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of vxlan_peers: reads the ledger on the controller and sends the node its peers, packed. I/O on the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import read
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_peers
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import peers_of


class ActionModule(ActionBase):
    """Puts the plan of the node in the place of the ledger's path, then runs the module."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = dict(self._task.args)
        path = options.pop("ledger", None)
        if path:
            options["plan"] = self._plan(self._loader.path_dwim(path), options.get("node"))
        return {**result, **self._execute_module(module_args=options, task_vars=task_vars)}

    def _plan(self, path: str, node: str | None) -> str:
        if not node:
            raise AnsibleActionFail("vxlan_peers: ledger needs node, the name of this node in it: node: '{{ inventory_hostname }}'.")
        try:
            ledger = read(path)
            if ledger is None:
                raise Refused(f"{node}: the ledger {path} is not there: let podnet.baremetal.pod_subnet make it first.")
            return pack_peers(asdict(peer) for peer in peers_of(ledger, node))
        except Refused as error:
            raise AnsibleActionFail(str(error)) from error
