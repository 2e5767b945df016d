# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of etcd's v3 API as a ledger takes, by the JSON gateway that every member serves (since etcd 3.4 at /v3). I/O: the network."""

from __future__ import annotations

import json
import ssl
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._plan import INVENTORY
from ansible_collections.podnet.baremetal.plugins.plugin_utils._place import EtcdPlace
from ansible_collections.podnet.baremetal.plugins.plugin_utils._snapshot import Operation, Snapshot, Stored

SECONDS = 10  # for one member to answer
RANGE, TXN, AUTHENTICATE = "/v3/kv/range", "/v3/kv/txn", "/v3/auth/authenticate"
OK = 200
# grpc/codes: after these a request may still be carried out, or may be by another member.
UNSURE = frozenset({1, 2, 4, 13, 14})


@dataclass(frozen=True)
class Access:
    """Who we are to etcd, and by which certificates either side is known. Files are paths."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


class Etcd:
    """The keys below the prefix of a place."""

    def __init__(self, place: EtcdPlace, access: Access) -> None:
        self.place = place
        self._access = access
        self._tls = _context(place, access)
        self._token = ""

    def snapshot(self, revision: int = 0) -> Snapshot:
        """What is there now, or was there at a revision."""
        answer = self._ask(RANGE, {**self._all(), "revision": revision}, reads=True)
        start = len(self.place.prefix) + 1
        pairs = ((_text(pair["key"])[start:], pair) for pair in answer.get("kvs", ()))
        return Snapshot(
            int(answer["header"]["revision"]),
            {key: Stored(_text(pair.get("value", "")), int(pair["mod_revision"]), "lease" in pair) for key, pair in pairs},
        )

    def commit(self, since: Snapshot, guard: str, operations: Sequence[Operation]) -> int | None:
        """Do all of it at once and return the revision that this makes.

        Nothing is done and the answer is None, if a key below the prefix was put since the snapshot, or the key `guard` is not the
        one that is in it.
        """
        revision = since.keys[guard].revision if guard in since.keys else 0
        compare = [
            {"key": self._key(guard), "target": "MOD", "result": "EQUAL", "mod_revision": revision},
            {**self._all(), "target": "MOD", "result": "LESS", "mod_revision": since.revision + 1},
        ]
        answer = self._ask(TXN, {"compare": compare, "success": [self._operation(each) for each in operations]}, reads=False)
        return int(answer["header"]["revision"]) if answer.get("succeeded") else None

    def _all(self) -> dict[str, str]:
        return {"key": self._key(""), "range_end": _base64(f"{self.place.prefix}0")}  # 0 is the character after the slash

    def _key(self, name: str) -> str:
        return _base64(f"{self.place.prefix}/{name}")

    def _operation(self, operation: Operation) -> dict[str, Any]:
        key = self._key(operation.key)
        if operation.value is None:
            return {"request_delete_range": {"key": key}}
        return {"request_put": {"key": key, "value": _base64(operation.value)}}

    def _ask(self, path: str, body: Mapping[str, Any], *, reads: bool) -> dict[str, Any]:
        if self._access.user and not self._token:
            credentials = {"name": self._access.user, "password": self._access.password}
            self._token = str(self._first_answer(AUTHENTICATE, credentials, reads=True)["token"])
        return self._first_answer(path, body, reads=reads)

    def _first_answer(self, path: str, body: Mapping[str, Any], *, reads: bool) -> dict[str, Any]:
        """Of the first member that gives one. What writes is not asked again once it was sent: it may have been done."""
        silent = []
        for endpoint in self.place.endpoints:
            connection = self._connection(endpoint)
            sent = False
            try:
                connection.connect()
                sent = True
                return self._answer(connection, path, body)
            except (OSError, HTTPException) as error:
                silent.append(f"{endpoint}: {_reason(error)}")
                if sent and not reads:
                    break
            finally:
                connection.close()
        if reads or not sent:
            raise Refused(f"{self.place}: no member of etcd can be asked ({'; '.join(silent)}).")
        raise Failed(f"{self.place}: etcd did not say whether it took the change ({silent[-1]}): run it again, which finds out.")

    def _connection(self, endpoint: str) -> HTTPConnection:
        host, _colon, port = endpoint.rpartition(":")
        if self._tls:
            return HTTPSConnection(host.strip("[]"), int(port), timeout=SECONDS, context=self._tls)
        return HTTPConnection(host.strip("[]"), int(port), timeout=SECONDS)

    def _answer(self, connection: HTTPConnection, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", **({"Authorization": self._token} if self._token else {})}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        try:
            answer = json.loads(text)
            refusal = None if response.status == OK else str(answer["message"])
        except (KeyError, TypeError, ValueError) as error:
            raise _no_answer(self.place, f"HTTP status {response.status}, {self._shown(text)}") from error
        if refusal and int(answer.get("code", 0)) in UNSURE:
            raise HTTPException(self._shown(refusal))
        if refusal:
            raise Refused(f"{self.place}: etcd refuses it: {self._shown(refusal)}.")
        return dict(answer)

    def _shown(self, text: str) -> str:
        """What a server says, in one line; without our password, which it may repeat to us if it is another than we think."""
        password = self._access.password or ""
        for secret in filter(None, (password, json.dumps(password)[1:-1])):
            text = text.replace(secret, "***")
        return " ".join(text.split())[:200]


def _context(place: EtcdPlace, access: Access) -> ssl.SSLContext | None:
    files = {"podnet_etcd_ca": access.ca, "podnet_etcd_certificate": access.certificate, "podnet_etcd_key": access.key}
    given = {variable: path for variable, path in files.items() if path}
    if not place.tls:
        for variable, path in given.items():
            raise refuse(INVENTORY, variable, path, f"{place} is without TLS: write etcds://")
        return None
    try:
        context = ssl.create_default_context(cafile=access.ca)
        if access.certificate:
            context.load_cert_chain(access.certificate, access.key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise refuse(INVENTORY, " and ".join(given), ", ".join(given.values()), f"expected files in PEM form ({_reason(error)})") from error
    return context


def _no_answer(place: EtcdPlace, what: str) -> Refused:
    return refuse(
        str(place), "the answer", what, "expected JSON of etcd 3.4 or newer with its gRPC gateway; where it has TLS write etcds://"
    )


def _no_passphrase() -> str:
    """OpenSSL would ask the terminal."""
    raise ValueError("the key needs a passphrase")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _text(base64: str) -> str:
    return b64decode(base64).decode(errors="replace")
