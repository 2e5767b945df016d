# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces that end with this process, however it ends, and take all that was started in them along. I/O: processes, mounts."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

# linux/sched.h, linux/mount.h, linux/prctl.h
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
SCRATCH = "podnet-bench"  # and the PID, under /run: seen empty from outside, since what is in it is a tmpfs of the namespace's own
LIBC = ctypes.CDLL(None, use_errno=True)


def enclosed(work: Callable[[Path], int]) -> int:
    """The exit code of work(an empty directory), which runs in a PID namespace and a mount namespace of its own."""
    _sweep()
    scratch = Path("/run", f"{SCRATCH}-{os.getpid()}")
    scratch.mkdir()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    call("unshare", CLONE_NEWPID)
    sys.stdout.flush()
    first = os.fork()
    if first == 0:
        _reign(work, scratch)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(first, signal.SIGKILL)
            os.waitpid(first, 0)
        scratch.rmdir()


@contextmanager
def network() -> Iterator[None]:
    """This process, and what it starts, in a network namespace of its own."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        call("unshare", CLONE_NEWNET)
        yield
    finally:
        call("setns", home, CLONE_NEWNET)
        os.close(home)


def call(function: str, *arguments: object) -> None:
    """A function of the C library that answers 0 or sets errno."""
    if getattr(LIBC, function)(*arguments):
        raise OSError(ctypes.get_errno(), f"{function}: {os.strerror(ctypes.get_errno())}")


def _sweep() -> None:
    """Take away the empty directories of those that were killed."""
    for directory in Path("/run").glob(f"{SCRATCH}-*"):
        if not Path("/proc", directory.name.rpartition("-")[2]).exists():
            directory.rmdir()


def _reign(work: Callable[[Path], int], scratch: Path) -> NoReturn:
    """PID 1: with it everything in its namespace ends. Reaps what it inherits, so that nobody waits for a zombie."""
    code = 1
    try:
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        call("unshare", CLONE_NEWNS)
        call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
        call("mount", b"proc", b"/proc", b"proc", 0, None)
        call("mount", b"tmpfs", os.fsencode(scratch), b"tmpfs", 0, None)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        worker = os.fork()
        if worker == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            tempfile.tempdir = str(scratch)
            code = work(scratch)
            sys.stdout.flush()
        else:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            code = _reaped(worker)
    finally:
        kind, error, traceback = sys.exc_info()
        if kind and error:
            sys.excepthook(kind, error, traceback)
        os._exit(code)


def _reaped(worker: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status) & 0xFF
