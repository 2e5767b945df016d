# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module as Ansible runs it on a node, in the four-run form: check, apply, check again, apply again. I/O: the lab."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labs import Lab, Outcome

DEVICE = {"local": "198.51.100.1", "mac": "02:f1:ac:14:00:00", "addresses": ["172.20.0.0/32"]}
PEER = {"node": "node2", "subnets": ["172.20.1.0/24"], "underlay": "198.51.100.2", "mac": "02:f1:ac:14:01:00"}
RULES = "chain postrouting {\n type nat hook postrouting priority srcnat; policy accept;\n ip saddr 172.20.0.0/24 masquerade\n}"
FILES = [{"path": "/run/podnet-test/one", "content": "1\n"}, {"path": "/etc/podnet-test/deep/two", "content": "2\n"}]
SITES = [{"path": file["path"]} for file in FILES]

# module: (a first state, another one or None, an absent one; the tables it shows in)
LIVES: dict[str, tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any], str]] = {
    "vxlan_device": (
        {**DEVICE, "name": "vx7", "vni": 7, "mac": "02:f1:00:00:00:07", "addresses": ["172.20.7.0/32"]},
        {**DEVICE, "name": "vx7", "vni": 7, "mac": "02:f1:00:00:00:08", "mtu": 1400, "ttl": 9, "addresses": ["172.20.0.7/32"]},
        {"name": "vx7", "state": "absent"},
        "ip -d addr show",
    ),
    "static_neigh": (
        {"address": "172.20.9.0", "mac": "02:f1:ac:14:09:00"},
        {"address": "172.20.9.0", "mac": "02:f1:ac:14:09:01"},
        {"address": "172.20.9.0", "state": "absent"},
        "ip neigh show dev flannel.1 nud permanent",
    ),
    "fdb_entry": (
        {"mac": "02:f1:ac:14:09:00", "destination": "198.51.100.9"},
        {"mac": "02:f1:ac:14:09:00", "destination": "198.51.100.8"},
        {"mac": "02:f1:ac:14:09:00", "destination": "198.51.100.8", "state": "absent"},
        "bridge fdb show dev flannel.1",
    ),
    "pod_route": (
        {"subnet": "172.20.9.0/24"},
        {"subnet": "172.20.9.0/24", "gateway": "172.20.9.1"},
        {"subnet": "172.20.9.0/24", "state": "absent"},
        "ip -4 route show",
    ),
    "vxlan_peers": (
        {"peers": [PEER], "purge": True},
        {"peers": [{**PEER, "underlay": "198.51.100.3"}], "purge": True},
        {"peers": [], "purge": True},
        "ip -4 route show",
    ),
    "nft_table": (
        {"name": "podnet-test", "rules": RULES},
        {"name": "podnet-test", "rules": RULES.replace("masquerade", "masquerade fully-random")},
        {"name": "podnet-test", "state": "absent"},
        "nft list ruleset",
    ),
    "node_files": (
        {"files": FILES},
        {"files": [{**FILES[0], "content": "3\n", "mode": "0600"}, FILES[1]]},
        {"files": SITES, "state": "absent"},
        "find /run/podnet-test /etc/podnet-test -printf %p%m%s\\n",
    ),
    "cni_conflist": (
        {
            "path": "/etc/cni-test/net.d/10-x.conflist",
            "form": "bridge",
            "subnets": ["172.20.0.0/24"],
            "cluster_cidrs": ["172.20.0.0/16"],
            "mtu": 1450,
            "plugin_directory": "/usr/lib/cni",
        },
        {
            "path": "/etc/cni-test/net.d/10-x.conflist",
            "form": "bridge",
            "subnets": ["172.20.0.0/24"],
            "cluster_cidrs": ["172.20.0.0/16"],
            "mtu": 1400,
            "plugin_directory": "/usr/lib/cni",
        },
        {"path": "/etc/cni-test/net.d/10-x.conflist", "state": "absent"},
        "find /etc/cni-test -printf %p%m%s\\n",
    ),
    "cni_pod": (
        {"name": "pod7", "conflist": "/tmp/pod7.conflist", "plugin_directory": "/usr/lib/cni"},
        None,
        {"name": "pod7", "conflist": "/tmp/pod7.conflist", "plugin_directory": "/usr/lib/cni", "state": "absent"},
        "ip netns list",
    ),
}
POD_NETWORK = {
    "path": "/tmp/pod7.conflist",
    "form": "bridge",
    "name": "pod7",
    "bridge": "br7",
    "subnets": ["172.20.7.0/24"],
    "cluster_cidrs": ["172.20.0.0/16"],
    "mtu": 1450,
    "plugin_directory": "/usr/lib/cni",
}


@pytest.fixture(scope="module")
def node(lab: Lab) -> Iterator[Lab]:
    """A node with a VXLAN device, and nothing of it afterwards."""
    lab.task("podnet.baremetal.vxlan_device", DEVICE).succeeded()
    lab.task("podnet.baremetal.cni_conflist", POD_NETWORK).succeeded()
    yield lab
    lab.task("podnet.baremetal.vxlan_device", {"state": "absent"}).succeeded()
    lab.task("podnet.baremetal.cni_conflist", {"path": POD_NETWORK["path"], "state": "absent"}).succeeded()
    for command in ("ip link del br7", "rm -rf /var/lib/cni"):
        lab.run("node1", *command.split(), check=False)


RUNS = ("check", "apply", "check again", "apply again")


def four_runs(module: str, options: dict[str, Any], table: str) -> list[dict[str, Any]]:
    """Check, apply, check again, apply again, and the table before and after the first: what assert_four_runs looks at."""
    name = f"podnet.baremetal.{module}"
    show = {"name": "show", "ansible.builtin.raw": table, "changed_when": False, "failed_when": False}
    runs = [{"name": run, name: options, "check_mode": run.startswith("check")} for run in RUNS]
    return [show, runs[0], show, *runs[1:]]


def assert_four_runs(outcomes: tuple[Outcome, ...]) -> None:
    """What every change of every module has in common."""
    before, check, after_check, apply, check_again, apply_again = outcomes
    assert settled(before.result["stdout"]) == settled(after_check.result["stdout"]), "check mode changed something"
    assert [check.changed, apply.changed, check_again.changed, apply_again.changed] == [True, True, False, False]
    assert (check.commands, check.diff) == (apply.commands, apply.diff)
    assert check.commands
    assert check_again.commands == apply_again.commands == []


@pytest.mark.parametrize("module", LIVES)
def test_a_modules_life_in_four_runs_each(node: Lab, module: str) -> None:
    *lives, table = LIVES[module]
    start = shown(node, table)
    tasks = [task for options in lives if isinstance(options, dict) for task in four_runs(module, options, table)]
    outcomes = node.play([{"hosts": "node1", "gather_facts": False, "tasks": tasks}], "--diff").succeeded().outcomes
    for first in range(0, len(outcomes), len(RUNS) + 2):
        assert_four_runs(outcomes[first : first + len(RUNS) + 2])
    assert shown(node, table) == start


def shown(node: Lab, table: str) -> str:
    return settled(node.run("node1", *table.split(), check=False).stdout)


def settled(table: str) -> str:
    """A table without the word that the IPv6 address of a new link soon loses."""
    return table.replace(" tentative", "")


def test_the_short_road_and_the_ordinary_module_give_the_same_answers(node: Lab) -> None:
    peers = "podnet.baremetal.vxlan_peers"
    lives = [{"peers": [PEER], "purge": True}, {"peers": [{**PEER, "underlay": "127.0.0.1"}]}, {"peers": [], "purge": True}]
    tasks = [
        {"name": f"{n} {run} {roads}", peers: options, "check_mode": run == "check", "ignore_errors": True, **roads}
        for n, options in enumerate(lives)
        for run in ("check", "apply")
        for roads in ({"vars": {"ansible_pipelining": True}}, {"vars": {"ansible_pipelining": False}})
        if not (run == "apply" and roads["vars"]["ansible_pipelining"])
    ]
    outcomes = node.play([{"hosts": "node1", "gather_facts": False, "tasks": tasks}], "--diff").outcomes
    said = [(each.changed, each.failed, each.commands, each.diff, each.msg) for each in outcomes]
    for short, ordinary, applied in zip(said[::3], said[1::3], said[2::3]):
        assert short == ordinary == applied
    assert [each.failed for each in outcomes] == [False] * 3 + [True] * 3 + [False] * 3
    assert outcomes[0].commands


def test_an_interpreter_that_is_too_old_or_missing_takes_the_ordinary_road(node: Lab) -> None:
    missing = node.task("podnet.baremetal.vxlan_peers", {"peers": []}, vars={"ansible_python_interpreter": "/nowhere/python3"})
    assert missing.one().failed
    assert "/nowhere/python3" in str(missing.one().result), "Ansible's own words"
    found = node.task("podnet.baremetal.vxlan_peers", {"peers": []}, vars={"ansible_python_interpreter": "auto_silent"})
    assert not found.succeeded().one().changed


def test_an_interpreter_without_pyroute2_is_told_what_to_install(node: Lab, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    inside = f"/var/lib/bare-{tmp_path.name}"
    node.run("node1", "mkdir", "-p", f"{inside}/bin")
    for name in ("bin/python3", "pyvenv.cfg"):
        content = str((bare / name).resolve()) if name.startswith("bin") else (bare / name).read_text()
        command = ["ln", "-sfn", content, f"{inside}/{name}"] if name.startswith("bin") else ["tee", f"{inside}/{name}"]
        node.run("node1", *command, input=None if name.startswith("bin") else content)
    refused = node.task(
        "podnet.baremetal.vxlan_device", {**DEVICE, "node": "node1"}, vars={"ansible_python_interpreter": f"{inside}/bin/python3"}
    )
    peers = node.task("podnet.baremetal.vxlan_peers", {"peers": []}, vars={"ansible_python_interpreter": f"{inside}/bin/python3"})
    node.run("node1", "rm", "-r", inside)
    assert f"node1: {inside}/bin/python3 cannot import pyroute2" in refused.one().msg
    assert "install python3-pyroute2" in refused.one().msg
    assert not peers.one().failed, "entries do without pyroute2"


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("vxlan_device", {**DEVICE, "name": "lo"}, "lo exists and is a link of kind device, not vxlan"),
    (
        "vxlan_device",
        {**DEVICE, "local": "203.0.113.7"},
        "local (podnet_underlay_address) is 203.0.113.7: no interface of this node carries it",
    ),
    ("vxlan_device", {**DEVICE, "port": 4789}, "port is 8472 and must be 4789"),
    ("vxlan_peers", {"peers": [PEER, {**PEER, "node": "node3"}]}, "peer node3: underlay is 198.51.100.2: peer node2 has it too"),
    ("vxlan_peers", {"ledger": "/nowhere/ledger.json"}, "/nowhere"),
    (
        "vxlan_peers",
        {"peers": [PEER], "persistent": True},
        "persistent is true: the file holds all peers of the node: expected purge: true",
    ),
    ("fdb_entry", {"mac": "nonsense", "destination": "198.51.100.9"}, "mac is 'nonsense': expected a MAC"),
    ("fdb_entry", {"mac": "02:f1:ac:14:09:00", "destination": "127.0.0.1"}, "destination is 127.0.0.1: expected the unicast address"),
    ("static_neigh", {"address": "172.20.9.0", "mac": "01:00:5e:00:00:01"}, "expected a unicast MAC"),
    ("pod_route", {"subnet": "172.20.9.5/24"}, "subnet is 172.20.9.5/24: it has host bits: write 172.20.9.0/24"),
    ("pod_route", {"subnet": "198.51.100.0/24"}, "198.51.100.0/24 is already routed on this node by a route that is not ours"),
    ("nft_table", {"name": "x", "rules": "chain nonsense"}, "node1: nft does not take the rules of table inet x"),
    ("nft_table", {"name": "x; y", "rules": ""}, "name is 'x; y'"),
    ("node_files", {"files": [{"path": "relative", "content": ""}]}, "expected an absolute path"),
    ("node_files", {"files": [{"path": "/run/x/a", "content": ""}] * 2}, "it is there twice"),
    ("node_files", {"files": [{"path": "/run/x/a"}]}, "/run/x/a needs the text"),
]


def test_what_cannot_work_is_one_sentence_in_check_mode_too(node: Lab) -> None:
    tasks = [
        {"name": f"{sentence}, {check}", f"podnet.baremetal.{module}": options, "check_mode": check, "ignore_errors": True}
        for module, options, sentence in REFUSED
        for check in (True, False)
    ]
    outcomes = node.play([{"hosts": "node1", "gather_facts": False, "tasks": tasks}]).outcomes
    assert len(outcomes) == 2 * len(REFUSED)
    assert [each.msg for each in outcomes if each.task.rsplit(", ", 1)[0] not in each.msg or not each.failed or each.changed] == []
