# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server for the tests: a real kube-apiserver where one is named, else the part of its API that kubernetes.core calls. I/O: HTTP.

PODNET_KUBE_APISERVER names a kube-apiserver and PODNET_ETCD an etcd, both as paths. The part keeps objects, merges patches, knows
dry runs, and refuses what kube-apiserver refuses of a Node's pod subnets. It knows neither defaults nor merge keys of lists.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
# Its group and version, whether it lies in a namespace, and its kind, by its name in paths.
RESOURCES = {
    "nodes": ("v1", False, "Node"),
    "namespaces": ("v1", False, "Namespace"),
    "configmaps": ("v1", True, "ConfigMap"),
    "serviceaccounts": ("v1", True, "ServiceAccount"),
    "daemonsets": ("apps/v1", True, "DaemonSet"),
    "clusterroles": ("rbac.authorization.k8s.io/v1", False, "ClusterRole"),
    "clusterrolebindings": ("rbac.authorization.k8s.io/v1", False, "ClusterRoleBinding"),
}
GROUPS = ("apps", "rbac.authorization.k8s.io")
TOKEN = "token-of-the-tests"


@dataclass(frozen=True)
class ApiServer:
    """A running API server: where it is, and how the controller reaches it."""

    url: str
    kubeconfig: str
    real: bool

    def call(self, method: str, path: str, body: Object | None = None) -> Object:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, context=_trusting() if self.real else None) as answer:
            return dict(json.load(answer))

    def node(self, name: str, address: str = "", **spec: Any) -> Object:
        """Register a Node, as its kubelet would."""
        made = self.call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec})
        if address:
            made["status"] = {**made.get("status", {}), "addresses": [{"type": "InternalIP", "address": address}]}
            made = self.call("PUT", f"/api/v1/nodes/{name}/status", made)
        return made

    def pod_cidrs(self) -> dict[str, list[str]]:
        nodes = self.call("GET", "/api/v1/nodes")["items"]
        return {node["metadata"]["name"]: node["spec"].get("podCIDRs", []) for node in nodes}

    def empty(self) -> None:
        for node in self.pod_cidrs():
            self.call("DELETE", f"/api/v1/nodes/{node}")


@contextmanager
def api_server(directory: Path) -> Iterator[ApiServer]:
    binary = os.environ.get("PODNET_KUBE_APISERVER")
    with _real(directory, binary) if binary else _part() as url:
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(json.dumps(_kubeconfig(url)))
        yield ApiServer(url, str(kubeconfig), real=bool(binary))


def _kubeconfig(url: str) -> Object:
    cluster = {"server": url, **({"insecure-skip-tls-verify": True} if url.startswith("https") else {})}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": {"token": TOKEN}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "current-context": "tests",
    }


# --- the real one ------------------------------------------------------------------


@contextmanager
def _real(directory: Path, binary: str) -> Iterator[str]:
    etcd, peer, port = _free_ports(3)
    key, tokens = directory / "service-accounts.key", directory / "tokens.csv"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    tokens.write_text(f"{TOKEN},tests,tests,system:masters\n")
    url = f"https://127.0.0.1:{port}"
    stores = [os.environ["PODNET_ETCD"], f"--data-dir={directory}/etcd", f"--listen-client-urls=http://127.0.0.1:{etcd}"]
    stores += [f"--advertise-client-urls=http://127.0.0.1:{etcd}", f"--listen-peer-urls=http://127.0.0.1:{peer}"]
    serves = [binary, f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1", f"--secure-port={port}"]
    serves += [f"--cert-dir={directory}/certificates", f"--token-auth-file={tokens}", "--authorization-mode=RBAC"]
    serves += [f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}", f"--service-account-issuer={url}"]
    serves += ["--service-cluster-ip-range=10.68.0.0/16", "--disable-admission-plugins=ServiceAccount"]
    with _running(directory / "etcd.log", stores), _running(directory / "kube-apiserver.log", serves) as server:
        _wait(url, server)
        yield url


@contextmanager
def _running(log: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    # setpriv(1): the server ends with the tests, also when they are killed.
    with log.open("wb") as file, subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.terminate()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    while not _ready(url):
        assert server.poll() is None, "kube-apiserver ended; see its log in the directory of the test"
        time.sleep(0.2)


def _ready(url: str) -> bool:
    request = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, context=_trusting()):
            return True
    except OSError:
        return False


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _time in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


# --- the part of it -------------------------------------------------------------------


@contextmanager
def _part() -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.store = _Store()


class _Refusal(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class _Store:
    """Objects by their paths, which are those of the API."""

    objects: dict[str, Object] = field(default_factory=dict)
    version: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def listed(self, path: str) -> Object:
        resource = path.rsplit("/", maxsplit=1)[-1]
        version, _namespaced, kind = RESOURCES[resource]
        items = [each for name, each in self.objects.items() if name.rsplit("/", 1)[0] == path]
        return {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": str(self.version)}, "items": items}

    def got(self, path: str) -> Object:
        if path not in self.objects:
            raise _Refusal(404, f"{path} not found")
        return self.objects[path]

    def put(self, path: str, wanted: Object, *, dry: bool) -> Object:
        old = self.objects.get(path)
        if old == wanted:
            return wanted
        if old and wanted["kind"] == "Node":
            _same_pod_cidrs(path, old["spec"], wanted["spec"])
        new = deepcopy(wanted)
        new["metadata"]["resourceVersion"] = str(self.version + 1)
        if not dry:
            self.version += 1
            self.objects[path] = new
        return new

    def posted(self, path: str, body: Object, *, dry: bool) -> Object:
        namespace = path.partition("/namespaces/")[2].split("/")[0]
        if namespace and f"/api/v1/namespaces/{namespace}" not in self.objects:
            raise _Refusal(404, f"namespaces {namespace!r} not found")
        path = f"{path}/{body['metadata']['name']}"
        if path in self.objects:
            raise _Refusal(409, f"{path} already exists")
        body["metadata"] |= {"uid": f"uid-{self.version + 1}", "creationTimestamp": "2026-01-01T00:00:00Z"}
        return self.put(path, body, dry=dry)


def _same_pod_cidrs(path: str, old: Object, new: Object) -> None:
    """ValidateNodeUpdate (pkg/apis/core/validation/validation.go)."""
    if old.get("podCIDRs") and old.get("podCIDRs") != new.get("podCIDRs"):
        raise _Refusal(422, f'{path}: spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid')


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return patch
    names = {**old, **patch}
    return {name: _merged(old.get(name), patch[name]) if name in patch else old[name] for name in names if patch.get(name, "") is not None}


def _discovery(path: str) -> Object | None:
    if path == "/version":
        return {"major": "1", "minor": "33", "gitVersion": "v1.33.1"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        found = [{"groupVersion": f"{group}/v1", "version": "v1"} for group in GROUPS]
        groups = [{"name": group, "versions": [each], "preferredVersion": each} for group, each in zip(GROUPS, found)]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    verbs = ["create", "delete", "get", "list", "patch", "update"]
    resources = [
        {"name": name, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": verbs}
        for name, (group, namespaced, kind) in RESOURCES.items()
        if group == version
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources} if resources else None


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: the tests' output is theirs."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        try:
            with self.server.store.lock:
                self._send(200, self._done(url.path, body, dry="dryRun" in parse_qs(url.query)))
        except _Refusal as refusal:
            self._send(refusal.code, {"kind": "Status", "status": "Failure", "code": refusal.code, "message": str(refusal)})

    def _done(self, path: str, body: Any, *, dry: bool) -> Object:
        store, found = self.server.store, _discovery(path)
        whole = path.removesuffix("/status")
        if self.command == "GET":
            return found or (store.listed(path) if path.rsplit("/", maxsplit=1)[-1] in RESOURCES else store.got(path))
        if self.command == "POST":
            return store.posted(path, body, dry=dry)
        if self.command == "DELETE":
            gone = store.got(path)
            return gone if dry else store.objects.pop(path)
        return store.put(whole, body if self.command == "PUT" else _merged(store.got(whole), body), dry=dry)

    def _send(self, code: int, answer: Object) -> None:
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer
