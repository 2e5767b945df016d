# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's containerd, running in a node of a lab, asked as a kubelet asks it. I/O: starts containerd, speaks CRI to it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from etcds import ends_with_us
from labs import CHECKOUT, Lab

PROGRAM = CHECKOUT / "build" / "containerd" / "usr" / "bin" / "containerd"
CONFIG = "/run/containerd.toml"
# As in a container: not every process may lower its own oom_score_adj. Native: an overlay on the node's overlay is refused.
TEXT = """version = 2
[debug]
  level = "debug"
[plugins."io.containerd.internal.v1.opt"]
  path = "/run/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
"""
LEFT = (CONFIG, "/run/containerd", "/run/containerd-opt", "/var/lib/containerd", "/etc/cni")
ATTEMPTS = 6000
LOOPBACK = "cni-loopback"  # of its own


@dataclass(frozen=True)
class Containerd:
    """A running containerd."""

    status_call: Callable[..., bytes]
    log: Path

    def status(self) -> tuple[bool, list[str]]:
        """Whether it calls the network ready, and the names of the networks that it has loaded."""
        # runtime.v1: StatusRequest.verbose is 1; StatusResponse has status (1: conditions of type and status) and info (2: a map).
        answer = list(_fields(self.status_call(b"\x08\x01", timeout=60)))
        conditions = (dict(_fields(each)) for number, status in answer if number == 1 for _one, each in _fields(status))
        info = dict(tuple(value for _number, value in _fields(entry)) for number, entry in answer if number == 2)
        ready = {condition[1].decode(): bool(condition.get(2)) for condition in conditions}["NetworkReady"]
        return ready, [network["Config"]["Name"] for network in json.loads(info[b"cniconfig"])["Networks"]]

    def took(self, network: str) -> bool:
        """Whether it sees this network, and calls it ready, before the test loses patience."""
        return eventually(lambda: self.status() == (True, [LOOPBACK, network]))

    def events(self) -> list[str]:
        """What became of each change that it saw in the directory, those of modes aside: "ignore CREATE", "receiving RENAME" and so on."""
        found = re.findall(r"(ignore|receiving) .*from cni conf dir: (\w+)", self.log.read_text())
        return [f"{verb} {what}" for verb, what in found if what != "CHMOD"]


def eventually(reached: Callable[[], bool]) -> bool:
    """Whether it comes true; a machine may be slow, and there is no other limit."""
    for _attempt in range(ATTEMPTS):
        if reached():
            return True
        time.sleep(0.01)
    return False


@contextmanager
def containerd(lab: Lab, node: str, log: Path) -> Iterator[Containerd]:
    """A containerd without any CNI configuration. It ends with the test, also when that is killed."""
    lab.run(node, "install", "-m", "600", "/dev/stdin", CONFIG, input=TEXT)
    # The kernel kills nsenter with the tests, and containerd with nsenter.
    command = [*lab.enter(node), "setpriv", "--pdeathsig=KILL", str(PROGRAM), "--config", CONFIG]
    socket = f"unix:/proc/{lab.pids()[node]}/root/run/containerd/containerd.sock"
    try:
        with (
            log.open("wb") as file,
            ends_with_us(command, stdout=file, stderr=file) as process,
            grpc.insecure_channel(socket) as channel,
        ):
            here = Containerd(channel.unary_unary("/runtime.v1.RuntimeService/Status"), log)
            assert eventually(lambda: _answers(here, process)), log.read_text()
            yield here
    finally:
        lab.run(node, "rm", "-rf", *LEFT)


def _answers(here: Containerd, process: subprocess.Popen[Any]) -> bool:
    assert process.poll() is None, here.log.read_text()
    try:
        here.status()
    except grpc.RpcError:
        return False
    return True


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message in protobuf's encoding: numbers, and texts or messages as bytes."""
    place = 0
    while place < len(data):
        tag, place = _number(data, place)
        value, place = _number(data, place)
        if tag & 7 == 2:
            yield tag >> 3, data[place : place + value]
            place += value
        else:
            yield tag >> 3, value


def _number(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not data[place - 1] & 0x80:
            return value, place
