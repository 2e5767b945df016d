# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short road to a node: its program is whole, imports nothing that costs, and answers in one line. I/O: a Python of its own."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.module_utils._wire import Row, pack, unpack
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import ENGINE, PACKAGE, program
from hypothesis import given
from hypothesis import strategies as st

UTILS = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
# json and typing bring re and functools anyway; nothing else than these is worth its import.
STANDARD = {"__future__", "binascii", "collections", "contextlib", "errno", "fcntl", "functools", "itertools", "os", "socket", "struct"}
STANDARD |= {"typing", "zlib"}
PEER = {"node": "node2", "subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "mac": "02:f1:ac:14:01:00"}
OPTIONS = {
    "device": "flannel.1",
    "plan": pack_plan([PEER]),
    "purge": True,
    "nexthops": "auto",
    "node": "node1",
    "check": True,
    "diff": True,
}


def imported(name: str) -> list[str]:
    tree = ast.parse((UTILS / f"{name}.py").read_text())
    plain = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return plain + [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


@pytest.mark.parametrize("name", ENGINE)
def test_each_file_of_the_engine_needs_only_those_before_it_and_little_else(name: str) -> None:
    before = {f"{PACKAGE}.{each}" for each in ENGINE[: ENGINE.index(name)]}
    assert {module if module.startswith(PACKAGE) else module.split(".")[0] for module in imported(name)} <= before | STANDARD


def test_the_program_answers_in_one_line_without_site_packages() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=program(OPTIONS), capture_output=True, check=True, cwd="/")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["commands"] == [
        "ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent",
        "bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.2 self permanent",
        "ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86",
    ]


def test_a_python_of_another_version_compiles_the_same_source_itself() -> None:
    tag = f'cache_tag == "{sys.implementation.cache_tag}"'.encode()
    other = program(OPTIONS).replace(tag, b'cache_tag == "another"')
    assert other != program(OPTIONS)
    answers = [
        subprocess.run([sys.executable, "-I", "-S", "-"], input=text, capture_output=True, check=True).stdout
        for text in (program(OPTIONS), other)
    ]
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["changed"]


def test_whatever_the_options_say_is_only_data_to_the_program() -> None:
    hostile = 'x"\'\\\n"); import os; os.abort() #{engine}{{'
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=program({**OPTIONS, "node": hostile}), capture_output=True, check=True)
    assert json.loads(done.stdout)["changed"]


def test_a_plan_leaves_out_the_node_itself_and_costs_little() -> None:
    peers = [
        {
            "node": f"n{n}",
            "subnets": [f"10.{n >> 8}.{n & 255}.0/24"],
            "underlay": f"198.18.{n >> 8}.{n & 255}",
            "mac": f"02:f1:0a:{n >> 8:02x}:{n & 255:02x}:00",
        }
        for n in range(1, 5001)
    ]
    plan = pack_plan(peers)
    assert len(plan) < 12 * len(peers)
    assert len(unpack(plan)) == 5000


sizes = st.sampled_from([4, 16])
rows = st.tuples(sizes, sizes).flatmap(
    lambda shape: st.tuples(st.binary(min_size=6, max_size=6), *(st.binary(min_size=n, max_size=n) for n in shape), st.integers(0, 128))
)


@given(st.lists(rows))
def test_what_is_packed_is_unpacked(given_rows: list[Row]) -> None:
    assert sorted(unpack(pack(given_rows))) == sorted(given_rows)
