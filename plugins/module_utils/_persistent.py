# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target together with the file from which the node makes it again without us. I/O only through the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Change, Target
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed
from ansible_collections.podnet.baremetal.plugins.module_utils._files import Step, TextFile, take
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock


class Persistent(NamedTuple):
    """First the target, then its file, under one lock: the file holds only what the kernel took."""

    target: Target[Any]
    file: TextFile

    @property
    def name(self) -> str:
        return self.target.name

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Change]:
        return [*self.target.drift(), *map(self._briefly, self.file.drift())]

    def apply(self, changes: Sequence[Change]) -> None:
        own = [change for change in changes if not isinstance(change, Step)]
        if own:
            self.target.apply(own)
        try:
            take([change for change in changes if isinstance(change, Step)])
        except Failed as error:
            raise Failed(str(error), [*(change.command for change in own), *error.done]) from error

    def facts(self) -> dict[str, Any]:
        return self.target.facts()

    def _briefly(self, step: Step) -> Step:
        """A diff names the file alone: its text is the commands that stand there already."""
        if not step.command.endswith(f" {self.file.name}"):
            return step
        before, after = (self.file.name, "") if self.file.text is None else ("", self.file.name)
        return step._replace(before=before, after=after)


def persistent(target: Target[Any], options: Mapping[str, Any], path: str, text: Callable[[], str]) -> Target[Any]:
    """The target as the option `persistent` asks for it: with its file, without it, or, for None, whatever the file is."""
    if options["persistent"] is None:
        return target
    wanted = options["persistent"] and options.get("state") != "absent"
    return Persistent(target, TextFile(path, text() if wanted else None, 0o644))
