# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab: nodes that are namespaces of this machine, joined by a bridge. I/O: processes, mounts, links, the lab's directory."""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, refuse

DIRECTORY = "/run/podnet-lab"
SWITCH = "switch"
# Nodes share the machine's one table of neighbours (arp_tbl), with room for gc_thresh3; permanent ones do not count (neigh_alloc()).
FEW = 20
IPV6 = 6
PRIVATE = ("/run/", "/tmp/")  # empty in a node
LAYERS = ("/", "/dev", "/home", "/opt", "/srv", "/usr", "/var")  # copied on write, each where it is a mount of its own
# Of a machine that is a node itself.
LEFTOVERS = (
    "/etc/cni/net.d",
    "/etc/containerd",
    "/etc/crio",
    "/etc/kube-flannel",
    "/etc/podnet",
    "/var/lib/cni",
    "/var/lib/podnet",
    "/var/lib/podnet-boot",
    "/var/lib/podnet-ipv6",
)
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")  # RFC 1123, and 63 characters at most: uname(2) takes 64
PATH = re.compile(r"(/[\w.-]+)+")  # what stands as it is in mount options and in mountinfo
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

# linux/sched.h, linux/mount.h
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 1, 0x20, 0x1000, 0x4000, 0x40000, 0x100000
MNT_DETACH = 2


# --- what is wanted ---------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A node as it was asked for. The switch is one too, without an address: it has one in the network of each node."""

    name: str
    address: str = ""
    mtu: int = 1500
    shared: tuple[str, ...] = ()
    address6: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(address for address in (self.address, self.address6) if address)

    def __str__(self) -> str:
        return " ".join((self.name, *self.addresses, f"mtu {self.mtu}") if self.address else (self.name,))


@dataclass(frozen=True)
class Record:
    """A node that was made: its first process, with the time at which it started since PIDs are used again."""

    node: Node
    pid: int
    start: int

    @property
    def alive(self) -> bool:
        return _start(self.pid) == self.start


@dataclass(frozen=True)
class Step:
    """A node to make, or a record to take away."""

    node: Node
    record: Record | None = None

    @property
    def command(self) -> str:
        return f"lab: {'take away' if self.record else 'make'} {self.node}"

    @property
    def before(self) -> str:
        return str(self.node) if self.record else ""

    @property
    def after(self) -> str:
        return "" if self.record else str(self.node)


@dataclass(frozen=True)
class Lab:
    """All nodes of a lab, as a target for the engine: exactly the wanted ones shall run."""

    directory: str
    wanted: tuple[Node, ...]

    @property
    def name(self) -> str:
        return f"lab {self.directory}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory. Half-made nodes of a killed run hold it until they have ended: `_live`."""
        descriptor = _held(self.directory)
        try:
            yield
        finally:
            with suppress(OSError):  # not empty: the lab is there
                os.rmdir(self.directory)
            os.close(descriptor)

    def drift(self) -> Sequence[Step]:
        records = read(self.directory)
        records += _strays(self.directory, {record.pid for record in records})
        standing = {record.node for record in records if record.alive}
        if Node(SWITCH) not in standing:
            standing = set()  # a bridge that is gone took every link with it
        keep = standing.intersection(self.wanted)
        return [Step(record.node, record) for record in records if record.node not in keep or not record.alive] + [
            Step(node) for node in self.wanted if node not in keep
        ]

    def apply(self, changes: Sequence[Step]) -> None:
        doomed = [change.record for change in changes if change.record]
        kept = [record for record in read(self.directory) if record not in doomed]
        _end(doomed)
        _write(self.directory, kept)
        nodes = [change.node for change in changes if not change.record]
        if nodes:
            _make(self.directory, kept, nodes)

    def facts(self) -> dict[str, Any]:
        return {"nodes": [{"name": r.node.name, "address": r.node.address, "pid": r.pid} for r in nodes(self.directory)]}


def lab(parameters: dict[str, Any]) -> Lab:
    """The lab that a module's parameters ask for. Raises Refused."""
    directory = parameters["directory"]
    if not PATH.fullmatch(directory):
        raise refuse("lab", "directory", directory, "expected an absolute path of letters, digits and the characters . _ - /")
    if os.geteuid() != 0:
        raise Refused(f"lab {directory}: namespaces and mounts take root, and this is user {os.geteuid()}: run it as root.")
    if parameters["state"] == "absent":
        return Lab(directory, ())
    if not parameters["nodes"]:
        raise refuse("lab", "nodes", [], "expected at least one, or state absent")
    shared = _hidden(parameters["shared"])
    wanted = [_node(node, parameters["mtu"], shared) for node in parameters["nodes"]]
    _refuse_twice("name", [node.name for node in wanted])
    _refuse_twice("address", [address.partition("/")[0] for node in wanted for address in node.addresses])
    return Lab(directory, (Node(SWITCH), *wanted))


def _node(given: Mapping[str, Any], mtu: int, shared: tuple[str, ...]) -> Node:
    name, six = given["name"], given["address6"]
    if not NAME.fullmatch(name) or name == SWITCH:
        raise refuse(name, "name", name, f"expected a host name of at most 63 small letters, digits, dots and dashes, other than {SWITCH}")
    node = Node(name, _address(name, "address", given["address"]), mtu, shared, _address(name, "address6", six) if six else "")
    if six and (":" in node.address or ":" not in node.address6):
        raise refuse(name, "address6", six, "expected an IPv6 address beside an IPv4 one, such as 2001:db8::1/64")
    return node


def _address(name: str, what: str, address: str) -> str:
    try:
        interface = ipaddress.ip_interface(address)
    except ValueError:
        raise refuse(name, what, address, "expected an address and its prefix, such as 198.51.100.1/24") from None
    network = interface.network
    if not 0 < int(interface.ip) - int(network[0]) < network.num_addresses - 2:
        raise refuse(name, what, address, f"expected one of the hosts of {network} before the last, which is the switch's")
    return str(interface)


def _refuse_twice(what: str, values: Sequence[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise refuse("lab", what, value, "two nodes have it, and each needs its own")


def _hidden(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of the paths, and of where they lead, that a node would not see through its layers."""
    layers = {os.stat(layer).st_dev for layer in LAYERS if os.path.isdir(layer)}
    wanted = {form for path in paths for form in (path, os.path.realpath(path))}
    for path in wanted:
        if not os.path.exists(path):
            raise refuse("lab", "shared", path, "expected a path that exists")
    return tuple(sorted(path for path in wanted if path.startswith(PRIVATE) or os.stat(path).st_dev not in layers))


# --- what is there ----------------------------------------------------------


def read(directory: str) -> list[Record]:
    """What the lab's directory says was made; whether it still runs is another question."""
    try:
        with open(_document(directory), encoding="utf-8") as document:
            entries = json.load(document)
        return [_record(**entry) for entry in entries]
    except FileNotFoundError:
        return []
    except (TypeError, ValueError):
        raise Refused(f"{_document(directory)} is not the record of a lab: remove it; running nodes are found without it.") from None


def nodes(directory: str) -> list[Record]:
    """The nodes of a lab that runs, without the switch. One that died is among them: it is unreachable, not gone."""
    records = read(directory)
    return [record for record in records if record.node.name != SWITCH] if any(record.alive for record in records) else []


def _record(pid: int, start: int, shared: Sequence[str], **node: Any) -> Record:
    return Record(Node(shared=tuple(shared), **node), pid, start)


def _write(directory: str, records: Sequence[Record]) -> None:
    document = _document(directory)
    if not records:
        with suppress(FileNotFoundError):
            os.unlink(document)
        return
    entries = [{**asdict(record.node), "pid": record.pid, "start": record.start} for record in records]
    with open(f"{document}.new", "w", encoding="utf-8") as new:
        json.dump(entries, new)
    os.replace(new.name, document)


def _document(directory: str) -> str:
    return f"{directory}/lab.json"


def _start(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 if it is gone or a zombie. proc(5): starttime is field 22, state 3."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _strays(directory: str, known: set[int]) -> list[Record]:
    """Nodes that no record knows, by the name that their root is mounted under: somebody removed the record."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [Record(Node(f"stray process {pid}"), pid, _start(pid)) for pid in pids if pid not in known and _first_of(directory, pid)]


def _first_of(directory: str, pid: int) -> bool:
    """Whether a process is PID 1 of a node: NSpid has its PID here and in its own namespace, mountinfo the source of its root."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            inner = next((line.split()[2:] for line in status if line.startswith("NSpid:")), [])
        if inner != ["1"]:
            return False
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as mounts:
            return any(" / / " in line and line.split(" - ")[1].split()[1] == _mark(directory) for line in mounts)
    except OSError:  # it ended meanwhile
        return False


def _mark(directory: str) -> str:
    return f"podnet-lab:{directory}"


def _held(directory: str) -> int:
    """An exclusive flock on the directory, as it stands at that path: the run before may have removed it."""
    while True:
        os.makedirs(directory, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(directory)):
                with suppress(FileNotFoundError):
                    os.unlink(f"{_document(directory)}.new")
                return descriptor
        os.close(descriptor)


# --- making and ending ------------------------------------------------------


def _end(records: Iterable[Record]) -> None:
    """Kill the nodes and wait. The kernel ends what runs in them, and takes their mounts and links away."""
    for record in records:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(record.pid)
            if record.alive:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                select.select([descriptor], [], [])
            os.close(descriptor)


def _make(directory: str, kept: Sequence[Record], wanted: Sequence[Node]) -> None:
    """Make nodes beside those that are kept. They live on only once they are recorded: a run that is killed leaves none."""
    ready, tell = os.pipe()
    go, send = os.pipe()
    with os.fdopen(ready, encoding="utf-8") as answers, os.fdopen(send, "wb", 0) as start:
        made = [_bear(directory, node, tell, go, (ready, send)) for node in wanted]
        os.close(tell)
        os.close(go)
        said = answers.read().splitlines()
        if any(said) or len(said) < len(made):
            raise Failed(f"lab {directory}: {'; '.join(filter(None, said)) or 'a node ended while it was made'}.")
        _wire([*kept, *made], made)
        _write(directory, [*kept, *made])
        start.write(b"." * len(made))  # one for each; its end closed alone means that the maker is gone


def _bear(directory: str, node: Node, tell: int, go: int, others: Iterable[int]) -> Record:
    with open("/proc/self/ns/pid", "rb") as own:
        _call("unshare", CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            for descriptor in others:
                os.close(descriptor)
            _live(directory, node, tell, go)
        _call("setns", own.fileno(), CLONE_NEWPID)  # a second unshare would be EINVAL: copy_pid_ns
    return Record(node, pid, _start(pid))


def _live(directory: str, node: Node, tell: int, go: int) -> NoReturn:
    """The life of a node's first process. Until `go` it holds the lab's lock, and ends when its maker does."""
    try:
        answer = ""
        try:
            _settle(directory, node)
        except OSError as error:
            answer = f"{node.name}: {error}"
        os.write(tell, f"{answer}\n".encode())
        os.close(tell)
        if os.read(go, 1) and not answer:
            _reign()
    finally:
        os._exit(1)


def _settle(directory: str, node: Node) -> None:
    os.setsid()
    os.umask(0o022)
    _call("unshare", CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET)
    socket.sethostname(node.name)
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(f"lab-{node.name}"[:15])
    _build_root(directory, node.shared)
    _furnish(node)


def _furnish(node: Node) -> None:
    """What a machine fresh from its installation has, in place of what this machine has become."""
    for path in LEFTOVERS:
        shutil.rmtree(path, ignore_errors=True)
    _stop_forwarding()
    with open("/etc/hostname", "w", encoding="ascii") as hostname:
        hostname.write(f"{node.name}\n")
    with open("/etc/hosts", "w", encoding="ascii") as hosts:  # else facts and sudo ask a name server
        hosts.write("127.0.0.1 localhost\n::1 localhost\n")
        hosts.writelines(f"{address.partition('/')[0]} {node.name}\n" for address in node.addresses or ("127.0.1.1",))


def _stop_forwarding() -> None:
    """A new network namespace has the IPv4 settings of the machine (inetdev_init_net), which may be a router."""
    for forwarding in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        with suppress(FileNotFoundError), open(f"/proc/sys/net/{forwarding}", "w", encoding="ascii") as sysctl:
            sysctl.write("0")


def _build_root(directory: str, shared: Iterable[str]) -> None:
    """Put a private copy-on-write view of the machine in place of it. Its tmpfs has no path any more once the old root is gone."""
    _mount(None, "/", flags=MS_REC | MS_PRIVATE)
    _mount("tmpfs", directory, "tmpfs", data="mode=755")
    os.chdir(directory)
    os.mkdir("root")
    for layer in LAYERS:
        if os.path.ismount(layer):
            _layer(_mark(directory), layer)
    os.chdir("root")
    _mount("proc", "proc", "proc")
    _mount("sysfs", "sys", "sysfs")
    _mount("tmpfs", "run", "tmpfs", data="mode=755")
    _mount("tmpfs", "tmp", "tmpfs", data="mode=1777")
    _mount("tmpfs", "dev/shm", "tmpfs", data="mode=1777")
    _mount("devpts", "dev/pts", "devpts", data="newinstance,mode=620,ptmxmode=666")
    for path in shared:
        _share(path)
    _call("pivot_root", b".", b".")  # pivot_root(2): the old root is then mounted over the new one
    _call("umount2", b".", MNT_DETACH)
    os.chdir("/")
    _protect("/proc/sys", "/proc/sys/net")
    _protect("/sys", "/sys/devices/virtual/net")
    _mount(None, "/", flags=MS_REC | MS_SHARED)  # as systemd leaves it


def _layer(mark: str, lower: str) -> None:
    part = lower[1:] or "top"
    os.mkdir(f"{part}.upper")
    os.mkdir(f"{part}.work")
    _mount(mark, f"root{lower}", "overlay", data=f"lowerdir={lower},upperdir={part}.upper,workdir={part}.work")


def _share(path: str) -> None:
    inside = path[1:]
    if os.path.isdir(path):
        os.makedirs(inside, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(inside), exist_ok=True)
        with open(inside, "a", encoding="ascii"):
            pass
    _mount(path, inside, flags=MS_BIND | MS_REC)
    _mount(None, inside, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def _protect(path: str, but: str) -> None:
    """Make read-only what belongs to the whole machine, but for the part that belongs to the network namespace."""
    _mount(path, path, flags=MS_BIND)
    _mount(None, path, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)
    _mount(but, but, flags=MS_BIND)
    _mount(None, but, flags=MS_REMOUNT | MS_BIND)


def _reign() -> None:
    """Do what a first process must: end when told (it has to ask for that, pid_namespaces(7)), and leave no zombies (wait(2), NOTES)."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own
            os.close(int(descriptor))
    for _turn in "input", "output", "errors":
        os.open("/dev/null", os.O_RDWR)
    while True:
        signal.pause()


def _wire(records: Sequence[Record], made: Sequence[Record]) -> None:
    """Give the new ones their links: from inside the switch, with the other end in the node, so that the machine never has them."""
    switch = next(record for record in records if record.node.name == SWITCH)
    if switch in made:
        _ip(switch, ["link set lo up", "link add br0 type bridge", "link set br0 up"])
    made = [record for record in made if record != switch]
    _ip(switch, [line for record in made for line in _port(record)])
    for record in made:
        _ip(record, _interface(record.node))
    nodes = [record for record in records if record != switch]
    if made and len(nodes) > FEW:
        for record in nodes:
            _ip(record, [line for other in nodes if other != record for line in _known(other.node)])


def _port(record: Record) -> list[str]:
    """Commands for the switch. The port is named by the PID: a former port of the same node may take its time to go."""
    networks = [ipaddress.ip_interface(address).network for address in record.node.addresses]
    mtu, pid = record.node.mtu, record.pid
    return [
        *(f"address replace {network[-2]}/{network.prefixlen} dev br0 nodad" for network in networks),
        f"link add port{pid} mtu {mtu} master br0 up type veth peer name eth0 mtu {mtu} address {_mac(record.node)} netns {pid}",
    ]


def _interface(node: Node) -> list[str]:
    gateways = [ipaddress.ip_interface(address).network[-2] for address in node.addresses]
    return [
        "link set lo up",
        *(f"address add {address} dev eth0 nodad" for address in node.addresses),
        "link set eth0 up",
        *(f"route add {'::/0' if gateway.version == IPV6 else 'default'} via {gateway}" for gateway in gateways),
    ]


def _mac(node: Node) -> str:
    """Follows from the node's first address: 02:04 or 02:06 and its last four bytes."""
    address = ipaddress.ip_interface(node.addresses[0]).ip
    return ":".join(f"{byte:02x}" for byte in (2, address.version, *address.packed[-4:]))


def _known(node: Node) -> list[str]:
    """Commands for the others: who is known need not be asked for by ARP, and takes no room in the table."""
    addresses = (address.partition("/")[0] for address in node.addresses)
    return [f"neigh replace {address} lladdr {_mac(node)} dev eth0 nud permanent" for address in addresses]


def _ip(record: Record, lines: Sequence[str]) -> None:
    """Run the commands in the network namespace of a node, or of the switch: one process for them all."""
    command = ["nsenter", f"--net=/proc/{record.pid}/ns/net", "ip", "-batch", "-"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode:
        raise Failed(f"{record.node.name}: {'; '.join(lines)}: {done.stderr.strip()}")


# --- system calls -----------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> int:
    result: int = _libc[name](*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"{name}{arguments}")
    return result


def _mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    _call("mount", *(text.encode() if text else None for text in (source, target, kind)), ctypes.c_ulong(flags), data.encode())


def open_inside(record: Record, path: str, flags: int) -> int:
    """Open a file as the node itself would, a new one for its owner only. Raises OSError.

    openat2(2) with RESOLVE_IN_ROOT: an absolute link in the node leads to where it leads there, not out to the machine.
    """
    mode = 0o600 if flags & os.O_CREAT else 0  # else EINVAL
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, mode, 0x10)
    root = os.open(f"/proc/{record.pid}/root", os.O_PATH | os.O_DIRECTORY)
    try:
        return _call("syscall", 437, root, path.encode(), ctypes.byref(how), ctypes.sizeof(how))
    finally:
        os.close(root)
