# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One text file: what a reader sees while it is written, and what is left when the system refuses or the writer is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.podnet.baremetal.plugins.module_utils._converge import converge
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused
from ansible_collections.podnet.baremetal.plugins.module_utils._files import TextFile, file_mode, files_target, write_atomically
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock

CLONE_NEWNS = 0x00020000  # linux/sched.h
OLD, NEW = "old\n" * 4000, "new\n" * 5000
READ_BY_RUNTIMES = (".conf", ".conflist", ".json")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "10-flannel.conflist"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Calls a function of this file in a process whose mounts are its own, with a small file system at the path that it is given."""

    def call(function: Callable[[Path], Any]) -> Any:
        with ProcessPoolExecutor(1, mp_context=get_context("fork"), initializer=mount_small, initargs=(tmp_path,)) as process:
            return process.submit(function, tmp_path / "10-flannel.conflist").result()

    yield call
    assert os.listdir(tmp_path) == []


def mount_small(directory: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNS) == 0
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", directory], check=True)


def wanted(path: Path, text: str | None, mode: int = 0o600) -> TextFile:
    return TextFile(str(path), text, mode, directory_mode=0o700)


def commands(path: Path, text: str | None, *, check: bool = False) -> list[str]:
    return [change.command for change in converge(wanted(path, text), check=check).changes]


def test_a_file_is_made_changed_and_removed_and_each_time_only_once(path: Path) -> None:
    for text, command in ((OLD, "install"), (NEW, "install"), (None, "rm")):
        before = path.read_text() if path.exists() else None
        promised = commands(path, text, check=True)
        assert (path.read_text() if path.exists() else None) == before
        assert commands(path, text) == promised
        assert [words.split()[0] for words in promised] == [command]
        assert (path.read_text() if path.exists() else None) == text
        assert commands(path, text) == []


def test_the_diff_is_the_old_text_and_the_new(path: Path) -> None:
    path.write_text("old\n")
    path.chmod(0o600)
    diff = converge(wanted(path, "new\n"), check=True).result(diff=True)["diff"]
    assert (diff["before"], diff["after"]) == ("old\n", "new\n")


def test_a_mode_that_is_too_open_is_put_right_and_shown(path: Path) -> None:
    path.write_text(NEW)
    path.chmod(0o644)
    (change,) = converge(wanted(path, NEW), check=False).changes
    assert change.before.startswith("(mode 0644, owner 0:0)\n")
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_owner_that_is_not_us_is_put_right(path: Path) -> None:
    path.write_text(NEW)
    os.chown(path, 65534, 65534)
    converge(wanted(path, NEW), check=False)
    assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())


def test_the_mode_is_exact_whatever_the_umask(path: Path) -> None:
    before = os.umask(0o277)
    try:
        commands(path.parent / "cni" / "net.d" / path.name, NEW)
    finally:
        os.umask(before)
    modes = [(path.parent / name).stat().st_mode & 0o777 for name in ("cni", "cni/net.d", f"cni/net.d/{path.name}")]
    assert modes == [0o755, 0o700, 0o600]


def test_a_file_that_is_to_be_written_once_is_left_as_it_is_until_it_is_removed(path: Path) -> None:
    assert commands_once(path, OLD) == [f"install -m 0600 /dev/stdin {path}"]
    path.chmod(0o640)
    assert commands_once(path, NEW) == []
    assert (path.read_text(), path.stat().st_mode & 0o777) == (OLD, 0o640)
    assert commands_once(path, None) == [f"rm {path}"]
    path.write_text("")
    assert commands_once(path, NEW) == [], "an empty one is there as well"
    path.unlink()
    assert commands_once(path, NEW) == [f"install -m 0600 /dev/stdin {path}"]
    assert path.read_text() == NEW


def test_files_of_one_directory_make_it_once_and_leave_it_together(path: Path) -> None:
    directory = path.parent / "network"
    both = [directory / "a.link", directory / "b.network"]
    making = [f"install -d -m 0755 {directory}", *(f"install -m 0600 /dev/stdin {each}" for each in both)]
    assert commands_of(both, NEW) == making
    assert commands_of(both, None) == [*(f"rm {each}" for each in both), f"rmdir {directory}"]
    for gone in both:
        commands_of(both, NEW)
        gone.unlink()
        assert commands_of(both, None) == [*(f"rm {each}" for each in both if each != gone), f"rmdir {directory}"]
    assert os.listdir(path.parent) == []


def commands_once(path: Path, text: str | None) -> list[str]:
    return commands_of([path], text)


def commands_of(paths: list[Path], text: str | None) -> list[str]:
    """What node_files does, and before that says in check mode."""
    files = [{"path": str(path), "content": text, "mode": "0600", "once": True} for path in paths]
    target = files_target("node1", {"files": files, "state": "absent" if text is None else "present"})
    promised, done = ([change.command for change in converge(target, check=check).changes] for check in (True, False))
    assert done == promised
    return done


def test_directories_that_we_made_leave_with_the_file(path: Path) -> None:
    deep = path.parent / "cni" / "net.d" / path.name
    assert [command.split()[0] for command in commands(deep, NEW)] == ["install", "install", "install"]
    assert [name for name in os.listdir(deep.parent) if name.endswith(READ_BY_RUNTIMES)] == [deep.name]
    assert commands(deep, None) == [f"rm {deep}", f"rmdir {deep.parent}", f"rmdir {deep.parent.parent}"]
    assert os.listdir(path.parent) == []


def test_a_directory_with_somebody_elses_file_stays_and_leaves_with_it(path: Path) -> None:
    deep = path.parent / "net.d" / path.name
    commands(deep, NEW)
    foreign = deep.parent / "87-podman.conflist"
    foreign.write_text("theirs")
    assert commands(deep, None) == [f"rm {deep}"]
    assert foreign.read_text() == "theirs"
    foreign.unlink()
    assert commands(deep, None) == [f"rmdir {deep.parent}"]


def test_an_empty_directory_that_we_did_not_make_stays(path: Path) -> None:
    deep = path.parent / "net.d" / path.name
    deep.parent.mkdir()
    commands(deep, NEW)
    assert commands(deep, None) == [f"rm {deep}"]
    assert os.listdir(deep.parent) == []


def test_a_symbolic_link_is_refused_at_the_file_and_at_its_directory(path: Path) -> None:
    target = path.parent / "passwd"
    target.write_text("theirs")
    path.symlink_to(target)
    with pytest.raises(Refused, match=f"^{path} is a symbolic link to {target}, which is not followed"):
        commands(path, NEW)
    with pytest.raises(Refused, match="symbolic link"):
        write_atomically(str(path), NEW, 0o600)
    linked = path.parent / "linked"
    linked.symlink_to(path.parent)
    with pytest.raises(Refused, match=f"^{linked} is a symbolic link"):
        commands(linked / "x.conflist", NEW)
    assert target.read_text() == "theirs"


def test_a_directory_or_a_pipe_in_the_place_of_the_file_is_refused(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(Refused, match="is not a regular file"):
        commands(path, NEW)


def test_bytes_that_are_not_text_are_shown_and_replaced(path: Path) -> None:
    path.write_bytes(b"\xff\x00{")
    path.chmod(0o600)
    (change,) = converge(wanted(path, NEW), check=False).changes
    assert change.before == "\\xff\x00{"
    assert path.read_text() == NEW


def test_a_full_disk_leaves_the_old_file_and_nothing_else(elsewhere: Callable[..., Any]) -> None:
    elsewhere(fill_the_disk)


def fill_the_disk(path: Path) -> None:
    commands(path, OLD)
    with pytest.raises(Failed, match=f"^{path}: cannot be written: No space left on device"):
        commands(path, "x" * 200_000)
    assert path.read_text() == OLD
    assert os.listdir(path.parent) == [path.name]
    assert commands(path, NEW)


def test_a_read_only_file_system_leaves_the_old_file_and_says_so(elsewhere: Callable[..., Any]) -> None:
    elsewhere(write_read_only)


def write_read_only(path: Path) -> None:
    commands(path, OLD)
    subprocess.run(["mount", "-o", "remount,ro", path.parent], check=True)
    for text in (NEW, None):
        with pytest.raises(Failed, match="Read-only file system"):
            commands(path, text)
    with pytest.raises(Failed, match=f"^install -d -m 0700 {path.parent}/net.d: cannot be done: Read-only file system"):
        commands(path.parent / "net.d" / path.name, NEW)
    assert path.read_text() == OLD


def test_a_reader_never_sees_half_a_file_or_another_name(elsewhere: Callable[..., Any]) -> None:
    reads, bad = elsewhere(read_while_writing)
    assert bad == []
    assert reads > 0


def read_while_writing(path: Path) -> tuple[int, list[str]]:
    write_atomically(str(path), OLD, 0o600)
    over = threading.Event()
    bad: list[str] = []
    reads = [0]

    def read() -> None:
        while not over.is_set():
            names = {name for name in os.listdir(path.parent) if name.endswith(READ_BY_RUNTIMES)}
            text = path.read_text()
            if names != {path.name} or text not in (OLD, NEW):
                bad.append(f"{names} {len(text)}")
            reads[0] += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(2000):
            write_atomically(str(path), (OLD, NEW)[number % 2], 0o600)
    finally:
        over.set()
        reader.join()
    return reads[0], bad


@pytest.mark.parametrize("text", [NEW, None])
def test_a_run_killed_at_any_step_leaves_the_old_or_the_new_file_and_the_next_run_finishes(
    elsewhere: Callable[..., Any], text: str | None
) -> None:
    steps = elsewhere(kill_when_writing if text else kill_when_removing)
    assert steps > 5  # or nobody was killed


def kill_when_writing(path: Path) -> int:
    return kill_at_each_step(path, OLD, NEW) + kill_at_each_step(path.parent / "cni" / "net.d" / path.name, None, NEW)


def kill_when_removing(path: Path) -> int:
    return kill_at_each_step(path.parent / "cni" / "net.d" / path.name, NEW, None)


def kill_at_each_step(path: Path, old: str | None, new: str | None) -> int:
    """How many steps there were to be killed at."""
    for step in range(1000):
        converge(wanted(path, old), check=False)
        killed = run_and_die(path, new, step)
        assert (path.read_text() if path.exists() else None) in (old, new)
        converge(wanted(path, new), check=False)
        assert (path.read_text() if path.exists() else None) == new
        if path.exists():
            assert {name for name in os.listdir(path.parent) if name != ".made-by-podnet"} == {path.name}
        if not killed:
            return step
    raise AssertionError("the run never ended")


def run_and_die(path: Path, text: str | None, step: int) -> bool:
    """Converge in a process that is killed when it asks the system for its `step`th thing (sys.audit events come before the call)."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = [step]

    def die(event: str, _arguments: tuple[Any, ...]) -> None:
        left[0] -= event == "open" or event.startswith("os.")
        if left[0] == -1:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die)
    try:
        converge(wanted(path, text), check=False)
    finally:
        os._exit(0)


def test_leftovers_of_a_killed_run_go_even_when_the_file_is_right(path: Path) -> None:
    commands(path, NEW)
    leftover = path.parent / f".{path.name}.podnet-0123abcd"
    leftover.write_text("half")
    assert commands(path, NEW) == [f"rm {leftover}"]
    assert os.listdir(path.parent) == [path.name]


def test_leftovers_go_with_the_next_write_and_other_files_stay(path: Path) -> None:
    for name in (f".{path.name}.podnet-0123abcd", f".{path.name}.swp", ".20-other.conflist.podnet-0123abcd"):
        (path.parent / name).write_text("half")
    write_atomically(str(path), NEW, 0o600)
    assert sorted(os.listdir(path.parent)) == [f".{path.name}.swp", ".20-other.conflist.podnet-0123abcd", path.name]


def test_a_second_run_waits_for_the_first_and_a_dead_one_holds_nobody() -> None:
    child = os.fork()
    if not child:
        with node_lock():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    entered = threading.Event()
    with node_lock():
        waiter = threading.Thread(target=lambda: enter_the_lock(entered))
        waiter.start()
        assert not entered.wait(0.2)
    waiter.join()
    assert entered.is_set()


def enter_the_lock(entered: threading.Event) -> None:
    with node_lock():
        entered.set()


@pytest.mark.parametrize(("value", "mode"), [("0600", 0o600), ("600", 0o600), (0o600, 0o600), ("0o644", 0o644)])
def test_a_mode_is_read_as_ansibles_own_modules_read_it(value: Any, mode: int) -> None:
    assert file_mode(value, "node1") == mode


@pytest.mark.parametrize("value", ["u=rw", "9", "", None, "01777", 4095, -1])
def test_a_mode_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(Refused, match=r"^node1: mode is .*: an octal number between quotes"):
        file_mode(value, "node1")
