# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks as numbers: what is free between them, and a pool that gives of it without fragmenting it. No I/O.

A ledger may have tens of thousands of networks, for which the objects of ipaddress would cost seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from ipaddress import ip_network
from itertools import chain, repeat
from operator import and_, attrgetter, itemgetter
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

Block = tuple[int, int, int]  # family, first address, prefix length

IPV4, IPV6 = 4, 6
BITS = {IPV4: 32, IPV6: 128}
DOMAINS = {IPV4: AF_INET, IPV6: AF_INET6}
LENGTHS = {family: {str(prefix): prefix for prefix in range(bits + 1)} for family, bits in BITS.items()}
HOST_BITS = {family: [(1 << bits - prefix) - 1 for prefix in range(bits + 1)] for family, bits in BITS.items()}
# First octets of unicast addresses; what is special beyond them is for ipaddress to judge.
UNICAST = {IPV4: {*range(1, 224)} - {127}, IPV6: {*range(1, 255)}}


def address_numbers(texts: Sequence[str]) -> dict[int, list[int]]:
    """The numbers of unicast addresses as they are usually written. Raises ValueError for any other text, be it an address or not.

    All are read at once, and so are networks below: one by one they would cost ten times as much.
    """
    return {family: _numbers(family, own) for family, own in _by_family(texts).items()}


def usual_blocks(texts: Sequence[str]) -> list[Block]:
    """The blocks that networks are as they are usually written, IPv4 first. Raises ValueError for any other text."""
    return list(chain.from_iterable(_blocks(family, own) for family, own in _by_family(texts).items()))


def _by_family(texts: Sequence[str]) -> dict[int, list[str]]:
    six = [text for text in texts if ":" in text]
    return {IPV4: [text for text in texts if ":" not in text] if six else list(texts), IPV6: six}


def _numbers(family: int, texts: list[str]) -> list[int]:
    domain = DOMAINS[family]
    try:
        packed = list(map(inet_pton, repeat(domain), texts))
    except OSError as error:
        raise ValueError(texts) from error
    if not UNICAST[family].issuperset(map(itemgetter(0), packed)):
        raise ValueError(texts)
    # inet_pton(3) takes an IPv4 address in one form alone, and an IPv6 address in many.
    if family == IPV6 and list(map(inet_ntop, repeat(domain), packed)) != texts:
        raise ValueError(texts)
    return list(map(partial(int.from_bytes, byteorder="big"), packed))


def _blocks(family: int, texts: list[str]) -> Iterator[Block]:
    parts = [text.partition("/") for text in texts]
    numbers = _numbers(family, [part[0] for part in parts])
    try:
        prefixes = [LENGTHS[family][part[2]] for part in parts]
    except KeyError as error:
        raise ValueError(texts) from error
    if any(map(and_, numbers, map(HOST_BITS[family].__getitem__, prefixes))):
        raise ValueError(texts)
    return zip(repeat(family), numbers, prefixes)


def blocks_of(texts: Sequence[str]) -> list[Block]:
    """The blocks that valid networks are, IPv4 first."""
    with suppress(ValueError):
        return usual_blocks(texts)
    networks = sorted(map(ip_network, texts), key=attrgetter("version"))
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
    family, first, _length = cluster
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
