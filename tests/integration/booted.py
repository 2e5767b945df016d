# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose first process is a real systemd: they boot, reboot and lose their power. I/O: processes, mounts, cgroups, links.

A process of its own keeps them. When its standard input ends it takes them away; where it is killed, the kernel ends them with it.
"""

from __future__ import annotations

import glob
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ansible_collections.podnet.baremetal.plugins.module_utils import _lab
from labs import CHECKOUT, DIRECTORY, Lab, module_environment, take_away

SYSTEMD = "/lib/systemd/systemd"
CGROUP = "podnet-test"  # and the PID of the keeper
CLONE_NEWCGROUP, PR_SET_PDEATHSIG = 0x2000000, 1  # linux/sched.h, linux/prctl.h
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0), "net/tun": (10, 200)}
# What this machine was told to start, to mount and to be. A node starts what systemd brings along, and what a test tells it to.
ETC = ("crypttab", "dhcpcd.conf", "fstab", "modules-load.d/podnet*", "netplan", "NetworkManager", "rc*.d", "sysctl.d/*podnet*", "systemd")
VAR = ("lib/dbus/machine-id", "lib/systemd", "log/journal")
# Only the network devices of a node are its own.
TRIGGER = "[Service]\nExecStart=\nExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=net\n"
ASKING = ("systemd-ask-password-console.path", "systemd-ask-password-wall.path")
MASKED = ("getty.target", "modprobe@.service", *ASKING, "systemd-hwdb-update.service", "systemd-logind.service")


# --- for tests --------------------------------------------------------------


@dataclass(frozen=True)
class Booted(Lab):
    """Running nodes, entered as those of a lab are, and like them hosts of inventories/lab."""

    keeper: subprocess.Popen[bytes] = field(compare=False)

    def reboot(self, node: str) -> None:
        before = self.pids()[node]
        self.run(node, "systemctl", "reboot", check=False)  # it may not live to say that it went well
        self.wait_for(node, before)

    def cut_power(self, node: str) -> None:
        """End a node where it stands."""
        os.kill(self.pids()[node], signal.SIGKILL)
        wait_until(lambda: node not in self.pids())

    def power_on(self, node: str) -> None:
        """Boot a node that is off, by a power cut or by `systemctl poweroff`."""
        assert self.keeper.stdin
        self.keeper.stdin.write(f"{node}\n".encode())
        self.keeper.stdin.flush()
        self.wait_for(node)

    def wait_for(self, node: str, before: int = 0) -> None:
        """Wait until a node has booted, as another first process than before."""
        wait_until(lambda: self._running(node, before) and self.run(node, *PRIVATE_SOCKET, check=False).returncode == 0)
        self.run(node, "systemctl", "is-system-running", "--wait", check=False)  # degraded is an answer, too

    def _running(self, node: str, before: int) -> bool:
        assert self.keeper.poll() is None, f"the keeper of {self.directory} has ended"
        return self.pids().get(node, before) != before


PRIVATE_SOCKET = ("test", "-S", "/run/systemd/private")  # where systemctl reaches systemd


@contextmanager
def booted(name: str, nodes: int = 1, packages: Path | None = None) -> Iterator[Booted]:
    """So many nodes with this machine's files. With packages they have those, too, unpacked, and udev, which has to be among them.

    They end with the test, also when it is killed.
    """
    directory = f"{DIRECTORY}-{os.getpid()}-{name}"
    command = [sys.executable, __file__, directory, str(nodes), *([str(packages)] if packages else [])]
    # In a session of its own: what interrupts the tests must not end it before it has tidied up.
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=module_environment(), start_new_session=True) as keeper:
        try:
            lab = Booted(directory, keeper)
            for number in range(1, nodes + 1):
                lab.wait_for(f"node{number}")
            yield lab
        finally:
            assert keeper.stdin
            keeper.stdin.close()
            keeper.wait()
            take_away(directory)


def wait_until(condition: Callable[[], bool]) -> None:
    for _attempt in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about in a minute")


# --- the keeper -------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What of a node outlives its boots."""

    node: _lab.Node
    disk: Path
    cgroup: Path
    udev: bool


class Keeper:
    """All nodes of one test. Its own network namespace is the switch between them."""

    def __init__(self, directory: str, count: str, packages: str = "") -> None:
        self._switch = _lab.Record(_lab.Node(_lab.SWITCH), os.getpid(), _lab._start(os.getpid()))
        self._records: dict[str, _lab.Record] = {}
        self._running: dict[int, str] = {}  # by a descriptor of the process
        shared = _lab._hidden([str(CHECKOUT), sys.prefix, sys.base_prefix])
        nodes = [_lab.Node(f"node{n}", f"198.51.100.{n}/24", shared=shared) for n in range(1, int(count) + 1)]
        self._place = Path(directory)
        self._place.mkdir()
        self._public = f"/proc/self/fd/{os.open(directory, os.O_DIRECTORY)}"  # as others see the directory; ours holds the disks
        self._cgroup = make_place(self._place)
        self._machines = {node.name: Machine(node, self._place / node.name, self._cgroup / node.name, bool(packages)) for node in nodes}
        for machine in self._machines.values():
            make_disk(machine.disk, _lab._mark(directory), packages)

    def run(self) -> None:
        """Boot all nodes; then each that rebooted or that standard input names, until that ends."""
        try:
            self._boot(list(self._machines))
            while True:
                ready, _writable, _failed = select.select([0, *self._running], [], [])
                again = [name for name in map(self._ended, filter(None, ready)) if name]
                told = os.read(0, 1024).decode() if 0 in ready else " "
                if not told:
                    return
                self._boot([*again, *told.split()])
        finally:
            self._tidy()

    def _ended(self, descriptor: int) -> str:
        """The name of the node if it is to boot again."""
        os.close(descriptor)
        name = self._running.pop(descriptor)
        _pid, status = os.waitpid(self._records[name].pid, 0)
        # reboot(2): in another PID namespace than the first, a restart looks as if SIGHUP had ended its first process.
        return name if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP else ""

    def _boot(self, names: Sequence[str]) -> None:
        if not names:
            return
        first = not self._records
        born = {name: bear(self._machines[name]) for name in names}
        made = [record for record, _go in born.values()]
        _lab._wire([self._switch, *made], [self._switch, *made] if first else made)
        self._records.update({record.node.name: record for record in made})
        self._running.update({os.pidfd_open(record.pid): record.node.name for record in made})
        _lab._write(self._public, [self._switch, *self._records.values()])
        for _record, go in born.values():
            os.write(go, b".")
            os.close(go)

    def _tidy(self) -> None:
        for name in self._running.values():
            os.kill(self._records[name].pid, signal.SIGKILL)
            os.waitpid(self._records[name].pid, 0)
        remove_cgroup(self._cgroup)
        _lab._write(self._public, [])
        _lab._call("umount2", bytes(self._place), _lab.MNT_DETACH)
        self._place.rmdir()


def make_place(place: Path) -> Path:
    """A mount namespace with room for disks, which goes with its last process, and a cgroup, which does not."""
    _lab._call("unshare", _lab.CLONE_NEWNS | _lab.CLONE_NEWNET)
    _lab._mount(None, "/", flags=_lab.MS_REC | _lab.MS_PRIVATE)
    _lab._mount("tmpfs", str(place), "tmpfs", data="mode=755")
    tree = place / "cgroup"
    tree.mkdir()
    _lab._mount("cgroup2", str(tree), "cgroup2")
    for left in tree.glob(f"{CGROUP}-*"):  # of a keeper that was killed
        if not Path("/proc", left.name.rpartition("-")[2]).exists():
            remove_cgroup(left)
    return tree / f"{CGROUP}-{os.getpid()}"


def make_disk(disk: Path, mark: str, packages: str) -> None:
    """This machine's files, copied on write, as they were before anything was set up on it."""
    root = disk / "root"
    root.mkdir(parents=True)
    for layer in _lab.LAYERS:
        if layer != "/dev" and os.path.ismount(layer):
            upper, work = (disk / f"{layer[1:] or 'top'}.{kind}" for kind in ("upper", "work"))
            upper.mkdir()
            work.mkdir()
            _lab._mount(mark, f"{root}{layer}", "overlay", data=f"lowerdir={layer},upperdir={upper},workdir={work}")
    for pattern in [f"etc/{name}" for name in ETC] + [f"var/{name}" for name in VAR]:
        for path in glob.glob(f"{root}/{pattern}"):
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    if packages:
        subprocess.run(["cp", "--archive", f"{packages}/.", root], check=True)
    units = root / "etc/systemd/system"
    trigger = units / "systemd-udev-trigger.service.d"
    trigger.mkdir(parents=True)
    (trigger / "network.conf").write_text(TRIGGER)
    for unit in MASKED:
        (units / unit).symlink_to("/dev/null")
    (root / "etc/machine-id").unlink(missing_ok=True)  # a link, perhaps
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")  # without one, systemd would enable whatever is there


def bear(machine: Machine) -> tuple[_lab.Record, int]:
    """A node that is ready to boot, and the descriptor of what it waits for: its links."""
    remove_cgroup(machine.cgroup)  # what was in it has ended
    machine.cgroup.mkdir(parents=True)
    ready, tell = os.pipe()
    wait, go = os.pipe()
    with open("/proc/self/ns/pid", "rb") as own:
        _lab._call("unshare", _lab.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            os.close(go)
            live(machine, tell, wait)
        _lab._call("setns", own.fileno(), _lab.CLONE_NEWPID)
    os.close(tell)
    os.close(wait)
    with os.fdopen(ready) as answer:
        said = answer.read()
    assert said == ".", f"{machine.node.name}: {said or 'it ended while it was made'}"
    return _lab.Record(machine.node, pid, _lab._start(pid)), go


def live(machine: Machine, tell: int, wait: int) -> NoReturn:
    """From the fork to systemd. Whatever goes wrong on the way is told."""
    try:
        _lab._call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        settle(machine)
        os.write(tell, b".")
        os.close(tell)
        if os.read(wait, 1):
            for descriptor in (0, 1, 2):
                os.dup2(os.open("/dev/null", os.O_RDWR), descriptor)
            os.execve(SYSTEMD, [SYSTEMD], {**_lab.ENVIRONMENT, "container": "podnet"})  # https://systemd.io/CONTAINER_INTERFACE
    except OSError as error:
        os.write(tell, str(error).encode())
    finally:
        os._exit(1)


def settle(machine: Machine) -> None:
    os.setsid()
    os.umask(0o022)
    (machine.cgroup / "cgroup.procs").write_text("0")
    _lab._call("unshare", _lab.CLONE_NEWNS | _lab.CLONE_NEWUTS | _lab.CLONE_NEWIPC | _lab.CLONE_NEWNET | CLONE_NEWCGROUP)
    socket.sethostname(machine.node.name)
    new = not (machine.disk / "installed").exists()
    (machine.disk / "installed").touch()
    os.chdir(machine.disk / "root")
    _lab._mount("proc", "proc", "proc")
    _lab._mount("sysfs", "sys", "sysfs")
    _lab._mount("tmpfs", "run", "tmpfs", data="mode=755")
    _lab._mount("tmpfs", "tmp", "tmpfs", data="mode=1777")
    make_devices()
    for path in machine.node.shared:
        _lab._share(path)
    _lab._call("pivot_root", b".", b".")  # pivot_root(2): the old root is then mounted over the new one
    _lab._call("umount2", b".", _lab.MNT_DETACH)
    os.chdir("/")
    _lab._protect("/proc/sys", "/proc/sys/net")
    # udevd does not start, and nobody waits for it, where the filesystem at /sys is read-only (https://systemd.io/CONTAINER_INTERFACE).
    for path in [f"/sys/{name}" for name in os.listdir("/sys")] if machine.udev else ["/sys"]:
        _lab._protect(path, "/sys/devices/virtual/net")
    _lab._mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    if new:
        _lab._furnish(machine.node)
    _lab._stop_forwarding()


def make_devices() -> None:
    _lab._mount("tmpfs", "dev", "tmpfs", data="mode=755")
    for name in ("net", "pts", "shm", "mqueue"):
        os.mkdir(f"dev/{name}")
    for name, numbers in DEVICES.items():
        os.mknod(f"dev/{name}", 0o666 | stat.S_IFCHR, os.makedev(*numbers))
        os.chmod(f"dev/{name}", 0o666)
    for name, target in {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}.items():
        os.symlink(target, f"dev/{name}")
    _lab._mount("tmpfs", "dev/shm", "tmpfs", data="mode=1777")
    _lab._mount("devpts", "dev/pts", "devpts", data="newinstance,mode=620,ptmxmode=666")


def remove_cgroup(cgroup: Path) -> None:
    """With all below it. Its processes have ended; the kernel may not have noticed yet."""
    for directory, _below, _files in os.walk(cgroup, topdown=False):
        for _attempt in range(100):
            try:
                os.rmdir(directory)
                break
            except OSError:
                time.sleep(0.02)


if __name__ == "__main__":
    Keeper(*sys.argv[1:]).run()
