# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab does to the machine nothing, and to its nodes what a machine would be. I/O: labs, namespaces, processes."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._lab import FEW
from labs import (
    CHECKOUT,
    INVENTORY,
    Lab,
    environment,
    lab_module,
    module_environment,
    play,
)

UP = "playbooks/lab_up.yml"
DOWN = "playbooks/lab_down.yml"


def options(directory: str, count: int = 2, **more: Any) -> dict[str, Any]:
    nodes = [{"name": f"node{number}", "address": f"198.51.100.{number}/24"} for number in range(1, count + 1)]
    return {"directory": directory, "nodes": nodes, **more}


def machine() -> dict[str, str]:
    """All of the machine that a lab could change: links, addresses, routes, rules of its network namespace, and its mounts."""
    shown = ["link", "address", "route", "-6 route", "neighbour", "rule"]
    state = {what: subprocess.run(["ip", *what.split()], capture_output=True, text=True, check=True).stdout for what in shown}
    # Whether a neighbour was heard of lately changes by itself.
    state["neighbour"] = re.sub(r"\b(REACHABLE|STALE|DELAY|PROBE)\b", "heard of", state["neighbour"])
    state["nftables"] = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return {**state, "mounts": Path("/proc/self/mountinfo").read_text(), "name": os.uname().nodename}


def carrying(mark: str) -> list[int]:
    """The processes that were started with a mark in their environment, and what they became."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it ended, or is ending
            if mark.encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
    return found


@pytest.fixture
def marked() -> Iterator[tuple[str, dict[str, str]]]:
    """A mark, and an environment with it: whatever carries it was started by the test and is ended with it."""
    mark = f"PODNET_MARK={uuid.uuid4().hex}"
    yield mark, {**module_environment(), **dict([mark.split("=")])}
    for pid in carrying(mark):
        os.kill(pid, signal.SIGKILL)


# --- the machine ------------------------------------------------------------


def test_the_machine_has_nothing_of_a_lab_but_its_directory(lab_directory: str) -> None:
    before = machine()
    watcher = subprocess.Popen(["ip", "monitor", "link"], stdout=subprocess.PIPE, text=True)
    try:
        lab_module(options(lab_directory))
        during = machine()
        assert os.listdir(lab_directory) == ["lab.json"]
        lab_module({"directory": lab_directory, "state": "absent"})
    finally:
        watcher.terminate()
        seen = watcher.communicate()[0]
    assert during == before
    assert machine() == before
    assert not os.path.exists(lab_directory)
    assert seen == "", "a link was seen on the machine for a moment"


def test_a_node_writes_to_its_own_etc_var_run_tmp_and_dev(lab: Lab) -> None:
    name = uuid.uuid4().hex
    paths = [f"{top}/{name}" for top in ("/etc", "/var/lib", "/run", "/tmp", "/dev", "/dev/shm", "/usr/bin")]
    lab.run("node1", "touch", *paths)
    for path in paths:
        assert not os.path.exists(path)
        assert lab.run("node2", "test", "-e", path, check=False).returncode == 1
    lab.run("node1", "rm", *paths)


def test_a_node_does_not_see_what_the_machine_has_in_run_and_tmp(lab: Lab) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        assert lab.run("node2", "test", "-e", file.name, check=False).returncode == 1
    assert lab.run("node2", "test", "-e", lab.directory, check=False).returncode == 1


def test_settings_of_the_whole_machine_are_read_only_in_a_node(lab: Lab) -> None:
    for path in ("/proc/sys/kernel/panic", "/proc/sys/vm/swappiness", "/sys/kernel/rcu_expedited"):
        refused = lab.run("node1", "tee", path, input=Path(path).read_text(), check=False)  # no harm if it is not refused
        assert refused.returncode == 1
        assert "Read-only file system" in refused.stderr


def test_settings_of_its_network_can_be_changed_in_a_node(lab: Lab) -> None:
    lab.run("node1", "sysctl", "-w", "net.ipv4.conf.lo.rp_filter=2")
    assert lab.run("node1", "cat", "/proc/sys/net/ipv4/conf/lo/rp_filter").stdout == "2\n"
    assert lab.run("node1", "ls", "/sys/class/net").stdout.split() == ["eth0", "lo"]
    lab.run("node1", "tee", "/sys/class/net/lo/mtu", input="65000\n")
    assert Path("/sys/class/net/lo/mtu").read_text() == "65536\n"
    lab.run("node1", "ip", "link", "set", "lo", "mtu", "65536")


# --- a node -----------------------------------------------------------------


FORWARDING = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")


def test_a_node_starts_without_forwarding(lab: Lab) -> None:
    assert lab.run("node3", "cat", *FORWARDING).stdout.split() == ["0", "0"]


def test_forwarding_that_the_machine_has_is_stopped() -> None:
    """In a namespace of the test's own, since new ones take after the machine's, which stays as it is."""
    steps = f"""
from ansible_collections.podnet.baremetal.plugins.module_utils._lab import _stop_forwarding
def both(): return [open(path).read().strip() for path in {FORWARDING}]
for path in {FORWARDING}: open(path, "w").write("1")
before = both()
_stop_forwarding()
print(*before, *both())
"""
    command = ["unshare", "--net", sys.executable, "-c", steps]
    assert subprocess.run(command, env=module_environment(), capture_output=True, text=True, check=True).stdout.split() == [
        "1",
        "1",
        "0",
        "0",
    ]


def test_nodes_and_their_switch_reach_each_other(lab: Lab) -> None:
    for address in ("198.51.100.1", "198.51.100.2", "198.51.100.254"):
        assert "0% packet loss" in lab.run("node3", "ping", "-c1", "-W5", address).stdout
    assert "default via 198.51.100.254 dev eth0" in lab.run("node3", "ip", "route").stdout


def test_a_node_has_its_own_name_and_processes(lab: Lab) -> None:
    assert lab.run("node2", "hostname", "--fqdn").stdout == "node2\n"
    assert lab.run("node2", "ps", "-e", "-o", "pid=,comm=").stdout.splitlines()[0].split() == ["1", "lab-node2"]
    assert os.uname().nodename != "node2"


def test_the_first_process_of_a_node_holds_nothing_of_its_maker(lab: Lab) -> None:
    pid = lab.pids()["node1"]
    files = {entry: os.readlink(f"/proc/{pid}/fd/{entry}") for entry in os.listdir(f"/proc/{pid}/fd")}
    assert files == dict.fromkeys("012", "/dev/null")
    assert os.getsid(pid) == pid
    assert lab.run("node1", "cat", "/proc/1/cwd/etc/hostname").stdout == "node1\n"


def test_orphans_in_a_node_leave_no_zombies(lab: Lab) -> None:
    lab.run("node1", "sh", "-c", "for i in 1 2 3; do (true & true) & done; wait; (sleep 0.1 &)")
    time.sleep(0.3)
    assert "Z" not in lab.run("node1", "ps", "-e", "-o", "stat=").stdout


def test_pods_and_nftables_work_in_a_node(lab: Lab) -> None:
    lab.run("node1", "ip", "netns", "add", "pod1")
    lab.run("node1", "ip", "link", "add", "pod1", "type", "veth", "peer", "name", "eth0", "netns", "pod1")
    assert lab.run("node1", "ip", "netns", "exec", "pod1", "ls", "/sys/class/net").stdout.split() == ["eth0", "lo"]
    lab.run("node1", "nft", "add", "table", "ip", "lab")
    assert "table ip lab" in lab.run("node1", "nft", "list", "ruleset").stdout
    assert lab.run("node2", "nft", "list", "ruleset").stdout == ""
    assert not os.path.exists("/run/netns/pod1")
    lab.run("node1", "ip", "netns", "delete", "pod1")
    lab.run("node1", "nft", "delete", "table", "ip", "lab")


def test_a_node_sees_a_shared_path_below_tmp_and_cannot_write_to_it(lab_directory: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("pass\n")
    lab_module(options(lab_directory, shared=[str(tmp_path), "/usr"]))
    lab = Lab(lab_directory)
    (tmp_path / "later.py").write_text("pass\n")
    assert lab.run("node1", "ls", str(tmp_path)).stdout.split() == ["later.py", "module.py"]
    assert "Read-only" in lab.run("node1", "touch", str(tmp_path / "mine"), check=False).stderr
    lab.run("node1", "touch", "/usr/bin/mine")


def test_leftovers_of_a_machine_that_is_a_node_itself_are_not_in_the_lab(lab: Lab) -> None:
    for path in ("/etc/cni/net.d", "/etc/containerd", "/etc/crio", "/etc/kube-flannel", "/var/lib/cni", "/var/lib/podnet", "/run/flannel"):
        assert lab.run("node1", "test", "-e", path, check=False).returncode == 1


# --- making, again, more, fewer ---------------------------------------------


def test_a_lab_can_be_made_again_grown_shrunk_and_taken_away(lab_directory: str) -> None:
    """The life of a lab by its module: each state asked for with --check, then made, then made again."""

    def ask(expected: list[str], wanted: dict[str, Any]) -> dict[str, Any]:
        predicted = lab_module({**wanted, "_ansible_check_mode": True})
        done = lab_module(wanted)
        assert predicted["commands"] == done["commands"] == expected
        assert predicted["diff"] == done["diff"]
        again = lab_module(wanted)
        assert (again["changed"], again["commands"]) == (False, [])
        return done

    node = "node{0} 198.51.100.{0}/24 mtu 1500".format
    made = ask(["lab: make switch", f"lab: make {node(1)}", f"lab: make {node(2)}"], options(lab_directory, 2))
    assert made["diff"]["after"] == f"switch\n{node(1)}\n{node(2)}\n"
    more = ask([f"lab: make {node(3)}"], options(lab_directory, 3))
    assert more["nodes"][:2] == made["nodes"]
    fewer = ask([f"lab: take away {node(2)}", f"lab: take away {node(3)}"], options(lab_directory, 1))
    assert fewer["nodes"] == made["nodes"][:1]
    assert fewer["diff"]["before"] == f"{node(2)}\n{node(3)}\n"
    ask(["lab: take away switch", f"lab: take away {node(1)}"], {"directory": lab_directory, "state": "absent"})
    assert not os.path.exists(lab_directory)


def test_many_nodes_know_each_other_also_those_that_were_there_before(lab_directory: str) -> None:
    """The machine's one table of neighbours has no room for all pairs of fifty nodes."""
    shown = ("ip", "-oneline", "neigh", "show", "dev", "eth0", "nud", "permanent")
    lab_module(options(lab_directory, FEW))
    here = Lab(lab_directory)
    assert here.run("node1", *shown).stdout == ""
    lab_module(options(lab_directory, FEW + 1))
    others = [f"198.51.100.{number} lladdr 02:04:c6:33:64:{number:02x} PERMANENT" for number in range(2, FEW + 2)]
    assert sorted(map(str.strip, here.run("node1", *shown).stdout.splitlines())) == sorted(others)
    here.run(f"node{FEW + 1}", "ping", "-c", "1", "-W", "2", "198.51.100.1")


def test_a_node_with_another_mtu_is_another_node(lab_directory: str) -> None:
    lab_module(options(lab_directory, 1))
    lab_module(options(lab_directory, 1, mtu=9000))
    assert "mtu 9000" in Lab(lab_directory).run("node1", "ip", "link", "show", "eth0").stdout


def test_an_underlay_may_be_ipv6(lab_directory: str) -> None:
    nodes = [{"name": f"node{number}", "address": f"2001:db8::{number}/64"} for number in (1, 2)]
    lab_module({"directory": lab_directory, "nodes": nodes})
    lab = Lab(lab_directory)
    for address in ("2001:db8::2", "2001:db8::ffff:ffff:ffff:fffe"):
        assert "0% packet loss" in lab.run("node1", "ping", "-c1", "-W5", address).stdout
    assert "default via 2001:db8::ffff:ffff:ffff:fffe dev eth0" in lab.run("node1", "ip", "-6", "route").stdout


def test_an_underlay_may_be_of_both_families(lab_directory: str) -> None:
    nodes = [{"name": f"node{n}", "address": f"198.51.100.{n}/24", "address6": f"2001:db8::{n}/64"} for n in (1, 2)]
    made = lab_module({"directory": lab_directory, "nodes": nodes})
    assert made["commands"][1] == "lab: make node1 198.51.100.1/24 2001:db8::1/64 mtu 1500"
    lab = Lab(lab_directory)
    for address in ("198.51.100.2", "2001:db8::2", "2001:db8::ffff:ffff:ffff:fffe"):
        assert "0% packet loss" in lab.run("node1", "ping", "-c1", "-W5", address).stdout
    assert "2001:db8::1 node1" in lab.run("node1", "cat", "/etc/hosts").stdout
    assert lab_module({"directory": lab_directory, "nodes": nodes})["changed"] is False


@pytest.mark.parametrize(
    ("addresses", "sentence"),
    [
        (("198.51.100.1/24", "192.0.2.1/24"), "a: address6 is 192.0.2.1/24: expected an IPv6 address beside an IPv4 one"),
        (("2001:db8::1/64", "2001:db8:1::1/64"), "a: address6 is 2001:db8:1::1/64: expected an IPv6 address beside an IPv4 one"),
        (("198.51.100.1/24", "2001:db8::x/64"), "a: address6 is 2001:db8::x/64: expected an address and its prefix"),
    ],
)
def test_a_second_address_that_is_none_is_refused(lab_directory: str, addresses: tuple[str, str], sentence: str) -> None:
    refused = lab_module({"directory": lab_directory, "nodes": [{"name": "a", "address": addresses[0], "address6": addresses[1]}]})
    assert refused["msg"].startswith(sentence)
    assert not os.path.exists(lab_directory)


def test_labs_with_different_directories_live_side_by_side(lab: Lab, lab_directory: str) -> None:
    before = lab.pids()
    lab_module(options(lab_directory))
    assert set(Lab(lab_directory).pids()) == {"switch", "node1", "node2"}
    lab_module({"directory": lab_directory, "state": "absent"})
    assert lab.pids() == before


def test_a_node_that_ended_is_made_again_and_the_others_stay(lab_directory: str) -> None:
    lab = Lab(lab_directory)
    lab_module(options(lab_directory, 3))
    before = lab.pids()
    os.kill(before["node2"], signal.SIGTERM)
    while "node2" in lab.pids():
        time.sleep(0.01)
    done = lab_module(options(lab_directory, 3))
    assert done["commands"] == ["lab: take away node2 198.51.100.2/24 mtu 1500", "lab: make node2 198.51.100.2/24 mtu 1500"]
    assert {name for name, pid in lab.pids().items() if pid == before[name]} == {"switch", "node1", "node3"}
    lab.run("node1", "ping", "-c1", "-W5", "198.51.100.2")


def test_a_lab_whose_switch_ended_is_made_anew(lab_directory: str) -> None:
    lab = Lab(lab_directory)
    lab_module(options(lab_directory))
    os.kill(lab.pids()["switch"], signal.SIGKILL)
    while "switch" in lab.pids():
        time.sleep(0.01)
    lab_module(options(lab_directory))
    lab.run("node1", "ping", "-c1", "-W5", "198.51.100.2")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"nodes": []}, "lab: nodes is []: expected at least one, or state absent."),
        ({"nodes": [("../x", "198.51.100.1/24")]}, "../x: name is ../x: expected a host name of at most 63 small letters"),
        ({"nodes": [("switch", "198.51.100.1/24")]}, "switch: name is switch: expected a host name"),
        ({"nodes": [("a", "198.51.100.1/24"), ("a", "198.51.100.2/24")]}, "lab: name is a: two nodes have it"),
        ({"nodes": [("a", "198.51.100.1/24"), ("b", "198.51.100.1/25")]}, "lab: address is 198.51.100.1: two nodes have it"),
        ({"nodes": [("a", "198.51.100.999/24")]}, "a: address is 198.51.100.999/24: expected an address and its prefix"),
        ({"nodes": [("a", "198.51.100.254/24")]}, "a: address is 198.51.100.254/24: expected one of the hosts of 198.51.100.0/24 before"),
        ({"nodes": [("a", "198.51.100.1/32")]}, "a: address is 198.51.100.1/32: expected one of the hosts"),
        ({"directory": "/run/a,b"}, "lab: directory is /run/a,b: expected an absolute path"),
        ({"shared": ["/tmp/podnet-not-there"]}, "lab: shared is /tmp/podnet-not-there: expected a path that exists."),
    ],
)
def test_a_lab_that_cannot_be_is_refused_before_anything_is_made(lab_directory: str, change: dict[str, Any], sentence: str) -> None:
    given = [{"name": name, "address": address} for name, address in change["nodes"]] if "nodes" in change else None
    refused = lab_module({**options(lab_directory, 1), **change, **({} if given is None else {"nodes": given})})
    assert refused["failed"]
    assert refused["msg"].startswith(sentence)
    assert not os.path.exists(lab_directory)


def test_a_node_that_the_kernel_refuses_leaves_nothing(lab_directory: str) -> None:
    refused = lab_module(options(lab_directory, 2, mtu=10))
    assert refused["failed"]
    assert "mtu" in refused["msg"]
    assert lab_module({"directory": lab_directory, "state": "absent"})["changed"] is False
    assert not os.path.exists(lab_directory)


# --- runs that were killed --------------------------------------------------


def test_a_run_killed_at_any_time_leaves_nothing_that_lab_down_does_not_take_away(
    lab_directory: str, marked: tuple[str, dict[str, str]]
) -> None:
    mark, env = marked
    before = machine()
    cut_short = 0
    for attempt in range(24):
        maker = start_module(options(lab_directory, 4 + 4 * (attempt % 3)), env)  # from nothing, or beside what the run before left
        while not children(maker.pid) and maker.poll() is None:
            time.sleep(0.0005)
        time.sleep(random.uniform(0, 0.1))
        maker.kill()
        cut_short += maker.wait() != 0
        assert half_made(lab_directory, mark) == set()
        if attempt % 3 == 2:
            lab_module({"directory": lab_directory, "state": "absent"})
            assert carrying(mark) == []
            assert not os.path.exists(lab_directory)
    assert cut_short > 0, "every run was over before it was killed"
    assert machine() == before


def test_a_run_killed_while_it_takes_a_lab_away_is_finished_by_the_next(lab_directory: str, marked: tuple[str, dict[str, str]]) -> None:
    mark, env = marked
    start_module(options(lab_directory, 20), env).wait()
    first = min(Lab(lab_directory).pids().values())
    taker = start_module({"directory": lab_directory, "state": "absent"}, env)
    while os.path.exists(f"/proc/{first}/cwd/etc") and taker.poll() is None:
        time.sleep(0.0005)
    taker.kill()
    taker.wait()
    lab_module({"directory": lab_directory, "state": "absent"})
    assert carrying(mark) == []
    assert not os.path.exists(lab_directory)


def test_nodes_whose_record_was_removed_are_found(lab_directory: str, marked: tuple[str, dict[str, str]]) -> None:
    mark, env = marked
    start_module(options(lab_directory), env).wait()
    os.unlink(f"{lab_directory}/lab.json")
    assert len(lab_module({"directory": lab_directory, "state": "absent"})["commands"]) == 3
    assert carrying(mark) == []


def test_a_process_that_entered_a_node_is_no_stray(lab_directory: str) -> None:
    lab_module(options(lab_directory))
    pid = Lab(lab_directory).pids()["node1"]
    visitor = subprocess.Popen(["nsenter", f"--target={pid}", "--mount", "--pid", "sleep", "60"])
    try:
        assert lab_module(options(lab_directory))["changed"] is False
    finally:
        visitor.kill()
        visitor.wait()


def test_ansible_killed_while_it_makes_a_lab_leaves_nothing_that_lab_down_does_not_take_away(
    lab_directory: str, marked: tuple[str, dict[str, str]]
) -> None:
    mark, env = marked
    variables = json.dumps({"podnet_lab_directory": lab_directory, "lab_nodes": 20})
    command = ["ansible-playbook", f"--inventory={INVENTORY}", UP, "--extra-vars", variables]
    run = subprocess.Popen(command, cwd=CHECKOUT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(lab_directory) and run.poll() is None:
        time.sleep(0.001)
    run.kill()
    run.wait()
    play(DOWN, variables={"podnet_lab_directory": lab_directory}).succeeded()
    for pid in carrying(mark):  # what is left of Ansible itself ends when it finds its parent gone
        assert "lab-" not in Path(f"/proc/{pid}/comm").read_text()
    assert not os.path.exists(lab_directory)


def start_module(wanted: dict[str, Any], env: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "ansible_collections.podnet.baremetal.plugins.modules.lab",
        json.dumps({"ANSIBLE_MODULE_ARGS": wanted}),
    ]
    return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def half_made(lab_directory: str, mark: str) -> set[int]:
    """What runs without being recorded, once nobody holds the lab any more."""
    descriptor = os.open(lab_directory, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.close(descriptor)
    return set(carrying(mark)) - set(Lab(lab_directory).pids().values())


def children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


# --- the connection ---------------------------------------------------------


def test_a_command_gets_its_input_and_returns_its_output_errors_and_exit_code(lab: Lab) -> None:
    script = "cat; echo errors >&2; hostname; pwd; echo $HOME $ANSIBLE_CONFIG; exit 3"
    done = lab.task("ansible.builtin.command", {"argv": ["/bin/sh", "-c", script], "stdin": "input"}).one()
    assert (done.failed, done.result["rc"], done.result["stderr"]) == (True, 3, "errors")
    assert done.result["stdout_lines"] == ["input", "node1", "/root", "/root"]
    raw = lab.task("ansible.builtin.raw", "echo out; echo errors >&2; pwd; exit 4").one()
    assert (raw.result["rc"], raw.result["stdout_lines"], raw.result["stderr_lines"]) == (4, ["out", "/root"], ["errors"])


@pytest.mark.parametrize("pipelining", [True, False])
def test_files_go_to_a_node_and_come_back_as_they_were(lab: Lab, tmp_path: Path, *, pipelining: bool) -> None:
    content = os.urandom(300_000)
    (tmp_path / "sent").write_bytes(content)
    tasks = [
        {"name": "copy", "ansible.builtin.copy": {"src": str(tmp_path / "sent"), "dest": "/var/run/sent", "mode": "0640"}},
        {"name": "fetch", "ansible.builtin.fetch": {"src": "/run/sent", "dest": str(tmp_path / "received"), "flat": True}},
        {"name": "slurp", "ansible.builtin.slurp": {"src": "/run/sent"}},
        {"name": "remove", "ansible.builtin.file": {"path": "/run/sent", "state": "absent"}},
    ]
    plays = [{"hosts": "node1", "gather_facts": False, "tasks": tasks, "vars": {"ansible_pipelining": pipelining}}]
    lab.play(plays).succeeded()
    assert (tmp_path / "received").read_bytes() == content
    assert not os.path.exists("/run/sent")


def test_a_link_in_a_node_does_not_lead_out_of_it(lab: Lab, tmp_path: Path) -> None:
    """/proc/PID/root alone would follow an absolute link to the machine's own file."""
    link, target, above = (f"/etc/{uuid.uuid4().hex}" for _time in range(3))
    lab.run("node1", "ln", "-s", target, link)
    (tmp_path / "sent").write_text("x")
    steps = [f"put_file('sent', '{link}')", f"put_file('sent', '/../../..{above}')", f"fetch_file('{link}', 'received')"]
    assert connected(lab, tmp_path, *steps).returncode == 0
    assert not os.path.exists(target)
    assert not os.path.exists(above)
    assert lab.run("node1", "stat", "-c", "%s %a", target, above).stdout.splitlines() == ["1 600", "1 600"]
    assert (tmp_path / "received").read_text() == "x"
    lab.run("node1", "rm", link, target, above)


def test_a_file_that_is_missing_is_named(lab: Lab, tmp_path: Path) -> None:
    assert "node1: /etc/missing: No such file or directory" in connected(lab, tmp_path, "fetch_file('/etc/missing', 'received')").stderr
    assert "missing is to be put on node1, and is not there." in connected(lab, tmp_path, "put_file('missing', '/etc/out')").stderr


def connected(lab: Lab, directory: Path, *steps: str) -> subprocess.CompletedProcess[str]:
    """Use the plugin as an action would."""
    connect = f"""
import os
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader, init_plugin_loader
init_plugin_loader()
connection = connection_loader.get("podnet.baremetal.netns", PlayContext())
connection.set_options(var_options={{"inventory_hostname": "node1", "podnet_lab_directory": {lab.directory!r}}})
os.chdir({str(directory)!r})
"""
    command = [sys.executable, "-c", connect + "".join(f"connection.{step}\n" for step in steps)]
    return subprocess.run(command, cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=False)


def test_facts_are_the_nodes_own(lab: Lab) -> None:
    facts = (
        lab.task("ansible.builtin.setup", {"gather_subset": ["!all", "network"]}, hosts="node2").succeeded().one().result["ansible_facts"]
    )
    assert (facts["ansible_hostname"], facts["ansible_fqdn"]) == ("node2", "node2")
    assert facts["ansible_eth0"]["ipv4"]["address"] == "198.51.100.2"
    assert facts["ansible_default_ipv4"]["gateway"] == "198.51.100.254"


def test_a_task_can_be_delegated_to_another_node(lab: Lab) -> None:
    tasks = [{"name": "delegated", "ansible.builtin.command": {"cmd": "hostname"}, "delegate_to": "node3"}]
    done = lab.play([{"hosts": "node1", "gather_facts": False, "tasks": tasks}]).succeeded().one()
    assert done.result["stdout"] == "node3"


def test_become_is_not_needed_and_works(lab: Lab) -> None:
    done = lab.task("ansible.builtin.command", {"cmd": "id --user"}, become=True, become_method="ansible.builtin.su").succeeded().one()
    assert done.result["stdout"] == "0"


def test_a_host_without_a_node_is_unreachable_and_told_what_to_run(lab_directory: str) -> None:
    done = Lab(lab_directory).task("ansible.builtin.ping", {}).one()
    assert done.unreachable
    assert f"198.51.100.1 is not a running node of the lab in {lab_directory}: run podnet.baremetal.lab_up." in done.msg


# --- inventory and playbooks ------------------------------------------------


def hosts(lab_directory: str, inventory: Path = INVENTORY, **variables: Any) -> dict[str, Any]:
    command = ["ansible-inventory", f"--inventory={inventory}", "--list"]
    extra = ["--extra-vars", json.dumps({"podnet_lab_directory": lab_directory, **variables})]
    done = subprocess.run([*command, *extra], cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=False)
    return {**json.loads(done.stdout or "{}"), "warnings": " ".join(done.stderr.split())}


def test_the_playbooks_make_and_take_away_a_lab_of_as_many_nodes_as_asked(lab_directory: str) -> None:
    lab = Lab(lab_directory)
    assert lab.play(UP, "--check", lab_nodes=4).succeeded().changed
    assert not os.path.exists(lab_directory)
    made = lab.play(UP, lab_nodes=4).succeeded()
    assert len(made.one("Every host").commands) == 5
    assert "4 nodes run. Go on with: ansible-playbook -i inventories/lab podnet.baremetal.site" in made.one("Say how").msg
    assert hosts(lab_directory)["kube_node"]["hosts"] == ["node1", "node2", "node3", "node4"]
    assert hosts(lab_directory)["kube_control_plane"]["hosts"] == ["node1"]
    assert not lab.play(UP).succeeded().changed
    assert lab.play(DOWN).succeeded().changed
    assert not os.path.exists(lab_directory)
    assert not lab.play(DOWN).succeeded().changed


def test_an_inventory_names_as_many_hosts_as_its_file_says_when_no_lab_runs(lab_directory: str) -> None:
    listed = hosts(lab_directory)
    assert listed["kube_node"]["hosts"] == ["node1", "node2", "node3"]
    assert listed["_meta"]["hostvars"]["node3"]["ansible_host"] == "198.51.100.3"


@pytest.mark.parametrize("count", [0, 254, "many"])
def test_more_nodes_than_the_underlay_holds_are_refused(lab_directory: str, count: Any) -> None:
    sentence = f"lab.yml: the number of nodes is {count}: the underlay 198.51.100.0/24 has room for 1 to 253 of them."
    assert sentence in hosts(lab_directory, lab_nodes=count)["warnings"]


def test_the_inventory_of_kubeasz_is_a_lab_too(lab_directory: str) -> None:
    inventory = CHECKOUT / "inventories" / "kubeasz"
    variables = {"podnet_lab_directory": lab_directory}
    play(UP, inventory=inventory, variables=variables).succeeded()
    assert "inet 10.9.1.161/24" in Lab(lab_directory).run("node-161", "ip", "address", "show", "eth0").stdout
    show = [{"name": "show", "ansible.builtin.debug": {"msg": "{{ podnet_ledger }} {{ podnet_pod_subnet }}"}}]
    done = play([{"hosts": "all", "gather_facts": False, "tasks": show}], inventory=inventory, variables=variables).succeeded()
    assert done.one(host="node-156").msg == f"{CHECKOUT}/build/kubeasz-ledger.json 172.20.0.0/24"
    play(DOWN, inventory=inventory, variables=variables).succeeded()
    assert not os.path.exists(lab_directory)


def test_an_alias_of_the_control_plane_and_a_host_that_is_called_by_its_address_are_in_the_lab(lab_directory: str, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"kube_master": {"hosts": {"first": {"ansible_host": "192.0.2.1"}, "192.0.2.2": {}}}}))
    play(UP, inventory=inventory, variables={"podnet_lab_directory": lab_directory, "lab_prefix": 28}).succeeded()
    for name, address in (("first", "192.0.2.1/28"), ("192.0.2.2", "192.0.2.2/28")):
        assert f"inet {address}" in Lab(lab_directory).run(name, "ip", "address", "show", "eth0").stdout
