# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of adopt_leases: takes what is said of a running cluster into the ledger, on the controller. I/O on files and the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.podnet.baremetal.plugins.module_utils._adopt import (
    ARGUMENTS,
    Claim,
    Cluster,
    adopted,
    etcd_claims,
    found_claims,
    kubernetes_claims,
    warnings,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import answer
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import LedgerFile
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import INVENTORY, Host, Ledger, Network
from ansible_collections.podnet.baremetal.plugins.plugin_utils._inventory import inventory_hosts
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import LEDGER, etcd_place
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import leave_copy

NETWORK = ("cluster_cidr", "service_cidr", "node_prefix", "reserved")
HOST = ("name", "underlay", "subnet", "node_prefix", "mac")


class ActionModule(ActionBase):
    """Runs in Ansible's own process."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = ActionBase.validate_argument_spec(self, argument_spec=ARGUMENTS)
        try:
            cluster = self._cluster(options, task_vars or {})
        except Refused as error:
            return {**result, "failed": True, "msg": str(error), "commands": []}
        path = self._loader.path_dwim(options["ledger"])
        before: list[Ledger | None] = []

        def change(found: Ledger | None) -> Ledger:
            before.append(found)
            return adopted(found, cluster)

        ledger = LedgerFile(path, change, brief=options["brief"])
        check = self._task.check_mode
        said = answer(lambda: ledger, check=check, diff=True)
        if said.get("failed"):
            return {**result, **said}
        copy = leave_copy(path, ledger.planned if check and said["changed"] else None)
        return {**result, **said, "ledger": copy, "warnings": warnings(before[0], cluster)}

    def _cluster(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> Cluster:
        if etcd_place(options["ledger"]):
            raise refuse(INVENTORY, LEDGER, options["ledger"], "adopt into a file, with -e podnet_ledger=FILE, and put that into etcd then")
        network = Network.of(*(options[option] for option in NETWORK))
        hosts = tuple(Host.of(**{option: host[option] for option in HOST}) for host in inventory_hosts(variables))
        unreachable = tuple(name for name, found in options["nodes"].items() if "device" not in found)
        return Cluster(network, hosts, tuple(self._claims(options, network)), options["vni"], options["port"], unreachable)

    def _claims(self, options: Mapping[str, Any], network: Network) -> Iterator[Claim]:
        for name, found in options["nodes"].items():
            yield from found_claims(name, found, network)
        for option, claims in (("kubernetes", kubernetes_claims), ("etcd", etcd_claims)):
            if options[option]:
                yield from claims(self._text(option, options[option]), options[option])

    def _text(self, option: str, path: str) -> str:
        try:
            with open(self._loader.path_dwim(path), encoding="utf-8") as file:
                return file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"adopt_{option} is {path}: the file cannot be read: {error}.") from error
