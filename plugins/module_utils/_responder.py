# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod that answers: attached as a runtime would, with a process beside it that ends by itself and then detaches it. Does I/O."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from ipaddress import ip_address, ip_interface
from typing import Any, NamedTuple, NoReturn

from ansible_collections.podnet.baremetal.plugins.module_utils._cni import PORTS, Attachment, Pod
from ansible_collections.podnet.baremetal.plugins.module_utils._echoes import answer
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._files import Step, take
from ansible_collections.podnet.baremetal.plugins.module_utils._netns import inside, is_namespace
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock, node_name, require_net_admin

# In the pod's network namespace (unix(7), abstract): who holds it is the responder, and it is free when that has ended, however it did.
NAME = "\0podnet-echo"
PATIENCE = 2  # seconds in which a responder says who it is, or one that was killed is gone
LONGEST = 65535
RECEIVE_BUFFER = 1 << 22  # bytes
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
SIOCGIFMTU = 0x8921  # linux/sockios.h
IFA_F_TENTATIVE = 0x40  # linux/if_addr.h
CREDENTIALS = struct.Struct("3i")  # struct ucred


class Role(NamedTuple):
    """What a responder is there for: in which node's name it answers, where, and how many seconds it waits for the next question."""

    node: str
    port: int
    lifetime: int


class Running(NamedTuple):
    """A responder that runs. One that does not say what it is there for has no role."""

    pid: int
    role: Role | None


class FreshPod(Pod):
    """A pod that was left behind by an earlier run is good enough only if the node would attach it in the same way today."""

    def _fault(self, found: Attachment) -> str:
        return super()._fault(found) or ("" if found.conflist == self._wanted().conflist else "attached by another configuration")


class EchoPod:
    """The pod is there and answers as the node, or is gone together with whoever answered."""

    def __init__(self, options: Mapping[str, Any], node: str) -> None:
        given = {**options, "netns": None, "ifname": "eth0", "port_mappings": None}
        self.pod = FreshPod(given, node)
        self.leaving = Pod({**given, "state": "absent"}, node)
        self.name = self.pod.name
        self.role = Role(node, options["port"], options["lifetime"]) if options["state"] == "present" else None

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Step]:
        steps, running = self.pod.drift(), responder(self.pod.netns)
        if not steps and running and running.role == self.role:
            return []
        return [*self._ending(running), *steps, *self._beginning()]

    def apply(self, changes: Sequence[Step]) -> None:
        take(changes)

    def facts(self) -> dict[str, Any]:
        found = self.pod.facts()
        known = self.role if found["addresses"] else None
        return {
            "pod": inside(self.pod.netns, partial(_pod, found)) if known else None,
            "gateways": _gateways(found["result"]) if known else [],
            "netns": self.pod.netns if known else "",
            "port": known.port if known else 0,
        }

    def _ending(self, running: Running | None) -> list[Step]:
        if not running:
            return []
        return [Step(f"kill -KILL {running.pid}", f"responder {running.pid}", "", partial(os.kill, running.pid, signal.SIGKILL))]

    def _beginning(self) -> list[Step]:
        if not self.role:
            return []
        text = f"responder of {self.role.node} on UDP port {self.role.port} in {self.pod.netns}, for {self.role.lifetime} seconds"
        return [Step(f"# {text}", "", text, partial(_begin, self.role, self.leaving))]


def echo_pod(options: Mapping[str, Any]) -> EchoPod:
    """The target of pod_echo."""
    node = node_name(options)
    if options["port"] not in PORTS:
        raise refuse(node, "port", options["port"], f"one from {PORTS[0]} to {PORTS[-1]} would be accepted")
    if options["lifetime"] < 1:
        raise refuse(node, "lifetime", options["lifetime"], "a number of seconds from 1 on would be accepted")
    require_net_admin(node)
    return EchoPod(options, node)


def responder(netns: str) -> Running | None:
    """Who answers in a pod's network namespace. To be asked is a reason to stay."""
    return inside(netns, _running) if is_namespace(netns) else None


def _running() -> Running | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.settimeout(PATIENCE)
        try:
            asking.connect(NAME)
        except OSError:
            return None
        pid = CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))[0]
        with suppress(OSError, ValueError, TypeError):  # it hangs, or is one of another version
            return Running(pid, Role(**json.loads(asking.recv(LONGEST))))
        return Running(pid, None)


def _pod(found: Mapping[str, Any]) -> dict[str, Any]:
    """The pod as the document of a verification has it; asked inside of it, as its MTU is in no CNI result."""
    request = struct.pack("16si", found["interface"].encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        mtu = struct.unpack("16si", fcntl.ioctl(asking, SIOCGIFMTU, request))[1]
    addresses = [address.partition("/")[0] for address in found["addresses"]]
    return {"addresses": addresses, "gateway": next(iter(_gateways(found["result"])), ""), "mtu": mtu}


def _gateways(result: Mapping[str, Any]) -> list[str]:
    """Those in the pod's own subnet. Another one, such as 169.254.1.1, is no address that anybody else could ask."""
    known = ((ip["address"], ip["gateway"]) for ip in result.get("ips") or [] if ip.get("gateway"))
    return [gateway for address, gateway in known if ip_address(gateway) in ip_interface(address).network]


# --- the responder ------------------------------------------------------------------------------------------------------------------


def _begin(role: Role, leaving: Pod) -> None:
    """Start a responder, and return when it answers. Its sockets are the pod's, the process itself stays in the node's namespaces."""
    found = leaving.facts()
    families = {socket.AF_INET6 if ":" in address else socket.AF_INET for address in found["addresses"]}
    _await(_gateways(found["result"]))
    listener, sockets = inside(leaving.netns, partial(_patiently, partial(_sockets, families, role.port)))
    ready, begun = os.pipe()
    child = os.fork()
    if not child:
        _detached(
            {listener.fileno(), begun, *(each.fileno() for each in sockets)},
            partial(_answer_and_leave, listener, sockets, begun, role, leaving),
        )
    os.waitpid(child, 0)
    for each in (listener, *sockets):
        each.close()
    os.close(begun)
    with open(ready, "rb") as pipe:
        if not pipe.read():
            raise Failed(f"{role.node}: the responder in {leaving.netns} ended before it answered.")


def _await(gateways: Sequence[str]) -> None:
    """Let the kernel make sure of IPv6 gateways that came with this pod: until then it answers for none of them (RFC 4862, 5.4)."""
    last = time.monotonic() + PATIENCE
    awaited = {ip_address(gateway).packed.hex() for gateway in gateways}
    while awaited & set(_tentative()) and time.monotonic() < last:
        time.sleep(0.05)


def _tentative() -> Iterator[str]:
    with suppress(FileNotFoundError), open("/proc/self/net/if_inet6", encoding="ascii") as addresses:  # a kernel without IPv6
        for line in addresses:
            address, _index, _prefix, _scope, flags, _name = line.split()
            if int(flags, 16) & IFA_F_TENTATIVE:
                yield address


def _patiently(make: Callable[[], Any]) -> Any:
    """Make the sockets, once whoever had them before is gone: a process that was killed has them for a moment longer."""
    last = time.monotonic() + PATIENCE
    while True:
        try:
            return make()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > last:
                raise
        time.sleep(0.01)


def _sockets(families: set[socket.AddressFamily], port: int) -> tuple[socket.socket, list[socket.socket]]:
    """The listener by whom the responder is known, and one socket a family for what it answers."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(NAME)
    sockets = []
    for family in sorted(families):
        each = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        each.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        each.bind(("", port))
        sockets.append(each)
    return listener, sockets


def _detached(kept: set[int], work: Callable[[], None]) -> NoReturn:
    """Go on as a process of nobody's, with these open files and no others: an open one would hold the lock and the connection."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        for number in {int(name) for name in os.listdir("/proc/self/fd")} - kept - {0, 1, 2}:
            with suppress(OSError):  # the one that the listing itself was read by
                os.close(number)
        work()
    finally:
        os._exit(0)


def _answer_and_leave(listener: socket.socket, sockets: Sequence[socket.socket], begun: int, role: Role, leaving: Pod) -> None:
    """Answer until nobody has asked for the lifetime, or until told to end; then detach the pod."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    namespace = os.stat(leaving.netns).st_ino
    listener.listen()
    os.write(begun, b"1")
    os.close(begun)
    with suppress(KeyboardInterrupt):
        _answer(listener, sockets, role)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with node_lock():
        # It may be another pod's by now, if somebody deleted the namespace under this one.
        if not os.path.exists(leaving.netns) or os.stat(leaving.netns).st_ino == namespace:
            take(leaving.drift())


def _answer(listener: socket.socket, sockets: Sequence[socket.socket], role: Role) -> None:
    while True:
        ready = select.select([listener, *sockets], [], [], role.lifetime)[0]
        if not ready:
            return
        for each in ready:
            with suppress(OSError):  # of whoever asked, and is gone
                if each is listener:
                    with listener.accept()[0] as asking:
                        asking.send(json.dumps(role._asdict()).encode())
                else:
                    asked, sender = each.recvfrom(LONGEST)
                    reply = answer(asked, role.node, sender[0])
                    if reply:
                        each.sendto(reply, sender)
