# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes as the inventory has them. Reads variables only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse

GROUPS = ("kube_control_plane", "kube_master", "kube_node")
VARIABLES = {
    "underlay": ("podnet_underlay_address", "ansible_host"),
    "subnet": ("podnet_pod_subnet",),
    "node_prefix": ("podnet_node_prefix",),
    "mac": ("podnet_vtep_mac",),
    "renamed_from": ("podnet_renamed_from",),
}


def inventory_hosts(variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
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


def underlay_addresses(name: str, of_host: Mapping[str, Any]) -> list[str]:
    """Those by which others reach a host; none where the inventory only has a name for it."""
    given = _first(name, of_host, VARIABLES["underlay"]) or name
    return [str(address) for address in (given if isinstance(given, list) else [given]) if _is_address(str(address))]


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _first(name: str, of_host: Mapping[str, Any], variables: tuple[str, ...]) -> Any:
    """The first of the variables that the host has a value for."""
    for variable in variables:
        try:
            value = of_host.get(variable)
        except AnsibleError as error:
            raise refuse(name, variable, "a template", f"it cannot be rendered: {error}") from error
        if "{{" in str(value):  # HostVarsVars of ansible-core before 2.19 leaves what is undefined as it is
            raise refuse(name, variable, "a template", f"it cannot be rendered: {value}")
        if value not in (None, "", []):
            return value
    return None
