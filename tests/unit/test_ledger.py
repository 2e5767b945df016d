# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's file under every kind of damage, haste and shortage. I/O: temporary directories, processes, a tmpfs."""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils import _ledger
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Outcome, converge
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import LIMIT, LedgerFile, parse, read, target, text
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Network, plan

NETWORK = Network.of("172.20.0.0/16", "10.68.0.0/16")
THREE = plan(None, NETWORK, [Host.of(name, f"198.51.100.{number}") for number, name in enumerate(("node1", "node2", "node3"), 1)])
TEXT = """\
{
  "generation": 1,
  "network": {"cluster_cidr": ["172.20.0.0/16"], "service_cidr": ["10.68.0.0/16"], "node_prefix": [24], "reserved": []},
  "nodes": {
    "node1": {"subnets": ["172.20.0.0/24"], "underlay": "198.51.100.1", "state": "active"},
    "node2": {"subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "state": "active"},
    "node3": {"subnets": ["172.20.2.0/24"], "underlay": "198.51.100.3", "state": "active"}
  }
}
"""
# One process joins one node, as two people who run the playbook at once would: each knows the hosts of the ledger and its own.
JOIN = """
import sys
from dataclasses import replace
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import converge
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import LedgerFile
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Network, plan

def joined(ledger, name, number):
    hosts = [Host(lease.name, lease.underlay) for lease in ledger.leases if lease.name != name] if ledger else []
    return plan(ledger, Network.of("172.20.0.0/16"), [*hosts, Host.of(name, f"198.51.{number >> 8}.{number & 255}")])

path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    outcome = converge(LedgerFile(path, lambda ledger: joined(ledger, f"node{number}", number)), check=False)
    print(f"node{number}", outcome.facts["leases"][f"node{number}"]["subnets"][0], flush=True)
"""


def options(path: Path, *names: str, **more: Any) -> dict[str, Any]:
    hosts = [{"name": name, "underlay": f"198.51.100.{name[4:]}"} for name in names]
    nothing = dict.fromkeys(("service_cidr", "node_prefix", "reserved", "name", "brief"))
    return {"ledger": str(path), "state": "present", "cluster_cidr": "172.20.0.0/16", "hosts": hosts, **nothing, **more}


def run(path: Path, *names: str, check: bool = False, **more: Any) -> Outcome:
    return converge(target(options(path, *names, **more)), check=check)


def test_the_file_has_one_node_a_line() -> None:
    assert text(THREE) == TEXT
    assert parse(TEXT.encode(), "x") == THREE
    assert json.loads(TEXT)["nodes"]["node1"]["state"] == "active"


def test_an_empty_ledger_is_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    assert run(path).result(diff=True)["commands"] == ["network 172.20.0.0/16"]
    assert not run(path).changes
    assert '"nodes": {}' in path.read_text()


def test_a_mac_that_follows_from_the_subnet_is_not_written() -> None:
    ledger = plan(None, NETWORK, [Host.of("a", "198.51.100.1", mac="fe:00:00:00:00:01"), Host.of("b", "198.51.100.2")])
    assert text(ledger).count('"mac"') == 1
    assert parse(text(ledger).encode(), "x") == ledger


def test_a_life_of_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    steps: list[tuple[Callable[..., Outcome], list[str]]] = [
        (
            partial(run, path, "node1", "node2"),
            ["network 172.20.0.0/16", "lease node1 172.20.0.0/24 (new)", "lease node2 172.20.1.0/24 (new)"],
        ),
        (partial(run, path, "node1", "node2", "node0"), ["lease node0 172.20.2.0/24 (new)"]),
        (partial(run, path, "node1", "node2"), ["retire node0 172.20.2.0/24"]),
        (partial(run, path, "node1", "node0", "node2"), ["lease node0 172.20.2.0/24 (reused)"]),
        (partial(run, path, "node1", "node2", "node0", leaving=["node0", "node9"]), ["retire node0 172.20.2.0/24"]),
        (partial(run, path, "node0", retire=False), ["lease node0 172.20.2.0/24 (reused)"]),
        (partial(run, path, "node1", leaving=["node0"], retire=False), ["retire node0 172.20.2.0/24"]),
        (partial(run, path, state="absent", name="node0"), ["release node0 172.20.2.0/24"]),
        (partial(run, path, "node1", "node2", cluster_cidr="172.20.0.0/15"), ["network 172.20.0.0/15"]),
    ]
    for generation, (step, commands) in enumerate(steps, 1):
        before = path.read_bytes() if path.exists() else None
        would = step(check=True)
        assert (path.read_bytes() if path.exists() else None) == before
        did, again = step(), step()
        assert would.result(diff=True) == did.result(diff=True)
        assert (did.result(diff=True)["commands"], did.facts["generation"]) == (commands, generation)
        assert again.result(diff=True)["commands"] == []
    assert os.listdir(tmp_path) == ["ledger.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_diff_shows_the_lines_that_change(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    run(path, "node1", "node2")
    hosts = [{"name": "node1", "underlay": "198.51.100.1"}, {"name": "node2", "underlay": "198.51.100.22"}]
    outcome = run(path, hosts=hosts, check=True).result(diff=True)
    assert outcome["commands"] == ["lease node2 172.20.1.0/24 underlay 198.51.100.22 mac 02:f1:ac:14:01:00 (kept)"]
    assert outcome["diff"]["before"] == '"node2": {"subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "state": "active"}\n'
    assert outcome["diff"]["after"] == '"node2": {"subnets": ["172.20.1.0/24"], "underlay": "198.51.100.22", "state": "active"}\n'


def test_releasing_from_a_ledger_that_is_not_there_is_no_change(tmp_path: Path) -> None:
    assert not run(tmp_path / "ledger.json", state="absent", name="node1").changes
    assert os.listdir(tmp_path) == []


NODE = '"node1": {"subnets": ["172.20.0.0/24"], "underlay": "198.51.100.1", "state": "active"}'
DAMAGED: list[tuple[str, bytes, str]] = [
    ("empty", b"", "the ledger is damaged: it is empty; restore it"),
    ("blank", b"\n", "it is empty"),
    ("half", TEXT.encode()[: len(TEXT) // 2], "the ledger is damaged: .* line 5"),
    ("no end", TEXT.encode()[:-3], "the ledger is damaged"),
    ("byte order mark", b"\xef\xbb\xbf" + TEXT.encode(), "it begins with a byte order mark"),
    ("NUL", TEXT.replace("node1", "node1\0").encode(), "it contains a NUL byte"),
    ("latin1", TEXT.replace("node1", "n\xf6de").encode("latin1"), "it is not UTF-8 at byte"),
    ("conflict", TEXT.replace("    " + NODE, "<<<<<<< HEAD\n    " + NODE).encode(), "line 5 is a merge conflict that nobody has resolved"),
    ("too large", b"{" + b" " * LIMIT, "it is larger than 64 MiB"),
    ("deep", b"[" * 100_000, "the ledger is damaged"),
    ("NaN", TEXT.replace(": 1,", ": NaN,").encode(), "NaN is no JSON"),
    ("huge number", TEXT.replace(": 1,", f": {'9' * 5000},").encode(), "the ledger is damaged"),
    ("list", b"[]", r"the document is \[\]: expected an object with generation, network, nodes"),
    ("null", b"null", "the document is None: expected an object"),
    ("twice", TEXT.replace('"node2"', '"node1"').encode(), '"node1" is there twice in one object'),
    (
        "unknown",
        TEXT.replace('"generation"', '"version": 1, "generation"').encode(),
        "the document is an object with version: expected only",
    ),
    ("missing", TEXT.replace('"generation": 1,', "").encode(), "the document is without generation"),
    ("text for number", TEXT.replace(": 1,", ': "1",').encode(), "generation is 1: expected a number"),
    ("truth for number", TEXT.replace(": 1,", ": true,").encode(), "generation is True: expected a number"),
    ("negative", TEXT.replace(": 1,", ": -1,").encode(), "generation is -1: expected a number from 1"),
    (
        "nodes as list",
        TEXT.replace(NODE + ",\n", "").replace('"nodes": {', '"nodes": [], "x": {').encode(),
        r"nodes is \[\]: expected an object",
    ),
    ("unknown in network", TEXT.replace('"reserved"', '"vni": 1, "reserved"').encode(), "network is an object with vni: expected only"),
    ("text for list", TEXT.replace('["172.20.0.0/24"]', '"172.20.0.0/24"').encode(), "node1: subnets is 172.20.0.0/24: expected a list"),
    ("no subnet", TEXT.replace('["172.20.0.0/24"]', "[]").encode(), r"node1: subnets is \[\]: a node has one pod subnet"),
    (
        "two subnets",
        TEXT.replace('["172.20.0.0/24"]', '["172.20.0.0/24", "172.20.9.0/24"]').encode(),
        "node1: subnets is .*: a node has one",
    ),
    ("host bits", TEXT.replace("172.20.0.0/24", "172.20.0.1/24").encode(), "node1: subnets is 172.20.0.1/24: it has bits set"),
    (
        "outside",
        TEXT.replace("172.20.0.0/24", "172.21.0.0/24").encode(),
        "podnet_cluster_cidr is 172.20.0.0/16: it leaves out 172.21.0.0/24 of node1",
    ),
    (
        "overlap",
        TEXT.replace("172.20.2.0/24", "172.20.1.128/25").encode(),
        "the subnet of node2 is 172.20.1.0/24: it overlaps 172.20.1.128/25 of node3",
    ),
    ("underlay", TEXT.replace("198.51.100.1", "127.0.0.1").encode(), "node1: underlay is 127.0.0.1"),
    ("state", TEXT.replace("active", "gone").encode(), "node1: state is gone: expected active or retired"),
    ("mac", TEXT.replace('"state"', '"mac": "01:00:5e:00:00:01", "state"').encode(), "node1: mac is 01:00:5e:00:00:01"),
    ("empty mac", TEXT.replace('"state"', '"mac": "", "state"').encode(), "node1: mac is '': expected a MAC"),
    ("number as a subnet", TEXT.replace('["172.20.0.0/24"]', "[7]").encode(), "node1: subnets is 7: expected a network"),
    ("name", TEXT.replace("node1", "../node1").encode(), "a host's name is ../node1: expected an RFC 1123 name"),
    ("node", TEXT.replace(NODE, '"node1": null').encode(), "node1: the node is None: expected an object with subnets"),
]


@pytest.mark.parametrize(("raw", "sentence"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_a_damaged_ledger_is_refused_and_left_alone(tmp_path: Path, raw: bytes, sentence: str) -> None:
    path = tmp_path / "ledger.json"
    path.write_bytes(raw)
    with pytest.raises(Refused, match=f"^{path}: .*{sentence}") as refusal:
        run(path, "node1", "node9")
    assert "\n" not in str(refusal.value)
    assert path.read_bytes() == raw


def test_a_thousand_mutations_give_a_ledger_or_one_sentence() -> None:
    dice = random.Random(1)
    for _time in range(1000):
        raw = bytearray(TEXT.encode())
        for _time in range(dice.randint(1, 4)):
            at = dice.randrange(len(raw))
            raw[at : at + dice.randint(0, 3)] = bytes(dice.choice(b'{}[],:"0129aA/.\0\xff\n') for _time in range(dice.randint(0, 3)))
        try:
            ledger = parse(bytes(raw), "ledger.json")
        except Refused as refused:
            sentence = str(refused)
        else:
            sentence = f"ledger.json: {len(ledger.leases)} leases"
        assert sentence.startswith("ledger.json: ")
        assert "\n" not in sentence


def mutated(dice: random.Random) -> bytes:
    """A ledger in which a few bytes are others, each of which its text has somewhere, or a piece of it is there twice or not at all."""
    raw = bytearray(TEXT.encode())
    for _time in range(dice.randint(1, 2)):
        at, length = dice.randrange(len(raw)), dice.choice((1, 1, 2, dice.randint(1, 90)))
        start = dice.randrange(len(raw))
        raw[at : at + dice.choice((0, length))] = raw[start : start + dice.choice((0, length))]
    return bytes(raw)


def test_a_ledger_that_is_read_at_a_glance_is_what_its_json_says() -> None:
    dice = random.Random(3)
    glances = 0
    for raw in (TEXT.encode(), *(mutated(dice) for _time in range(20_000))):
        ledger = vars(_ledger)["_as_we_write_it"](raw, "x")
        if ledger:
            glances += 1
            assert vars(_ledger)["_as_a_person_may"](raw, "x") == ledger
            assert parse(text(ledger).encode(), "x") == ledger
    assert glances > 100


@pytest.mark.parametrize(
    "other",
    [
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("    ", "\t"),
        json.dumps(json.loads(TEXT)),
        json.dumps(json.loads(TEXT), indent=4),
        TEXT.replace("node1", "node\\u0031"),
        TEXT.replace('"state": "active"}', '"state": "active" }'),
    ],
)
def test_a_ledger_that_a_person_or_a_tool_has_laid_out_anew_is_the_same_ledger(other: str) -> None:
    assert other != TEXT
    assert parse(other.encode(), "x") == THREE


def test_two_nodes_with_one_subnet_as_git_may_merge_them_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    line = '    "node9": {"subnets": ["172.20.0.0/24"], "underlay": "198.51.100.9", "state": "active"}'
    path.write_text(TEXT.replace('"state": "active"}\n  }', f'"state": "active"}},\n{line}\n  }}'))
    with pytest.raises(Refused, match=r"the subnet of node1 is 172\.20\.0\.0/24: it overlaps 172\.20\.0\.0/24 of node9"):
        run(path, "node1")


def test_a_rename_is_one_change_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    run(path, "node1", "node2")
    hosts = [{"name": "node1", "underlay": "198.51.100.1"}, {"name": "z", "underlay": "198.51.100.2", "renamed_from": "node2"}]
    for check in (True, False):
        outcome = run(path, hosts=hosts, check=check).result(diff=True)
        assert outcome["commands"] == ["rename node2 z 172.20.1.0/24"]
        assert outcome["diff"]["before"] == '"node2": {"subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "state": "active"}\n'
        assert outcome["diff"]["after"] == '"z": {"subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "state": "active"}\n'
    assert not run(path, hosts=hosts).changes


def test_a_brief_result_has_the_room_and_its_warning_and_no_leases(tmp_path: Path) -> None:
    facts = run(tmp_path / "ledger.json", "node1", "node2", cluster_cidr="172.20.0.0/23", brief=True).result(diff=False)
    assert (facts["capacity"], "leases" in facts) == ({"total": 2, "taken": 2, "free": 0}, False)
    assert [warning.split(": ")[1] for warning in facts["warnings"]] == ["podnet_cluster_cidr is 172.20.0.0/23"]


def test_the_collector_of_garbage_is_as_it_was(tmp_path: Path) -> None:
    run(tmp_path / "ledger.json", "node1")
    assert gc.isenabled()


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mistyped" / "ledger.json"
    for check in (True, False):
        with pytest.raises(Refused, match=f"^{path}: podnet_ledger is in no directory: make {path.parent} first, or correct the path"):
            run(path, "node1", check=check)
    assert os.listdir(tmp_path) == []


def test_a_directory_in_the_ledgers_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"^{tmp_path}: the ledger cannot be read: Is a directory"):
        run(tmp_path, "node1")


# --- many at once, and killed ---------------------------------------------------------------------------------------------


def join(path: Path, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", JOIN, str(path), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def granted(joins: list[subprocess.Popen[str]]) -> dict[str, str]:
    """What each process was told. A line that its death cut off was told to nobody."""
    lines = [line for process in joins for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
    return dict(line.split() for line in lines)


def sound(path: Path) -> dict[str, str]:
    ledger = read(path.as_posix())
    assert ledger is not None
    held = {lease.name: lease.subnets[0] for lease in ledger.leases}
    assert len({ip_network(subnet) for subnet in held.values()}) == len(held)
    return held


def test_processes_that_join_at_once_never_share_a_subnet(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    joins = [join(path, 1 + 12 * process, 12) for process in range(8)]
    told = granted(joins)
    assert [process.returncode for process in joins] == [0] * 8
    assert sound(path) == told
    assert len(told) == 96
    assert os.listdir(tmp_path) == ["ledger.json"]


def test_a_process_killed_anywhere_loses_nothing_that_was_granted(tmp_path: Path) -> None:
    path, dice = tmp_path / "ledger.json", random.Random(2)
    told: dict[str, str] = {}
    for turn in range(8):
        joins = [join(path, 1 + 25 * process, 25) for process in range(2)]
        time.sleep(dice.uniform(0.2, 0.9))
        victim = joins[turn % 2]
        victim.send_signal(signal.SIGKILL)
        told.update(granted(joins))
        held = sound(path)
        assert told.items() <= held.items()
    rerun = granted([join(path, 1, 50)])
    assert rerun == sound(path)
    assert told.items() <= rerun.items()
    assert os.listdir(tmp_path) == ["ledger.json"]


# --- no room, no right ----------------------------------------------------------------------------------------------------

IN_A_TMPFS = """
import os, pathlib, subprocess, sys
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import converge
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import target

def run(count):
    hosts = [{"name": f"node{n}", "underlay": f"198.51.100.{n}"} for n in range(1, count + 1)]
    nothing = dict.fromkeys(("service_cidr", "node_prefix", "reserved", "name", "brief"))
    options = {"ledger": f"{place}/ledger.json", "state": "present", "cluster_cidr": "172.20.0.0/16", "hosts": hosts, **nothing}
    return converge(target(options), check=False)

place, fault = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
run(2)
before = pathlib.Path(place, "ledger.json").read_bytes()
if fault == "full":
    filler = os.open(f"{place}/filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(filler, bytes(4096)):
            pass
    except OSError:
        pass
else:
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
try:
    run(200)
except Failed as failed:
    print(failed)
assert pathlib.Path(place, "ledger.json").read_bytes() == before
print(sorted(os.listdir(place)))
"""


@pytest.mark.parametrize(
    ("fault", "sentence", "files"),
    [("full", "No space left on device", ["filler", "ledger.json"]), ("read-only", "Read-only file system", ["ledger.json"])],
)
def test_a_ledger_that_cannot_be_written_stays_as_it_was(tmp_path: Path, fault: str, sentence: str, files: list[str]) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", IN_A_TMPFS, str(tmp_path), fault]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert sentence in first
    assert last == str(files)


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    ledger = LedgerFile(str(tmp_path / "ledger.json"), lambda ledger: ledger)
    with ledger.lock():
        process = join(tmp_path / "ledger.json", 1, 1)
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=2)
    assert granted([process]) == {"node1": "172.20.0.0/24"}


def test_a_ledger_behind_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises((Refused, Failed), match="symbolic link"):
        run(tmp_path / "ledger.json", "node1")
    assert not (tmp_path / "elsewhere.json").exists()
