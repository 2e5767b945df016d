# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What etcd holds below a prefix, and what can be done to it at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

OPERATIONS = 128  # in a transaction: etcd's --max-txn-ops


class Stored(NamedTuple):
    """A key's value. `ttl` tells whether the key ends by itself with an etcd lease, as those of a running flanneld do."""

    value: str
    revision: int
    ttl: bool


class Operation(NamedTuple):
    """Put a key, or delete it where the value is None."""

    key: str
    value: str | None


class Snapshot(NamedTuple):
    """All keys below a prefix, by what follows it, as of one revision of the store."""

    revision: int
    keys: Mapping[str, Stored]

    def after(self, revision: int, operations: Iterable[Operation]) -> Snapshot:
        """What is there after a commit of ours that made the revision."""
        new = {key: Stored(value, revision, ttl=False) for key, value in operations if value is not None}
        gone = {key for key, value in operations if value is None}
        return Snapshot(revision, {key: stored for key, stored in {**self.keys, **new}.items() if key not in gone})
