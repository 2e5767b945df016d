# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run a node at a time. I/O."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def node_lock() -> Iterator[None]:
    """Keep other runs on this node away until left. Not for use inside itself.

    flock(2) on the network namespace itself (namespaces(7)) leaves no file, dies with its process, is there before any
    directory is made and after it is removed, and is another one in each node of the lab.
    """
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(namespace, fcntl.LOCK_EX)
        yield
    finally:
        os.close(namespace)
