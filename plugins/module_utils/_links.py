# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links, addresses and their sysctls, through pyroute2 and /proc/sys. I/O; the only place that imports pyroute2."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import (
    VXLAN,
    Address,
    DeviceSysctl,
    OtherLink,
    VxlanDevice,
)

DF = ("unset", "set", "inherit")  # linux/if_link.h: VXLAN_DF_*
RT_SCOPE_LINK = 253  # the kernel's own fe80:: address has this scope
IFF_UP = 1

# The options that only a new device can lose or gain, by attribute: iproute2's word where they are on.
FEATURES = {
    "IFLA_VXLAN_PROXY": "proxy",
    "IFLA_VXLAN_RSC": "rsc",
    "IFLA_VXLAN_L2MISS": "l2miss",
    "IFLA_VXLAN_L3MISS": "l3miss",
    "IFLA_VXLAN_COLLECT_METADATA": "external",
    "IFLA_VXLAN_GBP": "gbp",
    "IFLA_VXLAN_GPE": "gpe",
    "IFLA_VXLAN_UDP_ZERO_CSUM6_TX": "udp6zerocsumtx",
    "IFLA_VXLAN_UDP_ZERO_CSUM6_RX": "udp6zerocsumrx",
}


class Links:
    """Links and addresses of this process's network namespace."""

    def __init__(self) -> None:
        self._pyroute2 = _import_pyroute2()
        # Without ext_ack the kernel's own words are lost: "Operation not supported" in place of "Cannot change port".
        self._route = self._pyroute2.IPRoute(ext_ack=True, strict_check=True)

    def close(self) -> None:
        self._route.close()

    def read(self, name: str) -> VxlanDevice | OtherLink | None:
        """The link by this name."""
        message = self._get(name)
        if message is None:
            return None
        info = message.get_attr("IFLA_LINKINFO")
        kind = info.get_attr("IFLA_INFO_KIND") if info else None
        if kind != VXLAN:
            return OtherLink(name, kind or "device")
        return self._vxlan(name, message, info.get_attr("IFLA_INFO_DATA"))

    def addresses(self, name: str) -> Iterator[Address]:
        """The addresses of a link, but for those that the kernel gives it by itself."""
        with self._asked():
            for message in self._route.get_addr(index=socket.if_nametoindex(name)):
                if message["scope"] != RT_SCOPE_LINK:
                    yield Address(name, f"{_local(message)}/{message['prefixlen']}")

    def mtus(self) -> dict[str, int]:
        """The MTU of every link by name."""
        with self._asked():
            return {message.get_attr("IFLA_IFNAME"): message.get_attr("IFLA_MTU") for message in self._route.get_links()}

    def carriers(self) -> dict[str, str]:
        """The link that carries each address of this node."""
        with self._asked():
            carried = [(_local(message), message["index"]) for message in self._route.get_addr()]
        names = dict(socket.if_nameindex())  # without the links of pods that have ended meanwhile
        return {address: names[index] for address, index in carried if index in names}

    def apply(self, thing: VxlanDevice | Address, field: str, *, delete: bool) -> None:
        """Make or delete a link or an address, or set one field of a link. Raises OSError with the kernel's words."""
        with self._asked():
            if field and isinstance(thing, VxlanDevice):
                self._set(thing, field)
            elif isinstance(thing, VxlanDevice):
                self._delete(thing) if delete else self._make(thing)
            else:
                self._address("del" if delete else "add", thing)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Errors of pyroute2's own kind become the system's."""
        try:
            yield
        except self._pyroute2.NetlinkError as error:
            raise OSError(error.code, str(error.args[-1])) from error

    def _make(self, thing: VxlanDevice) -> None:
        # flannel gives the MAC in this very message (device.go:50): udev would rewrite one that the kernel chose.
        self._route.link(
            "add",
            ifname=thing.name,
            kind=VXLAN,
            address=thing.mac,
            mtu=thing.mtu,
            txqlen=thing.txqueuelen,
            state="up",
            vxlan_id=thing.vni,
            vxlan_port=thing.port,
            vxlan_ageing=thing.ageing,
            vxlan_tos=thing.tos,
            **self._option(thing, "interface"),
            **self._option(thing, "local"),
            **self._option(thing, "learning"),
            **(self._option(thing, "ttl") if thing.ttl else {}),
            **(self._option(thing, "df") if thing.df != "unset" else {}),
        )

    def _set(self, device: VxlanDevice, field: str) -> None:
        """Give one field its value in place. The message says nothing else: vxlan_changelink() refuses a repeated port or mtu."""
        index = socket.if_nametoindex(device.name)
        value = getattr(device, field)
        if field == "up":
            self._route.link("set", index=index, state="up" if value else "down")
        elif field in {"mac", "mtu", "txqueuelen"}:
            word = {"mac": "address", "mtu": "mtu", "txqueuelen": "txqlen"}[field]
            self._route.link("set", index=index, **{word: value})
        else:
            self._route.link("set", index=index, kind=VXLAN, **self._option(device, field))

    def _delete(self, thing: VxlanDevice) -> None:
        self._route.link("del", index=socket.if_nametoindex(thing.name))

    def _address(self, verb: str, thing: Address) -> None:
        address, length = thing.address.split("/")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._route.addr(verb, index=socket.if_nametoindex(thing.device), address=address, prefixlen=int(length), family=family)

    def _option(self, device: VxlanDevice, field: str) -> dict[str, Any]:
        """A field as pyroute2's keyword; addresses go by family."""
        value = getattr(device, field)
        if field == "interface":
            return {"vxlan_link": socket.if_nametoindex(value)}
        if field == "df":
            return {"vxlan_df": DF.index(value)}
        if field in {"local", "remote"}:
            word = "vxlan_local" if field == "local" else "vxlan_group"
            six = ":" in device.local
            return {f"{word}{'6' if six else ''}": value or ("::" if six else "0.0.0.0")}
        return {f"vxlan_{field}": int(value)}

    def _get(self, name: str) -> Any:
        try:
            index = socket.if_nametoindex(name)
        except OSError:
            return None
        with self._asked():
            return next(iter(self._route.get_links(index)), None)

    def _vxlan(self, name: str, message: Any, data: Any) -> VxlanDevice:
        lower = data.get_attr("IFLA_VXLAN_LINK")
        return VxlanDevice(
            name=name,
            vni=data.get_attr("IFLA_VXLAN_ID"),
            port=data.get_attr("IFLA_VXLAN_PORT"),
            local=data.get_attr("IFLA_VXLAN_LOCAL") or data.get_attr("IFLA_VXLAN_LOCAL6") or "",
            interface=socket.if_indextoname(lower) if lower else "",
            mac=message.get_attr("IFLA_ADDRESS"),
            mtu=message.get_attr("IFLA_MTU"),
            learning=bool(data.get_attr("IFLA_VXLAN_LEARNING")),
            ttl=data.get_attr("IFLA_VXLAN_TTL"),
            tos=data.get_attr("IFLA_VXLAN_TOS"),
            df=DF[data.get_attr("IFLA_VXLAN_DF") or 0],
            ageing=data.get_attr("IFLA_VXLAN_AGEING"),
            remote=data.get_attr("IFLA_VXLAN_GROUP") or data.get_attr("IFLA_VXLAN_GROUP6") or "",
            txqueuelen=message.get_attr("IFLA_TXQLEN"),
            up=bool(message["flags"] & IFF_UP),
            features=tuple(_features(data)),
        )


def read_sysctl(device: str, name: str) -> DeviceSysctl | None:
    """A sysctl of a device, None where there is no such device."""
    try:
        return DeviceSysctl(device, name, _sysctl_path(name).read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None


def write_sysctl(sysctl: DeviceSysctl) -> None:
    _sysctl_path(sysctl.name).write_text(sysctl.value, encoding="ascii")


def _sysctl_path(name: str) -> Path:
    # sysctl(8): dots separate, and a slash in a name stands for the dot of a device's name.
    return Path("/proc/sys") / name.translate(str.maketrans("./", "/."))


def _features(data: Any) -> Iterator[str]:
    yield from (word for attribute, word in FEATURES.items() if data.get_attr(attribute))
    if data.get_attr("IFLA_VXLAN_UDP_CSUM") == 0:
        yield "noudpcsum"
    if data.get_attr("IFLA_VXLAN_LIMIT"):
        yield f"maxaddress {data.get_attr('IFLA_VXLAN_LIMIT')}"
    ports = data.get_attr("IFLA_VXLAN_PORT_RANGE") or {"low": 0, "high": 0}
    if ports["high"]:
        yield f"srcport {ports['low']} {ports['high']}"


def _local(message: Any) -> str:
    # IFA_LOCAL is this end of a point-to-point address; IPv6 has IFA_ADDRESS alone.
    return str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def _import_pyroute2() -> Any:
    try:
        return import_module("pyroute2")
    except ImportError as error:
        raise Refused(
            f"{os.uname().nodename}: {sys.executable} cannot import pyroute2 ({error}): install python3-pyroute2 (Debian, Ubuntu, Fedora) "
            "or pyroute2 0.7.2 or newer with pip on the node, or name another ansible_python_interpreter."
        ) from error
