# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's own rules on a real kernel, against forged packets of strangers, of pods and in a peer's name. I/O: kernel, nft(8)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import answer
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed
from ansible_collections.podnet.baremetal.plugins.module_utils._forwarding import forwarding
from ansible_collections.podnet.baremetal.plugins.module_utils._messages import packed_address
from ansible_collections.podnet.baremetal.plugins.module_utils._nft import nft_target
from ansible_collections.podnet.baremetal.plugins.module_utils._overlay import pack_plan
from ansible_collections.podnet.baremetal.plugins.module_utils._peer_sets import PeerSets
from ansible_collections.podnet.baremetal.plugins.module_utils._peers import guarded_target
from ansible_collections.podnet.baremetal.plugins.module_utils._vtep import GuardedDevices, vtep_target
from node import FDB, NEIGHBOURS, OPTIONS, PEERS, ROUTES, Node, commands, device
from spaces import PAUSE, Listener, Space, frame, raw, stream, udp

TEXTS = yaml.safe_load((Path(__file__).resolve().parents[2] / "roles" / "flannel" / "vars" / "main" / "texts.yml").read_text())
FOUR, SIX = "172.20.0.0/16", "2001:db8:244::/48"
LEASE = {"cluster_cidr": [FOUR, SIX], "subnets": ["172.20.0.0/24", "2001:db8:244::/64"]}
BOTH: dict[str, Any] = {"cluster_cidrs": [FOUR, SIX], "addresses": ["172.20.0.0/32", "2001:db8:244::/128"]}
PEERS6 = [{**peer, "subnets": [*peer["subnets"], f"2001:db8:244:{n}::/64"]} for n, peer in enumerate(PEERS, start=1)]
NEW = {"node": "node4", "subnets": ["172.20.3.0/24"], "underlay": "198.51.100.9", "mac": "02:f1:ac:14:03:00"}
ADD, DELETE = (f"nft {verb} element inet podnet peers {{ 198.51.100.9 }}" for verb in ("add", "delete"))
NODE, PEER, STRANGER, OUTSIDE = "198.51.100.1", "198.51.100.2", "198.51.100.66", "203.0.113.8"
POD, POD6, THEIRS, THEIRS6 = "172.20.0.2", "2001:db8:244::2", "172.20.1.9", "2001:db8:244:1::9"
PORT, VXLAN, NEW_PORT, NODE_PORT = 7000, 8472, 4789, 30080
GUARD = f"nft insert rule inet podnet input udp dport {NEW_PORT} jump vxlan"
FORGED, MANY, SOME, REWRITES = 1000, 5000, 500, 20
SERVICE = f"""table ip service {{
  chain prerouting {{
    type nat hook prerouting priority dstnat
    udp dport {NODE_PORT} dnat to {POD}:{PORT}
  }}
}}"""


SETS = "set peers {\ntype ipv4_addr\n}\nset peers6 {\ntype ipv6_addr\n}\n"


class Site(NamedTuple):
    """node1 with a pod on cni0, and the wire of its underlay, where peers are and who calls himself one."""

    node: Node
    pod: Space
    wire: Space
    file: Path

    def table(self, rules: str | None = None, **variables: Any) -> dict[str, Any]:
        """What nft_table answers to the role's rules, or to others."""
        text = rendered("flannel_table_text", **variables) if rules is None else rules
        plan = None if variables.get("flannel_firewall") == "none" else pack_plan(PEERS6)
        options: dict[str, Any] = {"family": "inet", "name": "podnet", "state": "present", "rules": text, "plan": plan, "own": []}
        return answer(lambda: nft_target("node1", options), check=False, diff=False)

    def peers(self, wanted: Sequence[dict[str, Any]], *, check: bool = False) -> list[str]:
        """The commands of a run of vxlan_peers that has a firewall."""
        options: dict[str, Any] = {
            "node": "node1",
            "device": "flannel.1",
            "device6": None,
            "plan": pack_plan(wanted),
            "own": [],
            "purge": True,
        }
        return commands(guarded_target({**options, "nexthops": "auto", "firewall": str(self.file)}), check=check)

    def listed(self) -> str:
        return self.node.run("nft list table inet podnet")


def rendered(name: str, **variables: Any) -> str:
    given = {"flannel_firewall": "nftables", "flannel_masquerade": True, "flannel_port": VXLAN, "flannel_lease": LEASE}
    known = {**given, "flannel_device": {"device": {"name": "flannel.1"}}, **variables}
    text = Templar(DataLoader(), variables=known).template(trust_as_template(TEXTS[name]))
    return str(text)


@pytest.fixture
def site(node: Node, tmp_path: Path) -> Iterator[Site]:
    for command in (
        "sysctl -q -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
        "ip link add cni0 type bridge",
        "ip link set cni0 up",
        "ip addr add 172.20.0.1/24 dev cni0",
        "ip addr add 2001:db8:244::1/64 dev cni0 nodad",
        "ip addr add fe80::1/64 dev cni0 nodad",  # by which a router asks for neighbours
        "ip link set eth0 address 02:00:00:00:00:01",
        "ip link set eth1 master cni0",
        f"ip route add default via {PEER}",
    ):
        node.run(command)
    device(**BOTH)
    with ExitStack() as stack:
        pod, wire = (stack.enter_context(closing(Space())) for _time in range(2))
        pod.take("switch1", f"{POD}/24", f"{POD6}/64")
        pod.run("ip route add default via 172.20.0.1")
        pod.run("ip route add default via 2001:db8:244::1")
        wire.take("switch0", *(f"{address}/24" for address in (PEER, STRANGER)), f"{OUTSIDE}/32", f"{THEIRS}/32", f"{THEIRS6}/128")
        wire.run(f"ip route add 172.20.0.0/24 via {NODE}")
        wire.run("ip route add 2001:db8:244::/64 via 2001:db8::1 dev switch0 onlink")
        wire.run("ip neigh add 2001:db8::1 lladdr 02:00:00:00:00:01 dev switch0")
        wire.run(f"ip route add 203.0.113.0/24 via {NODE}")
        node.run(f"ip route add {OUTSIDE}/32 via {PEER}")
        here = Site(node, pod, wire, tmp_path / "peers.nft")
        here.peers(PEERS6)
        yield here


# --- who sends what -----------------------------------------------------------------------

# Who sends it, and what sends so many of it, each saying some bytes by which it is known.
Sent = tuple[Callable[[Site], Space], Callable[[Space, bytes, int], None]]


def wire(site: Site) -> Space:
    return site.wire


def pod(site: Site) -> Space:
    return site.pod


def vxlan(source: str, inner: str, to: str = POD) -> Sent:
    """Frames to a pod in VXLAN to the node, from an underlay address and with an inner source."""
    return wire, lambda space, said, count: udp(space, source, (NODE, VXLAN), frame(inner, to, PORT, said), count)


def plain(source: str, to: str, port: int = PORT) -> Sent:
    """Packets in clear text."""
    return wire, lambda space, said, count: udp(space, source, (to, port), said, count)


HOSTILE: dict[str, Sent] = {
    "VXLAN of a stranger, with the source of a peer's pod": vxlan(STRANGER, THEIRS),
    "VXLAN of a stranger, for IPv6": vxlan(STRANGER, THEIRS6, POD6),
    "VXLAN of a peer, with a source outside": vxlan(PEER, "8.8.8.8"),
    "VXLAN of a peer, with a source of this node's own pods": vxlan(PEER, "172.20.0.77"),
    "VXLAN of a peer, with an IPv6 source outside": vxlan(PEER, "2001:db8:9::9", POD6),
    "VXLAN of a peer, with an IPv6 source of this node's own pods": vxlan(PEER, "2001:db8:244::77", POD6),
    "clear text with the source of a peer's pod": plain(THEIRS, POD),
    "clear text with the IPv6 source of a peer's pod": plain(THEIRS6, POD6),
    "clear text of a stranger to a pod": plain(STRANGER, POD),
    "VXLAN of a pod of this node, in a peer's name": (
        pod,
        lambda space, said, count: raw(space, PEER, (NODE, VXLAN), frame(THEIRS, POD, PORT, said), count),
    ),
    "VXLAN of a pod of this node, in its own name": (
        pod,
        lambda space, said, count: udp(space, POD, (NODE, VXLAN), frame(THEIRS, POD, PORT, said), count),
    ),
}
WELCOME: dict[str, Sent] = {
    "VXLAN of a peer, with the source of its pod": vxlan(PEER, THEIRS),
    "VXLAN of a peer, with the IPv6 source of its pod": vxlan(PEER, THEIRS6, POD6),
    "VXLAN of a peer, with the source of its VTEP, as the node itself sends": vxlan(PEER, "172.20.1.0"),
    "clear text of anybody to a service": plain(STRANGER, NODE, NODE_PORT),
}


def arrived(site: Site, sent: dict[str, Sent], count: int = FORGED) -> dict[str, int]:
    """How many of so many packets of each came to the pod."""
    with closing(Listener(site.pod, PORT)) as listener:
        for name, (sender, send) in sent.items():
            send(sender(site), name.encode(), count)
        counted = listener.count()
    return {name: counted[name.encode()] for name in sent}


def test_nothing_forged_reaches_a_pod_and_without_the_firewall_all_of_it_does(site: Site) -> None:
    site.node.run("nft -f -", given=SERVICE)
    everything = {**HOSTILE, **WELCOME}
    assert arrived(site, everything) == dict.fromkeys(everything, FORGED)
    assert site.table()["changed"]
    assert arrived(site, everything) == {**dict.fromkeys(HOSTILE, 0), **dict.fromkeys(WELCOME, FORGED)}


def test_a_pod_makes_no_node_of_itself_by_the_masquerade_and_reaches_the_world_which_answers(site: Site) -> None:
    said = frame(THEIRS, THEIRS, PORT, b"")
    for firewall, expected in (("none", FORGED), ("nftables", 0)):
        site.table(flannel_firewall=firewall)
        with closing(Listener(site.wire, VXLAN)) as peer:
            udp(site.pod, POD, (PEER, VXLAN), said, FORGED)
            assert (peer.count()[said], peer.sources) == (expected, {NODE} if expected else set()), firewall
    with closing(Listener(site.wire, PORT, OUTSIDE)) as world, closing(site.pod.socket()) as asking:
        asking.sendto(b"question", (OUTSIDE, PORT))
        assert world.answer(b"answer") == NODE
        assert asking.recv(9) == b"answer"


def test_a_pod_sends_in_nobody_elses_name(site: Site) -> None:
    for firewall, expected in (("none", FORGED), ("nftables", 0)):
        site.table(flannel_firewall=firewall)
        with closing(Listener(site.wire, PORT, OUTSIDE)) as world:
            raw(site.pod, "172.20.2.9", (OUTSIDE, PORT), b"forged", FORGED)
            assert world.count()[b"forged"] == expected, firewall


# --- the sets follow the peers ---------------------------------------------------------------


def test_nothing_forged_passes_and_nothing_of_a_peer_is_lost_while_the_sets_and_the_table_are_rewritten(site: Site) -> None:
    site.table()
    sent, rewritten = site.wire.sent, threading.Event()
    packets = {STRANGER: frame("172.20.1.66", POD, PORT, b"forged"), PEER: frame(THEIRS, POD, PORT, b"good")}

    def enough() -> bool:
        return rewritten.is_set() and min(sent[source] for source in packets) >= MANY

    assert arrived(site, {"a peer": vxlan(PEER, THEIRS)}, 1) == {"a peer": 1}, "nobody waits for an answer by ARP any more"
    with closing(Listener(site.pod, PORT)) as listener:
        streams = [
            threading.Thread(target=stream, args=(site.wire, source, (NODE, VXLAN), said, enough)) for source, said in packets.items()
        ]
        for each in streams:
            each.start()
        for n in range(REWRITES // 2):
            assert site.peers([*PEERS6, NEW])[0] == ADD
            assert site.peers(PEERS6)[-1] == DELETE
            assert site.table(flannel_masquerade=bool(n % 2))["commands"][0].startswith("flush table inet podnet\n"), "the sets stay"
        rewritten.set()
        for each in streams:
            each.join()
        counted = listener.count()
    assert (counted[b"forged"], counted[b"good"]) == (0, sent[PEER])


def test_a_new_peer_is_let_in_before_its_entries_and_one_that_left_is_kept_out_after_them(site: Site) -> None:
    site.table()
    entries = [text.replace("172.20.1.", "172.20.3.").replace("14:01", "14:03") for text in (NEIGHBOURS[0], FDB[0], ROUTES[0])]
    entries[1] = entries[1].replace("198.51.100.2", "198.51.100.9")
    file = f"install -m 0644 /dev/stdin {site.file}"
    assert site.peers([*PEERS6, NEW], check=True) == [ADD, file, *entries]
    assert site.peers([*PEERS6, NEW]) == [ADD, file, *entries]
    assert site.peers([*PEERS6, NEW]) == []
    left = site.peers(PEERS6)
    assert (left[0], left[-1], len(left)) == (file, DELETE, 5)
    assert site.peers(PEERS6) == []


def test_a_device_with_another_port_is_guarded_from_its_first_moment_on(site: Site) -> None:
    site.table()
    before, sent, loaded = site.listed(), site.wire.sent, threading.Event()
    options = {**OPTIONS, **BOTH, "node": "node1", "port": NEW_PORT, "recreate": True}

    def devices() -> GuardedDevices:
        return GuardedDevices("node1", vtep_target("node1", options), NEW_PORT)

    def enough() -> bool:
        return loaded.is_set() and sent[STRANGER] > SOME

    assert commands(devices(), check=True)[:2] == [GUARD, "ip link del flannel.1"]
    assert site.listed() == before
    forged, good = frame("172.20.1.66", POD, PORT, b"forged"), frame(THEIRS, POD, PORT, b"good")
    stranger = threading.Thread(target=stream, args=(site.wire, STRANGER, (NODE, NEW_PORT), forged, enough))
    with closing(Listener(site.pod, PORT)) as listener:
        stranger.start()
        assert commands(devices())[:2] == [GUARD, "ip link del flannel.1"]
        udp(site.wire, PEER, (NODE, NEW_PORT), good, 1)
        made = sent[STRANGER]
        while sent[STRANGER] < made + SOME:
            time.sleep(PAUSE)
        assert site.table(flannel_port=NEW_PORT)["changed"]
        loaded.set()
        stranger.join()
        counted = listener.count()
    assert (counted[b"forged"], counted[b"good"]) == (0, 1)
    assert site.listed() == before.replace(str(VXLAN), str(NEW_PORT))
    assert commands(devices()) == []


def test_a_peer_that_moves_is_let_in_by_either_address_until_its_entries_have_moved(site: Site) -> None:
    there = "198.51.100.9"
    moves = [{**PEERS6[0], "underlay": there}, PEERS6[1]]

    def admitted() -> list[str]:
        options: dict[str, Any] = {"name": "podnet", "state": "present", "rules": None, "plan": pack_plan(moves), "own": []}
        return commands(nft_target("node1", options))

    assert admitted() == [], "there is no table"
    site.table()
    before = site.listed()
    assert admitted() == [ADD]
    assert admitted() == []
    assert site.listed() == before.replace(f"{PEER}, 198.51.100.3", f"{PEER}, 198.51.100.3,\n\t\t\t     198.51.100.9")
    assert site.peers(moves) == [f"install -m 0644 /dev/stdin {site.file}", FDB[0].replace(PEER, there), DELETE.replace(there, PEER)]


def test_what_somebody_did_to_a_set_is_put_right_and_an_element_with_more_to_say_is_read(site: Site) -> None:
    site.table()
    site.node.run("nft flush set inet podnet peers")
    site.node.run("nft add element inet podnet peers { 203.0.113.1 }")
    site.node.run("nft -f -", given='add element inet podnet peers { 198.51.100.3 comment "theirs" }')
    assert site.peers(PEERS6) == [
        "nft add element inet podnet peers { 198.51.100.2 }",
        "nft delete element inet podnet peers { 203.0.113.1 }",
    ]
    assert site.peers(PEERS6) == []
    assert not site.table()["changed"], "what the sets hold is not the table's"


def test_many_peers_of_both_families_are_read_back(site: Site) -> None:
    site.table()
    fours = [f"203.0.{n >> 8}.{n & 255}" for n in range(700)]
    sixes = [f"2001:db8::{n:x}" for n in range(2, 702)]
    sets = PeerSets(str(site.file), frozenset(map(packed_address, fours + sixes)))
    first = sets.drift()
    assert [type(step).__name__ for step in first] == ["SetChange", "SetChange", "FileChange", "SetChange"]
    sets.apply([step for step in first if not step.delete])
    sets.apply([step for step in first if step.delete])
    assert sets.drift() == []
    assert all(f" {address}" in site.listed() for address in ("203.0.2.187", "2001:db8::2bd"))


def test_without_a_table_there_is_only_the_file(site: Site) -> None:
    site.file.unlink()
    assert site.peers(PEERS6) == [f"install -m 0644 /dev/stdin {site.file}"]
    assert "add element inet podnet peers { 198.51.100.2, 198.51.100.3 }" in site.file.read_text()


def test_what_nft_refuses_of_a_set_is_said_with_what_was_done_before(site: Site) -> None:
    site.table()
    site.node.run("nft flush set inet podnet peers")
    site.node.run("nft add element inet podnet peers { 203.0.113.1 }")
    sets = PeerSets(str(site.file), frozenset())
    gone = sets.drift()[-1:]
    sets.apply(gone)
    with pytest.raises(Failed, match=r"nft refused `delete element inet podnet peers \{ 203.0.113.1 \}`, .*No such file or directory"):
        sets.apply(gone)


# --- the load ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [
        "chain input {\ntype filter hook input priority 0; policy drop\n}",  # there is no set for the elements
        f"{SETS}chain input {{\ntype filter hook input priority 0\nnonsense\n}}",
        f"{SETS}chain input {{\ntype filter hook input priority 0\nip saddr @nobody accept\n}}",
        f"{SETS}chain postrouting {{\ntype nat hook forward priority 0\n}}",  # the kernel has no such hook
    ],
)
def test_what_nft_refuses_leaves_the_table_before_in_force(site: Site, rules: str) -> None:
    site.table()
    before = site.listed()
    refused = site.table(rules)
    assert refused["failed"]
    assert refused["msg"].startswith("node1: nft ")
    assert site.listed() == before
    assert list(arrived(site, HOSTILE, 9).values()) == [0] * len(HOSTILE)


def test_a_table_with_another_hook_or_without_a_set_is_loaded_anew_and_one_that_loses_a_chain_is_not(site: Site) -> None:
    chain = "chain input {\ntype filter hook input priority 0\nip saddr @peers accept\n}\nchain more {\naccept\n}\n"
    loads = [site.table(SETS + chain), site.table(SETS + chain[: chain.index("chain more")])]
    loads += [
        site.table(SETS + chain.replace("priority 0", "priority 1")),
        site.table((SETS + chain).replace("ipv4_addr", "ipv4_addr; size 9")),
    ]
    anew = "table inet podnet\ndelete table inet podnet\n"
    assert [load["commands"][0].startswith(anew) for load in loads] == [True, False, True, True]
    assert loads[1]["commands"][0].startswith("flush table inet podnet\ndelete chain inet podnet more\ntable inet podnet {")


def test_the_file_for_boot_loads_the_same_table_once_or_twice(site: Site, tmp_path: Path) -> None:
    site.table()
    before = site.listed()
    text = rendered("flannel_boot_table", flannel_peers_file=str(site.file), flannel_rules=rendered("flannel_table_text").strip())
    (tmp_path / "podnet.nft").write_text(text)
    for _time in range(2):
        site.node.run(f"nft -f {tmp_path}/podnet.nft")
        assert site.listed() == before
    site.node.run("nft delete table inet podnet")
    site.node.run(f"nft -f {tmp_path}/podnet.nft")
    assert site.listed() == before
    (tmp_path / "podnet.nft").write_text(rendered("flannel_boot_table", flannel_firewall="none", flannel_rules=""))
    site.node.run(f"nft -f {tmp_path}/podnet.nft")
    assert "podnet" not in site.node.run("nft list tables")


def test_reloads_of_other_tables_leave_it_alone(site: Site) -> None:
    site.table()
    before = site.listed()
    for command, given in (
        ("nft -f -", "table inet other\ndelete table inet other\ntable inet other {\nchain c {\ntype filter hook input priority 0\n}\n}"),
        ("iptables-restore", "*filter\n:INPUT ACCEPT\n:FORWARD DROP\n:OUTPUT ACCEPT\nCOMMIT\n*nat\n:POSTROUTING ACCEPT\nCOMMIT\n"),
        ("iptables -F", ""),
        ("iptables -t nat -F", ""),
        ("iptables -X", ""),
    ):
        site.node.run(command, given=given)
        assert site.listed() == before


# --- who else drops what is forwarded -----------------------------------------------------------


def seen(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.table()["forwarding"]
    return found


NOBODY = {"dropping": [], "accepting": [], "ufw": False, "firewalld": False}


def test_a_policy_of_iptables_is_seen_and_to_look_makes_no_table(site: Site) -> None:
    assert seen(site) == NOBODY
    assert site.node.run("nft list tables").split("\n") == ["table inet podnet", ""]
    site.node.run("iptables -P FORWARD DROP")
    site.node.run("ip6tables -N PODNET-FORWARD")
    assert seen(site) == {**NOBODY, "dropping": ["ipv4"], "accepting": ["ipv6"]}


def test_an_iptables_without_nftables_is_read_by_what_it_says_itself() -> None:
    said = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N ufw6-before-forward\n-N PODNET-FORWARD\n"
    assert forwarding("", {"ipv6": said}, "ENABLED=yes\n") == {**NOBODY, "dropping": ["ipv6"], "accepting": ["ipv6"], "ufw": True}


def test_firewalld_is_seen_by_its_table_and_ufw_by_its_chains_while_it_says_that_it_is_on(site: Site) -> None:
    site.node.run("iptables -N ufw-before-forward")
    site.node.run("nft add table inet firewalld")
    assert seen(site)["firewalld"]
    chains = site.node.run("nft list chains")
    assert [forwarding(chains, {}, f"LOGLEVEL=low\nENABLED={word}\n")["ufw"] for word in ("no", "yes")] == [False, True]
    assert not forwarding("", {}, "ENABLED=yes\n")["ufw"]
