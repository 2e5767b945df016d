# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks as numbers: what is free between them, and a pool that gives of it without fragmenting it. No I/O.

A ledger may have tens of thousands of networks, for which the objects of ipaddress would cost seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from heapq import heappop, heappush
from ipaddress import ip_network
from itertools import repeat
from operator import and_

Block = tuple[int, int, int]  # family, first address, prefix length

IPV4, IPV6, DOTS = 4, 6, 3
BITS = {IPV4: 32, IPV6: 128}
OCTETS = {str(number): number for number in range(256)}
LENGTHS = {str(number): number for number in range(33)}
HOST_BITS = [(1 << 32 - prefix) - 1 for prefix in range(33)]
UNICAST = {*range(1, 224)} - {127}  # first octets of IPv4; what is special beyond them is for ipaddress to judge


def address_numbers(texts: Sequence[str]) -> tuple[int, ...]:
    """The numbers of unicast IPv4 addresses as they are usually written. Raises ValueError for any other text, be it an address or not.

    All are read at once, and so are networks below: one by one they would cost ten times as much.
    """
    if not texts:
        return ()
    if {text.count(".") for text in texts} != {DOTS}:
        raise ValueError(texts)
    return struct.unpack(f">{len(texts)}I", _octets(".".join(texts)))


@lru_cache(4)  # the underlays of all hosts are asked for as they are read and as they are planned
def _octets(addresses: str) -> bytes:
    octets = bytes(_looked_up(OCTETS, addresses.split(".")))
    if not UNICAST.issuperset(octets[::4]):
        raise ValueError(addresses)
    return octets


def usual_blocks(texts: Sequence[str]) -> list[Block]:
    """The blocks that IPv4 networks are as they are usually written. Raises ValueError for any other text, be it a network or not."""
    if {text.count("/") for text in texts} - {1}:
        raise ValueError(texts)
    parts = "/".join(texts).split("/") if texts else []
    numbers, prefixes = address_numbers(parts[::2]), _looked_up(LENGTHS, parts[1::2])
    if any(map(and_, numbers, map(HOST_BITS.__getitem__, prefixes))):
        raise ValueError(texts)
    return list(zip(repeat(IPV4), numbers, prefixes))


def _looked_up(numbers: Mapping[str, int], texts: Iterable[str]) -> list[int]:
    try:
        return list(map(numbers.__getitem__, texts))
    except KeyError as error:
        raise ValueError(texts) from error


def blocks_of(texts: Sequence[str]) -> list[Block]:
    """The blocks that valid networks are."""
    with suppress(ValueError):
        return usual_blocks(texts)
    networks = map(ip_network, texts)
    return [(network.version, int(network.network_address), network.prefixlen) for network in networks]


def block_of(text: str) -> Block:
    """The block that a valid network is."""
    return blocks_of((text,))[0]


def is_usual(network: str) -> bool:
    """Whether `usual_blocks` takes it."""
    try:
        return bool(usual_blocks((network,)))
    except ValueError:
        return False


def block_text(block: Block) -> str:
    """The network as it is usually written."""
    family, first, prefix = block
    if family == IPV4:
        return f"{first >> 24}.{first >> 16 & 255}.{first >> 8 & 255}.{first & 255}/{prefix}"
    return str(ip_network((first, prefix)))


def last_of(block: Block) -> int:
    """The last address."""
    family, first, prefix = block
    return first | (1 << BITS[family] - prefix) - 1


def apart(clusters: Iterable[Block], blocks: Iterable[Block]) -> bool:
    """Whether sorted blocks have no address in common, and each lies in one of the clusters."""
    ranges = [(*cluster, last_of(cluster)) for cluster in clusters]
    before, last = 0, -1
    for block in blocks:
        family, first, prefix = block
        if first <= last and family == before:
            return False
        before, last = family, first + (1 << BITS[family] - prefix) - 1
        for version, start, _length, end in ranges:
            if start <= first and last <= end and version == family:
                break
        else:
            return False
    return True


def gaps(cluster: Block, held: Iterable[Block]) -> Iterator[tuple[int, int]]:
    """The first and last address of each free stretch of a cluster between sorted blocks. These may overlap each other and its ends."""
    family, first, _ = cluster
    last, bits = last_of(cluster), BITS[family]
    for version, start, prefix in held:
        if start > last or version != family:
            continue
        if start > first:
            yield first, start - 1
        first = max(first, start + (1 << bits - prefix))
    if first <= last:
        yield first, last


def aligned(family: int, first: int, last: int) -> Iterator[Block]:
    """The fewest aligned blocks that a stretch of addresses is made of."""
    bits = BITS[family]
    while first <= last:
        size = min(first & -first or 1 << bits, 1 << (last - first + 1).bit_length() - 1)
        yield family, first, bits + 1 - size.bit_length()
        first += size


def count_free(clusters: Iterable[Block], held: Sequence[Block], family: int, prefix: int) -> int:
    """How many blocks of a length fit between sorted ones."""
    shift = BITS[family] - prefix
    free = (gap for cluster in clusters if cluster[0] == family for gap in gaps(cluster, held))
    return sum(max(0, (last + 1 >> shift) - (first + (1 << shift) - 1 >> shift)) for first, last in free)


class Pool:
    """The free part of some clusters as aligned blocks. Lives as long as one plan.

    `shares` has the shortest prefix length that anybody has, by family. A longer block than that is a fragment, of no use to who needs
    most: it goes first, the smallest that is large enough. All others are as good as each other, so of them the lowest goes. Who all
    need the same so get the lowest free block, and who need different ones leave whole what the largest may need, as buddies do.
    """

    def __init__(self, clusters: Iterable[Block], held: Sequence[Block], shares: Mapping[int, int]) -> None:
        self._shares = shares
        self._starts: dict[int, dict[int, list[int]]] = {family: {} for family in BITS}  # by family and length, each a heap
        for cluster in clusters:
            for gap in gaps(cluster, held):
                for block in aligned(cluster[0], *gap):
                    self._add(block)

    def take(self, family: int, prefix: int) -> Block | None:
        """A free block of that length; what is left of the one that it came from stays free. None where none is large enough."""
        starts = self._starts[family]
        share = min(self._shares[family], prefix)
        fragments = [length for length in starts if share < length <= prefix]
        whole = [(starts[length][0], length) for length in starts if length <= share]
        if not fragments and not whole:
            return None
        length = max(fragments) if fragments else min(whole)[1]
        first = heappop(starts[length])
        if not starts[length]:
            del starts[length]
        for longer in range(length + 1, prefix + 1):
            self._add((family, first + (1 << BITS[family] - longer), longer))
        return family, first, prefix

    def _add(self, block: Block) -> None:
        family, first, prefix = block
        heappush(self._starts[family].setdefault(prefix, []), first)
