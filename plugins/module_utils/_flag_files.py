# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a node that a kubelet's flags are in, as a target: without those that its version does not start with. Does I/O."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from glob import glob
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._files import Step, TextFile, take
from ansible_collections.podnet.baremetal.plugins.module_utils._kubelet_flags import minor_version, without_dead_flags
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock


class FlagFiles:
    """Those of the files that are there hold no flag that a kubelet of this minor version does not start with. Modes stay."""

    name = "the kubelet's flags"

    def __init__(self, node: str, minor: int, patterns: Sequence[str], excluded: Sequence[str] = ()) -> None:
        self._node = node
        self._minor = minor
        self._patterns = patterns
        self._excluded = excluded

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Step]:
        return [step for path in self._paths() for step in self._without_dead_flags(path)]

    def apply(self, changes: Sequence[Step]) -> None:
        take(changes)

    def facts(self) -> dict[str, Any]:
        return {}

    def _paths(self) -> list[str]:
        """Each file once, by its own name: units are links to others, and a link to /dev/null is a unit that is switched off."""
        found = {os.path.realpath(path) for pattern in self._patterns for path in glob(pattern)}
        return sorted(path for path in found.difference(self._excluded) if os.path.isfile(path))

    def _without_dead_flags(self, path: str) -> Iterator[Step]:
        with open(path, "rb") as file:
            mode, content = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read()
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise Refused(f"{self._node}: {path} is not UTF-8 text: take it out of the list of files.") from error
        left = without_dead_flags(text, self._minor)
        if left != text:
            yield from TextFile(path, left, mode).drift()


def flag_files_target(node: str, options: dict[str, Any]) -> FlagFiles:
    """The target of `kubelet_flags`."""
    for pattern in options["files"]:
        if not os.path.isabs(pattern):
            raise refuse(node, "files", pattern, "expected an absolute path, which may have * in it")
    return FlagFiles(node, minor_version(node, options["version"]), options["files"], options["exclude"])
