# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger in a real etcd: alone, in haste with a hundred others, with TLS and passwords, beside flanneld. I/O: etcd, processes."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_network
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import Outcome
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._ledger import ARGUMENT_SPEC, change_of, parse
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import Ledger
from ansible_collections.podnet.baremetal.plugins.plugin_utils import _etcd, _etcd_ledger
from ansible_collections.podnet.baremetal.plugins.plugin_utils._commits import LEDGER
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd import Access, Etcd
from ansible_collections.podnet.baremetal.plugins.plugin_utils._etcd_ledger import settled, target
from ansible_collections.podnet.baremetal.plugins.plugin_utils._flannel_keys import flannel_leases
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import EtcdPlace, etcd_place
from ansible_collections.podnet.baremetal.plugins.plugin_utils._snapshot import OPERATIONS, Operation, Snapshot
from etcds import PREFIX, USER, Certificates, Server, ends_with_us, etcd, free_ports, make_certificates, three_etcds

SCRIPT = Path(__file__).with_name("allocators.py")
DEFAULTS = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
VALUE = '{{"PublicIP":"{}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{{"VNI":1,"VtepMAC":"fe:00:00:00:00:09"}}}}'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with etcd(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def place_of(url: str) -> EtcdPlace:
    place = etcd_place(url)
    assert place
    return place


def client(server: Server) -> Etcd:
    return Etcd(place_of(server.url), Access())


def options(*names: str, **more: Any) -> dict[str, Any]:
    hosts = [{"name": name, "underlay": f"198.51.{int(name[4:]) >> 8}.{int(name[4:]) & 255}"} for name in names]
    return {**DEFAULTS, "cluster_cidr": "172.20.0.0/16", "hosts": hosts, **more}


def run(server: Server, *names: str, check: bool = False, **more: Any) -> Outcome:
    return run_at(server.url, *names, check=check, **more)


def run_at(url: str, *names: str, check: bool = False, **more: Any) -> Outcome:
    given = options(*names, **more)
    return settled(lambda: target(place_of(url), given, change_of(given)), check=check)[1]


def commands(outcome: Outcome) -> list[str]:
    return [change.command for change in outcome.changes if not change.command.startswith("etcdctl")]


def ledger_in(snapshot: Snapshot) -> Ledger | None:
    return parse(snapshot.keys[LEDGER].value.encode(), "etcd") if LEDGER in snapshot.keys else None


def sound(snapshot: Snapshot) -> dict[str, str]:
    """Who has which subnet, if nobody has another's, and flannel's keys are those of the leases."""
    ledger = ledger_in(snapshot)
    held = {lease.name: lease.subnets[0] for lease in ledger.leases} if ledger else {}
    assert len({ip_network(subnet) for subnet in held.values()}) == len(held)
    keys = {key: stored.value for key, stored in snapshot.keys.items() if key.startswith("subnets/")}
    assert keys == {lease.key: lease.value for lease in flannel_leases(ledger, 1).values()}
    return held


def history(server: Server) -> list[dict[str, str]]:
    """The leases at each revision that etcd has ever had, if every one of them was sound."""
    etcd = client(server)
    return [sound(etcd.snapshot(revision)) for revision in range(1, etcd.snapshot().revision + 1)]


# --- a life -----------------------------------------------------------------------------------------------------------------


def test_a_life_of_a_ledger(server: Server) -> None:
    steps: list[tuple[tuple[str, ...], dict[str, Any], list[str]]] = [
        (("node1", "node2"), {}, ["network 172.20.0.0/16", "lease node1 172.20.0.0/24 (new)", "lease node2 172.20.1.0/24 (new)"]),
        (("node1", "node2", "node0"), {}, ["lease node0 172.20.2.0/24 (new)"]),
        (("node1", "node2"), {}, ["retire node0 172.20.2.0/24"]),
        (("node1", "node0", "node2"), {}, ["lease node0 172.20.2.0/24 (reused)"]),
        (("node3",), {"retire": False}, ["lease node3 172.20.3.0/24 (new)"]),
        (("node1", "node2"), {}, ["retire node0 172.20.2.0/24", "retire node3 172.20.3.0/24"]),
        ((), {"state": "absent", "name": "node0"}, ["release node0 172.20.2.0/24"]),
        (("node1", "node2"), {"cluster_cidr": "172.20.0.0/15"}, ["network 172.20.0.0/15"]),
    ]
    for generation, (names, more, expected) in enumerate(steps, 1):
        before = client(server).snapshot()
        would = run(server, *names, check=True, **more)
        assert client(server).snapshot() == before
        did, again = run(server, *names, **more), run(server, *names, **more)
        assert would.result(diff=True) == did.result(diff=True)
        assert (commands(did), did.facts["generation"]) == (expected, generation)
        assert again.result(diff=True)["commands"] == []
    assert history(server)[-1] == {"node1": "172.20.0.0/24", "node2": "172.20.1.0/24", "node3": "172.20.3.0/24"}


def test_a_pinned_lease_is_called_so_whatever_else_the_run_changes(server: Server) -> None:
    pinned = {"name": "node1", "underlay": "198.51.100.1", "subnet": "172.20.9.0/24"}
    run(server, hosts=[pinned])
    did = run(server, hosts=[pinned, {"name": "node2", "underlay": "198.51.100.2"}])
    assert {name: lease["why"] for name, lease in did.facts["leases"].items()} == {"node1": "pinned", "node2": "new"}


def test_releasing_from_a_ledger_that_is_not_there_is_no_change(server: Server) -> None:
    assert not run(server, state="absent", name="node1").changes
    assert client(server).snapshot().keys == {}


def test_a_ledger_of_a_file_that_is_put_into_etcd_gets_flannels_keys_and_stays(server: Server) -> None:
    run(server, "node2")
    document = client(server).snapshot().keys[LEDGER].value
    for key in client(server).snapshot().keys:
        server.delete(f"{PREFIX}/{key}")
    server.put(f"{PREFIX}/{LEDGER}", document)
    did = run(server, "node2")
    assert [change.command.split("'")[1] for change in did.changes] == [f"{PREFIX}/config", f"{PREFIX}/subnets/172.20.0.0-24"]
    assert client(server).snapshot().keys[LEDGER].value == document


def test_the_keys_are_without_an_end_and_there_for_whoever_else_reads_them(server: Server) -> None:
    run(server, "node1")
    snapshot = client(server).snapshot()
    assert list(snapshot.keys) == ["config", LEDGER, "subnets/172.20.0.0-24"]
    assert not any(stored.ttl for stored in snapshot.keys.values())
    assert snapshot.keys["config"].value == ('{"Network":"172.20.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}')


def test_flanneld_gets_an_answer_when_it_asks_how_long_such_a_key_lasts(server: Server) -> None:
    # registry.go, getSubnets, leaves out a key for which this fails; lease 0 is what a key without one has.
    assert server.post("/v3/lease/timetolive", {"ID": 0})["TTL"] == "-1"


def test_a_damaged_ledger_is_refused_and_left_alone(server: Server) -> None:
    server.put(f"{PREFIX}/{LEDGER}", '{"generation": 1')
    with pytest.raises(Refused, match=f"^{server.url}/{LEDGER}: the ledger is damaged: .*; restore it"):
        run(server, "node1")
    assert client(server).snapshot().keys[LEDGER].value == '{"generation": 1'


# --- more than one transaction ----------------------------------------------------------------------------------------------

MANY = [f"node{n}" for n in range(1, 301)]


def test_more_leases_than_one_transaction_takes_are_sound_at_every_revision(server: Server) -> None:
    many: dict[str, Any] = {"cluster_cidr": "172.16.0.0/14"}
    did = run(server, *MANY, **many)
    assert len(commands(did)) == 301
    assert [len(held) for held in history(server)] == [0, OPERATIONS - 2, 2 * (OPERATIONS - 2), 300]
    assert not run(server, *MANY, **many).changes
    assert len(commands(run(server, *MANY[:50], **many))) == 250
    assert history(server)


def test_a_run_that_ends_between_two_transactions_is_finished_by_the_next(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Etcd.commit

    def no_second(self: Etcd, since: Snapshot, guard: str, operations: list[Operation]) -> int | None:
        if LEDGER in since.keys:
            raise Failed("the network is gone")
        return commit(self, since, guard, operations)

    monkeypatch.setattr(Etcd, "commit", no_second)
    with pytest.raises(Failed, match="the network is gone") as failure:
        run(server, *MANY[:200])
    monkeypatch.undo()
    assert len([command for command in failure.value.done if command.startswith("lease")]) == OPERATIONS - 2
    assert len(commands(run(server, *MANY[:200]))) == 200 - (OPERATIONS - 2)
    assert [len(held) for held in history(server)] == [0, OPERATIONS - 2, 200]


# --- others are faster ------------------------------------------------------------------------------------------------------


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], times: int = 1) -> None:
    """Do something between a look at etcd and the commit that follows from it."""
    commit = Etcd.commit
    left = [act] * times

    def after(self: Etcd, since: Snapshot, guard: str, operations: list[Operation]) -> int | None:
        if left:
            left.pop()()
        return commit(self, since, guard, operations)

    monkeypatch.setattr(Etcd, "commit", after)


def test_who_loses_the_compare_plans_again_from_what_the_other_made(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: run(server, "node1", retire=False))
    did = run(server, "node2", retire=False)
    assert commands(did) == ["lease node2 172.20.1.0/24 (new)"]
    assert history(server) == [{}, {"node1": "172.20.0.0/24"}, {"node1": "172.20.0.0/24", "node2": "172.20.1.0/24"}]


def test_what_another_does_right_after_our_commit_is_not_our_failure(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Etcd.commit
    left = [lambda: run(server, "node2")]

    def before(self: Etcd, since: Snapshot, guard: str, operations: list[Operation]) -> int | None:
        revision = commit(self, since, guard, operations)
        if left:
            left.pop()()
        return revision

    monkeypatch.setattr(Etcd, "commit", before)
    assert commands(run(server, "node1")) == ["network 172.20.0.0/16", "lease node1 172.20.0.0/24 (new)"]
    ledger = ledger_in(client(server).snapshot())
    assert ledger
    assert {lease.name: lease.state for lease in ledger.leases} == {"node1": "retired", "node2": "active"}


def test_who_makes_the_first_ledger_at_the_same_time_as_another_loses_nothing_of_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: run(server, "node1", "node2", retire=False))
    run(server, "node1", retire=False)
    assert set(sound(client(server).snapshot())) == {"node1", "node2"}


def test_flanneld_that_takes_a_subnet_in_that_moment_keeps_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # A /23 is another key than ours: comparing our own keys alone would not see it.
    key = f"{PREFIX}/subnets/172.20.0.0-23"
    meanwhile(monkeypatch, lambda: server.put(key, VALUE.format("203.0.113.9"), 3600))
    assert commands(run(server, "node1"))[1:] == ["lease node1 172.20.2.0/24 (new)"]


def test_a_ledger_that_somebody_deletes_in_that_moment_is_not_written_over(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    run(server, "node1")
    meanwhile(monkeypatch, lambda: server.delete(f"{PREFIX}/{LEDGER}"))
    with pytest.raises(Refused, match=r"^node1: podnet_underlay_address is 198.51.0.1: it has the subnet 172.20.0.0/24 already") as refusal:
        run(server, "node1", "node2", hosts=[{"name": "node0", "underlay": "198.51.0.2"}, {"name": "node1", "underlay": "198.51.0.1"}])
    assert "\n" not in str(refusal.value)


def test_who_is_overtaken_without_end_says_so_after_a_bounded_number_of_tries(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_etcd_ledger, "ATTEMPTS", 5)
    monkeypatch.setattr(_etcd_ledger, "PAUSE", 0)
    meanwhile(monkeypatch, lambda: server.put(f"{PREFIX}/somebody", "else"), times=99)
    with pytest.raises(Failed, match=f"^{server.url}: others were faster 5 times: run it again.$") as failure:
        run(server, "node1")
    assert failure.value.done == ()
    assert LEDGER not in client(server).snapshot().keys


def granted(lines: str) -> list[tuple[str, str]]:
    """What each node was told."""
    return [(line.split()[0], line.split()[1]) for line in lines.splitlines()]


def test_a_hundred_allocators_at_once_with_random_kills_share_no_subnet_and_lose_no_lease(server: Server) -> None:
    seed = random.randrange(1 << 16)
    command = [sys.executable, str(SCRIPT), server.url, "100", "1", "60", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = granted(done.stdout)
    past = history(server)
    # Nobody was told two things, and nobody is left out.
    assert len(dict(told)) == len(set(told)) == 100, f"seed {seed}"
    # What was told is what the ledger says, from the revision that gave it on: nothing is lost, and nothing moves.
    assert dict(told) == past[-1]
    for before, after in zip(past, past[1:]):
        assert before.items() < after.items()


def test_processes_that_join_many_nodes_each_are_told_what_the_ledger_says(server: Server) -> None:
    with ends_with_us([sys.executable, str(SCRIPT), server.url, "4", "5", "0", "1"], stdout=subprocess.PIPE, text=True) as process:
        told = granted(process.communicate()[0])
        assert process.returncode == 0
    assert dict(told) == sound(client(server).snapshot())
    assert len(told) == 20


# --- beside flanneld --------------------------------------------------------------------------------------------------------


def test_keys_of_flanneld_and_of_anybody_else_are_never_written_or_deleted(server: Server) -> None:
    foreign = {
        f"{PREFIX}/subnets/172.20.0.0-24": VALUE.format("203.0.113.8"),
        f"{PREFIX}/subnets/garbage": "garbage",
        f"{PREFIX}/elsewhere": "x",
    }
    for key, value in foreign.items():
        server.put(key, value)
    server.put(f"{PREFIX}/subnets/172.20.2.0-24", VALUE.format("203.0.113.9"), 3600)
    before = client(server).snapshot().keys
    run(server, "node1", "node2")
    run(server, "node1")
    assert not run(server, "node1").changes
    after = client(server).snapshot().keys
    assert {key: after[key] for key in before} == before
    ledger = ledger_in(client(server).snapshot())
    assert ledger
    assert [lease.subnets[0] for lease in ledger.leases] == ["172.20.1.0/24", "172.20.3.0/24"]
    assert run(server, "node1").facts["capacity"] == {"total": 256, "taken": 4, "free": 252}


# --- passwords and certificates ---------------------------------------------------------------------------------------------


def access(**given: str) -> dict[str, Any]:
    return {f"etcd_{option}": value for option, value in given.items()}


def test_a_user_with_a_password_may_do_all_that_a_ledger_takes(server: Server) -> None:
    server.enable_users("a password")
    assert run(server, "node1", **access(user=USER, password="a password")).changes
    assert not run(server, "node1", **access(user=USER, password="a password")).changes
    for given, words in (
        (access(user=USER, password="canary"), "authentication failed, invalid user ID or password"),
        (access(user="nobody", password="canary"), "authentication failed, invalid user ID or password"),
        ({}, "user name is empty"),
    ):
        with pytest.raises(Refused, match=f"^{server.url}: etcd refuses it: etcdserver: {words}.$") as refusal:
            run(server, "node1", "node2", **given)
        assert "canary" not in str(refusal.value)


def test_a_user_for_whom_etcd_has_no_users_is_told_so(server: Server) -> None:
    with pytest.raises(Refused, match="etcd refuses it: etcdserver: authentication is not enabled"):
        run(server, "node1", **access(user=USER, password="canary"))


def test_tls_needs_the_authority_and_where_etcd_asks_for_it_a_certificate(tmp_path: Path, certificates: Certificates) -> None:
    files = {"ca": certificates.path("ca.crt"), "certificate": certificates.path("client.crt"), "key": certificates.path("client.key")}
    with etcd(tmp_path, certificates) as server:
        server.enable_users("a password")
        user = {"user": USER, "password": "a password"}
        assert run(server, "node1", **access(**files, **user)).changes
        for given, words in (
            (access(**user), "its certificate is not accepted: unable to get local issuer certificate"),
            (access(**user, ca=files["ca"]), "no member of etcd can be asked"),
            (access(**{**files, "certificate": files["ca"]}, **user), "podnet_etcd_key is .*: expected files in PEM form"),
            (access(**{**files, "ca": "/nowhere"}, **user), "podnet_etcd_ca .*: expected files in PEM form .No such file"),
        ):
            with pytest.raises(Refused, match=words):
                run(server, "node1", "node2", **given)
        plain = Etcd(place_of(server.url.replace("etcds", "etcd")), Access())
        with pytest.raises(Refused, match="no member of etcd can be asked"):
            plain.snapshot()


def test_a_server_of_another_name_is_not_spoken_to(tmp_path: Path, certificates: Certificates) -> None:
    with etcd(tmp_path, certificates) as server:
        elsewhere = Etcd(place_of(server.url.replace("127.0.0.1", "localhost")), Access(ca=certificates.path("ca.crt")))
        with pytest.raises(Refused, match="its certificate is not accepted: Hostname mismatch"):
            elsewhere.snapshot()


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(certificates: Certificates, tmp_path: Path) -> None:
    sealed = str(tmp_path / "sealed.key")
    command = ["openssl", "ec", "-in", certificates.path("client.key"), "-aes128", "-passout", "pass:canary", "-out", sealed]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(Refused, match="the key needs a passphrase"):
        Etcd(place_of("etcds://127.0.0.1/p"), Access(certificate=certificates.path("client.crt"), key=sealed))


def test_files_of_tls_for_a_place_without_it_are_refused() -> None:
    with pytest.raises(Refused, match=r"^the inventory: podnet_etcd_ca is /ca.crt: etcd://127.0.0.1:2379/p is without TLS: write etcds://"):
        Etcd(place_of("etcd://127.0.0.1/p"), Access(ca="/ca.crt"))


def test_a_password_is_not_in_what_python_would_print() -> None:
    assert "canary" not in repr(Access(USER, "canary"))


# --- nobody answers ---------------------------------------------------------------------------------------------------------


def test_the_next_member_is_asked_where_one_is_down(server: Server) -> None:
    (nobody,) = free_ports(1)
    assert run_at(server.url.replace("etcd://", f"etcd://127.0.0.1:{nobody},"), "node1").changes
    assert set(sound(client(server).snapshot())) == {"node1"}


def test_of_three_members_the_leader_may_be_lost_and_without_two_nothing_is_said_or_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with three_etcds(tmp_path) as running:
        members = sorted(running, key=Server.leads, reverse=True)
        url = f"etcd://{','.join(f'127.0.0.1:{member.port}' for member in members)}{PREFIX}"
        run_at(url, "node1")
        members[0].kill()
        assert commands(run_at(url, "node1", "node2")) == ["lease node2 172.20.1.0/24 (new)"]
        assert set(sound(client(members[1]).snapshot())) == {"node1", "node2"}
        members[1].kill()
        monkeypatch.setattr(_etcd, "SECONDS", 1)
        with pytest.raises(Refused, match=rf"^{url}: no member of etcd can be asked \(127.0.0.1:{members[0].port}: Connection refused; "):
            run_at(url, "node1", "node2", "node3")


def test_a_server_that_is_not_there_and_one_that_is_not_etcd_are_named(tmp_path: Path) -> None:
    nobody, web = free_ports(2)
    with pytest.raises(Refused, match=f"^etcd://127.0.0.1:{nobody}/p: no member of etcd can be asked .*: Connection refused"):
        Etcd(place_of(f"etcd://127.0.0.1:{nobody}/p"), Access()).snapshot()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(web)]
    with ends_with_us(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=tmp_path, env={"PYTHONUNBUFFERED": "1"}) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(Refused, match=r"the answer is HTTP status 501, .*: expected JSON of etcd 3.4 or newer"):
            Etcd(place_of(f"etcd://127.0.0.1:{web}/p"), Access()).snapshot()


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent, as a server that is there to debug clients does."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"You sent: " + body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def test_a_server_that_repeats_the_password_is_not_quoted_with_it() -> None:
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.handle_request).start()
        with pytest.raises(Refused, match=r"the answer is HTTP status 200, You sent: .*podnet") as refusal:
            Etcd(place_of(f"etcd://127.0.0.1:{server.server_port}/p"), Access(USER, 'a "canary"')).snapshot()
    assert "canary" not in str(refusal.value)


def test_a_commit_without_an_answer_is_not_sent_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = Etcd(place_of(f"{server.url.replace('/coreos', f',127.0.0.1:{server.port}/coreos')}"), Access())
    since = etcd.snapshot()
    answer = vars(Etcd)["_answer"]

    asked = []

    def unheard(*arguments: Any) -> dict[str, Any]:
        asked.append(arguments)
        answer(*arguments)
        raise TimeoutError("timed out")

    monkeypatch.setattr(Etcd, "_answer", unheard)
    with pytest.raises(Failed, match=r"etcd did not say whether it took the change .*: run it again, which finds out"):
        etcd.commit(since, LEDGER, [Operation("somebody", "else")])
    monkeypatch.undo()
    assert len(asked) == 1
    assert client(server).snapshot().revision == since.revision + 1


def test_a_ledger_larger_than_a_request_of_etcd_may_be_is_refused_by_it(server: Server) -> None:
    etcd = client(server)
    with pytest.raises(Refused, match="etcd refuses it: etcdserver: request is too large"):
        etcd.commit(etcd.snapshot(), LEDGER, [Operation(LEDGER, "x" * 1_600_000)])


HOLDER = """
import pathlib, sys, time
from etcds import etcd
with etcd(pathlib.Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


def test_a_test_that_is_killed_leaves_no_etcd_behind(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(Path(__file__).parent), "PATH": str(Path(str(shutil.which("setpriv"))).parent)}
    with ends_with_us([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        assert Path(f"/proc/{pid}/exe").resolve().name == "etcd"
        process.kill()
        process.wait()
    for _attempt in range(100):
        if not Path(f"/proc/{pid}").exists():
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert not Path(f"/proc/{pid}").exists()
