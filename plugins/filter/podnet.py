# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters, each with its documentation in the YAML file of its name. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import wraps
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.podnet.baremetal.plugins.module_utils import _kubelet, _plan
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import peer_objects
from ansible_collections.podnet.baremetal.plugins.plugin_utils import _flags, _pod_cidrs


def pod_subnets(names: Iterable[str], cluster_cidr: Any, taken: Mapping[str, Any] | None = None, prefix: Any = None) -> dict[str, Any]:
    found = _plan.pod_subnets(names, cluster_cidr, taken or {}, prefix)
    return {name: subnets[0] if len(subnets) == 1 else list(subnets) for name, subnets in found.items()}


def overlay_peers(ledger: Any, node: str) -> list[dict[str, Any]]:
    peers = _plan.peers_of(_plan.ledger_of(ledger), node)
    return [{**asdict(peer), "subnets": list(peer.subnets)} for peer in peers]


def subnet_env(lease: Any, cluster_cidr: Any, mtu: Any, *, masquerade: Any = True) -> str:
    subnets = lease.get("subnets") if isinstance(lease, Mapping) else lease
    return _plan.subnet_env(subnets, cluster_cidr, mtu, masquerade=boolean(masquerade))


def net_conf(
    cluster_cidr: Any, node_prefix: Any = None, *, subnets: Any = (), direct_routing: Any = False, **backend: Any
) -> dict[str, Any]:
    network = _plan.Network.of(cluster_cidr, node_prefix=node_prefix, who="net_conf")
    return _plan.net_conf(_plan.range_of(network, subnets), direct_routing=boolean(direct_routing), **backend)


def iproute2(peers: Iterable[Mapping[str, Any]], device: str = "flannel.1", device6: str | None = None) -> list[str]:
    return [entry.present for entry in peer_objects(device, peers, device6)]


def controller_manager_flags(cluster_cidr: Any, service_cidr: Any, node_prefix: Any = (), *, allocate: Any = False) -> dict[str, Any]:
    return _flags.controller_manager_flags(cluster_cidr, service_cidr, node_prefix, allocate=boolean(allocate))


def _worded(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Refused as error:
            raise AnsibleFilterError(str(error)) from None  # Ansible would repeat it

    return filtered


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        functions = (
            pod_subnets,
            _plan.pod_gateway,
            _plan.vtep_address,
            _plan.vtep_mac,
            overlay_peers,
            subnet_env,
            net_conf,
            iproute2,
            _kubelet.kubelet_configuration,
            _kubelet.kubelet_arguments,
            _kubelet.pod_limit,
            _kubelet.service_addresses,
            _kubelet.cgroup_driver,
            controller_manager_flags,
            _flags.cluster_configuration,
            _flags.kube_flags,
            _flags.with_kube_flags,
            _pod_cidrs.node_pod_cidrs,
            _pod_cidrs.flannel_annotations,
        )
        return {function.__name__: _worded(function) for function in functions}
