# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restore.sh on a real kernel: what it makes of the modules' texts is what the modules make. I/O: a network namespace, strace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._boot import peers_text
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import converge
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock
from ansible_collections.podnet.baremetal.plugins.module_utils._persistent import persistent
from boots import PUT_BACK, Boot
from node import FDB, NEIGHBOURS, PEERS, ROUTES, Node, commands, device, target

ADDRESSES = ["172.20.0.0/32", "fd00:10:244::/128"]
TWO = {"local6": "2001:db8::1", "mac6": "02:f1:02:44:00:00", "addresses": ADDRESSES}
SIX = {"node": "node4", "subnets": ["fd00:10:244:1::/64"], "underlay": "2001:db8::2", "mac": "02:f1:02:44:00:01"}
SHARED = {**PEERS[0], "subnets": ["172.20.1.0/24", "fd00:10:244:1::/64"]}


@pytest.fixture
def boot(overlay: Node, tmp_path: Path) -> Boot:
    """A node that was put back once."""
    here = Boot(overlay, tmp_path)
    overlay.run("ip route add default via 198.51.100.254 dev eth0")
    before = overlay.dump()
    assert here.run() == PUT_BACK
    assert overlay.dump() == before, "all but the table was there"
    return here


def test_what_is_right_costs_no_message_that_changes_anything(boot: Boot) -> None:
    assert boot.written() == []
    assert boot.run() == ""
    boot.node.run("ip route del 172.20.1.0/24")
    assert "RTM_NEWROUTE" in boot.written(), "or this test sees nothing"


SPOILED = (
    "ip route flush dev flannel.1",
    "ip neigh flush dev flannel.1 nud permanent",
    "ip neigh replace 172.20.1.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent",
    "bridge fdb del 02:f1:ac:14:01:00 dev flannel.1",
    "bridge fdb replace 02:f1:ac:14:01:00 dev flannel.1 dst 198.51.100.9 self permanent",
    "ip link set dev flannel.1 down",
    "ip link set dev flannel.1 mtu 1400",
    "ip link set dev flannel.1 txqueuelen 7",
    "ip link set dev flannel.1 address 02:00:00:00:00:09",
    "ip link set dev flannel.1 type vxlan ttl 7 learning ageing 7 tos 4 df set local 198.51.100.11 dev eth1",
    "ip link set dev flannel.1 type vxlan remote 198.51.100.9",
    "ip addr del 172.20.0.0/32 dev flannel.1",
    "ip link del flannel.1",
    "sysctl -q -w net.ipv6.conf.flannel/1.accept_ra=1",
    "nft flush table inet podnet",
    "nft flush ruleset",
    "rm {run}/subnet.env",
    "truncate -s 0 {run}/subnet.env",
)


def test_what_somebody_took_away_is_put_back(boot: Boot) -> None:
    before = boot.shown()
    for spoil in SPOILED:
        boot.node.run(spoil.format(run=boot.directory / "run"))
        assert boot.shown() != before, spoil
        assert (boot.run(), boot.shown(), boot.run()) == (PUT_BACK, before, ""), spoil


CASES: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({}, {"nexthops": "always"}),
    (TWO, {"wanted": [*PEERS, SIX], "device6": "flannel-v6.1", "nexthops": "always"}),
    ({"addresses": ADDRESSES}, {"wanted": [SHARED]}),
    ({"vni": 7, "port": 4789, "ttl": 3, "learning": True, "mtu": 1400, "local": "198.51.100.11"}, {"device": "flannel.7"}),
)


@pytest.mark.parametrize(("devices", "entries"), CASES)
def test_a_boot_makes_what_the_modules_made(node: Node, tmp_path: Path, devices: dict[str, Any], entries: dict[str, Any]) -> None:
    here = Boot(node, tmp_path)
    (here.directory / "podnet.nft").unlink()
    here.want(devices, **entries)
    assert device(**devices)
    assert commands(target(**entries))
    before = [line for line in here.shown() if "flannel" in line]
    for link in node.run("ip -br link show type vxlan").splitlines():
        node.run(f"ip link del {link.split()[0]}")
    assert (here.run(), [line for line in here.shown() if "flannel" in line]) == (PUT_BACK, before)
    assert (device(check=True, **devices), commands(target(**entries), check=True), here.run()) == ([], [], "")


def test_what_is_somebody_elses_is_left_alone_and_said(boot: Boot) -> None:
    for foreign in (
        "ip route replace 172.20.1.0/24 via 198.51.100.9 dev eth0 proto static",
        "ip route add 172.20.2.0/24 via 198.51.100.9 dev eth0 metric 7",
        "ip route add blackhole 172.20.77.0/24 proto static",
        "ip neigh replace 172.20.99.9 lladdr 02:00:00:00:00:09 dev flannel.1 nud reachable",
        "ip link add other type vxlan id 7 local 198.51.100.11 dev eth0 dstport 8472 nolearning",
        "bridge fdb append 02:00:00:00:00:09 dev other dst 198.51.100.9 self permanent",
        "bridge fdb append 02:00:00:00:00:08 dev flannel.1 dst 198.51.100.9 self dynamic",
        "nft add table ip somebody",
    ):
        boot.node.run(foreign)
    before = boot.shown()
    boot.node.run("ip route del 172.20.2.0/24 via 172.20.2.0")
    for _attempt in range(2):  # it is tried again, as long as it is so
        assert boot.run(code=1) == f"{PUT_BACK}Somebody else routes these, which were left alone: 172.20.1.0/24\n"
        assert boot.shown() == before
    boot.node.run("ip route del 172.20.1.0/24")
    assert boot.run() == PUT_BACK
    assert "172.20.1.0/24 via 172.20.1.0 dev flannel.1" in boot.node.run("ip route")


@pytest.mark.parametrize(
    "other",
    [
        "ip link add flannel.1 type bridge",
        "ip link add flannel.1 type vxlan id 1 local 198.51.100.1 dev eth0 dstport 4789 nolearning",
        "ip link add flannel.1 type vxlan id 10 local 198.51.100.1 dev eth0 dstport 8472 nolearning",
    ],
)
def test_a_device_that_only_shares_the_name_is_left_alone_and_said(boot: Boot, other: str) -> None:
    boot.node.run("ip link del flannel.1")
    boot.node.run(other)
    before = boot.shown()
    assert boot.run(code=1).splitlines()[-1] == (
        "flannel.1 is there and is not the VXLAN device with the VNI 1 and the port 8472: it was left alone."
    )
    assert boot.shown() == before


def test_it_waits_until_the_node_has_its_underlay_address(boot: Boot) -> None:
    before = [line for line in boot.shown() if "flannel" in line]
    boot.node.run("ip link del flannel.1")
    boot.node.run("ip addr del 198.51.100.1/24 dev eth0")  # the other one, which is secondary to it, goes along
    with boot.start() as script:
        assert script.stdout
        assert script.stdout.readline() == PUT_BACK
        while "sleep" not in [name for child in children(script.pid) for name in names(child)]:
            assert script.poll() is None
        assert "flannel.1" not in boot.node.run("ip link")
        boot.node.run("ip addr add 198.51.100.1/24 dev eth0")
        boot.node.run("ip addr add 198.51.100.11/24 dev eth0")
    assert (script.returncode, [line for line in boot.shown() if "flannel" in line]) == (0, before)


def test_it_waits_for_a_run_of_the_modules(boot: Boot) -> None:
    boot.node.run("ip link del flannel.1")
    with node_lock():
        script = boot.start()
        while not any("-> FLOCK" in line for line in waiting(script.pid)):
            assert script.poll() is None
        assert "flannel.1" not in boot.node.run("ip link")
    assert script.communicate()[0] == PUT_BACK
    assert "flannel.1" in boot.node.run("ip link")


def children(pid: int) -> list[str]:
    """The processes that a process has started and that have not ended."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def names(pid: str) -> list[str]:
    """The name of a process, unless it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().split()
    return []


def waiting(pid: int) -> Iterator[str]:
    """What the children of a process wait for. proc(5): /proc/locks marks who is blocked by an arrow, and names its process."""
    return (line for line in Path("/proc/locks").read_text().splitlines() if set(children(pid)) & set(line.split()))


def test_a_module_writes_its_text_with_what_it_changes_and_not_when_that_fails(overlay: Node, tmp_path: Path) -> None:
    def kept(options: dict[str, Any], wanted: Sequence[dict[str, Any]], *, check: bool = False) -> list[str]:
        of = target(wanted)
        return commands(persistent(of, options, {str(path): lambda: peers_text(of.objects())}), check=check)

    path = tmp_path / "podnet" / "peers.sh"
    yes, no = {"persistent": True}, {"persistent": False}
    first = [f"install -D -m 0644 /dev/stdin {path}"]
    assert (kept({"persistent": None}, PEERS), kept(yes, PEERS, check=True), path.exists()) == ([], first, False)
    assert (kept(yes, PEERS), kept(yes, PEERS)) == (first, [])
    assert [command.split()[0] for command in kept(yes, PEERS[:1])] == ["ip", "bridge", "ip", "install"]
    before = path.read_text()
    with pytest.raises(Failed):
        kept(yes, [{**PEERS[0], "underlay": "2001:db8::2"}])  # which flannel.1 over IPv4 does not take
    assert path.read_text() == before
    assert kept(no, PEERS) == [NEIGHBOURS[1], FDB[1], ROUTES[1], f"rm {path}"]
    assert not path.parent.exists()


def test_the_diff_of_a_text_is_its_name(overlay: Node, tmp_path: Path) -> None:
    of = target(PEERS[:1])
    done = converge(persistent(of, {"persistent": True}, {f"{tmp_path}/peers.sh": lambda: peers_text(of.objects())}), check=True)
    assert done.result(diff=True)["diff"]["after"] == f"{tmp_path}/peers.sh\n"
