# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that is killed at one of its system calls. I/O: processes, by ptrace(2)."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

PTRACE_TRACEME, PTRACE_SYSCALL = 0, 24  # linux/ptrace.h
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def killed_after(stops: int, work: Callable[[], str]) -> tuple[bool, str]:
    """Do it in a process that stops at the begin and at the end of each system call, and kill that at one of these.

    Whether it came so far, and what it had told.
    """
    listening, telling = os.pipe()
    child = os.fork()
    if child == 0:
        libc.ptrace(PTRACE_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.write(telling, work().encode())
        os._exit(0)
    os.close(telling)
    _pid, status = os.waitpid(child, 0)
    for _time in range(stops):
        if not os.WIFSTOPPED(status):
            break
        if libc.ptrace(PTRACE_SYSCALL, child, None, None):
            raise OSError(ctypes.get_errno(), "ptrace")
        _pid, status = os.waitpid(child, 0)
    alive = os.WIFSTOPPED(status)
    if alive:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    told = os.read(listening, 100).decode()
    os.close(listening)
    return alive, told
