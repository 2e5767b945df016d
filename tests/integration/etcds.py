# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real etcd of a test's own, on the loopback interface. I/O: starts etcd, speaks to it, and runs openssl."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from socket import create_server
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = CHECKOUT / "build" / "etcd" / "usr" / "bin" / "etcd"
PREFIX = "/coreos.com/network"
# As https://etcd.io/docs/v3.4/op-guide/authentication/ has it: the user root, and one who may do what a ledger takes.
ROOT, USER, ROLE = "root", "podnet", "ledger"


@dataclass(frozen=True)
class Certificates:
    """A certificate authority, and what it signed for the server and for a client."""

    directory: Path

    def path(self, name: str) -> str:
        return str(self.directory / name)

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.path("ca.crt"))
        context.load_cert_chain(self.path("client.crt"), self.path("client.key"))
        return context


@dataclass(frozen=True)
class Server:
    """A member of etcd: its ports for clients and for the other members, and once it runs its process."""

    port: int
    peer: int
    certificates: Certificates | None = None
    processes: list[subprocess.Popen[Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """As podnet_ledger names it."""
        return f"etcd{'s' if self.certificates else ''}://127.0.0.1:{self.port}{PREFIX}"

    @property
    def pid(self) -> int:
        return self.processes[0].pid

    def leads(self) -> bool:
        status = self.post("/v3/maintenance/status", {})
        return bool(status["leader"] == status["header"]["member_id"])

    def kill(self) -> None:
        self.processes[0].kill()
        self.processes[0].wait()

    def log(self, directory: Path) -> Path:
        return directory / f"etcd{self.port}.log"

    def post(self, path: str, body: Mapping[str, Any], token: str = "") -> dict[str, Any]:
        """What etcd's gateway answers to somebody who is not the collection."""
        if self.certificates:
            connection: HTTPConnection = HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self.certificates.context)
        else:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", path, json.dumps(body), {"Authorization": token} if token else {})
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return dict(json.loads(text))

    def put(self, key: str, value: str, seconds: int = 0) -> None:
        """Put a key, or one that ends by itself as a running flanneld's does."""
        lease = {"lease": self.post("/v3/lease/grant", {"TTL": seconds})["ID"]} if seconds else {}
        self.post("/v3/kv/put", {"key": base64(key), "value": base64(value), **lease})

    def delete(self, key: str) -> None:
        self.post("/v3/kv/deleterange", {"key": base64(key)})

    def enable_users(self, password: str) -> None:
        for user, role in ((ROOT, ROOT), (USER, ROLE)):
            self.post("/v3/auth/user/add", {"name": user, "password": password})
            self.post("/v3/auth/role/add", {"name": role})
            self.post("/v3/auth/user/grant", {"user": user, "role": role})
        keys = {"key": base64(f"{PREFIX}/"), "range_end": base64(f"{PREFIX}0")}
        self.post("/v3/auth/role/grant", {"name": ROLE, "perm": {"permType": "READWRITE", **keys}})
        self.post("/v3/auth/enable", {})


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


@contextmanager
def etcd(directory: Path, certificates: Certificates | None = None) -> Iterator[Server]:
    """An etcd with its data in the directory. It ends with the test, also when that is killed."""
    (server,) = servers = new_servers(1, certificates)
    with member(directory, server, servers):
        wait_for(server, directory)
        yield server


@contextmanager
def three_etcds(directory: Path) -> Iterator[list[Server]]:
    """An etcd of three members."""
    servers = new_servers(3)
    with ExitStack() as running:
        for server in servers:
            running.enter_context(member(directory, server, servers))
        for server in servers:
            wait_for(server, directory)
        yield servers


def new_servers(count: int, certificates: Certificates | None = None) -> list[Server]:
    ports = free_ports(2 * count)
    return [Server(client, peer, certificates) for client, peer in zip(ports[:count], ports[count:])]


@contextmanager
def member(directory: Path, server: Server, servers: Sequence[Server]) -> Iterator[None]:
    scheme = "https" if server.certificates else "http"
    clients, peers = f"{scheme}://127.0.0.1:{server.port}", f"http://127.0.0.1:{server.peer}"
    own, every = f"member{server.peer}", ",".join(f"member{each.peer}=http://127.0.0.1:{each.peer}" for each in servers)
    command = [str(PROGRAM), f"--name={own}", f"--data-dir={directory}/{own}", "--unsafe-no-fsync", "--logger=zap", "--log-level=error"]
    command += [f"--{name}-client-urls={clients}" for name in ("listen", "advertise")]
    command += [f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}", f"--initial-cluster={every}"]
    if server.certificates:
        files = {"cert-file": "server.crt", "key-file": "server.key", "trusted-ca-file": "ca.crt"}
        command += ["--client-cert-auth", *(f"--{option}={server.certificates.path(name)}" for option, name in files.items())]
    with server.log(directory).open("wb") as log, ends_with_us(command, stdout=log, stderr=log) as process:
        server.processes.append(process)
        yield


@contextmanager
def ends_with_us(command: list[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that the kernel kills when ours ends, in whatever way."""
    process = subprocess.Popen(["setpriv", "--pdeathsig=KILL", *command], **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(server: Server, directory: Path) -> None:
    log = server.log(directory)
    for _attempt in range(600):
        assert server.processes[0].poll() is None, log.read_text()
        with suppress(OSError, AssertionError):  # no leader yet
            server.post("/v3/kv/range", {"key": base64("/")})
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def free_ports(count: int) -> list[int]:
    sockets = [create_server(("127.0.0.1", 0)) for _time in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def make_certificates(directory: Path) -> Certificates:
    """An authority, a server at 127.0.0.1, and a client, by openssl, as strictly after RFC 5280 as Python 3.13 has them."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    signing = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", "-x509", *key, *signing, "-subj", "/CN=authority", "-days", "1", "-keyout", "ca.key", "-out", "ca.crt")
    for name in ("server", "client"):  # by O: where users are on, etcd refuses a gateway client that has a CN (embed/serve.go)
        (directory / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
        openssl("req", *key, "-subj", f"/O={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.crt")
    return Certificates(directory)
