# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that a newer ledger has changed, and a node on which flanneld runs: refused, unless told. I/O: a network namespace."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils import _generation
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused
from node import FDB, NEIGHBOURS, PEERS, ROUTES, Node, device, peers

SIX: dict[str, Any] = {"generation": 6, "cluster_cidrs": ["172.20.0.0/16"]}
FIVE = {**SIX, "generation": 5}
RUNS: list[Callable[..., list[str]]] = [device, peers]


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the node keeps what it was changed by. Not the machine's own place."""
    path = tmp_path / "podnet.json"
    monkeypatch.setattr(_generation, "RECORD", str(path))
    return path


@pytest.fixture
def changed(node: Node, record: Path) -> Node:
    """A node that generation 6 has changed."""
    device(**SIX)
    peers(**SIX)
    assert json.loads(record.read_text()) == {"generation": 6, "cluster_cidr": ["172.20.0.0/16"]}
    return node


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("check", [True, False])
def test_an_older_ledger_is_refused_in_one_sentence_and_changes_nothing(
    changed: Node, record: Path, run: Callable[..., list[str]], check: bool
) -> None:
    before, kept = changed.dump(), record.read_bytes()
    with pytest.raises(Refused) as refusal:
        run(check=check, **FIVE)
    assert str(refusal.value) == (
        f"node1: the generation of the ledger is 5: this node was last changed by generation 6 ({record}): "
        "take the newer ledger, or say podnet_older_ledger: true (older: true) to go back."
    )
    assert (changed.dump(), record.read_bytes()) == (before, kept)


def test_who_says_so_goes_back_and_is_held_to_that_generation_from_then_on(changed: Node, record: Path) -> None:
    assert len(peers(wanted=PEERS[:1], older=True, **FIVE)) == 3
    assert json.loads(record.read_text())["generation"] == 5
    assert peers(**FIVE) == [NEIGHBOURS[1], FDB[1], ROUTES[1]]
    with pytest.raises(Refused, match="the generation of the ledger is 4"):
        peers(generation=4, cluster_cidrs=["172.20.0.0/15"])


def test_a_run_that_changes_nothing_or_only_looks_writes_nothing_down(overlay: Node, record: Path) -> None:
    assert (device(**SIX), peers(**SIX)) == ([], [])
    assert peers(check=True, wanted=PEERS[:1], **SIX) != []
    assert not record.exists()


def test_a_node_that_is_changed_by_its_own_lease_alone_remembers_that_too(changed: Node, record: Path) -> None:
    device(**{**SIX, "generation": 7}, mac="02:f1:00:00:00:07")
    with pytest.raises(Refused, match="last changed by generation 7"):
        peers(**SIX)


@pytest.mark.parametrize("cidrs", [["172.21.0.0/16"], ["2001:db8:244::/48"], ["10.0.0.0/8", "172.16.0.0/14"]])
def test_the_ledger_of_another_cluster_is_not_compared(changed: Node, cidrs: list[str]) -> None:
    assert peers(generation=1, cluster_cidrs=cidrs) == []


@pytest.mark.parametrize("cidrs", [["172.16.0.0/12"], ["172.20.128.0/17"], ["2001:db8:244::/48", "172.20.0.0/16"]])
def test_the_ledger_of_a_cluster_whose_ranges_have_grown_is(changed: Node, cidrs: list[str]) -> None:
    with pytest.raises(Refused, match="the generation of the ledger is 1"):
        peers(generation=1, cluster_cidrs=cidrs)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"generation": "x"}', '{"generation": 6, "cluster_cidr": ["nonsense"]}', "\xff", '{"generation": Infinity}'],
)
def test_a_record_that_cannot_be_understood_is_refused_until_somebody_says_so(changed: Node, record: Path, text: str) -> None:
    record.write_text(text, encoding="latin1")
    with pytest.raises(Refused, match=rf"^node1: {record} is damaged: .*; remove it, or say podnet_older_ledger: true"):
        peers(**SIX)
    changed.run("ip route del 172.20.1.0/24")
    assert peers(older=True, **SIX) == ROUTES[:1]
    assert peers(**SIX) == []


def test_what_cannot_be_written_down_is_not_begun(node: Node, record: Path) -> None:
    device()
    record.mkdir()
    with pytest.raises(Refused, match="is damaged"):
        peers(**SIX)
    before = node.dump()
    with pytest.raises(Failed, match=f"^node1: {record}: cannot be written: Is a directory"):
        peers(older=True, **SIX)
    assert node.dump() == before


# --- flanneld -------------------------------------------------------------------------------------------------------------


@contextmanager
def running(directory: Path, *before: str) -> Iterator[int]:
    """A process that is called flanneld and does nothing."""
    program = shutil.copy("/bin/sleep", directory / "flanneld")
    with subprocess.Popen([*before, program, "600"]) as process:
        try:
            while Path(f"/proc/{process.pid}/comm").read_text() != "flanneld\n":
                pass
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("run", RUNS)
def test_a_node_on_which_flanneld_runs_is_refused_unless_it_may(overlay: Node, tmp_path: Path, run: Callable[..., list[str]]) -> None:
    overlay.run("ip route del 172.20.1.0/24")
    before = overlay.dump()
    with running(tmp_path) as pid:
        for check in (True, False):
            with pytest.raises(
                Refused, match=f"^node1: flanneld is running as process {pid}: it changes the same entries: stop it, or say"
            ):
                run(check=check)
        assert overlay.dump() == before
        run(beside_flanneld=True)
    run()


def test_flanneld_of_another_network_namespace_is_nobodys_concern(overlay: Node, tmp_path: Path) -> None:
    with running(tmp_path, "unshare", "--net"):
        assert (device(), peers()) == ([], [])
