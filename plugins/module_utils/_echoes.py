# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification sends and what comes back: datagrams, ICMP echoes, when each is due, and what they come to. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# What every packet of ours begins with: a word that is always the same, one of the run's own, and the packet's number.
HEADER = struct.Struct("!4s4sI")
MAGIC = b"pnet"
ECHO = struct.Struct("!BBHHH")  # of ICMP: type, code, checksum, identifier, sequence number (RFC 792, RFC 4443)
REQUESTS, REPLIES = {False: 8, True: 128}, {False: 0, True: 129}  # by whether it is IPv6
HEADERS = {False: 28, True: 48}  # of IP with UDP, or with ICMP
PAUSE = 0.0005  # seconds between two packets of a node, so that no queue on the way is too short for them
BREATH = 0.05  # seconds between two rounds
ADDRESSES = {"pod": "pods", "gateway": "gateways", "node": "addresses"}  # of a target, by its kind
FULL, ABOVE = "full", "above"
UNKNOWN: dict[str, Any] = {"fits": None, "above": None, "seen": "", "answered": "", "error": ""}


class Way(NamedTuple):
    """Which address is tested from where. `mtu` is that of the route to it, None without one."""

    source: str
    to: str
    target: str
    address: str
    mtu: int | None = None


class Packet(NamedTuple):
    """The `way` that it goes, as an index, its size without headers, 0 for a small one, what it is for, and when it is due, in seconds."""

    way: int
    size: int
    kind: str
    due: float


class Reply(NamedTuple):
    """When it came, which source the other end saw, and the node whose pod answered; "" for what an ICMP echo does not say."""

    at: float
    seen: str = ""
    answered: str = ""


class Log(NamedTuple):
    """What became of packets, by their numbers: when each was sent, the replies in their order, and the errors."""

    sent: Mapping[int, float]
    replies: Mapping[int, Sequence[Reply]]
    errors: Mapping[int, str]


def ways(node: str, targets: Iterable[Mapping[str, Any]], *, pod: bool) -> list[Way]:
    """What is tested from the node and, where there is one, from its `pod`: every pod, gateway and node, but itself."""
    targets = list(targets)
    families = {":" in address for target in targets if target["node"] == node for address in target["pods"]}
    found = [way for target in targets for way in _ways_to(target, node)]
    return [way for way in found if way.source == "node" or (pod and (":" in way.address) in families)]


def _ways_to(target: Mapping[str, Any], node: str) -> Iterator[Way]:
    own = target["node"] == node
    for source in ("pod", "node"):
        for kind, addresses in ADDRESSES.items():
            if not own or (source == "pod") != (kind == "pod"):
                yield from (Way(source, target["node"], kind, address) for address in target[addresses])


def schedule(found: Sequence[Way], count: int) -> list[Packet]:
    """So many rounds of small packets, then one of full ones and one of those above."""
    every = range(len(found))
    sized = [number for number in every if found[number].mtu]
    rounds = [[(number, 0, "") for number in every] for _ in range(count)]
    for extra, kind in enumerate((FULL, ABOVE)):
        rounds.append([(number, _payload(found[number]) + extra, kind) for number in sized])
    return [
        Packet(*packet, due=each * (len(found) * PAUSE + BREATH) + place * PAUSE)
        for each, packets in enumerate(rounds)
        for place, packet in enumerate(packets)
    ]


def _payload(way: Way) -> int:
    return (way.mtu or 0) - HEADERS[":" in way.address]


# --- packets ------------------------------------------------------------------------------------------------------------------------


def question(word: bytes, number: int, size: int) -> bytes:
    """A datagram that a responder answers, filled up to its size."""
    return HEADER.pack(MAGIC, word, number).ljust(size, b"\0")


def answer(asked: bytes, node: str, seen: str) -> bytes:
    """What the responder of a node says to that, having seen this source; nothing to what is no question."""
    if len(asked) < HEADER.size or not asked.startswith(MAGIC):
        return b""
    return asked[: HEADER.size] + json.dumps([node, seen]).encode()


def said(data: bytes) -> tuple[str, str]:
    """The source that a responder saw, and its node; "" of an ICMP echo, which has headers before it. Raises ValueError for other data."""
    if not data.startswith(MAGIC):
        return "", ""
    node, seen = json.loads(data[HEADER.size :])
    return str(seen), str(node)


def number_in(data: bytes, word: bytes) -> int | None:
    """The number of the packet of this run that these bytes hold, be it behind headers."""
    start = data.find(MAGIC + word)
    return int(HEADER.unpack_from(data, start)[2]) if 0 <= start <= len(data) - HEADER.size else None


def echo_request(word: bytes, number: int, size: int, *, ipv6: bool) -> bytes:
    """An ICMP echo of this size without its header. The checksum of an ICMPv6 one is the kernel's work (RFC 3542, 3.1)."""
    payload = question(word, number, size)
    parts = (REQUESTS[ipv6], 0, 0, int.from_bytes(word[:2], "big"), number & 0xFFFF)
    checksum = 0 if ipv6 else _checksum(ECHO.pack(*parts) + payload)
    return ECHO.pack(*parts[:2], checksum, *parts[3:]) + payload


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


# --- what they come to --------------------------------------------------------------------------------------------------------------


def results(node: str, found: Sequence[Way], packets: Sequence[Packet], log: Log) -> list[dict[str, Any]]:
    """A path for each way, in the words of a verification's document."""
    numbers: list[list[int]] = [[] for _ in found]
    for number, packet in enumerate(packets):
        numbers[packet.way].append(number)
    return [_result(node, way, [(packets[number], number) for number in numbers[place]], log) for place, way in enumerate(found)]


def _result(node: str, way: Way, packets: Sequence[tuple[Packet, int]], log: Log) -> dict[str, Any]:
    small = [number for packet, number in packets if not packet.kind]
    passed = {packet.kind: number in log.replies for packet, number in packets}
    replies = [reply for _packet, number in packets for reply in log.replies.get(number, ())]
    times = [log.replies[number][0].at - log.sent[number] for number in small if number in log.replies]
    errors = [log.errors[number] for packet, number in packets if packet.kind != ABOVE and number in log.errors]
    return path(
        node,
        way,
        sent=len(small),
        times=times,
        fits=passed.get(FULL),
        above=passed.get(ABOVE),
        seen=next((reply.seen for reply in replies), ""),
        # Of several that answer, the one that ought not to.
        answered=next((reply.answered for reply in replies if reply.answered != way.to), way.to if replies and replies[0].answered else ""),
        error=next(iter(errors), ""),
    )


def path(node: str, way: Way, *, sent: int, times: Sequence[float], **rest: Any) -> dict[str, Any]:
    """`times`: seconds that each reply took."""
    ordered = sorted(round(time * 1000, 3) for time in times)
    return {
        "from": node,
        "source": way.source,
        "to": way.to,
        "target": way.target,
        "address": way.address,
        "sent": sent,
        "received": len(ordered),
        "rtt": [ordered[0], ordered[len(ordered) // 2], ordered[-1]] if ordered else None,
        **UNKNOWN,
        **rest,
    }


def line(node: str, paths: Sequence[Mapping[str, Any]]) -> str:
    """The node in one line: how many of its paths answer, how fast, and what else is wrong with how many."""
    answered = [each for each in paths if each["received"] and each["answered"] in ("", each["to"])]
    wrong = {
        "lose packets": [each for each in answered if each["received"] < each["sent"]],
        "take no full packet": [each for each in answered if each["fits"] is False],
        "take a packet above the MTU": [each for each in answered if each["above"]],
        "are answered by another node": [each for each in paths if each["answered"] not in ("", each["to"])],
    }
    least, median, most = zip(*(each["rtt"] for each in answered)) if answered else ((), (), ())
    times = [f"{min(least):.2f}/{sorted(median)[len(median) // 2]:.2f}/{max(most):.2f} ms"] if answered else []
    notes = [f"{len(found)} {words}" for words, found in wrong.items() if found]
    return f"{node}: {', '.join([f'{len(answered)} of {len(paths)} answer', *times, *notes])}"
