# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change of the ledger as transactions of etcd: each leaves a whole ledger and the keys of its leases, whatever the change. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import parse
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Host, Ledger, Network, and_the_others, plan, release
from ansible_collections.podnet.baremetal.plugins.plugin_utils._commits import LEDGER, Commit, Flannel, commits
from ansible_collections.podnet.baremetal.plugins.plugin_utils._flannel_keys import flannel_leases
from ansible_collections.podnet.baremetal.plugins.plugin_utils._occupied import check_occupied, occupied
from ansible_collections.podnet.baremetal.plugins.plugin_utils._snapshot import OPERATIONS, Snapshot, Stored
from hypothesis import given, settings
from hypothesis import strategies as st

FLANNEL = Flannel("/p", 1, 8472)
NETWORK = Network.of("172.20.0.0/16", "10.68.0.0/16")
NOTHING = Snapshot(0, {})


def hosts_of(numbers: Sequence[int], pins: Mapping[int, int] | None = None) -> list[Host]:
    pinned = {number: (f"172.20.{third}.0/24",) for number, third in (pins or {}).items()}
    return [Host(f"node{n:03}", f"198.51.{n >> 8}.{n & 255}", pinned.get(n, ())) for n in numbers]


def ledger_in(store: Snapshot) -> Ledger | None:
    return parse(store.keys[LEDGER].value.encode(), "etcd") if LEDGER in store.keys else None


def sound(store: Snapshot) -> Snapshot:
    """What must hold after each transaction: the ledger can be read, and flannel's keys are those of its leases and no others."""
    ledger = ledger_in(store)
    keys = {key: stored.value for key, stored in store.keys.items() if key.startswith("subnets/")}
    assert keys == {lease.key: lease.value for lease in flannel_leases(ledger, 1).values()}
    return store


def done(store: Snapshot, made: Sequence[Commit]) -> Snapshot:
    for commit in made:
        assert len(commit.operations) <= OPERATIONS
        assert len({operation.key for operation in commit.operations}) == len(commit.operations)
        store = sound(store.after(store.revision + 1, commit.operations))
        assert ledger_in(store) == commit.ledger
    return store


def brought(store: Snapshot, after: Ledger) -> tuple[Snapshot, list[Commit]]:
    made = commits(store.keys, ledger_in(store), after, FLANNEL)
    end = done(store, made)
    assert commits(end.keys, ledger_in(end), after if not made else made[-1].ledger, FLANNEL) == []
    return end, made


def joined(store: Snapshot, numbers: Sequence[int], pins: Mapping[int, int] | None = None) -> tuple[Snapshot, list[Commit]]:
    return brought(store, plan(ledger_in(store), NETWORK, hosts_of(numbers, pins)))


def test_one_transaction_says_all_of_a_small_change() -> None:
    store, (first,) = joined(NOTHING, [1, 2])
    assert [change.command.split(" ")[0] for change in first.changes] == ["network", "lease", "lease", *["etcdctl"] * 3]
    assert [operation.key for operation in first.operations] == [LEDGER, "config", "subnets/172.20.0.0-24", "subnets/172.20.1.0-24"]
    assert first.changes[4].command == (
        "etcdctl put '/p/subnets/172.20.0.0-24' "
        '\'{"PublicIP":"198.51.0.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:f1:ac:14:00:00"}}\''
    )
    store, (second,) = joined(store, [1])
    assert [change.command for change in second.changes] == [
        "retire node002 172.20.1.0/24",
        "etcdctl del '/p/subnets/172.20.1.0-24'",
        'etcdctl put \'/p/subnets/172.20.1.0-25\' \'{"PublicIP":"0.0.0.0","PublicIPv6":null,"BackendType":"podnet"}\'',
    ]
    store, (third,) = joined(store, [1, 2])
    assert [change.command.split(" ")[0] for change in third.changes] == ["lease", "etcdctl", "etcdctl"]
    store, _made = joined(store, [1])
    ledger = ledger_in(store)
    assert ledger
    _store, (fourth,) = brought(store, release(ledger, "node002"))
    assert [change.command for change in fourth.changes] == ["release node002 172.20.1.0/24", "etcdctl del '/p/subnets/172.20.1.0-25'"]


def test_more_leases_than_a_transaction_takes_go_in_parts_and_the_generation_counts_them() -> None:
    store, made = joined(NOTHING, range(1, 256))
    assert [len(commit.operations) for commit in made] == [OPERATIONS, OPERATIONS - 1, 4]
    assert [commit.ledger.generation for commit in made] == [1, 2, 3]
    store, made = joined(store, range(200, 256))
    assert len(made) == 4
    ledger = ledger_in(store)
    assert ledger
    assert ledger.generation == 7
    assert sum(lease.state == "active" for lease in ledger.leases) == 56


def test_nodes_that_swap_their_subnets_do_so_at_once() -> None:
    numbers = range(1, 201)
    store, _made = joined(NOTHING, numbers)
    _store, made = joined(store, numbers, {1: 199, 200: 0})
    assert len(made) == 1
    sentence = "the number of nodes that exchange subnets is 200: they change 200 keys at once and one transaction of etcd takes 126"
    with pytest.raises(Refused, match=sentence):
        joined(store, numbers, {number: number % 200 for number in numbers})


def test_nodes_that_are_pinned_or_move_to_where_nobody_was_go_in_parts() -> None:
    numbers = range(1, 121)
    store, made = joined(NOTHING, numbers, {number: number for number in numbers})
    assert len(made) == 1
    store, made = joined(store, numbers, {number: number + 125 for number in numbers})
    assert len(made) == 2
    _store, made = joined(NOTHING, range(1, 241), {number: number for number in range(1, 241)})
    assert len(made) == 2


def test_a_new_node_pinned_to_what_another_vacates_comes_with_it() -> None:
    store, _made = joined(NOTHING, [250])
    _store, made = joined(store, [*range(151), 250], {0: 0, 250: 251})
    assert len(made) == 2


def test_keys_that_somebody_deleted_or_changed_are_put_again_and_the_ledger_stays() -> None:
    store, _made = joined(NOTHING, range(1, 201))
    ledger = ledger_in(store)
    assert ledger
    value = store.keys["subnets/172.20.9.0-24"].value
    keys = {key: stored for key, stored in store.keys.items() if not key.startswith("subnets/172.20.1")}
    keys["subnets/172.20.9.0-24"] = Stored(value.replace("02:f1", "02:f2"), 9, ttl=False)
    end, made = brought(Snapshot(9, keys), ledger)
    assert {operation.key for commit in made for operation in commit.operations} == {
        key for key, stored in store.keys.items() if keys.get(key) != stored
    }
    assert {key: stored.value for key, stored in end.keys.items()} == {key: stored.value for key, stored in store.keys.items()}
    assert ledger_in(end) == ledger


def numbers() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 200), unique=True, min_size=1, max_size=150)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(numbers(), st.lists(st.tuples(st.integers(1, 200), st.integers(0, 220)), max_size=6)), max_size=3))
def test_whatever_joins_leaves_and_moves_every_transaction_leaves_a_sound_ledger(
    steps: list[tuple[list[int], list[tuple[int, int]]]],
) -> None:
    store = NOTHING
    for listed, moves in steps:
        pins = dict(moves)
        try:
            after = plan(ledger_in(store), NETWORK, hosts_of(sorted({*listed, *pins}), pins))
        except Refused:
            continue  # pins that collide
        store, made = brought(store, after)
        held = ledger_in(store)
        assert held
        assert held.leases == after.leases
        assert not made or made[-1].ledger.leases == after.leases


# --- flannel's keys of others -----------------------------------------------------------------------------------------------


def flanneld(address: str, mac: str = "fe:00:00:00:00:09", *, ttl: bool = True) -> Stored:
    data = f'"BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"{mac}"}}'
    return Stored(f'{{"PublicIP":"{address}","PublicIPv6":null,{data}}}', 1, ttl)


def planned(keys: Mapping[str, Stored], ledger: Ledger | None, hosts: Sequence[Host]) -> Ledger:
    others = occupied(keys, ledger)
    after = plan(ledger, NETWORK, hosts, others)
    check_occupied(after, others)
    commits(keys, ledger, after, FLANNEL)
    return after


def test_the_subnet_of_a_node_of_flanneld_is_not_given_to_another() -> None:
    keys = {"subnets/172.20.0.0-24": flanneld("203.0.113.9"), "subnets/172.20.1.0-24&2001:db8:244::-64": flanneld("203.0.113.8")}
    assert occupied(keys, None) == {
        "172.20.0.0/24": "203.0.113.9",
        "172.20.1.0/24": "203.0.113.8",
        "2001:db8:244::/64": "203.0.113.8",
    }
    assert planned(keys, None, hosts_of([1])).leases[0].subnets == ("172.20.2.0/24",)
    sentence = "node001: podnet_pod_subnet is 172.20.0.0/24: 203.0.113.9 has 172.20.0.0/24: no two nodes can share an address."
    with pytest.raises(Refused, match=f"^{re.escape(sentence)}$"):
        planned(keys, None, hosts_of([1], {1: 0}))


def test_a_node_that_flannel_knows_by_its_address_is_not_renumbered() -> None:
    keys = {"subnets/172.20.7.0-24": flanneld("198.51.0.1", "02:f1:ac:14:07:00")}
    sentence = "node001: podnet_underlay_address is 198.51.0.1: it has the subnet 172.20.7.0/24 already, and the plan is 172.20.0.0/24: pin"
    with pytest.raises(Refused, match=f"^{re.escape(sentence)}"):
        planned(keys, None, hosts_of([1]))
    assert planned(keys, None, hosts_of([1], {1: 7})).leases[0].subnets == ("172.20.7.0/24",)


def test_a_key_that_ends_by_itself_is_never_written_and_its_mac_must_be_ours() -> None:
    ledger = plan(None, NETWORK, hosts_of([1, 2]))
    keys = {"subnets/172.20.0.0-24": flanneld("198.51.0.1", "02:f1:ac:14:00:00")}
    keys = {key: stored._replace(value=stored.value.replace('"VNI":1', '"VNI":9')) for key, stored in keys.items()}
    made = commits(keys, None, ledger, FLANNEL)
    assert [operation.key for commit in made for operation in commit.operations] == [LEDGER, "config", "subnets/172.20.1.0-24"]
    with pytest.raises(Refused, match=r"^node001: podnet_vtep_mac is 02:f1:ac:14:00:00: flanneld runs on this node and tells others fe:"):
        commits({"subnets/172.20.0.0-24": flanneld("198.51.0.1")}, None, ledger, FLANNEL)


def test_a_key_that_flanneld_took_from_a_lease_stops_the_run() -> None:
    ledger = plan(None, NETWORK, hosts_of([1, 2]))
    keys = {"subnets/172.20.1.0-24": flanneld("203.0.113.9", ttl=False)}
    with pytest.raises(Refused, match=r"^node002: its lease is 172.20.1.0/24: 203.0.113.9 has 172.20.1.0/24: no two nodes"):
        planned(keys, ledger, hosts_of([1, 2]))


@pytest.mark.parametrize("subnet", ["172.20.1.0/25", "172.20.1.128/25", "172.20.0.0/23", "172.20.0.0/16", "172.20.2.255/32"])
def test_a_subnet_that_overlaps_in_any_way_is_found(subnet: str) -> None:
    ledger = plan(None, NETWORK, hosts_of([1, 2, 3]))
    with pytest.raises(Refused, match=f"203.0.113.9 has {subnet}"):
        check_occupied(ledger, {"172.19.255.0/24": "203.0.113.7", "172.20.3.0/24": "203.0.113.8", "::/0": "", subnet: "203.0.113.9"})


def test_the_keys_of_a_lost_ledger_renumber_nobody() -> None:
    store, _made = joined(NOTHING, [1, 2, 3])
    store, _made = joined(store, [2, 3])
    keys = {key: stored for key, stored in store.keys.items() if key != LEDGER}
    with pytest.raises(Refused, match=r"^node003: podnet_underlay_address is 198.51.0.3: it has the subnet 172.20.2.0/24 already"):
        planned(keys, None, hosts_of([3]))
    assert planned(keys, None, hosts_of([3, 4], {3: 2})).leases[1].subnets == ("172.20.3.0/24",)


def test_garbage_among_flannels_keys_is_nobodys_subnet() -> None:
    assert occupied({"subnets/x": Stored("y", 1, ttl=False), "other": flanneld("203.0.113.9")}, None) == {}


# --- flannel's configuration ------------------------------------------------------------------------------------------------


def test_flannels_configuration_grows_with_the_ranges_where_it_is_ours() -> None:
    store, _made = joined(NOTHING, [1])
    wider = plan(ledger_in(store), Network.of("172.20.0.0/15", "10.68.0.0/16"), hosts_of([1]))
    end, _made = brought(store, wider)
    assert '"Network":"172.20.0.0/15"' in end.keys["config"].value


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ('{"Network":"10.244.0.0/16"}', "is for 10.244.0.0/16"),
        ("{", "cannot be read"),
    ],
)
def test_a_configuration_of_another_network_is_refused(config: str, sentence: str) -> None:
    expected = f"podnet_cluster_cidr is 172.20.0.0/16: flannel's key config {sentence}: correct one of them"
    with pytest.raises(Refused, match=expected):
        joined(Snapshot(1, {"config": Stored(config, 1, ttl=False)}), [1])


def test_a_configuration_that_somebody_wrote_for_the_same_network_stays() -> None:
    config = '{"Network": "172.20.0.0/16", "Backend": {"Type": "vxlan"}}'
    store, _made = joined(Snapshot(1, {"config": Stored(config, 1, ttl=False)}), [1])
    assert store.keys["config"].value == config


# --- an inventory with a part of the cluster --------------------------------------------------------------------------------


def test_a_part_of_the_inventory_retires_nobody() -> None:
    ledger = plan(None, NETWORK, hosts_of([1, 2, 3]))
    part = plan(ledger, NETWORK, and_the_others(ledger, hosts_of([2, 4])))
    assert [(lease.name, lease.state) for lease in part.leases] == [(f"node00{n}", "active") for n in (1, 2, 3, 4)]
    assert [lease.subnets for lease in part.leases[:3]] == [lease.subnets for lease in ledger.leases]
    with pytest.raises(Refused, match="node001 has the same"):
        plan(ledger, NETWORK, and_the_others(ledger, [Host("node009", "198.51.0.1")]))


def test_a_part_of_the_inventory_leaves_the_others_both_of_their_devices() -> None:
    both = Network.of(["172.20.0.0/16", "fd00:10:244::/48"])
    one, other = (
        Host.of(f"node{n}", [f"198.51.100.{n}", f"2001:db8::{n}"], mac=["02:00:00:00:00:01", "02:00:00:00:00:02"][n - 1]) for n in (1, 2)
    )
    ledger = plan(None, both, [one, other])
    assert plan(ledger, both, and_the_others(ledger, [one])) == ledger


def test_a_part_of_the_inventory_can_rename_a_node() -> None:
    store, _made = joined(NOTHING, [1, 2])
    ledger = ledger_in(store)
    renamed = [Host("other", "198.51.0.1", renamed_from="node001")]
    end, made = brought(store, plan(ledger, NETWORK, and_the_others(ledger, renamed)))
    assert [change.command for commit in made for change in commit.changes] == ["rename node001 other 172.20.0.0/24"]
    after = ledger_in(end)
    assert after
    assert [lease.name for lease in after.leases] == ["node002", "other"]
