# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that nobody should give, and everything that reads what somebody gives. No I/O."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ansible_collections.podnet.baremetal.plugins.filter.podnet import FilterModule
from ansible_collections.podnet.baremetal.plugins.module_utils import _adopt, _conflist, _inputs
from ansible_collections.podnet.baremetal.plugins.module_utils._files import files_target
from ansible_collections.podnet.baremetal.plugins.module_utils._guard import guard_target
from ansible_collections.podnet.baremetal.plugins.module_utils._info import subnet_env_of
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import parse
from ansible_collections.podnet.baremetal.plugins.module_utils._nft import nft_target
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Network
from ansible_collections.podnet.baremetal.plugins.module_utils._probe import mesh
from ansible_collections.podnet.baremetal.plugins.module_utils._responder import echo_pod
from ansible_collections.podnet.baremetal.plugins.plugin_utils._flannel_keys import lease_of
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import etcd_place

CANARY = "/run/podnet-canary"  # which nothing may make
TEXTS = (
    "",
    " ",
    "\n",
    "\0",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "x" * 10_240,
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "..",
    "%d",
    "-rf",
    f"{{{{ lookup('pipe', 'touch {CANARY}') }}}}",
    f"{{% for x in lookup('pipe', 'touch {CANARY}') %}}",
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY}",
    f"| touch {CANARY} &",
    "'\"\\",
    "node1\nnode2",
    "172.20.1.0/24\nFLANNEL_NETWORK=0.0.0.0/0",
    "172.20.1.0/24 ",
    " 172.20.1.0/24",
    "172.20.1.0/024",
    "172.20.1.0/-1",
    "172.20.1.0/33",
    "172.20.1.0/²",
    "172.20.1.0/٢٤",
    "172.20.1.0/24/24",
    "172.20.1.0/255.255.255.0",
    "١٧٢.20.1.0/24",
    "\uff11\uff17\uff12.20.1.0/24",
    "172.020.1.0/24",
    "0xac.20.1.0/24",
    "172.20.1/24",
    "2886992128",
    "0.0.0.0/0",
    "::/0",
    "224.0.0.0/4",
    "127.0.0.0/8",
    "::ffff:172.20.1.0/120",
    "fe80::1%eth0",
    "fe80::1%eth0/64",
    "010.0.0.1",
    "::ffff:198.51.100.2",
    "198.51.100.2\n",
    "198.51.100.2%0",
    "255.255.255.255",
    "02:f1:ac:14:01:00\n",
    "02-f1-ac-14-01-00",
    "02:f1:ac:14:01",
    "01:00:5e:00:00:01",
    "00:00:00:00:00:00",
    "ff:ff:ff:ff:ff:ff",
    "0\uff12:f1:ac:14:01:00",
    "etcd://",
    "etcd://user:secret@host",
    "etcd://host:99999",
    "etcd://host:²",
    "etcd://host/../..",
    "file:///etc/passwd",
    "1e9",
    "٣",
    "²",
    "NaN",
    "true",
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    None,
    True,
    False,
    0,
    -1,
    1 << 64,
    1.5,
    float("nan"),
    [],
    [[]],
    [None],
    {},
    {"a": "b"},
    [{}],
    ["x"],
    {"": []},
)

LEDGER: dict[str, Any] = {
    "generation": 3,
    "network": {
        "cluster_cidr": ["172.20.0.0/16", "fd00:10:244::/48"],
        "service_cidr": ["10.68.0.0/16"],
        "node_prefix": [24, 64],
        "reserved": ["172.20.9.0/24"],
    },
    "nodes": {
        "node1": {
            "subnets": ["172.20.0.0/24", "fd00:10:244::/64"],
            "underlay": "198.51.100.1",
            "underlay6": "2001:db8::1",
            "mac": "02:f1:00:00:00:01",
            "mac6": "02:f1:00:00:00:02",
            "state": "active",
        },
        "node2": {"subnets": ["172.20.1.0/24", "fd00:10:244:1::/64"], "underlay": "198.51.100.2", "state": "retired"},
    },
}
PEER = {"node": "node2", "subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "mac": "02:f1:ac:14:01:00"}
TABLE: dict[str, Any] = {"family": "inet", "rules": "", "plan": None, "own": [], "state": "present"}
CONFLIST: dict[str, Any] = {
    "name": "cbr0",
    "cniVersion": "1.0.0",
    "plugins": [
        {"type": "flannel", "delegate": {"hairpinMode": True, "type": "bridge"}},
        {"type": "portmap", "capabilities": {"portMappings": True}, "ipam": {"type": "host-local"}},
    ],
}
ECHO: dict[str, Any] = {
    "node": "node1",
    "state": "present",
    "port": 8473,
    "lifetime": 300,
    "timeout": 60,
    "plugin_directory": "/opt/cni/bin",
}
OF_A_NODE: dict[str, Any] = {
    "metadata": {
        "name": "node1",
        "annotations": {
            "flannel.alpha.coreos.com/backend-data": '{"VNI":1,"VtepMAC":"02:f1:ac:14:00:00"}',
            "flannel.alpha.coreos.com/backend-type": "vxlan",
            "flannel.alpha.coreos.com/public-ip": "198.51.100.1",
        },
    },
    "spec": {"podCIDR": "172.20.0.0/24", "podCIDRs": ["172.20.0.0/24"]},
}
OF_A_LEASE: dict[str, Any] = {
    "PublicIP": "198.51.100.1",
    "PublicIPv6": None,
    "BackendType": "vxlan",
    "BackendData": {"VNI": 1, "VtepMAC": "02:f1:ac:14:00:00"},
}


def places(document: Any, *above: Any) -> Iterator[tuple[Any, ...]]:
    """The way to each field of a document, and to each element of its lists."""
    for key, value in document.items() if isinstance(document, Mapping) else enumerate(document) if isinstance(document, list) else ():
        yield (*above, key)
        yield from places(value, *above, key)


def with_value(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The document with another value there."""
    other = copy.deepcopy(document)
    inner = other
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return other


def readers() -> dict[str, Callable[[Any], Any]]:
    """Each place where a value of somebody's is read, by its name: a function of that value."""
    found: dict[str, Callable[[Any], Any]] = {
        **{f"inventory: {option}": partial(_network, option) for option in ("cluster_cidr", "service_cidr", "node_prefix", "reserved")},
        **{f"host: {option}": partial(_host, option) for option in ("name", "underlay", "subnet", "node_prefix", "mac")},
        "host: renamed_from": lambda value: Host.of("node1", "198.51.100.1").renamed(value),
        **{f"peer: {option}": partial(_peer, option) for option in PEER},
        "Nodes": lambda value: _adopt.kubernetes_claims(json.dumps(value), "nodes.json"),
        "keys of etcd": lambda value: _adopt.etcd_claims(json.dumps(value), "keys.json"),
    }
    for name, document, read in (
        ("ledger", LEDGER, lambda value: parse(json.dumps(value).encode(), "ledger.json")),
        ("conflist", CONFLIST, lambda value: _conflist.checked(value, "node1")),
        ("Node", OF_A_NODE, lambda value: _adopt.kubernetes_claims(json.dumps({"items": [value]}), "nodes.json")),
        ("lease of flannel", OF_A_LEASE, lambda value: _adopt.etcd_claims(_dump(json.dumps(value)), "keys.txt")),
        ("lease of flannel, seen", OF_A_LEASE, lambda value: lease_of("subnets/172.20.0.0-24", json.dumps(value))),
    ):
        found |= {f"{name}: {'.'.join(map(str, place))}": partial(_at, document, place, read) for place in places(document)}
    return {**found, **_of_texts(), **_of_filters()}


def _of_texts() -> dict[str, Callable[[Any], Any]]:
    """What takes texts alone: Ansible sees to it."""
    texts: dict[str, Callable[[str], Any]] = {
        **{
            name: partial(getattr(_inputs, name), "node1", "field")
            for name in dir(_inputs)
            if name.startswith("valid_") and name != "valid_number"
        },
        "podnet_ledger": etcd_place,
        "subnet.env": lambda text: subnet_env_of(
            f"FLANNEL_NETWORK={text}\nFLANNEL_SUBNET={text}\nFLANNEL_MTU={text}\n", "node1: subnet.env"
        ),
        "file: path": lambda text: files_target("node1", _file(path=text)).name,
        "file: mode": lambda text: files_target("node1", _file(mode=text)).name,
        "guard: ranges": lambda text: guard_target(
            "node1", {"state": "armed", "seconds": 60, "ranges": [text], "token": "", "program": ""}
        ),
        "pod_echo: name": lambda text: echo_pod({**ECHO, "name": text}),
        "mesh_probe: service": lambda text: mesh({"node": "node1", "count": 3, "timeout": 1, "service": text}),
        "table: name": lambda text: nft_target("node1", {**TABLE, "name": text}),
        "conflist: text": lambda text: _conflist.parsed(text, "node1"),
        "ledger: text": lambda text: parse(text.encode("utf-8", "surrogatepass"), "ledger.json"),
        "Nodes: text": lambda text: _adopt.kubernetes_claims(text, "nodes.json"),
        "keys of etcd: text": lambda text: _adopt.etcd_claims(text, "keys.txt"),
        "key of flannel": lambda text: lease_of(text, "{}"),
    }
    return {name: partial(_text_only, read) for name, read in texts.items()}


def _of_filters() -> dict[str, Callable[[Any], Any]]:
    filters = FilterModule().filters()
    return {
        "filter pod_subnets": lambda value: filters["pod_subnets"]([value], "172.20.0.0/16"),
        "filter pod_subnets: cluster_cidr": lambda value: filters["pod_subnets"](["node1"], value),
        "filter pod_subnets: taken": lambda value: filters["pod_subnets"](["node1"], "172.20.0.0/16", {"node1": value}),
        "filter pod_gateway": filters["pod_gateway"],
        "filter vtep_address": filters["vtep_address"],
        "filter vtep_mac": filters["vtep_mac"],
        "filter overlay_peers": lambda value: filters["overlay_peers"](value, "node1"),
        "filter subnet_env": lambda value: filters["subnet_env"]({"subnets": value}, "172.20.0.0/16", 1450),
        "filter subnet_env: mtu": lambda value: filters["subnet_env"]("172.20.0.0/24", "172.20.0.0/16", value),
        "filter net_conf": filters["net_conf"],
        "filter net_conf: vni": lambda value: filters["net_conf"]("172.20.0.0/16", vni=value),
        "filter iproute2: device": lambda value: filters["iproute2"]([PEER], value),
        "filter pod_limit": filters["pod_limit"],
        "filter service_addresses": filters["service_addresses"],
    }


def _network(option: str, value: Any) -> Network:
    return Network.of(**{"cluster_cidr": "172.20.0.0/16", option: value})


def _host(option: str, value: Any) -> Host:
    return Host.of(**{"name": "node1", "underlay": "198.51.100.1", option: value})


def _peer(option: str, value: Any) -> str:
    return pack_plan([{**PEER, option: value}])


def _at(document: Any, place: tuple[Any, ...], read: Callable[[Any], Any], value: Any) -> Any:
    return read(with_value(document, place, value))


def _dump(value: str) -> str:
    return f"/coreos.com/network/subnets/172.20.0.0-24\n{value}\n"


def _file(**given: Any) -> dict[str, Any]:
    return {"files": [{"path": "/run/podnet/file", "content": "", "mode": "0644", "once": False, **given}], "state": "present"}


def _text_only(read: Callable[[str], Any], value: Any) -> Any:
    return read(value if isinstance(value, str) else json.dumps(value))
