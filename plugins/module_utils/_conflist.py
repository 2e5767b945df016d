# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CNI configuration lists: building one, and refusing what a runtime or a plugin would choke on. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar, Union

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse

Conflist = dict[str, Any]
Plugin = dict[str, Any]
Network = Union[IPv4Network, IPv6Network]
T = TypeVar("T")

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")  # configuration lists came with 0.3.0
WITHOUT_CHECK = VERSIONS[:2]  # CHECK, and prevResult for DEL, came with 0.4.0
IDENTIFIER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")  # what libcni takes for a network name and for a container ID
INTERFACE = re.compile(r"[a-z][a-z0-9_.-]{0,14}")
DEFAULT_BRIDGE = "cni0"  # of the bridge plugin, when its configuration names none
MTUS = range(68, 65536)  # ETH_MIN_MTU to ETH_MAX_MTU, linux/if_ether.h
SMALLEST_SUBNET = 4  # addresses: network, gateway, one pod, broadcast (host-local refuses less)
PORTMAP: Plugin = {"type": "portmap", "capabilities": {"portMappings": True}}


def desired(options: Mapping[str, Any], who: str) -> Conflist:
    """The list that the options of `cni_conflist` ask for: the user's own `content`, or one of the two forms."""
    if options["subnets"]:
        _networks(who, "subnets", options["subnets"])  # with each form, since bridges are compared with them
    if options["content"] is not None:
        return checked(options["content"], who)
    matching(who, "bridge", options["bridge"], INTERFACE)
    plugin = _bridge_plugin(options, who) if options["form"] == "bridge" else _flannel_plugin(options["bridge"])
    return checked({"name": options["name"], "cniVersion": options["cni_version"], "plugins": [plugin, PORTMAP]}, who)


def parsed(text: str, who: str) -> Conflist:
    """Read the text of a configuration file. One of a single plugin becomes a list of one, as in libcni (ConfListFromConf)."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise Refused(f"{who} is not a CNI configuration, since it is not JSON: {error}.") from error
    if isinstance(content, dict) and "type" in content and "plugins" not in content:
        content = {key: content.get(key) for key in ("name", "cniVersion")} | {"plugins": [content]}
    return checked(content, who)


def printed(conflist: Conflist) -> str:
    return json.dumps(conflist, indent=2) + "\n"


def checked(content: object, who: str) -> Conflist:
    """Give the list back if a runtime can use it. Raises Refused, naming the field."""
    conflist = _typed(who, "the configuration list", content, dict)
    matching(who, "name", conflist.get("name"), IDENTIFIER)
    if conflist.get("cniVersion") not in VERSIONS:
        raise refuse(who, "cniVersion", json.dumps(conflist.get("cniVersion")), f"one of {', '.join(VERSIONS)} would be accepted")
    plugins = _typed(who, "plugins", conflist.get("plugins"), list)
    if not plugins:
        raise refuse(who, "plugins", "[]", "a list of at least one plugin would be accepted")
    for number, plugin in enumerate(plugins):
        _check_plugin(who, f"plugins[{number}]", plugin)
    return conflist


def plugin_types(conflist: Conflist) -> list[str]:
    """Every executable that the list makes run, each once: the plugins and those that they call in turn."""
    return list(dict.fromkeys(kind for plugin in conflist["plugins"] for kind in _executed(plugin)))


def knows_check(conflist: Conflist) -> bool:
    return conflist["cniVersion"] not in WITHOUT_CHECK


def can_check(conflist: Conflist) -> bool:
    return knows_check(conflist) and not conflist.get("disableCheck")


def matching(who: str, what: str, value: object, pattern: re.Pattern[str]) -> str:
    """Give a name back if it may become part of a path or a device name."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise refuse(who, what, json.dumps(value), f"a name that matches {pattern.pattern} would be accepted")
    return value


def _flannel_plugin(bridge: str) -> Plugin:
    return {"type": "flannel", "delegate": {**_bridge_name(bridge), "hairpinMode": True, "isDefaultGateway": True}}


def _bridge_plugin(options: Mapping[str, Any], who: str) -> Plugin:
    """What the flannel plugin hands to the bridge plugin (flannel_linux.go:34-119), without the flannel plugin."""
    clusters = _networks(who, "cluster_cidrs", options["cluster_cidrs"])
    subnets = [_inside(who, subnet, clusters) for subnet in _networks(who, "subnets", options["subnets"])]
    if options["mtu"] not in MTUS:
        raise refuse(who, "mtu", options["mtu"], f"form bridge needs one from {MTUS[0]} to {MTUS[-1]}")
    return {
        "type": "bridge",
        **_bridge_name(options["bridge"]),
        "isGateway": True,
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": not options["masquerade"],
        "mtu": options["mtu"],
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(subnet)}] for subnet in subnets],
            "routes": [{"dst": str(cluster)} for cluster in clusters],
        },
    }


def _bridge_name(bridge: str) -> Plugin:
    return {} if bridge == DEFAULT_BRIDGE else {"bridge": bridge}


def _networks(who: str, what: str, texts: Sequence[str] | None) -> list[Network]:
    if not texts:
        raise refuse(who, what, json.dumps(texts), "form bridge needs a list of at least one, such as 172.20.1.0/24")
    return [_network(who, what, text) for text in texts]


def _network(who: str, what: str, text: str) -> Network:
    """Only the canonical text: Python before 3.9.5 reads 010.0.0.0 as 10.0.0.0, others as 8.0.0.0."""
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise refuse(who, what, text, "an IPv4 or IPv6 network would be accepted, such as 172.20.1.0/24") from error
    if str(network) != text:
        raise refuse(who, what, text, f"{network} would be accepted")
    return network


def _inside(who: str, subnet: Network, clusters: Sequence[Network]) -> Network:
    if not any(subnet.prefixlen >= cluster.prefixlen and subnet.supernet(new_prefix=cluster.prefixlen) == cluster for cluster in clusters):
        names = ", ".join(map(str, clusters))
        raise refuse(who, "subnets", subnet, f"a part of cluster_cidrs ({names}) would be accepted")
    if subnet.num_addresses < SMALLEST_SUBNET:
        raise refuse(who, "subnets", subnet, f"one of at least {SMALLEST_SUBNET} addresses would be accepted")
    return subnet


def _check_plugin(who: str, what: str, value: object) -> None:
    plugin = _typed(who, what, value, dict)
    _check_type(who, what, plugin.get("type"))
    _check_called(who, f"{what}.ipam", plugin.get("ipam", {}))
    for name, declared in _typed(who, f"{what}.capabilities", plugin.get("capabilities", {}), dict).items():
        _typed(who, f"{what}.capabilities.{name}", declared, bool)
    if plugin["type"] == "flannel":
        _check_delegate(who, f"{what}.delegate", plugin.get("delegate", {}))


def _check_delegate(who: str, what: str, delegate: Any) -> None:
    _check_called(who, what, delegate)
    for name in delegate.keys() & {"name", "ipam"}:  # flannel.go:290-302
        raise refuse(who, f"{what}.{name}", json.dumps(delegate[name]), "the flannel plugin fills it in and takes none")


def _check_called(who: str, what: str, plugin: object) -> None:
    called = _typed(who, what, plugin, dict)
    if "type" in called:
        _check_type(who, what, called["type"])


def _check_type(who: str, what: str, kind: object) -> None:
    """A path here would have libcni before 0.8.1 run any program of the node (CVE-2021-20206)."""
    if not isinstance(kind, str) or not IDENTIFIER.fullmatch(kind):
        raise refuse(who, f"{what}.type", json.dumps(kind), "the plain file name of a plugin would be accepted, such as bridge")


def _executed(plugin: Plugin) -> Iterator[str]:
    yield plugin["type"]
    ipam = plugin.get("ipam", {}).get("type")
    if plugin["type"] == "flannel":  # its defaults: flannel_linux.go:34-119
        yield plugin.get("delegate", {}).get("type", "bridge")
        yield ipam or "host-local"
    elif ipam:
        yield ipam


def _typed(who: str, what: str, value: object, kind: type[T]) -> T:
    if not isinstance(value, kind):
        wanted = {dict: "an object", list: "a list", bool: "true or false"}[kind]
        raise refuse(who, what, json.dumps(value), f"{wanted} would be accepted")
    return value
