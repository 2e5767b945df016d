# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each single operation of ours on the kernel: something done before or after it, or an error in its place. I/O: the kernel, processes.

The shim lies between our code and its two clients: the socket of packed messages, and pyroute2. All that it does not refuse reaches the
kernel, each entry in a message of its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils import _kernel
from ansible_collections.podnet.baremetal.plugins.module_utils._links import Links
from ansible_collections.podnet.baremetal.plugins.module_utils._messages import Message
from ansible_collections.podnet.baremetal.plugins.module_utils._objects import DeviceSysctl
from ansible_collections.podnet.baremetal.plugins.module_utils._rtnetlink import RouteSocket
from node import PASSING
from pyroute2.netlink.exceptions import NetlinkError

SHOWN = "link show type vxlan\naddr show\nneigh show nud permanent\nroute show table all\nnexthop show\n"
READS = ("get", "compare", "get_links", "get_addr")
Before = Callable[[str], int]  # told what comes; the errno to refuse it with, or 0
After = Callable[[str], object]


def nothing(_operation: str) -> int:
    return 0


class Shim:
    """pyroute2's client with the same methods."""

    def __init__(self, client: Any, before: Before, after: After) -> None:
        self._client = client
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in ("link", "addr", "get_links", "get_addr"):
            return method

        def shimmed(*arguments: Any, **keywords: Any) -> Any:
            number = self._before(name)
            if number:
                raise NetlinkError(number, os.strerror(number))
            answer = method(*arguments, **keywords)
            self._after(name)
            return answer

        return shimmed


@contextmanager
def shim(before: Before = nothing, after: After = nothing) -> Iterator[None]:
    """Let each operation of this process pass by the two functions, as `link`, `addr`, `send`, `sysctl`, or one of READS."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RouteSocket, "send", _sends(RouteSocket.send, before, after))
        for name in ("get", "compare"):
            patched.setattr(RouteSocket, name, _asks(name, getattr(RouteSocket, name), before, after))
        patched.setattr(_kernel, "write_sysctl", _writes(vars(_kernel)["write_sysctl"], before, after))
        patched.setattr(Links, "__init__", _opens(Links.__init__, before, after))
        yield


def _sends(send: Callable[..., Any], before: Before, after: After) -> Callable[..., Any]:
    def sends(route_socket: RouteSocket, block: Sequence[Message]) -> list[tuple[int, OSError]]:
        refusals: list[tuple[int, OSError]] = []
        for position, message in enumerate(block):
            number = before("send")
            found = [(0, OSError(number, os.strerror(number)))] if number else send(route_socket, [message])
            refusals += [(position, error) for _position, error in found]
            if not number:
                after("send")
        return refusals

    return sends


def _asks(name: str, method: Callable[..., Any], before: Before, after: After) -> Callable[..., Any]:
    def asks(route_socket: RouteSocket, *arguments: Any) -> Any:
        number = before(name)
        if number:
            raise OSError(number, os.strerror(number))
        answer = method(route_socket, *arguments)
        after(name)
        return answer

    return asks


def _writes(write: Callable[..., Any], before: Before, after: After) -> Callable[..., Any]:
    def writes(sysctl: DeviceSysctl) -> None:
        number = before("sysctl")
        if number:
            raise OSError(number, os.strerror(number))
        write(sysctl)
        after("sysctl")

    return writes


def _opens(init: Callable[..., Any], before: Before, after: After) -> Callable[..., Any]:
    def opens(links: Links) -> None:
        init(links)
        vars(links)["_route"] = Shim(vars(links)["_route"], before, after)

    return opens


def tables() -> list[str]:
    """All that iproute2 shows of the overlay here, without the numbers of links."""
    shown = " tentative"  # as an IPv6 address is, without its local route, until the kernel has asked whether it is somebody else's
    while " tentative" in shown:
        shown = subprocess.run(["ip", "-d", "-batch", "-"], input=SHOWN, capture_output=True, text=True, check=True).stdout
    shown += subprocess.run(["bridge", "fdb", "show"], capture_output=True, text=True, check=True).stdout
    lines = (re.sub(r"^\d+: ", "", line).strip() for line in shown.splitlines())
    return sorted(line for line in lines if not any(word in line for word in PASSING))


def changing(operation: str) -> bool:
    return operation not in READS


def killed_after(count: int, work: Callable[[], Any]) -> bool:
    """Do it in a process that is killed after its `count`th change of the kernel. Whether it came so far."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work failed by itself"
        return os.WIFSIGNALED(status)
    left = [count]

    def after(operation: str) -> None:
        left[0] -= changing(operation)
        if left[0] == 0 and changing(operation):
            os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        with shim(after=after):
            work()
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        raise
    finally:
        os._exit(code)
