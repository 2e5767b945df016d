# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role host beside real network services, in other people's playbooks, and what it refuses. I/O: booted nodes, the lab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from booted import Booted, booted, wait_until
from labs import CHECKOUT, Play

SERVICES = CHECKOUT / "build" / "services"
ROLE = {"name": "role", "ansible.builtin.import_role": {"name": "podnet.baremetal.host"}}
# Files of somebody else: one gives the underlay its address, one fits every interface.
UNDERLAY = "[Match]\nName=eth0\n\n[Network]\nAddress={}/24\nGateway=198.51.100.254\nLinkLocalAddressing=no\n"
ALL_INTERFACES = "[Match]\nName=*\n\n[Network]\nDHCP=no\nLinkLocalAddressing=no\n"
DHCPCD = "nodelay\nnoarp\nnoipv6\nstatic ip_address=203.0.113.9/24\n"
OVERLAY = """
for left in flannel.1 cni0 pod; do ip link delete $left 2>/dev/null; done
set -e
ip link add flannel.1 type vxlan id 1 local 198.51.100.1 dev eth0 dstport 8472 nolearning
ip link set flannel.1 address 02:f1:ac:14:00:00 up
ip address add 172.20.0.0/32 dev flannel.1
ip link add cni0 type bridge
ip link set cni0 address 02:00:00:00:00:01 up
ip address add 172.20.0.1/24 dev cni0
ip link add veth1 type veth peer name pod
ip link set veth1 master cni0 up
ip link set pod up
ip neigh replace 172.20.1.0 lladdr 02:f1:ac:14:01:00 dev flannel.1 nud permanent
bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.3 self permanent
ip route replace 172.20.1.0/24 via 172.20.1.0 dev flannel.1 onlink proto 86
ip nexthop replace id 2886992384 via 172.20.2.0 dev flannel.1 onlink proto 86
ip route replace 172.20.2.0/24 nhid 2886992384 proto 86
ip route replace 203.0.113.0/24 dev pod proto 86
ip rule list priority 100 | grep -q . || ip rule add to 203.0.113.0/24 lookup main priority 100
"""
TABLES = (
    "ip -4 -o address show dev flannel.1",
    "ip -4 -o address show dev cni0",
    "ip neigh show nud permanent",
    "bridge link show dev veth1",
    "ip route show proto 86 dev flannel.1",
    "ip nexthop show proto 86",
    "ip route show proto 86 dev pod",  # an interface that networkd has for its own on both nodes
    "ip rule show priority 100",
)
FILES = "find /etc /var/lib -xdev -name '*podnet*' -type f ! -name '.*' | sort"
FDB = "bridge fdb show dev flannel.1"  # networkd leaves it alone


@dataclass(frozen=True)
class Node:
    """A node where systemd, udev and networkd run, the last with files of somebody else."""

    lab: Booted
    name: str

    def run(self, script: str, check: bool = True) -> str:
        return self.lab.run(self.name, "sh", "-c", script, check=check).stdout

    def write(self, path: str, text: str) -> None:
        self.lab.run(self.name, "install", "-D", "-m", "644", "/dev/stdin", path, input=text)

    def role(self, *arguments: str, **variables: Any) -> Play:
        plays = [{"hosts": self.name, "gather_facts": False, "become": True, "tasks": [ROLE]}]
        return self.lab.play(plays, *arguments, **variables).succeeded()

    def furnish(self, local: str) -> None:
        self.write("/etc/systemd/network/00-a.network", UNDERLAY.format(local))
        self.write("/etc/systemd/network/00-b.network", ALL_INTERFACES)
        self.run("mkdir -p /etc/wpa_supplicant /var/lib/dhcpcd")  # the installation of dhcpcd would have made them
        self.run("ip -4 address flush dev eth0; systemctl start systemd-networkd")
        self.wait_for_networkd()

    def restart_networkd(self) -> None:
        self.run("systemctl restart systemd-networkd")
        self.wait_for_networkd()

    def wait_for_networkd(self) -> None:
        """Until it is done with every interface."""
        self.run("udevadm settle")
        wait_until(lambda: not {"pending", "initialized", "configuring"} & set(self.run("networkctl --no-legend").split()))

    def tables(self) -> dict[str, str]:
        return {command: self.run(command) for command in TABLES}


@dataclass(frozen=True)
class Both:
    """A node that was left as it was, and one that the role has prepared: what it said in check mode, and when it did so."""

    bare: Node
    told: Node
    predicted: Play
    made: Play


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with booted("services", nodes=2, packages=SERVICES) as lab:
        bare, told = Node(lab, "node1"), Node(lab, "node2")
        bare.furnish("198.51.100.1")
        told.furnish("198.51.100.2")
        yield Both(bare, told, told.role("--check", "--diff"), told.role("--diff"))


def restarted(play: Play) -> list[tuple[str, str]]:
    results = [each for outcome in play.of("Restart those that run") for each in outcome.result.get("results", [])]
    return [(each["item"], each["invocation"]["module_args"]["state"]) for each in results]


def test_check_mode_says_what_is_done_and_only_what_runs_is_restarted(both: Both) -> None:
    said, done = ([(each.task, each.changed, each.result.get("diff")) for each in play.outcomes] for play in (both.predicted, both.made))
    assert said == done
    assert restarted(both.made) == [("systemd-networkd", "restarted")]
    assert both.told.run("systemctl list-units --all --plain --no-legend 'podnet-guard*'; find /run -name 'podnet-guard*'") == ""
    assert "podnet-guard" in both.told.run("journalctl --unit 'podnet-guard*' --output cat"), "there was one"
    assert both.told.run("systemctl is-active NetworkManager dhcpcd", check=False) == "inactive\ninactive\n"
    assert both.told.run("sysctl -n net.ipv4.ip_forward") == "1\n"


def test_networkd_takes_the_overlay_away_when_it_restarts_unless_it_was_told(both: Both) -> None:
    for node in (both.bare, both.told):
        node.run(OVERLAY)
    before = both.told.tables()
    assert all(before.values())
    for node in (both.bare, both.told):
        node.restart_networkd()
    assert {command: text for command, text in both.bare.tables().items() if text} == {}
    assert both.told.tables() == before
    assert both.told.run(FDB).splitlines() == ["02:f1:ac:14:01:00 dst 198.51.100.3 self permanent"]


def test_networkmanager_takes_the_interfaces_for_its_own_unless_it_was_told(both: Both) -> None:
    states = []
    for node in (both.bare, both.told):
        node.run(f"systemctl stop systemd-networkd.socket systemd-networkd; {OVERLAY}")
        node.run("systemctl start NetworkManager; nm-online --quiet --wait-for-startup")
        states.append(dict(line.split(":") for line in node.run("nmcli -t -f DEVICE,STATE device").splitlines()))
        node.run("systemctl stop NetworkManager")
    assert [state["eth0"] for state in states] == ["connected (externally)"] * 2
    assert [{state["flannel.1"], state["cni0"]} for state in states] == [{"connected (externally)"}, {"unmanaged"}]


def test_dhcpcd_gives_the_vtep_an_address_unless_it_was_told(both: Both) -> None:
    assert dhcpcd_gives_addresses_to(both.bare, waiting_for="flannel.1") == ["flannel.1"]
    assert dhcpcd_gives_addresses_to(both.told, waiting_for="pod") == []  # which it comes to after the VTEP


def dhcpcd_gives_addresses_to(node: Node, waiting_for: str) -> list[str]:
    """Which of the VTEP and the bridge have one after dhcpcd has started."""
    own = node.run(f"cat /etc/dhcpcd.conf; {OVERLAY}")
    node.write("/etc/dhcpcd.conf", own + DHCPCD)
    node.run("systemctl start dhcpcd")
    wait_until(lambda: "203.0.113.9" in node.run(f"ip -4 -br address show dev {waiting_for}"))
    found = [device for device in ("flannel.1", "cni0") if "203.0.113.9" in node.run(f"ip -4 -br address show dev {device}")]
    node.run("systemctl stop dhcpcd; ip -4 address flush to 203.0.113.9")
    node.write("/etc/dhcpcd.conf", own)
    return found


def test_udevd_changes_a_mac_that_nobody_set_unless_it_was_told(both: Both) -> None:
    # addr_assign_type: 1 is the kernel's random choice (NET_ADDR_RANDOM), 3 somebody set it since (NET_ADDR_SET).
    made = "ip link add flannel.7 type vxlan id 7 dev eth0 dstport 8475; udevadm settle; cat /sys/class/net/flannel.7/addr_assign_type"
    assert [node.run(f"{made}; ip link delete flannel.7") for node in (both.bare, both.told)] == ["3\n", "1\n"]


def test_what_cannot_work_is_refused_before_anything_is_changed(both: Both) -> None:
    pattern = "{{ [[], ['flannel*', 'cni0\nName=*']][inventory_hostname[-1] | int - 1] }}"
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [ROLE], "vars": {"host_interfaces": pattern}}]
    refused = both.bare.lab.play(plays)
    expected = "expected a list of interfaces or shell patterns of them, such as flannel*, each of at most 15 letters"
    expected += ", digits and the characters . _ - * ?"
    assert [each.msg for each in refused.outcomes if each.failed] == [
        f"node1: host_interfaces is []: {expected}",
        f'node2: host_interfaces is ["flannel*", "cni0\\nName=*"]: {expected}',
    ]
    assert refused.changed == []

    lacking = both.bare.lab.play([{**plays[0], "hosts": "node1", "vars": {"host_kernel_modules": ["no_such_module"]}}])
    assert [each.task for each in lacking.outcomes if each.failed] == ["podnet.baremetal.host : Load the kernel modules that are missing"]
    assert "no_such_module" in lacking.one("Load the kernel modules").result["stderr"]
    assert lacking.changed == []
    assert both.bare.run(FILES) == ""


def test_the_role_fits_into_other_peoples_playbooks_and_comes_to_the_same(both: Both) -> None:
    both.bare.run("systemctl start systemd-networkd")
    examples = [CHECKOUT / "docs" / "examples" / f"host-{name}.yml" for name in ("kubeasz", "kubespray")]
    plays = [{"ansible.builtin.import_playbook": str(example)} for example in examples]
    run = both.bare.lab.play([*plays, *plays], "--limit=node1", CLUSTER_CIDR="172.20.0.0/16", ipv6_stack=False).succeeded()
    assert [each.task.split(" : ")[-1] for each in run.changed] == [
        "Write what is to be at boot, and once what was before",
        "Give the settings their values, now and at boot",
        "Have dhcpcd leave the interfaces of pods alone",
        "Restart those that run",
    ], "by the first play, and nothing by the three after it"
    assert len(run.of("Write what is to be at boot")) == 4


def test_the_node_boots_with_its_settings_and_what_runs_is_restarted_when_the_role_leaves(both: Both) -> None:
    node = both.told
    node.lab.reboot(node.name)
    assert node.run("sysctl -n net.ipv4.ip_forward") == "1\n"
    assert node.role().changed == []

    node.run("systemctl start systemd-networkd NetworkManager dhcpcd")
    left = node.role(host_state="absent")
    assert restarted(left) == [("systemd-networkd", "restarted"), ("NetworkManager", "reloaded"), ("dhcpcd", "restarted")]
    assert node.run("sed -n 1p /etc/dhcpcd.conf") == "# A sample configuration for dhcpcd.\n"
    assert node.run(FILES) == ""

    quiet = node.role("--tags=host_services", host_restart=False)
    assert restarted(quiet) == []
    assert node.run(FILES).split() == [
        "/etc/NetworkManager/conf.d/90-podnet.conf",
        "/etc/systemd/network/0-podnet.link",
        "/etc/systemd/network/0-podnet.network",
        "/etc/systemd/networkd.conf.d/podnet.conf",
    ]


def test_a_node_that_was_cut_off_has_its_network_again_and_the_next_run_says_so(both: Both) -> None:
    node, addresses = both.bare, "ip -4 -o address show dev eth0 scope global"
    node.run("systemctl stop systemd-networkd.socket systemd-networkd; ip address replace 198.51.100.1/24 dev eth0")
    before = node.run(addresses)
    cut = [
        {"name": "arm", "podnet.baremetal.connection_guard": {"state": "armed", "seconds": 10}},
        {"name": "cut", "ansible.builtin.command": {"argv": ["ip", "address", "flush", "dev", "eth0"]}},
    ]
    node.lab.play([{"hosts": node.name, "gather_facts": False, "become": True, "tasks": cut}]).succeeded()
    wait_until(
        lambda: "put-back" in node.run("ls /run/podnet-guard") and node.run("systemctl is-active 'podnet-guard*'", check=False) == ""
    )
    assert node.run(addresses) == before
    told = (
        f"{node.name}: nobody confirmed in time that this node can still be reached, so it has put its network back: ip addr replace 198.51"
    )
    assert '"commands": ["ip addr replace 198.51.100.1/24' in node.run("journalctl --unit 'podnet-guard*' --output cat")
    refused = node.lab.play([{"hosts": node.name, "gather_facts": False, "become": True, "tasks": [ROLE]}])
    assert [(each.task.split(" : ")[-1], each.msg[: len(told)]) for each in refused.outcomes if each.failed] == [
        ("Say what the node has put back since nobody could reach it", told)
    ]
    assert refused.changed == []
    node.role()  # it is said once
