# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan on its way to the nodes: the same short text for all of them, one row a pod subnet. Pure; standard library only."""

from __future__ import annotations

import struct
import zlib
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable
from itertools import groupby

Row = tuple[bytes, bytes, bytes, int]  # the peer's MAC and underlay address, the network address and length of one of its pod subnets

SECTION = struct.Struct("!BBI")  # the size of an underlay address and of a network address, and how many rows of that shape follow


def pack(rows: Iterable[Row]) -> str:
    """The rows as one text, those of the same address families together."""
    ordered = sorted(rows, key=_shape)
    sections = [(shape, list(section)) for shape, section in groupby(ordered, key=_shape)]
    parts = [SECTION.pack(*shape, len(section)) + b"".join(_struct(shape).pack(*row) for row in section) for shape, section in sections]
    return b2a_base64(zlib.compress(b"".join(parts)), newline=False).decode()


def unpack(text: str) -> list[Row]:
    """The rows that `pack` packed."""
    data = zlib.decompress(a2b_base64(text))
    rows: list[Row] = []
    offset = 0
    while offset < len(data):
        *shape, count = SECTION.unpack_from(data, offset)
        row = _struct((shape[0], shape[1]))
        start = offset + SECTION.size
        offset = start + count * row.size
        rows += row.iter_unpack(data[start:offset])
    return rows


def _shape(row: Row) -> tuple[int, int]:
    return len(row[1]), len(row[2])


def _struct(shape: tuple[int, int]) -> struct.Struct:
    return struct.Struct(f"!6s{shape[0]}s{shape[1]}sB")
