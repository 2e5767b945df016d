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
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import RULES
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Ledger, Network, hosts_of
from ansible_collections.podnet.baremetal.plugins.plugin_utils._inventory import inventory_hosts
from ansible_collections.podnet.baremetal.plugins.plugin_utils._ledger_action import LedgerAction, Target

NETWORK = ("cluster_cidr", "service_cidr", "node_prefix", "reserved")


class ActionModule(LedgerAction):
    """Takes over what all sources agree on."""

    _said: list[str]

    def target(self, variables: Mapping[str, Any]) -> Target:
        _result, options = ActionBase.validate_argument_spec(self, argument_spec=ARGUMENTS, required_together=RULES["required_together"])
        cluster = self._cluster(options, variables)
        looks: list[list[str]] = []

        def change(found: Ledger | None, **_occupied: object) -> Ledger:
            looks.append(warnings(found, cluster))
            self._said = looks[0]  # the second look finds what the first one led to
            return adopted(found, cluster)

        return lambda: self.ledger(options, change)

    def warnings(self) -> list[str]:
        return self._said

    def _cluster(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> Cluster:
        network = Network.of(*(options[option] for option in NETWORK))
        hosts = tuple(hosts_of(inventory_hosts(variables)))
        unreachable = tuple(name for name, found in options["nodes"].items() if "device" not in found)
        generation = max((found.get("generation", 0) for found in options["nodes"].values()), default=0)
        return Cluster(network, hosts, tuple(self._claims(options, network)), options["vni"], options["port"], unreachable, generation)

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
