# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make what is there equal to what is wanted, and prove it: read, compare, apply, read again. I/O only through the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol, TypeVar

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, failed

RETRIES = 3


class Change(Protocol):
    """One step. `command` is the text a person would type for it; `before` and `after` are what `--diff` shows ("" for nothing)."""

    @property
    def command(self) -> str: ...

    @property
    def before(self) -> str: ...

    @property
    def after(self) -> str: ...


C = TypeVar("C", bound=Change)


class Target(Protocol[C]):
    """A thing that can be brought to a wanted state: kernel objects, a file, the ledger, a pod's attachment."""

    @property
    def name(self) -> str: ...

    def lock(self) -> AbstractContextManager[Any]:
        """Keep every other run away from the target until left; must die with its process."""

    def drift(self) -> Sequence[C]:
        """Look at the target and list, in order, the changes that are still to be made. Changes nothing."""

    def apply(self, changes: Sequence[C]) -> None:
        """Make the changes. Raises Failed, with what was already done, when one is refused."""

    def facts(self) -> dict[str, Any]:
        """What the caller gets back beside the changes."""


class Outcome(NamedTuple):
    """What a run did, or under check mode would do."""

    name: str
    changes: Sequence[Change]
    facts: dict[str, Any]

    def result(self, *, diff: bool) -> dict[str, Any]:
        """As Ansible wants it: changed, commands, where asked for the diff, and the target's own facts."""
        commands = [change.command for change in self.changes]
        return {"changed": bool(self.changes), "commands": commands, **({"diff": self._diff()} if diff else {}), **self.facts}

    def _diff(self) -> dict[str, str]:
        return {
            "before_header": self.name,
            "after_header": self.name,
            "before": _lines(change.before for change in self.changes),
            "after": _lines(change.after for change in self.changes),
        }


def converge(target: Target[C], *, check: bool) -> Outcome:
    """Bring the target to its wanted state, or only say what that would take when `check`."""
    with nullcontext() if check else target.lock():
        changes = _drift(target) if check else _settled(target)
        return Outcome(target.name, changes, target.facts())


def answer(target: Callable[[], Target[C]], *, check: bool, diff: bool) -> dict[str, Any]:
    """The result of a task on a node, whoever runs it."""

    def work() -> dict[str, Any]:
        try:
            return converge(target(), check=check).result(diff=diff)
        except OSError as error:  # while the target was made, which only looks
            raise failed("the node cannot be looked at", error) from error

    return told(work)


def told(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was done, or the sentence that says why not and what was done until then."""
    try:
        return work()
    except Refused as error:
        return {"failed": True, "changed": False, "msg": str(error), "commands": []}
    except Failed as error:
        return {"failed": True, "changed": bool(error.done), "msg": str(error), "commands": list(error.done)}


def _settled(target: Target[C]) -> list[C]:
    """Make the changes until a look finds none, and list them. Where a step is refused for a reason that passes, look again and go on."""
    made: list[C] = []
    retries, accepted = RETRIES, False
    while True:
        steps: Sequence[C] = ()
        try:
            steps = _drift(target)
            if not steps:
                return made
            if accepted:
                left = "; ".join(step.command for step in steps)
                raise Failed(f"{target.name}: every step was accepted, yet this is still to be done: {left}")
            target.apply(steps)
        except Failed as error:
            made += [step for step in steps if step.command in error.done]
            if not error.passing or not retries:
                raise Failed(str(error), [step.command for step in made]) from error
            retries -= 1
        else:
            made += steps
            accepted = True


def _drift(target: Target[C]) -> Sequence[C]:
    """What is still to be done. That it cannot be looked for is a failure like any other."""
    try:
        return target.drift()
    except OSError as error:
        raise failed(f"{target.name} cannot be looked at", error) from error


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"{text}\n" for text in texts if text)
