# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches whom, asked from a node and from its pod: all packets at once, by one socket of a kind. Does I/O, changes nothing."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, NamedTuple, Protocol, TypeVar

from ansible_collections.podnet.baremetal.plugins.module_utils._changes import Change
from ansible_collections.podnet.baremetal.plugins.module_utils._echoes import (
    REPLIES,
    Log,
    Packet,
    Reply,
    Way,
    echo_request,
    line,
    number_in,
    path,
    question,
    results,
    said,
    schedule,
    ways,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._netns import inside, is_namespace, mtu_to
from ansible_collections.podnet.baremetal.plugins.module_utils._node import NAMESPACE, node_name, require_net_admin

T = TypeVar("T")
Key = tuple[str, str, bool]  # which socket: that of the pod or of the node, for pods or for others, of IPv6 or not

LONGEST = 65535
BUFFER = 1 << 22  # bytes: replies of a whole round, while something else runs on this CPU
# asm-generic/socket.h, linux/in.h, linux/in6.h, linux/icmp.h, linux/icmpv6.h; Python names not all of them.
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
IP_MTU_DISCOVER, IP_RECVERR, IP_PMTUDISC_PROBE = 10, 11, 3
IPV6_MTU_DISCOVER, IPV6_RECVERR = 23, 25
SOL_RAW, ICMP_FILTER, ICMPV6_FILTER = 255, 1, 1
MSG_ERRQUEUE = 0x2000
KUBELET = b"kubelet\n"


class Mesh(NamedTuple):
    """What one node has to say of who reaches whom, as a target that is never changed."""

    node: str
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.node

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def drift(self) -> Sequence[Change]:
        return ()

    def apply(self, changes: Sequence[Change]) -> None:
        raise AssertionError(f"{self.node} is only asked, and was to be changed by {changes}")

    def facts(self) -> dict[str, Any]:
        options = self.options
        places = _places(options["netns"])
        wanted = ways(self.node, options["targets"] or [], pod="pod" in places)
        found = [way for source, enter in places.items() for way in enter(partial(_with_mtu, wanted, source))]
        sockets = {key: _opened(places[key[0]], key) for key in dict.fromkeys(map(_key, found))}
        packets = schedule(found, options["count"])
        try:
            log = Exchange(sockets, options["port"]).run(found, packets, options["timeout"])
        finally:
            for each in sockets.values():
                each.close()
        paths = [*results(self.node, found, packets, log), *self._service(places)]
        return {"paths": paths, "msg": line(self.node, paths)}

    def _service(self, places: Mapping[str, Enter]) -> Iterator[dict[str, Any]]:
        """A TCP connection through the service's address, from each place."""
        if not self.options["service"] or (self.options["service_if_kubelet"] and not _kubelet_runs()):
            return
        address, _colon, port = self.options["service"].rpartition(":")
        for source, enter in places.items():
            way = Way(source, "", "service", address.strip("[]"))
            seconds, error = enter(partial(_connected, (way.address, int(port)), self.options["timeout"]))
            yield path(self.node, way, sent=1, times=seconds, error=error)


class Enter(Protocol):
    """Does something in a network namespace, and returns what that returns."""

    def __call__(self, look: Callable[[], T], /) -> T: ...


def mesh(options: Mapping[str, Any]) -> Mesh:
    """The target of mesh_probe."""
    node = node_name(options)
    for option in ("count", "timeout"):
        if options[option] < 1:
            raise refuse(node, option, options[option], "a number from 1 on would be accepted")
    if options["service"] and not _is_service(options["service"]):
        raise refuse(node, "service", options["service"], "an address with a port would be accepted, such as 10.68.0.1:443")
    require_net_admin(node)
    return Mesh(node, options)


def _is_service(text: str) -> bool:
    address, _colon, port = text.rpartition(":")
    with suppress(ValueError):
        return bool(ip_address(address.strip("[]"))) and 0 < int(port.encode("ascii")) <= LONGEST
    return False


def _places(netns: str | None) -> dict[str, Enter]:
    """Where packets are sent from."""

    def here(look: Callable[[], T], /) -> T:
        return look()

    def there(look: Callable[[], T], /) -> T:
        return inside(str(netns), look)

    return {**({"pod": there} if netns and is_namespace(netns) else {}), "node": here}


def _key(way: Way) -> Key:
    return way.source, "pod" if way.target == "pod" else "other", ":" in way.address


def _with_mtu(found: Sequence[Way], source: str) -> list[Way]:
    """The ways from here, with what the kernel would send unfragmented along their routes; no packet is sent for it."""
    return [way._replace(mtu=mtu_to(way.address)) for way in found if way.source == source]


# --- sockets ------------------------------------------------------------------------------------------------------------------------


def _opened(enter: Enter, key: Key) -> socket.socket:
    _source, target, ipv6 = key
    return enter(partial(_udp if target == "pod" else _icmp, ipv6=ipv6))


def _udp(*, ipv6: bool) -> socket.socket:
    return _set(socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM), ipv6=ipv6)


def _icmp(*, ipv6: bool) -> socket.socket:
    """It gets the replies to echoes and no other message: those of other nodes' echoes would fill it up."""
    if ipv6:
        passing = [0xFFFFFFFF] * 8
        passing[REPLIES[ipv6] // 32] ^= 1 << REPLIES[ipv6] % 32  # here a bit stands for what does not pass (RFC 3542, 3.2)
        made = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        made.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, struct.pack("8I", *passing))
    else:
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        made.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", ~(1 << REPLIES[ipv6]) & 0xFFFFFFFF))
    return _set(made, ipv6=ipv6)


def _set(made: socket.socket, *, ipv6: bool) -> socket.socket:
    """Nothing is fragmented, whatever the kernel has learnt of a path; errors are queued with the packets that they are about (ip(7))."""
    level, discover, errors = (
        (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_RECVERR) if ipv6 else (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_RECVERR)
    )
    made.setsockopt(level, discover, IP_PMTUDISC_PROBE)
    made.setsockopt(level, errors, 1)
    for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
        made.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    made.settimeout(0)
    return made


# --- sending and receiving ----------------------------------------------------------------------------------------------------------


class Exchange:
    """Packets on their way. What became of them is in `log`."""

    def __init__(self, sockets: Mapping[Key, socket.socket], port: int) -> None:
        self._sockets = sockets
        self._port = port
        self._word = os.urandom(4)
        self._sent: dict[int, float] = {}
        self._replies: dict[int, list[Reply]] = {}
        self._errors: dict[int, str] = {}

    @property
    def log(self) -> Log:
        return Log(self._sent, self._replies, self._errors)

    def run(self, found: Sequence[Way], packets: Sequence[Packet], timeout: int) -> Log:
        """Send each packet when it is due, receive meanwhile, and wait no longer than `timeout` for what is missing at the end."""
        start = time.monotonic()
        for number, packet in enumerate(packets):
            self._receive(start + packet.due)
            self._send(found[packet.way], packet.size, number)
        last = time.monotonic() + timeout
        while len(self._replies.keys() | self._errors.keys()) < len(packets) and time.monotonic() < last:
            self._receive_some(last)
        return self.log

    def _send(self, way: Way, size: int, number: int) -> None:
        target = self._port if way.target == "pod" else 0
        data = question(self._word, number, size) if target else echo_request(self._word, number, size, ipv6=":" in way.address)
        sending = self._sockets[_key(way)]
        self._sent[number] = time.monotonic()
        try:
            sending.sendto(data, (way.address, target))
        except OSError:  # it may be that of an earlier packet, which the kernel tells at the next occasion (ip(7), IP_RECVERR)
            self._take_errors(sending)
            try:
                sending.sendto(data, (way.address, target))
            except OSError as error:
                self._errors[number] = os.strerror(error.errno or 0)

    def _receive(self, until: float) -> None:
        """Take what comes until then, and what is there already in any case."""
        self._receive_some(0)
        while time.monotonic() < until:
            self._receive_some(until)

    def _receive_some(self, until: float) -> None:
        wait = max(0.0, until - time.monotonic())
        for ready in select.select(list(self._sockets.values()), [], [], wait)[0]:
            self._take_all(ready)

    def _take_all(self, ready: socket.socket) -> None:
        try:
            while True:
                self._take(ready.recv(LONGEST))
        except BlockingIOError:
            return
        except OSError:
            self._take_errors(ready)

    def _take(self, data: bytes) -> None:
        number = number_in(data, self._word)
        if number in self._sent:
            with suppress(ValueError):  # of a stranger
                reply = Reply(time.monotonic(), *said(data))
                self._replies.setdefault(number, []).append(reply)

    def _take_errors(self, ready: socket.socket) -> None:
        """From the queue of errors, each with the packet that it is about (struct sock_extended_err begins with the errno)."""
        with suppress(BlockingIOError):
            while True:
                data, notes, _flags, _address = ready.recvmsg(LONGEST, 512, MSG_ERRQUEUE)
                number = number_in(data, self._word)
                for _level, _type, note in notes:
                    if number in self._sent:
                        self._errors.setdefault(number, os.strerror(struct.unpack_from("I", note)[0]))


def _connected(address: tuple[str, int], timeout: int) -> tuple[list[float], str]:
    """The seconds that a TCP connection took, or why there is none."""
    start = time.monotonic()
    try:
        with socket.create_connection(address, timeout):
            return [time.monotonic() - start], ""
    except OSError as error:
        return [], os.strerror(error.errno) if error.errno else str(error)


def _kubelet_runs() -> bool:
    """In this network namespace, as each kubelet does on a node of its own: then there is a cluster that the node is of."""
    here = os.stat(NAMESPACE).st_ino
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/comm", "rb") as name:  # or it has ended
            if name.read() == KUBELET and os.stat(f"/proc/{pid}/ns/net").st_ino == here:
                return True
    return False
