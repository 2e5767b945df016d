# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short road to a node: a module and its options as one program on the standard input of the node's Python. Reads the module's files.

An ordinary module is packed, sent, unpacked and started under AnsibleModule, which costs the controller and the node several times
as much CPU as what ours do there. The program is the same source without that around it.
"""

from __future__ import annotations

import json
import marshal
import re
import shlex
import sys
import zlib
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

PLUGINS = Path(__file__).resolve().parents[1]
COLLECTION = "ansible_collections.podnet.baremetal.plugins"
UTILS = f"{COLLECTION}.module_utils"
CONVERGE = f"{UTILS}._converge"
EDGE = f"{UTILS}._module"  # what the program has something of its own for
PYROUTE2 = f"{UTILS}._links"  # the one file that needs what is installed beside Python
IMPORTS = re.compile(rf"^from ({re.escape(UTILS)}\.\w+) import ", re.MULTILINE)
ISOLATED, PLAIN = "{python} -I -S -", "{python} -"

PROGRAM = """\
import sys
if sys.version_info < (3, 9):
    sys.exit("Python 3.9 or newer is needed")
sys.path = [entry for entry in sys.path if entry]  # not the directory that it happens to start in
import gc, json, marshal, zlib
from binascii import a2b_base64
gc.disable()  # the process ends before there is anything to collect
options = json.loads({options!r})
if sys.implementation.cache_tag == "{tag}":
    engine = marshal.loads(zlib.decompress(a2b_base64("{compiled}")))
else:
    sources = json.loads(zlib.decompress(a2b_base64("{sources}")))
    engine = {{name: compile(source, name, "exec", dont_inherit=True) for name, source in sources.items()}}
main = engine.pop("__main__")
for name, code in engine.items():
    sys.modules[name] = type(sys)(name)
    exec(code, vars(sys.modules[name]))
def run(argument_spec, target, **rules):
    answer = sys.modules["{converge}"].answer
    print(json.dumps(answer(lambda: target(options), check={check}, diff={diff})))
sys.modules["{edge}"] = type(sys)("{edge}")
sys.modules["{edge}"].run = run
exec(main)
"""


class Module:
    """A module of this collection: what it accepts, and the program that it is without AnsibleModule.

    Made at the import of its action, which is once a run: each host's task is a fork of the process that has it.
    """

    def __init__(self, name: str) -> None:
        full = f"{COLLECTION}.modules.{name}"
        seen: set[str] = set()
        sources = {**dict(_sources(CONVERGE, seen)), **dict(_sources(full, seen))}
        sources["__main__"] = sources.pop(full)
        module = import_module(full)
        self.command = PLAIN if PYROUTE2 in sources else ISOLATED
        self._accepted = ArgumentSpecValidator(module.ARGUMENTS, **module.RULES)
        # Compiled for a node whose Python is of the controller's version: compiling is a quarter of a no-op there.
        compiled = {name: compile(source, name, "exec", dont_inherit=True) for name, source in sources.items()}
        self._packed = {
            "sources": _packed(json.dumps(sources).encode()),
            "compiled": _packed(marshal.dumps(compiled)),
            "tag": str(sys.implementation.cache_tag),
        }

    def program(self, options: Mapping[str, Any], *, check: bool, diff: bool) -> bytes:
        """The program that the node's Python reads. It prints one line of JSON, the task's result."""
        texts = {"options": json.dumps(dict(options)), "converge": CONVERGE, "edge": EDGE}
        return PROGRAM.format(check=check, diff=diff, **texts, **self._packed).encode()

    def validated(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options as the module itself would see them. Raises AnsibleActionFail for what it would not accept."""
        found = self._accepted.validate(dict(given))
        if found.error_messages:
            raise AnsibleActionFail("; ".join(found.error_messages))
        return dict(found.validated_parameters)


def _sources(name: str, seen: set[str]) -> Iterator[tuple[str, str]]:
    """The files of ours that this one imports, each after those that it imports itself, then this one."""
    if name in seen or name == EDGE:
        return
    seen.add(name)
    source = _source(name)
    for imported in IMPORTS.findall(source):
        yield from _sources(imported, seen)
    yield name, source


def _source(name: str) -> str:
    return PLUGINS.joinpath(*name[len(COLLECTION) + 1 :].split(".")).with_suffix(".py").read_text(encoding="utf-8")


def _packed(data: bytes) -> str:
    return b2a_base64(zlib.compress(data), newline=False).decode()


class ShortRoad(ActionBase):
    """The action of a module that goes by the short road where it is open, and as an ordinary module elsewhere."""

    MODULE: ClassVar[Module]
    _low_level_execute_command: Callable[..., dict[str, Any]]

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        return {**result, **self.answer({"node": variables["inventory_hostname"], **self._task.args}, variables)}

    def answer(self, given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """What the module says on the node to the options of the task."""
        return self.sent(self.MODULE.validated(given), task_vars)

    def sent(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """What the module says on the node to valid options."""
        answer = self._by_the_short_road(options, task_vars)
        if answer is not None:
            return answer
        given = {name: value for name, value in options.items() if value is not None}
        return dict(self._execute_module(module_args=given, task_vars=task_vars))

    def _by_the_short_road(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer of the node to the program; None where the road is closed and the ordinary module has to go.

        It is closed where the connection does not take a program on standard input (pipelining), where the task wants what only
        a module can (async), where the node's interpreter is not known yet, and where that gives no answer, being too old for example.
        """
        python = self._interpreter(task_vars)
        if not python or not self._is_pipelining_enabled("new", self._task.async_val):
            return None
        program = self.MODULE.program(options, check=self._task.check_mode, diff=self._task.diff)
        done = self._low_level_execute_command(self.MODULE.command.format(python=shlex.quote(python)), in_data=program)
        line = next((line for line in reversed(done["stdout_lines"]) if line.startswith("{")), "")
        with suppress(ValueError):
            answer = json.loads(line)
            return answer if isinstance(answer, dict) else None
        return None

    def _interpreter(self, task_vars: Mapping[str, Any]) -> str:
        """The Python of the node as the inventory or, before this task, its discovery has it; "" where neither has."""
        if self._task.delegate_to:
            return ""
        given = self._templar.template(task_vars.get("ansible_python_interpreter") or "")
        if given and not str(given).startswith("auto"):
            return str(given)
        return str(task_vars.get("ansible_facts", {}).get("discovered_interpreter_python") or "")
