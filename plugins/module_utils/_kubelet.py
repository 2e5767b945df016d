# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kubelet of a given version takes: the fields of its configuration file and its flags. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._kubelet_fields import SINCE, UNTIL
from ansible_collections.podnet.baremetal.plugins.module_utils._kubelet_flags import NEWEST, gone_since, minor_version

Settings = Mapping[str, Any]

TYPE = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
DURATION = re.compile(r"0|(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+")  # time.ParseDuration of Go, without signs
FLAG = re.compile(r"[a-z][a-z0-9-]*")
PLAIN = re.compile(r"[^\s\"'\\]*")  # what systemd hands on as it is (systemd.service(5), command lines)
DRIVER = {  # in the configuration of each runtime
    "containerd": r"^\s*SystemdCgroup\s*=\s*(true|false)",
    "crio": r"^\s*cgroup_manager\s*=\s*\"(\w+)\"",
    "docker": r"native\.cgroupdriver=(\w+)",
}
DEFAULT_PODS = 110  # of the kubelet
RESERVED = 3  # addresses of a pod subnet that no pod gets: network, gateway, broadcast


class Kind(NamedTuple):
    """What a field takes: its words for a person, and a test of a value."""

    words: str
    fits: Callable[[Any], bool]


class Field(NamedTuple):
    """One field: from which to which minor version there is one, and what it takes."""

    first: int
    last: int
    kind: str


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _all_of(kind: str, values: Any) -> bool:
    return isinstance(values, list) and all(KINDS[kind].fits(value) for value in values)


def _map_of(kind: str, values: Any) -> bool:
    return isinstance(values, Mapping) and all(isinstance(name, str) and KINDS[kind].fits(value) for name, value in values.items())


KINDS = {
    "bool": Kind("true or false", lambda value: isinstance(value, bool)),
    "int": Kind("a whole number", _whole),
    "number": Kind("a number", lambda value: _whole(value) or isinstance(value, float)),
    "text": Kind("a text", lambda value: isinstance(value, str)),
    "duration": Kind("a duration such as 10s or 4h0m0s", lambda value: isinstance(value, str) and bool(DURATION.fullmatch(value))),
    "quantity": Kind("a quantity such as 10Mi", lambda value: isinstance(value, str) or _whole(value)),
    "texts": Kind("a list of texts", partial(_all_of, "text")),
    "ints": Kind("a list of whole numbers", partial(_all_of, "int")),
    "map of text": Kind("names with a text each", partial(_map_of, "text")),
    "map of bool": Kind("names with true or false each", partial(_map_of, "bool")),
    "map of texts": Kind("names with a list of texts each", partial(_map_of, "texts")),
    "map of quantity": Kind("names with a quantity each", partial(_map_of, "quantity")),
}
FIELDS = {
    path: Field(minor, UNTIL.get(path, NEWEST), kind)
    for minor, kinds in SINCE.items()
    for kind, paths in kinds.items()
    for path in paths.split()
}


def kubelet_configuration(
    settings: Settings, version: Any, defaults: Settings | None = None, *, who: str = "kubelet_configuration"
) -> Settings:
    """The document for a kubelet of this version: `settings` over those of `defaults` that it knows. None leaves a field out.

    A kubelet does not refuse a field that it does not know: it reads the file leniently and goes on without it. So this refuses it.
    """
    minor = minor_version(who, version)
    known = _known(defaults or {}, minor)
    return {**TYPE, **_merged(known, _checked(who, settings, minor))}


def kubelet_arguments(flags: Settings, version: Any, defaults: Settings | None = None, *, who: str = "kubelet_arguments") -> list[str]:
    """The command line of a kubelet of this version, sorted: `flags` over those of `defaults` that it has. None leaves a flag out."""
    minor = minor_version(who, version)
    alive = {name: value for name, value in (defaults or {}).items() if gone_since(name, minor) is None}
    for name, value in flags.items():
        _check_flag(who, name, value, minor)
    return [f"--{name}={_flag_text(value)}" for name, value in sorted({**alive, **flags}.items()) if value not in (None, "")]


def pod_limit(subnets: Any, wanted: Any = None, *, who: str = "pod_limit") -> int:
    """How many pods a node may run so that each gets an address: `wanted`, or the kubelet's own default, or as many as fit."""
    room = min((subnet.num_addresses - RESERVED for subnet in _networks(who, "kubelet_pod_cidr", subnets)), default=None)
    if not (text := str(wanted or 0)).isdecimal() or not text.isascii():
        raise refuse(who, "kubelet_max_pods", json.dumps(wanted), "expected a whole number")
    pods = int(wanted or 0)
    if room is not None and pods > room:
        raise refuse(who, "kubelet_max_pods", pods, f"the pod subnet {_listed(subnets)} has addresses for {room}")
    return pods or max(1, min(DEFAULT_PODS, room or DEFAULT_PODS))


def service_addresses(cidrs: Any, number: int = 10, *, who: str = "service_addresses") -> list[str]:
    """The address of this number in each range. The tenth is what kubeadm gives the cluster's DNS."""
    ranges = _networks(who, "kubelet_service_cidr", cidrs)
    for each in ranges:
        if not 0 < number < each.num_addresses - 1:
            raise refuse(who, "kubelet_service_cidr", each, f"it has no address number {number}: give kubelet_cluster_dns")
    return [str(each[number]) for each in ranges]


def cgroup_driver(text: str | None, runtime: str, *, who: str = "cgroup_driver") -> str:
    """The cgroup driver that a runtime's own configuration names, or that the runtime has where it names none."""
    lines = "\n".join(line for line in (text or "").splitlines() if not line.lstrip().startswith("#"))
    named: set[str] = set(re.findall(DRIVER[runtime], lines, re.MULTILINE))
    if len(named) == 1:
        only = next(iter(named))
        return {"true": "systemd", "false": "cgroupfs"}.get(only, only)
    reason = "names both" if named else _why_unknown(lines, runtime)
    if reason:
        raise refuse(who, "the cgroup driver", "unknown", f"the configuration of {runtime} {reason}: give kubelet_cgroup_driver")
    return "systemd" if runtime == "crio" else "cgroupfs"


def _why_unknown(lines: str, runtime: str) -> str:
    if runtime == "docker":
        return "names no native.cgroupdriver, so that docker chooses"
    imports = runtime == "containerd" and re.search(r"^\s*imports\s*=\s*\[\s*[\"']", lines, re.MULTILINE)
    return "imports other files" if imports else ""


def _networks(who: str, what: str, texts: Any) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(str(text)) for text in ([texts] if isinstance(texts, str) else texts) if text]
    except (TypeError, ValueError) as error:
        raise refuse(who, what, json.dumps(texts), "expected a network such as 172.20.1.0/24, or a list of them") from error


def _listed(texts: Any) -> str:
    return texts if isinstance(texts, str) else ", ".join(map(str, texts))


def _known(defaults: Settings, minor: int, prefix: str = "") -> dict[str, Any]:
    """The defaults without what this version does not know, and what is empty; an object goes with its last field."""
    found: dict[str, Any] = {}
    for name, value in defaults.items():
        field = FIELDS.get(prefix + name)
        if field is None and isinstance(value, Mapping):
            below = _known(value, minor, f"{prefix}{name}.")
            found.update({name: below} if below else {})
        elif field is not None and field.first <= minor <= field.last and value not in (None, ""):
            found[name] = _understood(field.kind, value)
    return found


def _merged(below: Settings, above: Settings) -> dict[str, Any]:
    both = {
        name: _merged(below[name], value) if isinstance(value, Mapping) and isinstance(below.get(name), Mapping) else value
        for name, value in above.items()
    }
    return {name: value for name, value in sorted({**below, **both}.items()) if value is not None}


def _checked(who: str, settings: Settings, minor: int, prefix: str = "") -> dict[str, Any]:
    """The settings in the types that the kubelet takes; refuses what this version would not read, or not start with."""
    if not isinstance(settings, Mapping):
        raise refuse(who, prefix.rstrip(".") or "kubelet_settings", json.dumps(settings), "expected fields of a KubeletConfiguration")
    return {name: _checked_value(who, prefix + name, value, minor) for name, value in settings.items()}


def _checked_value(who: str, path: str, value: Any, minor: int) -> Any:
    if path in FIELDS:
        return _checked_field(who, path, value, minor)
    if any(known.startswith(f"{path}.") for known in FIELDS):
        return None if value is None else _checked(who, value, minor, f"{path}.")
    if isinstance(value, list) and any(known.startswith(f"{path}[].") for known in FIELDS):
        return [_checked(who, each, minor, f"{path}[].") for each in value]
    raise refuse(who, f"kubelet_settings.{path}", json.dumps(value), f"a KubeletConfiguration has no such field{_nearest(path)}")


def _checked_field(who: str, path: str, value: Any, minor: int) -> Any:
    field = FIELDS[path]
    if not field.first <= minor <= field.last:
        known = f"1.{field.first} and newer" if field.last == NEWEST else f"1.{field.first} to 1.{field.last}"
        why = f"a kubelet 1.{minor} does not know the field and would go on without it; {known} do"
        raise refuse(who, f"kubelet_settings.{path}", json.dumps(value), why)
    understood = _understood(field.kind, value)
    if understood is not None and not KINDS[field.kind].fits(understood):
        raise refuse(who, f"kubelet_settings.{path}", json.dumps(value), f"expected {KINDS[field.kind].words}")
    return understood


def _understood(kind: str, value: Any) -> Any:
    """A template gives texts, also where a number or a truth is meant."""
    if isinstance(value, str) and kind == "int" and re.fullmatch(r"-?\d+", value):
        return int(value)
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) and kind == "bool" else value


def _nearest(path: str) -> str:
    near = get_close_matches(path, FIELDS, n=1)
    return f", and the kubelet would go on without it; {near[0]} is one" if near else ", and the kubelet would go on without it"


def _check_flag(who: str, name: str, value: Any, minor: int) -> None:
    if not FLAG.fullmatch(str(name)):
        raise refuse(who, "the name of a flag", json.dumps(name), "expected small letters, digits and '-', without the leading dashes")
    gone = gone_since(name, minor)
    if gone is not None:
        raise refuse(
            who, f"kubelet_flags.{name}", json.dumps(value), f"a kubelet 1.{minor} does not start with it, which is gone since 1.{gone}"
        )
    if not PLAIN.fullmatch(_flag_text(value)):
        raise refuse(who, f"kubelet_flags.{name}", json.dumps(value), "expected a value without spaces, quotes and backslashes")


def _flag_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={_flag_text(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ",".join(map(_flag_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
