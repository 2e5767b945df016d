# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of pod_subnet: plans on the controller, from the inventory alone, and contacts no host. Does I/O on the ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._files import write_atomically
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import ARGUMENT_SPEC, RULES, LedgerFile, target, text
from ansible_collections.podnet.baremetal.plugins.plugin_utils import _etcd_ledger
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd_ledger import EtcdLedger, settled
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import etcd_place
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import copy_of_the_run

GROUPS = ("kube_control_plane", "kube_master", "kube_node")
ETCD_FILES = ("etcd_ca", "etcd_certificate", "etcd_key")
VARIABLES = {
    "underlay": ("podnet_underlay_address", "ansible_host"),
    "subnet": ("podnet_pod_subnet",),
    "node_prefix": ("podnet_node_prefix",),
    "mac": ("podnet_vtep_mac",),
    "renamed_from": ("podnet_renamed_from",),
}


class ActionModule(ActionBase):
    """Runs in Ansible's own process."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, parameters = ActionBase.validate_argument_spec(self, argument_spec=ARGUMENT_SPEC, **RULES)
        try:
            return {**result, **self._converged(parameters, task_vars or {})}
        except Refused as error:
            return {**result, "failed": True, "msg": str(error), "commands": []}
        except Failed as error:
            return {**result, "failed": True, "msg": str(error), "commands": list(error.done), "changed": bool(error.done)}

    def _converged(self, parameters: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        if parameters["state"] == "present" and parameters["hosts"] is None:
            parameters["hosts"] = list(_hosts(variables))
        check = self._task.check_mode
        ledger, outcome = settled(lambda: self._target(parameters), check=check)
        result = outcome.result(diff=True)
        # etcd is asked once a run: what later tasks need is a file, too.
        return {**result, "ledger": _leave_copy(ledger, planned=isinstance(ledger, EtcdLedger) or (check and bool(outcome.changes)))}

    def _target(self, parameters: Mapping[str, Any]) -> LedgerFile | EtcdLedger:
        place = etcd_place(parameters["ledger"])
        if not place:
            return target({**parameters, "ledger": self._loader.path_dwim(parameters["ledger"])})
        files = {option: self._loader.path_dwim(parameters[option]) for option in ETCD_FILES if parameters[option]}
        return _etcd_ledger.target(place, {**parameters, **files})


def _hosts(variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every host of the groups, whatever --limit says: `groups` and `hostvars` always hold the whole inventory.

    `hostvars[name]` gathers a host's variables anew at each look, so each host is looked at once; reading one variable of what it
    gives templates that one alone (ansible/vars/hostvars.py, HostVarsVars, since 2.16). No play and no role has a say in it.
    """
    groups = variables["groups"]
    names = dict.fromkeys(name for group in GROUPS for name in groups.get(group, ()))
    if not names:
        raise refuse("the inventory", "its groups " + ", ".join(GROUPS), "empty", "put the nodes in one of them, or list them in `hosts`")
    for name in names:
        of_host = variables["hostvars"][name]
        yield {"name": name, **{option: _first(name, of_host, given) for option, given in VARIABLES.items()}}


def _first(name: str, of_host: Mapping[str, Any], variables: tuple[str, ...]) -> Any:
    """The first of the variables that the host has a value for."""
    for variable in variables:
        try:
            value = of_host.get(variable)
        except AnsibleError as error:
            raise refuse(name, variable, "a template", f"it cannot be rendered: {error}") from error
        if value not in (None, "", []):
            return value
    return None


def _leave_copy(ledger: LedgerFile | EtcdLedger, *, planned: bool) -> str:
    """Where later tasks of this run read the ledger: beside the inventory or, in etcd or under --check, a copy of what is planned."""
    copy = copy_of_the_run(ledger.name)
    if planned and ledger.planned is not None:
        write_atomically(copy, text(ledger.planned), 0o600)
        return copy
    with suppress(FileNotFoundError):
        os.unlink(copy)
    return ledger.name
