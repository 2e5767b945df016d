# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target together with the files from which the node makes it again without us. I/O only through the two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Change, Target
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed
from ansible_collections.podnet.baremetal.plugins.module_utils._files import Step, TextFile, TextFiles, take
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock


class Persistent(NamedTuple):
    """First the target, then its files, under one lock: they hold only what the kernel took."""

    target: Target[Any]
    files: TextFiles

    @property
    def name(self) -> str:
        return self.target.name

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Change]:
        return [*self.target.drift(), *_told(self.files.drift())]

    def apply(self, changes: Sequence[Change]) -> None:
        own = [change for change in changes if not isinstance(change, Step)]
        if own:
            self.target.apply(own)
        try:
            take([change for change in changes if isinstance(change, Step)])
        except Failed as error:
            raise Failed(str(error), [*(change.command for change in own), *error.done], passing=error.passing) from error

    def facts(self) -> dict[str, Any]:
        return self.target.facts()


def persistent(target: Target[Any], options: Mapping[str, Any], texts: Mapping[str, Callable[[], str]]) -> Target[Any]:
    """The target as the option `persistent` asks for it: with its files, without them, or, for None, whatever they are."""
    if options["persistent"] is None:
        return target
    wanted = options["persistent"] and options.get("state") != "absent"
    return Persistent(target, TextFiles([TextFile(path, text() if wanted else None, 0o644) for path, text in texts.items()]))


def _told(steps: Sequence[Step]) -> list[Step]:
    """The steps as far as they are told: of a file its name, since its text is the commands that are told already.

    The directory is not: which of the tasks of a run makes it, or takes it away, check mode could not foresee.
    """
    of_files = [step for step in steps if step.command.startswith(("install -m", "rm "))] or steps
    act = partial(take, steps)
    return [Step(step.command.replace(" -m ", " -D -m ", 1), *_names(step), act) for step in of_files]


def _names(step: Step) -> tuple[str, str]:
    path = step.command.rsplit(" ", 1)[1]
    return (path, "") if step.command.startswith("rm") else ("", path)
