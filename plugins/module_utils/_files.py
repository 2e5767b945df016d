# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One text file as a target, and how a file is written so that a reader finds the old text or the new one, whole. Does I/O."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock

# A temporary file is called `.<name>.podnet-<random>`. It must not end as the file does: container runtimes load every
# *.conf, *.conflist and *.json of their directory (libcni, ConfFiles), a half-written one too.
TEMPORARY = ".podnet-"
# Lies in each directory that we made, so that `state: absent` takes away those and no others. Container runtimes read no such name,
# but for CRI-O, which reads each file of crio.conf.d (UpdateFromPath): to it the text is a comment.
MARKER = ".made-by-podnet"
PERMISSIONS = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO


class Step(NamedTuple):
    """A change of the file system: the text a person would type for it, what `--diff` shows, and what does it."""

    command: str
    before: str
    after: str
    act: Callable[[], None]


class TextFile:
    """The file at `path` holds exactly `text`, with this mode, and is ours; or is not there, when `text` is None.

    `over` is what it may be written over: True for anything, False for nothing, or a text.
    Directories that are missing are made with mode 0755, the one that holds the file with `directory_mode`.
    """

    def __init__(self, path: str, text: str | None, mode: int, directory_mode: int = 0o755, *, over: str | bool = True) -> None:
        self.name = path
        self.text = text
        self.mode = mode
        self.directory_mode = directory_mode
        self.over = over

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self, beside: Iterable[str] = ()) -> list[Step]:
        """What is still to be done. `beside` are the files of its directory that go when it does."""
        refuse_link(self.name)
        refuse_link(os.path.dirname(self.name))
        return self._removal(beside) if self.text is None else self._arrival(self.text)

    def apply(self, changes: Sequence[Step]) -> None:
        take(changes)

    def facts(self) -> dict[str, Any]:
        return {"path": self.name}

    def _arrival(self, text: str) -> list[Step]:
        old, new = _look(self.name), _Content(text.encode(), self.mode, os.geteuid(), os.getegid())
        if isinstance(self.over, str) and (old is None or old.data not in (self.over.encode(), new.data)):
            raise Refused(f"{self.name} is not what it was when it was read, since somebody else writes it, too: run this again.")
        steps = [*self._directories(), *_leftover_steps(self.name)]
        if old is None or (old != new and self.over is not False):
            command = f"install -m {self.mode:04o} /dev/stdin {self.name}"
            before, after = _before_and_after(old, new)
            steps.append(Step(command, before, after, partial(write_atomically, self.name, text, self.mode)))
        return steps

    def _directories(self) -> Iterator[Step]:
        directory = os.path.dirname(self.name)
        for missing in _missing(directory):
            mode = self.directory_mode if missing == directory else 0o755
            yield Step(f"install -d -m {mode:04o} {missing}", "", f"{missing}/", partial(_make_directory, missing, mode))

    def _removal(self, beside: Iterable[str]) -> list[Step]:
        old = _look(self.name)
        steps = [step for path in _upwards(self.name) for step in _leftover_steps(path)]
        if old is not None:
            steps.append(Step(f"rm {self.name}", old.shown(attributes=False), "", partial(os.unlink, self.name)))
        empty = _emptied(self.name, beside)
        steps += [Step(f"rmdir {directory}", f"{directory}/", "", partial(_remove_directory, directory)) for directory in empty]
        return steps


class TextFiles:
    """Several files as one target."""

    def __init__(self, files: Sequence[TextFile]) -> None:
        self.name = ", ".join(file.name for file in files)
        self._files = files

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Step]:
        steps = {step.command: step for file in self._files for step in file.drift(self._beside(file))}  # a directory is made once
        return sorted(steps.values(), key=lambda step: step.command.startswith("rmdir "))  # and goes after all of its files

    def _beside(self, file: TextFile) -> list[str]:
        return [other.name for other in self._files if os.path.dirname(other.name) == os.path.dirname(file.name)]

    def apply(self, changes: Sequence[Step]) -> None:
        take(changes)

    def facts(self) -> dict[str, Any]:
        return {}


def files_target(node: str, options: dict[str, Any]) -> TextFiles:
    """The target of `node_files`."""
    present, paths = options["state"] == "present", [file["path"] for file in options["files"]]
    for file in options["files"]:
        path = file["path"]
        if not os.path.isabs(path) or "\0" in path:
            raise refuse(node, "path", path, "expected an absolute path")
        if paths.count(path) > 1:
            raise refuse(node, "path", path, "it is there twice, and a file has one text")
        if present and file["content"] is None:
            raise refuse(node, "content", "missing", f"{path} needs the text that it is to hold")
    return TextFiles([_text_file(node, file, present=present) for file in options["files"]])


def _text_file(node: str, file: dict[str, Any], *, present: bool) -> TextFile:
    text, mode = file["content"] if present else None, file_mode(file["mode"], node)
    return TextFile(file["path"], text, mode, over=not file["once"] if file.get("was") is None else file["was"])


def write_atomically(path: str, text: str, mode: int) -> None:
    """Make the file at `path` hold `text`; the caller holds whatever lock keeps other writers of this path away.

    Raises Refused for a symbolic link, Failed when the system refuses; the old file is then as it was, and no other is left.
    """
    refuse_link(path)
    temporary = f"{_hidden_stem(path)}{os.urandom(4).hex()}"
    with _worded(path, "written"):
        try:
            for leftover in _leftovers(path):
                os.unlink(leftover)
            _write(temporary, text, mode)
            os.rename(temporary, path)
            _sync(_directory(path))
        finally:
            with suppress(OSError):
                os.unlink(temporary)


def take(steps: Sequence[Step]) -> None:
    """Take the steps in order; neighbours with the same act are one. Raises Failed, with the commands that had taken effect."""
    done: list[str] = []
    for act, group in groupby(steps, key=lambda step: step.act):
        commands = [step.command for step in group]
        try:
            with _worded("; ".join(commands), "done"):
                act()
        except Failed as error:
            raise Failed(str(error), done) from error
        done += commands


def refuse_link(path: str) -> None:
    """A link may have been placed there to have us write elsewhere (rename(2) would replace it, and break what it was for)."""
    if os.path.islink(path):
        raise Refused(f"{path} is a symbolic link to {os.readlink(path)}, which is not followed: name the path that it points to.")


def file_mode(value: Any, who: str) -> int:
    """Read a mode as Ansible's own file modules do: text is octal, a number is what YAML made of it."""
    try:
        mode = value if isinstance(value, int) else int(value.encode("ascii"), 8)
    except (AttributeError, ValueError):
        mode = -1
    if mode < 0 or mode & ~PERMISSIONS:
        raise refuse(who, "mode", repr(value), "an octal number between quotes would be accepted, such as '0600'")
    return mode


def make_directories(path: str) -> None:
    """Make the directory with those above it that are missing, marked as ours."""
    for missing in _missing(path):
        _make_directory(missing, 0o755)


class _Content(NamedTuple):
    data: bytes
    mode: int
    owner: int
    group: int

    def shown(self, *, attributes: bool) -> str:
        text = self.data.decode("utf-8", "backslashreplace").rstrip("\n")
        return f"(mode {self.mode:04o}, owner {self.owner}:{self.group})\n{text}" if attributes else text


def _look(path: str) -> _Content | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{path} is there already and is not a regular file: remove it, or name another path.")
    with open(path, "rb") as file:
        return _Content(file.read(), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def _before_and_after(old: _Content | None, new: _Content) -> tuple[str, str]:
    if old is None:
        return "", new.shown(attributes=False)
    attributes = old._replace(data=b"") != new._replace(data=b"")
    return old.shown(attributes=attributes), new.shown(attributes=attributes)


def _write(path: str, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8", newline="") as file:
        os.fchown(descriptor, os.geteuid(), os.getegid())  # a set-group-id directory would give its own group
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _sync(directory: str) -> None:
    """Without this the rename itself may be lost with the power (fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _directory(path: str) -> str:
    return os.path.dirname(path) or "."


def _hidden_stem(path: str) -> str:
    return os.path.join(_directory(path), f".{os.path.basename(path)}{TEMPORARY}")


def _leftovers(path: str) -> list[str]:
    """Temporary files of runs that were killed while they wrote `path`."""
    directory, stem = os.path.split(_hidden_stem(path))
    if not os.path.isdir(directory):
        return []
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory)) if name.startswith(stem)]


def _leftover_steps(path: str) -> Iterator[Step]:
    for leftover in _leftovers(path):
        if not _claims(leftover, path):
            command = f"rm {'-r ' if os.path.isdir(leftover) else ''}{leftover}"
            yield Step(command, leftover, "", partial(_discard, leftover))


def _claims(leftover: str, path: str) -> bool:
    """Whether it is the mark of the directory `path`, on the way out: it goes with that."""
    return leftover == _hidden_stem(path) and os.path.isfile(leftover) and os.path.isdir(path)


def _discard(path: str) -> None:
    with suppress(FileNotFoundError):
        if os.path.isdir(path):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(path, MARKER))
            os.rmdir(path)
        else:
            os.unlink(path)


def _upwards(path: str) -> Iterator[str]:
    """The path, and the directories above it."""
    yield path
    if os.path.dirname(path) not in ("", path):
        yield from _upwards(os.path.dirname(path))


def _missing(directory: str) -> list[str]:
    """Which directories have to be made for `directory` to be there, outermost first."""
    if not directory or os.path.isdir(directory):
        return []
    return [*_missing(os.path.dirname(directory)), directory]


def _make_directory(path: str, mode: int) -> None:
    """Make it elsewhere and rename it: a run that is killed leaves none of another mode, or without its mark, in its place."""
    temporary = _hidden_stem(path)
    with suppress(FileExistsError):  # of a run that was killed
        os.mkdir(temporary, 0o700)
    os.chmod(temporary, mode)  # not the argument of mkdir: that is cut by the umask
    _mark(temporary)
    os.rename(temporary, path)
    _sync(_directory(path))


def _mark(directory: str) -> None:
    descriptor = os.open(os.path.join(directory, MARKER), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write("# podnet.baremetal made this directory, and removes it with the last of its files.\n")


def _emptied(path: str, beside: Iterable[str]) -> Iterator[str]:
    """The directories above the path that we made and that hold nothing more once it has left with those beside it, innermost first."""
    gone = {each for file in (path, *beside) for above in _upwards(file) for each in (above, *_leftovers(above))}
    for directory in filter(os.path.isdir, _upwards(os.path.dirname(path))):
        left = {name for name in os.listdir(directory) if os.path.join(directory, name) not in gone}
        if left != {MARKER} and (left or not os.path.isfile(_hidden_stem(directory))):
            return
        yield directory


def _remove_directory(path: str) -> None:
    """Its mark waits beside it, so that a run which is killed leaves no directory of which nobody knows whose it is."""
    mark, claim = os.path.join(path, MARKER), _hidden_stem(path)
    with suppress(FileNotFoundError):  # of a run that was killed
        os.rename(mark, claim)
    try:
        os.rmdir(path)
    except OSError:  # somebody put a file there in between: it stays ours to remove later
        os.rename(claim, mark)
        raise
    os.unlink(claim)


@contextmanager
def _worded(thing: str, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(f"{thing}: cannot be {verb}: {error.strerror}.") from error
