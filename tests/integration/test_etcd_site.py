# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks with the ledger in etcd, by TLS and with a password that is nowhere to be found. I/O: etcd, and a lab of two nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from secrets import token_hex
from threading import Event, Thread
from typing import Any

import pytest
from etcds import PREFIX, USER, Server, base64, etcd, make_certificates
from labs import CHECKOUT, DIRECTORY, INVENTORY, Lab, Play, environment, play, take_away

ALLOCATE = "podnet.baremetal.flannel : Allocate the pod subnets in the ledger"
CANARY = f"canary-{token_hex(8)}"  # of this run: a checkout below /tmp would have one that is written here
KEYS = ["config", "podnet/ledger", "subnets/172.20.0.0-24", "subnets/172.20.1.0-24"]


@dataclass(frozen=True)
class Site:
    """Two nodes, the etcd that their ledger is in, and an inventory file that has its password."""

    lab: Lab
    server: Server
    secrets: Path

    def play(self, name: str, *arguments: str) -> Play:
        return self.lab.play(f"playbooks/{name}.yml", f"--inventory={self.secrets}", *arguments, podnet_ledger=self.server.url)

    def keys(self) -> dict[str, int]:
        """The keys below the prefix, with the revisions in which they were put."""
        token = self.server.post("/v3/auth/authenticate", {"name": "root", "password": CANARY})["token"]
        wanted = {"key": base64(f"{PREFIX}/"), "range_end": base64(f"{PREFIX}0")}
        pairs = self.server.post("/v3/kv/range", wanted, token).get("kvs", [])
        return {name: int(pair["mod_revision"]) for pair in pairs for name in KEYS if pair["key"] == base64(f"{PREFIX}/{name}")}

    def reads(self) -> int:
        """How often somebody has read keys from etcd, as it counts itself."""
        assert self.server.certificates
        connection = HTTPSConnection("127.0.0.1", self.server.port, context=self.server.certificates.context)
        connection.request("GET", "/metrics")
        found = re.search(r"^etcd_debugging_mvcc_range_total ([\d.e+]+)$", connection.getresponse().read().decode(), re.MULTILINE)
        assert found
        return int(float(found[1]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    here = tmp_path_factory.mktemp("etcd")
    certificates = make_certificates(here)
    secrets = here / "secrets.yml"
    files = "".join(
        f"    podnet_etcd_{name}: {here}/{file}\n"
        for name, file in (("ca", "ca.crt"), ("certificate", "client.crt"), ("key", "client.key"))
    )
    secrets.write_text(f"all:\n  vars:\n    podnet_etcd_user: {USER}\n    podnet_etcd_password: {CANARY}\n{files}")
    directory = f"{DIRECTORY}-{os.getpid()}-etcd"
    try:
        play("playbooks/lab_up.yml", variables={"podnet_lab_directory": directory, "lab_nodes": 2}).succeeded()
        with etcd(here, certificates) as server:
            server.enable_users(CANARY)
            yield Site(Lab(directory), server, secrets)
    finally:
        take_away(directory)


def shown(outcome: Play) -> list[str]:
    """What the run did, or would do, in etcd."""
    return [command for done in outcome.changed if done.task.startswith(ALLOCATE) for command in done.commands]


def test_a_site_is_predicted_made_and_left_alone_with_its_ledger_in_etcd(site: Site) -> None:
    would = site.play("site", "--check", "--diff").succeeded()
    assert site.keys() == {}
    did = site.play("site").succeeded()
    assert shown(would) == shown(did)
    assert shown(did)[:3] == ["network 172.20.0.0/16", "lease node1 172.20.0.0/24 (new)", "lease node2 172.20.1.0/24 (new)"]
    assert [command.split("'")[1] for command in shown(did)[3:]] == [f"{PREFIX}/{name}" for name in KEYS if name != "podnet/ledger"]
    assert "172.20.1.0/24 via 172.20.1.0 dev flannel.1" in site.lab.run("node1", "ip", "route").stdout

    keys, reads = site.keys(), site.reads()
    assert list(keys) == KEYS
    assert not site.play("site").succeeded().changed
    assert site.reads() - reads == 2  # one in each play, whatever the number of nodes
    assert not site.play("site", "--check", "--diff").succeeded().changed
    assert not site.play("peers", "--limit", "node2").succeeded().changed
    assert site.keys() == keys


def test_a_key_that_somebody_deleted_is_put_back_and_no_node_is_changed(site: Site) -> None:
    site.play("site").succeeded()
    token = site.server.post("/v3/auth/authenticate", {"name": "root", "password": CANARY})["token"]
    site.server.post("/v3/kv/deleterange", {"key": base64(f"{PREFIX}/{KEYS[2]}")}, token)
    before = site.keys()
    assert list(before) == [KEYS[0], KEYS[1], KEYS[3]]
    would = site.play("peers", "--check", "--diff").succeeded()
    assert site.keys() == before
    did = site.play("peers").succeeded()
    assert shown(would) == shown(did) == [command for done in did.changed for command in done.commands]
    assert len(shown(did)) == 1
    assert did.changed[0].diff["after"].startswith(f"{PREFIX}/{KEYS[2]} {{")
    assert list(site.keys()) == KEYS


def test_a_module_is_not_given_a_ledger_in_etcd_that_the_run_has_not_read(site: Site) -> None:
    options = {"device": "flannel.1", "ledger": site.server.url}
    outcome = site.lab.task("podnet.baremetal.vxlan_peers", options, become=True).one("podnet.baremetal.vxlan_peers")
    assert outcome.msg == (
        f"node1: the ledger {site.server.url} has not been read in this run: let podnet.baremetal.pod_subnet do so first."
    )


# --- the password -------------------------------------------------------------------------------------------------------------


class Watch(Thread):
    """Looks, as long as a run lasts, for the canary in every process's command line and environment, and in temporary files."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.ended = Event()
        self.looks = 0
        self.found: set[str] = set()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            self.looks += 1
            self.found |= {str(path) for path in [*processes(), *self.directory.rglob("*")] if CANARY.encode() in content(path)}


def processes() -> list[Path]:
    return [path / name for path in Path("/proc").glob("[0-9]*") for name in ("cmdline", "environ")]


def content(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes() if path.is_file() else b""
    return b""


def as_loud_as_can_be(site: Site, temporary: Path, **variables: Any) -> str:
    """All that a run says with every option that makes it say more, and what it logs."""
    log = temporary / "ansible.log"
    loud = {"STDOUT_CALLBACK": "default", "DISPLAY_ARGS_TO_STDOUT": "1", "LOG_PATH": str(log), "LOCAL_TEMP": str(temporary), "DEBUG": "0"}
    ours = {**environment(), **{f"ANSIBLE_{name}": value for name, value in loud.items()}, "ANSIBLE_KEEP_REMOTE_FILES": "1"}
    given = [f"{name}={value}" for name, value in {"podnet_lab_directory": site.lab.directory, **variables}.items()]
    command = [str(Path(sys.executable).parent / "ansible-playbook"), f"--inventory={INVENTORY}", f"--inventory={site.secrets}"]
    command += ["-vvvv", "--diff", *(f"--extra-vars={each}" for each in given), "playbooks/site.yml"]
    done = subprocess.run(command, cwd=CHECKOUT, env=ours, capture_output=True, text=True, check=False)
    assert ALLOCATE in done.stdout
    return done.stdout + done.stderr + log.read_text()


@pytest.mark.parametrize("database", [True, False], ids=["accepted", "refused"])
def test_the_password_is_in_no_output_no_log_no_file_and_no_process(site: Site, tmp_path: Path, database: bool) -> None:
    if not database:
        site.server.post("/v3/auth/user/changepw", {"name": USER, "password": "another"}, token_of_root(site))
    watch = Watch(tmp_path)
    watch.start()
    try:
        said = as_loud_as_can_be(site, tmp_path, podnet_ledger=site.server.url)
    finally:
        watch.ended.set()
        watch.join()
        site.server.post("/v3/auth/user/changepw", {"name": USER, "password": CANARY}, token_of_root(site))
    assert ("etcd refuses it" in said) is not database
    assert CANARY not in said
    assert base64(CANARY) not in said
    assert watch.looks > 10
    assert watch.found == set()
    for node in ("node1", "node2"):
        assert site.lab.run(node, "grep", "-rlI", CANARY, "/etc", "/run", "/var", "/tmp", check=False).stdout == ""


def token_of_root(site: Site) -> str:
    return str(site.server.post("/v3/auth/authenticate", {"name": "root", "password": CANARY})["token"])


def test_the_watch_would_find_it(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.start()
    (tmp_path / "leak").write_text(f"password: {CANARY}")
    subprocess.run(["sleep", "1"], env={"SECRET": CANARY, "PATH": os.environ["PATH"]}, check=True)
    watch.ended.set()
    watch.join()
    assert str(tmp_path / "leak") in watch.found
    assert any(path.endswith("/environ") for path in watch.found)
