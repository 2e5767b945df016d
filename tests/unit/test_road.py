# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short road to a node: its program is whole, imports nothing that costs, and answers in one line. I/O: a Python of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.module_utils._wire import Row, pack, unpack
from ansible_collections.podnet.baremetal.plugins.plugin_utils._road import ISOLATED, PLAIN, UTILS, Module
from hypothesis import given
from hypothesis import strategies as st

# json and typing bring re and functools anyway; nothing else than these and what they import is worth its import.
STANDARD = (
    "__future__ binascii collections.abc contextlib encodings.ascii errno fcntl functools gc itertools json marshal os shlex socket struct"
)
STANDARD += " typing zlib"
PEER = {"node": "node2", "subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "mac": "02:f1:ac:14:01:00"}
OPTIONS = {
    "device": "flannel.1",
    "plan": pack_plan([PEER]),
    "purge": True,
    "nexthops": "auto",
    "node": "node1",
    "own": [],
    "device6": None,
    "cluster_cidrs": [],
    "generation": None,
    "older": False,
    "beside_flanneld": False,
    "firewall": None,
    "persistent": None,
}


def program(options: dict[str, Any], module: str = "vxlan_peers") -> bytes:
    return Module(module).program(options, check=True, diff=True)


def run(text: bytes) -> bytes:
    return subprocess.run([sys.executable, "-I", "-S", "-"], input=text, capture_output=True, check=True, cwd="/").stdout


def test_the_program_of_the_peers_imports_little() -> None:
    listed = b"\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    allowed, loaded = (
        set(json.loads(run(text + listed).splitlines()[-1]))
        for text in (f"import {', '.join(STANDARD.split())}".encode(), program(OPTIONS))
    )
    ours = {name for name in loaded - allowed if name.startswith("ansible")}
    assert loaded - allowed == ours
    assert {name.rpartition(".")[0] for name in ours} == {UTILS}


def test_a_program_holds_what_its_module_imports_and_nothing_of_ansible() -> None:
    options = {"files": [{"path": "/run/podnet-test/file", "content": "1\n", "mode": "0644", "once": False}], "state": "present"}
    answer = json.loads(run(program(options, "node_files")))
    assert answer["changed"]
    assert answer["diff"]["after"]


def test_only_a_program_that_needs_pyroute2_looks_for_what_is_installed() -> None:
    assert [Module(name).command for name in ("vxlan_peers", "nft_table", "vxlan_device")] == [ISOLATED, ISOLATED, PLAIN]


def test_a_program_imports_nothing_from_where_it_is_started(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong file')")
    done = subprocess.run([sys.executable, "-"], input=program(OPTIONS), capture_output=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["changed"]


def test_the_program_answers_in_one_line_without_site_packages() -> None:
    (line,) = run(program(OPTIONS)).splitlines()
    assert json.loads(line)["commands"] == [
        "ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent",
        "bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.2 self permanent",
        "ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86",
    ]


def test_a_python_of_another_version_compiles_the_same_source_itself() -> None:
    tag = f'cache_tag == "{sys.implementation.cache_tag}"'.encode()
    other = program(OPTIONS).replace(tag, b'cache_tag == "another"')
    assert other != program(OPTIONS)
    answers = [run(text) for text in (program(OPTIONS), other)]
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["changed"]


def test_whatever_the_options_say_is_only_data_to_the_program() -> None:
    hostile = 'x"\'\\\n"); import os; os.abort() #{engine}{{'
    assert json.loads(run(program({**OPTIONS, "node": hostile})))["changed"]


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
