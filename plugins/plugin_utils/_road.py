# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short road to a node: the engine and its options as one program on the standard input of the node's Python. Reads the engine's files.

An ordinary module is packed, sent, unpacked and started under AnsibleModule, which costs a node several times as much CPU as what
`vxlan_peers` does there. The program is the same source without that around it.
"""

from __future__ import annotations

import json
import marshal
import shlex
import sys
import zlib
from binascii import b2a_base64
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

PACKAGE = "ansible_collections.podnet.baremetal.plugins.module_utils"
# Each after those that it imports.
ENGINE = ("_errors", "_converge", "_node", "_objects", "_changes", "_rtnetlink", "_tables", "_wire", "_peers")
COMMAND = "{python} -I -S -"  # isolated, and without site-packages, which nothing of the engine is in

PROGRAM = """\
import sys
if sys.version_info < (3, 9):
    sys.exit("Python 3.9 or newer is needed")
import gc, json, marshal, zlib
from binascii import a2b_base64
gc.disable()  # the process ends before there is anything to collect
options = {{"own": "", "node": "", **json.loads({options!r})}}
if sys.implementation.cache_tag == "{tag}":
    engine = marshal.loads(zlib.decompress(a2b_base64("{compiled}")))
else:
    sources = json.loads(zlib.decompress(a2b_base64("{sources}")))
    engine = {{name: compile(source, name, "exec", dont_inherit=True) for name, source in sources.items()}}
for name, code in engine.items():
    sys.modules[name] = type(sys)(name)
    exec(code, vars(sys.modules[name]))
answer, target = sys.modules["{package}._converge"].answer, sys.modules["{package}._peers"].peers_target
print(json.dumps(answer(lambda: target(options), check=options["check"], diff=options["diff"])))
"""


def program(options: Mapping[str, Any]) -> bytes:
    """The program that the node's Python reads, with the options of `peers_target`, and `check` and `diff`. It prints one line of JSON."""
    return PROGRAM.format(options=json.dumps(dict(options)), package=PACKAGE, **PACKED_ENGINE).encode()


def _packed(data: bytes) -> str:
    return b2a_base64(zlib.compress(data), newline=False).decode()


def _engine() -> dict[str, str]:
    """The engine as text, and compiled for a node whose Python is of the controller's version: compiling is a quarter of a no-op there."""
    directory = Path(__file__).resolve().parents[1] / "module_utils"
    sources = {f"{PACKAGE}.{name}": (directory / f"{name}.py").read_text(encoding="utf-8") for name in ENGINE}
    compiled = {name: compile(source, name, "exec", dont_inherit=True) for name, source in sources.items()}
    return {
        "sources": _packed(json.dumps(sources).encode()),
        "compiled": _packed(marshal.dumps(compiled)),
        "tag": str(sys.implementation.cache_tag),
    }


PACKED_ENGINE = _engine()  # at import, which is once a run: each host's task is a fork of the process that has it


def by_the_short_road(action: ActionBase, task_vars: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer of the node to the program; None where the road is closed and the ordinary module has to go.

    It is closed where the connection does not take a program on standard input (pipelining), where the task wants what only
    a module can (async), where the node's interpreter is not known yet, and where that gives no answer, being too old for example.
    """
    python = _interpreter(action, task_vars)
    if not python or not action._is_pipelining_enabled("new", action._task.async_val):
        return None
    told = {**options, "check": action._task.check_mode, "diff": action._task.diff}
    done = action._low_level_execute_command(COMMAND.format(python=shlex.quote(python)), in_data=program(told))
    line = next((line for line in reversed(done["stdout_lines"]) if line.startswith("{")), "")
    with suppress(ValueError):
        answer = json.loads(line)
        return answer if isinstance(answer, dict) else None
    return None


def _interpreter(action: ActionBase, task_vars: Mapping[str, Any]) -> str:
    """The Python of the node as the inventory or, before this task, its discovery has it; "" where neither has."""
    if action._task.delegate_to:
        return ""
    given = action._templar.template(task_vars.get("ansible_python_interpreter") or "")
    if given and not str(given).startswith("auto"):
        return str(given)
    return str(task_vars.get("ansible_facts", {}).get("discovered_interpreter_python") or "")
