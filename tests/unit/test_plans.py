# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tasks are told of the ledger, made once a run. I/O: temporary directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import text
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Ledger, Network, plan
from ansible_collections.podnet.baremetal.plugins.module_utils._wire import unpack
from ansible_collections.podnet.baremetal.plugins.plugin_utils import _plans
from ansible_collections.podnet.baremetal.plugins.plugin_utils._plans import copy_of_the_run, planned

NETWORK = Network.of("172.20.0.0/16", "10.68.0.0/16")


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where ansible keeps what a run leaves behind."""
    directory = tmp_path / "run"
    directory.mkdir()
    monkeypatch.setitem(vars(constants), "DEFAULT_LOCAL_TMP", str(directory))
    return directory


def ledger_of(*names: str, before: Ledger | None = None) -> Ledger:
    return plan(before, NETWORK, [Host(name, f"198.51.100.{number}") for number, name in enumerate(names, start=1)])


def written(path: Path, ledger: Ledger) -> str:
    path.write_text(text(ledger))
    return str(path)


def macs(found: _plans.Planned) -> set[str]:
    return {row[0].hex(":") for row in unpack(found.plan)}


def test_a_node_finds_its_lease_and_the_plan_that_all_share(tmp_path: Path) -> None:
    path = written(tmp_path / "ledger.json", ledger_of("node1", "node2", "node22"))
    one, two = planned(path, "node1"), planned(path, "node2")
    assert two.lease == {
        "subnets": ["172.20.1.0/24"],
        "underlay": "198.51.100.2",
        "mac": "02:f1:ac:14:01:00",
        "state": "active",
        "gateways": ["172.20.1.1"],
        "vtep_addresses": ["172.20.1.0"],
        "cluster_cidr": ["172.20.0.0/16"],
        "reserved": [],
        "generation": 1,
    }
    assert one.plan == two.plan
    assert macs(one) == {f"02:f1:ac:14:0{n}:00" for n in range(3)}


def test_a_node_with_two_devices_finds_what_each_is(tmp_path: Path) -> None:
    network = Network.of(["172.20.0.0/16", "2001:db8:244::/48"])
    path = written(tmp_path / "ledger.json", plan(None, network, [Host("node1", "198.51.100.1", underlay6="2001:db8::1")]))
    lease = planned(path, "node1").lease
    assert {name: lease[name] for name in ("underlay", "underlay6", "mac", "mac6", "vtep_addresses")} == {
        "underlay": "198.51.100.1",
        "underlay6": "2001:db8::1",
        "mac": "02:f1:ac:14:00:00",
        "mac6": "02:f1:02:44:00:00",
        "vtep_addresses": ["172.20.0.0", "2001:db8:244::"],
    }


def test_the_ledger_is_read_once_a_run_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = vars(_plans)["read"]

    def noted(path: str) -> Ledger | None:
        reads.append(path)
        found: Ledger | None = read(path)
        return found

    monkeypatch.setattr(_plans, "read", noted)
    first = ledger_of("node1", "node2")
    path = written(tmp_path / "ledger.json", first)
    assert {planned(path, name).plan for name in ("node1", "node2", "node1")} == {planned(path, "node2").plan}
    assert len(reads) == 1
    written(tmp_path / "new.json", ledger_of("node1", "node2", "node3", before=first))
    os.replace(tmp_path / "new.json", path)
    assert len(macs(planned(path, "node3"))) == 3
    assert len(reads) == 2


@pytest.mark.parametrize("node", ["node3", "node", "ode1", "node1 ", "{}", ""])
def test_a_node_without_an_active_lease_is_refused(tmp_path: Path, node: str) -> None:
    retired = ledger_of("node1", "node2", before=ledger_of("node1", "node2", "node3"))
    path = written(tmp_path / "ledger.json", retired)
    with pytest.raises(Refused, match="its lease is missing"):
        planned(path, node)


def test_under_check_the_copy_of_the_run_comes_before_the_ledger(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.json")
    with pytest.raises(Refused, match=r"node1: the ledger .* is not there: let podnet.baremetal.pod_subnet make it first"):
        planned(path, "node1")
    written(Path(copy_of_the_run(path)), ledger_of("node1"))
    assert planned(path, "node1").lease["underlay"] == "198.51.100.1"
