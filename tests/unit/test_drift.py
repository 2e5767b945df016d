# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the answers of a run under --check. No I/O."""

from __future__ import annotations

from typing import Any

from ansible_collections.podnet.baremetal.plugins.plugin_utils._drift import Answer, drift, metrics

ROUTE = "ip route replace 172.20.0.0/24 via 172.20.0.0 dev flannel.1 onlink proto 86"
LEASE = "lease node3 172.20.2.0/24 (new)"
WHEN = "2026-11-28T02:00:00Z"
PEER = {"subnets": ["172.20.0.0/24"], "underlay": "198.51.100.1", "mac": "02:f1:ac:14:00:00"}


def answer(host: str, action: str = "podnet.baremetal.vxlan_peers", **result: Any) -> Answer:
    return Answer(host, action, f"a task with {action}", result)


def test_each_node_says_what_it_would_do_and_the_ledger_is_no_node() -> None:
    report = drift(
        [
            answer(
                "node1", "podnet.baremetal.pod_subnet", changed=True, commands=["lease node3 172.20.2.0/24 (new)"], capacity=capacity(253)
            ),
            answer("node1", changed=False),
            answer("node2", changed=True, commands=[ROUTE], diff={"after": ROUTE}),
            answer("node2", "ansible.builtin.copy", changed=True, results=[{"changed": True, "diff": [1]}, {"changed": False}]),
        ],
        "prod",
        WHEN,
    )
    assert report["ledger"]["changes"][0]["commands"] == [LEASE]
    assert [(name, node["state"]) for name, node in report["nodes"].items()] == [("node1", "same"), ("node2", "differs")]
    assert report["nodes"]["node2"]["changes"] == [
        {"task": "a task with podnet.baremetal.vxlan_peers", "commands": [ROUTE], "diff": [{"after": ROUTE}]},
        {"task": "a task with ansible.builtin.copy", "commands": [], "diff": [[1]]},
    ]
    assert report["differs"]


def capacity(free: int) -> dict[str, int]:
    return {"total": 256, "taken": 256 - free, "free": free}


def test_nothing_to_do_is_no_difference_but_a_node_that_cannot_be_asked_is_one() -> None:
    sound = [answer("node1"), answer("node2")]
    assert not drift(sound, "prod", WHEN)["differs"]
    for how in ("failed", "unreachable"):
        report = drift(
            [*sound, Answer("node3", "podnet.baremetal.vxlan_peers", "look", {"msg": "no route to host", how: True})], "prod", WHEN
        )
        assert report["differs"]
        assert (report["nodes"]["node3"]["state"], report["nodes"]["node3"]["reason"]) == (how, "no route to host")


def test_the_metrics_have_a_line_for_each_node_that_could_be_asked() -> None:
    half = {**PEER, "subnets": []}
    report = drift(
        [
            answer("node1", "podnet.baremetal.pod_subnet", capacity=capacity(253)),
            answer("node1", "podnet.baremetal.overlay_info", peers=[PEER, PEER]),
            answer("node2", changed=True, commands=[ROUTE]),
            answer("node2", "podnet.baremetal.overlay_info", peers=[PEER, half]),
            answer('no"de\\3\n', unreachable=True),
        ],
        "prod",
        WHEN,
    )
    lines = metrics(report, 1795832962.25).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'podnet_drift{cluster="prod",node="node1"} 0',
        'podnet_drift{cluster="prod",node="node2"} 1',
        'podnet_checked{cluster="prod",node="no\\"de\\\\3\\n"} 0',
        'podnet_checked{cluster="prod",node="node1"} 1',
        'podnet_checked{cluster="prod",node="node2"} 1',
        'podnet_peers{cluster="prod",node="node1"} 2',
        'podnet_peers{cluster="prod",node="node2"} 1',
        'podnet_ledger_drift{cluster="prod"} 0',
        'podnet_subnets_free{cluster="prod"} 253',
        'podnet_checked_timestamp_seconds{cluster="prod"} 1795832962.25',
    ]
    assert [line.split()[3] for line in lines if line.startswith("# TYPE")] == ["gauge"] * 6
    assert sum(line.startswith("# HELP") for line in lines) == 6
