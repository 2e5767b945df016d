# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods attached by the real CNI plugins on a node made of namespaces, compared with what flannel's own chain gave them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cni_namespace import PLUGINS, CniNode, cni_node

GOLDEN = Path(__file__).parent.parent / "golden" / "vxlan"  # recorded from flanneld v0.28.9
CONFLIST = "/etc/cni/net.d/10-flannel.conflist"
RESULTS = "/var/lib/cni/results"
STORE = "/var/lib/cni/networks/cbr0"  # of host-local
ADD, DELETE = ["ip", "ip", "ADD", "ADD"], ["DEL", "DEL", "ip"]
# A plugin that writes down how it was called, and hands on the result of the plugin before it.
RECORDER = """
import json, os, sys
conf = json.load(sys.stdin)
call = {name[4:]: value for name, value in os.environ.items() if name.startswith("CNI_")}
with open("/run/calls", "a") as calls:
    print(json.dumps({**call, "type": conf["type"], "conf": conf}), file=calls)
if call["COMMAND"] == "ADD":
    print(json.dumps(conf.get("prevResult") or {"cniVersion": conf["cniVersion"], "ips": [], "seen": conf["type"]}))
"""
FAILING = """
import os
if os.environ["CNI_COMMAND"] == "ADD":
    print('{"cniVersion": "0.3.1", "code": 11, "msg": "no such luck", "details": "try later"}')
    raise SystemExit(1)
"""


@pytest.fixture
def node() -> Iterator[CniNode]:
    with cni_node() as node:
        yield node


def networked(node: CniNode, version: str = "0.3.1", subnets: tuple[str, ...] = ("203.0.113.0/25",), **options: Any) -> CniNode:
    clusters = options.pop("cluster_cidrs", ["203.0.113.0/24"])
    bridge = {"form": "bridge", "subnets": subnets, "cluster_cidrs": clusters, "mtu": 1450}
    done(node.module("cni_conflist", cni_version=version, plugin_directory=PLUGINS, **bridge, **options))
    return node


def listed(node: CniNode, *plugins: dict[str, Any], version: str = "0.3.1") -> None:
    content = {"name": "cbr0", "cniVersion": version, "plugins": plugins}
    done(node.module("cni_conflist", content=content, plugin_directory=f"/run/plugins:{PLUGINS}"))


def pod(node: CniNode, name: str = "pod1", **options: Any) -> dict[str, Any]:
    return node.module("cni_pod", **{"name": name, "plugin_directory": PLUGINS, **options})


def done(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result["msg"]
    return result


def sentence(result: dict[str, Any]) -> str:
    assert result.get("failed"), result
    assert "\n" not in result["msg"]
    return str(result["msg"])


def verbs(result: dict[str, Any]) -> list[str]:
    return [command.split()[0].replace("CNI_COMMAND=", "") for command in done(result)["commands"]]


def calls(node: CniNode) -> list[dict[str, Any]]:
    return [json.loads(line) for line in node.path("/run/calls").read_text().splitlines()]


def leases(node: CniNode) -> list[str]:
    store = node.path(STORE)
    return sorted(file.name for file in store.iterdir() if file.name[0].isdigit()) if store.exists() else []


def masked(text: str) -> list[str]:
    """The lines of an address and route listing that say what a pod's network is, without what is drawn anew for each pod."""
    kept = [line.strip() for line in text.splitlines() if re.match(r"\s*inet |default|\d+\.\d+\.\d+\.\d+/|.* mtu 1450 ", line)]
    return [re.sub(r"@if\d+| group default.*| numtxqueues .*", "", line) for line in kept]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_pod_gets_what_flannels_own_chain_gives_it(node: CniNode, number: int) -> None:
    delegate = json.loads((GOLDEN / f"node{number}.delegate.json").read_text())
    networked(node, subnets=(delegate["ipam"]["ranges"][0][0]["subnet"],), cluster_cidrs=[delegate["ipam"]["routes"][0]["dst"]])
    result = done(pod(node, f"flr-pod{number}"))["result"]
    golden = json.loads((GOLDEN / f"node{number}.cni-result.json").read_text())
    for interfaces in (result["interfaces"], golden["interfaces"]):
        for interface in interfaces:
            assert interface.pop("mac")
        assert interfaces[1].pop("name").startswith("veth")
    assert result == golden
    seen = node.command("ip", "-n", f"flr-pod{number}", "-d", "addr") + node.command("ip", "-n", f"flr-pod{number}", "route")
    assert masked(seen) == masked((GOLDEN / f"node{number}.pod-addr-route.txt").read_text())


def test_the_bridge_has_the_gateway_and_a_port_in_hairpin_mode(node: CniNode) -> None:
    done(pod(networked(node)))
    assert "inet 203.0.113.1/25" in node.command("ip", "addr", "show", "cni0")
    assert "mtu 1450" in node.command("ip", "link", "show", "cni0")
    assert "hairpin on" in node.command("bridge", "-d", "link")
    assert node.path("/proc/sys/net/ipv4/ip_forward").exists()
    assert node.command("sysctl", "-n", "net.ipv4.ip_forward").strip() == "1"


def test_two_pods_and_their_node_reach_each_other(node: CniNode) -> None:
    networked(node)
    done(pod(node, "pod1"))
    (address,) = done(pod(node, "pod2"))["addresses"]
    assert address == "203.0.113.3/25"
    for entering in ([], ["ip", "netns", "exec", "pod1"], ["ip", "netns", "exec", "pod2"]):
        node.command(*entering, "ping", "-c1", "-W2", "203.0.113.3")


def test_a_pod_gets_an_address_of_each_family(node: CniNode) -> None:
    networked(node, subnets=("203.0.113.0/25", "2001:db8:0:1::/64"), cluster_cidrs=["203.0.113.0/24", "2001:db8::/48"])
    result = done(pod(node))
    assert result["addresses"] == ["203.0.113.2/25", "2001:db8:0:1::2/64"]
    assert verbs(pod(node)) == []
    routes = node.command("ip", "-n", "pod1", "-6", "route")
    assert "default via 2001:db8:0:1::1" in routes
    assert "2001:db8::/48 via 2001:db8:0:1::1" in routes


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_a_pod_comes_stays_breaks_is_repaired_and_leaves(node: CniNode, version: str) -> None:
    networked(node, version)
    for options, expected in (
        ({}, ADD),
        ({}, []),
        ({"state": "absent"}, DELETE),
        ({"state": "absent"}, []),
    ):
        promised = pod(node, check=True, **options)
        result = pod(node, **options)
        assert verbs(promised) == verbs(result) == expected
        assert promised["diff"] == result["diff"]
        assert result["addresses"] == (["203.0.113.2/25"] if not options else [])
        assert leases(node) == (["203.0.113.2"] if not options else [])
    done(pod(node))
    node.command("ip", "-n", "pod1", "addr", "del", "203.0.113.3/25", "dev", "eth0")
    assert verbs(pod(node, check=True)) == ["DEL", "DEL", "ADD", "ADD"]
    repaired = pod(node)
    assert verbs(repaired) == ["DEL", "DEL", "ADD", "ADD"]
    assert repaired["addresses"][0] in node.command("ip", "-n", "pod1", "addr")
    assert verbs(pod(node)) == []
    assert len(leases(node)) == 1


def test_the_plugins_own_check_finds_a_route_that_is_gone(node: CniNode) -> None:
    done(pod(networked(node, "1.0.0")))
    node.command("ip", "-n", "pod1", "route", "del", "203.0.113.0/24")
    result = pod(node, check=True)
    assert verbs(result) == ["DEL", "DEL", "ADD", "ADD"]
    assert "CNI_COMMAND=CHECK" in result["diff"]["before"]


def test_check_mode_leaves_no_trace(node: CniNode) -> None:
    networked(node)
    result = pod(node, check=True)
    assert (result["changed"], result["addresses"]) == (True, [])
    assert not node.path("/run/netns").exists()
    assert not node.path("/var/lib/cni").exists()


def test_a_pod_that_left_frees_its_address_and_its_directories(node: CniNode) -> None:
    networked(node)
    done(pod(node))
    assert node.path(f"{STORE}/203.0.113.2").read_text().split() == ["pod1", "eth0"]
    done(pod(node, state="absent"))
    assert leases(node) == []
    assert not node.path(RESULTS).exists()
    done(node.module("cni_conflist", state="absent"))
    assert not node.path("/etc/cni").exists()


def test_a_pod_whose_namespace_is_gone_is_detached_and_can_come_back(node: CniNode) -> None:
    done(pod(networked(node)))
    node.command("ip", "netns", "delete", "pod1")
    assert verbs(pod(node)) == ["DEL", "DEL", *ADD]
    node.command("ip", "netns", "delete", "pod1")
    result = pod(node, state="absent")
    assert verbs(result) == ["DEL", "DEL"]
    assert "CNI_NETNS= " in result["commands"][0]
    assert leases(node) == []


def test_a_pod_whose_record_was_lost_can_still_be_detached(node: CniNode) -> None:
    done(pod(networked(node)))
    node.path(f"{RESULTS}/cbr0-pod1-eth0").unlink()
    assert "eth0" in sentence(pod(node))
    assert verbs(pod(node, state="absent")) == DELETE
    assert leases(node) == []


def test_a_pod_leaves_by_the_configuration_with_which_it_came(node: CniNode) -> None:
    done(pod(networked(node)))
    listed(node, {"type": "loopback"})
    assert verbs(pod(node)) == []
    assert verbs(pod(node, state="absent")) == DELETE
    assert leases(node) == []


def test_the_record_is_what_libcni_keeps(node: CniNode) -> None:
    mappings = [{"host_port": 8080, "container_port": 80}]
    result = done(pod(networked(node), port_mappings=mappings))["result"]
    record = json.loads(node.path(f"{RESULTS}/cbr0-pod1-eth0").read_text())
    assert json.loads(node.command("base64", "-d", text=record.pop("config"))) == json.loads(node.path(CONFLIST).read_text())
    assert record == {
        "kind": "cniCacheV1",
        "containerId": "pod1",
        "ifName": "eth0",
        "networkName": "cbr0",
        "netns": "/run/netns/pod1",
        "capabilityArgs": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
        "result": result,
    }
    assert node.path(f"{RESULTS}/cbr0-pod1-eth0").stat().st_mode & 0o777 == 0o600


def test_a_mapped_port_leads_to_the_pod_and_changing_it_attaches_anew(node: CniNode) -> None:
    networked(node)
    for port, expected in ((8080, ADD), (8080, []), (8081, ["DEL", "DEL", "ADD", "ADD"])):
        assert verbs(pod(node, port_mappings=[{"host_port": port, "container_port": 80}])) == expected
        rules = node.command("iptables-save", "-t", "nat")
        assert re.findall(r"--dport (\d+) -j DNAT", rules) == [str(port)]
    done(pod(node, state="absent"))
    assert "-j DNAT" not in node.command("iptables-save", "-t", "nat")


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_each_plugin_reads_what_the_specification_says(node: CniNode, version: str) -> None:
    for name in ("first", "second"):
        node.plugin(name, RECORDER)
    listed(node, {"type": "first", "custom": 1}, {"type": "second", "capabilities": {"portMappings": True}}, version=version)
    options = {"plugin_directory": f"/run/plugins:{PLUGINS}", "netns": "/run/netns/other", "ifname": "net1"}
    mappings = [{"host_port": 8080, "container_port": 80}]
    done(pod(node, port_mappings=mappings, **options))
    done(pod(node, state="absent", **options))
    seen = calls(node)
    assert [(call["COMMAND"], call["type"]) for call in seen] == [
        ("ADD", "first"),
        ("ADD", "second"),
        ("CHECK", "first"),
        ("CHECK", "second"),
        ("CHECK", "first"),  # and once more by the engine, which trusts nobody
        ("CHECK", "second"),
        ("DEL", "second"),
        ("DEL", "first"),
    ]
    runtime = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
    result = {"cniVersion": version, "ips": [], "seen": "first"}
    for number, call in enumerate(seen):
        conf = call["conf"]
        assert (conf["name"], conf["cniVersion"]) == ("cbr0", version)
        assert conf.get("prevResult") == (None if number == 0 else result)
        assert conf.get("runtimeConfig") == (runtime if call["type"] == "second" else None)
        assert conf.get("custom") == (1 if call["type"] == "first" else None)
        assert (call["CONTAINERID"], call["NETNS"], call["IFNAME"]) == ("pod1", "/run/netns/other", "net1")
        assert (call["PATH"], call["ARGS"]) == (f"/run/plugins:{PLUGINS}", "")
    assert node.path("/run/netns/other").exists()  # not the default one, so not ours to remove


def test_before_version_0_4_0_there_is_no_check_and_no_result_for_del(node: CniNode) -> None:
    node.plugin("recorder", RECORDER)
    networked(node)
    listed(node, json.loads(node.path(CONFLIST).read_text())["plugins"][0], {"type": "recorder"})
    for state in ("present", "present", "absent"):
        done(pod(node, plugin_directory=f"/run/plugins:{PLUGINS}", state=state))
    add, delete = calls(node)
    assert (add["COMMAND"], delete["COMMAND"]) == ("ADD", "DEL")
    assert "prevResult" in add["conf"]
    assert "prevResult" not in delete["conf"]


def test_a_chain_whose_second_plugin_fails_is_undone_and_says_why(node: CniNode) -> None:
    node.plugin("failing", FAILING)
    networked(node)
    bridge = json.loads(node.path(CONFLIST).read_text())["plugins"][0]
    listed(node, bridge, {"type": "failing"})
    result = pod(node, plugin_directory=f"/run/plugins:{PLUGINS}")
    assert re.fullmatch(r"node1: CNI_COMMAND=ADD .*/run/plugins/failing: no such luck: try later \(code 11\)\.", sentence(result))
    assert result["commands"] == ["ip netns add pod1", "ip -netns pod1 link set lo up"]
    assert leases(node) == []
    assert not node.path(RESULTS).exists()
    assert "eth0" not in node.command("ip", "-n", "pod1", "link")
    assert verbs(pod(node, state="absent")) == ["ip"]


def test_the_words_of_a_real_plugin_arrive(node: CniNode) -> None:
    networked(node)
    node.command("ip", "link", "add", "cni0", "type", "bridge")
    node.command("ip", "addr", "add", "198.51.100.1/24", "dev", "cni0")
    assert '"cni0" already has an IP address different from 203.0.113.1/25' in sentence(pod(node))
    assert leases(node) == []


def test_a_plugin_that_takes_too_long_is_ended_with_its_children_and_the_rest_undone(node: CniNode) -> None:
    child = 'import subprocess; open("/run/child", "w").write(str(subprocess.Popen(["sleep", "600"]).pid))'
    node.plugin("slow", f"import os, time\nif os.environ['CNI_COMMAND'] == 'ADD':\n    {child}\n    time.sleep(600)\n")
    networked(node)
    bridge = json.loads(node.path(CONFLIST).read_text())["plugins"][0]
    listed(node, bridge, {"type": "slow"})
    result = pod(node, plugin_directory=f"/run/plugins:{PLUGINS}", timeout=2)
    assert "/run/plugins/slow: it was ended after 2 seconds." in sentence(result)
    assert leases(node) == []
    process = Path("/proc") / node.path("/run/child").read_text() / "cmdline"
    assert not process.exists() or process.read_bytes() == b""  # gone, or only waiting to be reaped


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('hello')", "what it printed is not a CNI result: hello."),
        ("", "what it printed is not a CNI result: nothing."),
        ("""print('{"cniVersion": "0.3.1", "ips": [{}]}')""", "what it printed is not a CNI result: {"),
        ("import sys; sys.exit('out of luck')", "/run/plugins/odd: out of luck."),
        ("raise SystemExit(3)", "/run/plugins/odd: it ended with status 3."),
    ],
)
def test_a_plugin_that_does_not_follow_the_specification_is_quoted(node: CniNode, program: str, words: str) -> None:
    node.plugin("odd", f"import os\nif os.environ['CNI_COMMAND'] == 'DEL': raise SystemExit\n{program}\n")
    listed(node, {"type": "odd"})
    assert words in sentence(pod(node, plugin_directory=f"/run/plugins:{PLUGINS}"))
    assert not node.path(RESULTS).exists()


def test_a_plugin_that_cannot_be_executed_is_named(node: CniNode) -> None:
    node.plugin("odd", "")
    node.path("/run/plugins/odd").write_text("#!/nowhere\n")
    listed(node, {"type": "odd"})
    said = sentence(pod(node, plugin_directory=f"/run/plugins:{PLUGINS}"))
    assert "/run/plugins/odd: [Errno 2] No such file or directory" in said
    assert "Undoing it failed too" in said


def test_a_run_that_is_killed_while_it_attaches_is_made_good_by_the_next(node: CniNode) -> None:
    networked(node)
    bridge = json.loads(node.path(CONFLIST).read_text())["plugins"][0]
    node.plugin("deadly", "import os\nif os.environ['CNI_COMMAND'] == 'ADD': os.kill(os.getppid(), 9)\n")
    listed(node, bridge, {"type": "deadly"})
    with pytest.raises(AssertionError):
        pod(node, plugin_directory=f"/run/plugins:{PLUGINS}")
    assert leases(node) == ["203.0.113.2"]
    node.plugin("deadly", RECORDER)
    repaired = pod(node, plugin_directory=f"/run/plugins:{PLUGINS}")
    assert verbs(repaired) == ["DEL", "DEL", "ADD", "ADD"]
    assert "its attaching was interrupted" in repaired["diff"]["before"]
    assert leases(node) == ["203.0.113.3"]


def test_what_a_killed_ip_netns_add_left_behind_is_replaced(node: CniNode) -> None:
    networked(node)
    done(pod(node, "other"))
    node.path("/run/netns/pod1").touch()
    assert verbs(pod(node)) == ["ip", *ADD]
    assert verbs(pod(node)) == []


def test_an_interface_that_nobody_speaks_of_is_not_touched(node: CniNode) -> None:
    networked(node)
    node.command("ip", "netns", "add", "pod1")
    node.command("ip", "-n", "pod1", "link", "add", "eth0", "type", "bridge")
    said = sentence(pod(node))
    assert said.startswith("node1: ifname is eth0: the network namespace has one that no record in /var/lib/cni/results speaks of")
    assert "eth0" in node.command("ip", "-n", "pod1", "link")


def test_a_second_interface_keeps_the_namespace(node: CniNode) -> None:
    networked(node)
    done(pod(node))
    content = {"name": "second", "cniVersion": "0.3.1", "plugins": [{"type": "bridge", "bridge": "br1", "ipam": {}}]}
    second = {"conflist": "/etc/cni/net.d/20-second.conflist", "ifname": "net1"}
    done(node.module("cni_conflist", path=second["conflist"], content=content, plugin_directory=PLUGINS))
    done(pod(node, **second))
    assert verbs(pod(node, state="absent")) == ["DEL", "DEL"]
    assert "net1" in node.command("ip", "-n", "pod1", "link")
    assert verbs(pod(node, state="absent", **second)) == ["DEL", "ip"]


def test_the_first_configuration_in_lexical_order_is_taken(node: CniNode) -> None:
    networked(node)
    early = "/etc/cni/net.d/05-early.conflist"
    content = {"name": "early", "cniVersion": "0.3.1", "plugins": [{"type": "bridge", "bridge": "br1", "ipam": {}}]}
    result = done(node.module("cni_conflist", path=early, content=content, plugin_directory=PLUGINS))
    assert (result["wins"], result["shadowed_by"]) == (early, None)
    done(pod(node))
    assert node.path(f"{RESULTS}/early-pod1-eth0").exists()
    again = node.module("cni_conflist", form="flannel", plugin_directory=PLUGINS, state="absent", check=True)
    assert (again["wins"], again["shadowed_by"]) == (early, early)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "10-flannel.conflist is not a CNI configuration, since it is not JSON: "),
        ("\x00", "10-flannel.conflist is not a CNI configuration, since it is not JSON: "),
        ('{"name": "cbr0", "cniVersion": "0.3.1", "plugins": []}', r"10-flannel.conflist: plugins is \[\]: a list of at least one"),
        (
            '{"name": "cbr0", "cniVersion": "0.3.1", "plugins": [{"type": "../../../bin/reboot"}]}',
            r'10-flannel.conflist: plugins\[0\].type is "../../../bin/reboot": the plain file name',
        ),
        (
            '{"name": "cbr0", "cniVersion": "0.3.1", "plugins": [{"type": "weave"}]}',
            "10-flannel.conflist: there is no CNI plugin weave that can be run in /usr/lib/cni, which holds bandwidth, bridge, ",
        ),
    ],
)
def test_a_configuration_that_cannot_work_changes_nothing_and_takes_one_sentence(node: CniNode, text: str, words: str) -> None:
    networked(node)
    node.path(CONFLIST).write_text(text)
    result = pod(node)
    assert re.search(words, sentence(result))
    assert result["commands"] == []
    assert not node.path("/run/netns").exists()
    assert not node.path("/var/lib/cni").exists()


def test_a_node_without_any_configuration_says_so(node: CniNode) -> None:
    assert sentence(pod(node)) == "node1: there is no CNI configuration in /etc/cni/net.d."
    assert verbs(pod(node, state="absent")) == []


def test_a_record_that_cannot_be_read_is_named(node: CniNode) -> None:
    done(pod(networked(node)))
    record = node.path(f"{RESULTS}/cbr0-pod1-eth0")
    for text in (
        "{",
        "[]",
        "{}",
        record.read_text().replace('"ips"', '"ips": [{}], "x"'),
        '{"containerId": "pod1", "ifName": "eth0", "config": "!"}',
    ):
        record.write_text(text)
        assert sentence(pod(node)).startswith(f"{RESULTS}/cbr0-pod1-eth0 is not a CNI result that can be read (")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "../pod1"}, r'node1: name is "\.\./pod1": a name that matches'),
        ({"ifname": "eth0/x"}, 'node1: ifname is "eth0/x": a name that matches'),
        ({"netns": "/proc/1/ns/nothing"}, "node1: netns is /proc/1/ns/nothing: no network namespace is there, and only one in /run/netns"),
        ({"netns": "/proc/self/ns/mnt"}, "/proc/self/ns/mnt cannot be entered as a network namespace: Invalid argument"),
        ({"netns": "/proc/self/ns/net"}, "node1: netns is /proc/self/ns/net: it is the node's own"),
        ({"port_mappings": [{"host_port": 0, "container_port": 80}]}, "node1: port_mappings.host_port is 0: one from 1 to 65535"),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(node: CniNode, options: dict[str, Any], words: str) -> None:
    assert re.match(words, sentence(pod(networked(node), **options)))


def test_port_mappings_that_no_plugin_serves_are_refused(node: CniNode) -> None:
    listed(node, {"type": "loopback"})
    said = sentence(pod(node, port_mappings=[{"host_port": 80, "container_port": 80}]))
    assert re.match(r"node1: port_mappings is \[.*\]: no plugin in /etc/cni/net.d/10-flannel.conflist can do that", said)


def test_a_list_with_a_plugin_that_is_not_there_is_not_written(node: CniNode) -> None:
    said = sentence(node.module("cni_conflist", plugin_directory=PLUGINS))
    assert said.startswith("node1: there is no CNI plugin flannel that can be run in /usr/lib/cni, which holds bandwidth, bridge, ")
    assert not node.path("/etc/cni").exists()
    assert "/opt/none, which holds nothing" in sentence(node.module("cni_conflist", plugin_directory="/opt/none"))


def test_ansible_itself_runs_both_modules_and_check_mode_tells_the_truth(node: CniNode) -> None:
    bridge = "form=bridge subnets=203.0.113.0/25 cluster_cidrs=203.0.113.0/24 mtu=1450 cni_version=1.0.0"
    ansible = str(Path(sys.executable).with_name("ansible"))
    run = [
        "env",
        f"ANSIBLE_CONFIG={Path(__file__).resolve().parents[2]}/ansible.cfg",
        ansible,
        "localhost",
        "-i",
        "localhost,",
        "-c",
        "local",
    ]
    run += ["-e", json.dumps({"ansible_python_interpreter": sys.executable}), "--diff"]
    for module, options in (("cni_conflist", bridge), ("cni_pod", "name=pod1")):
        for state, rounds in (("present", 4), ("absent", 4 if module == "cni_pod" else 0)):
            arguments = ["-m", f"podnet.baremetal.{module}", "-a", f"{options} plugin_directory={PLUGINS} state={state}"]
            for number in range(rounds):
                check = ["--check"] if number % 2 == 0 else []
                said = node.command(*run, *arguments, *check)
                assert f"localhost | {'CHANGED' if number < 2 else 'SUCCESS'} =>" in said
