# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration files of a container runtime on a node: read, and with a file of ours among them as a target. Does I/O."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from glob import glob
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._files import Step, TextFile, take
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock
from ansible_collections.podnet.baremetal.plugins.module_utils._runtime import (
    CONTAINERD,
    RUNTIMES,
    File,
    Runtime,
    config_version,
    decides,
    drop_in,
    imports,
    looked_up,
    serves_pods,
    with_import,
    without_import,
)

PATH = re.compile(r"(/[\w.@+-]+)+")  # what stands as it is between quotes
MODE = 0o600


class RuntimeFiles:
    """The runtime looks in these directories; by a drop-in of ours where its own files do not say so, or `absent` without it."""

    def __init__(self, node: str, runtime: Runtime, directories: tuple[str, str] | None) -> None:
        self.name = runtime.drop_in
        self._node = node
        self._runtime = runtime
        self._directories = directories

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Step]:
        others = self._others()
        if self._directories is None or looks(self._runtime, others, *self._directories):
            return [*self._main_file(others, without_import), *TextFile(self.name, None, MODE).drift()]
        if self._runtime.name == CONTAINERD.name and not others:
            raise refuse(self._node, "config", self._runtime.main, "there is no such file; one with the line version = 2 would be accepted")
        self._refuse_later(others)
        text = drop_in(self._runtime, others, *self._directories)
        return [*TextFile(self.name, text, MODE).drift(), *self._main_file(others, with_import)]  # what is imported has to be there first

    def apply(self, changes: Sequence[Step]) -> None:
        take(changes)

    def facts(self) -> dict[str, Any]:
        return {}

    def _others(self) -> list[File]:
        """The runtime's files as they are without us."""
        files = [file for file in read_files(self._runtime) if file.path != self.name]
        return [File(file.path, without_import(file, self.name)) if file.path == self._runtime.main else file for file in files]

    def _main_file(self, others: Sequence[File], change: Callable[[File, str], str]) -> list[Step]:
        if self._runtime.name != CONTAINERD.name or not others:
            return []
        return TextFile(self._runtime.main, change(others[0], self.name), stat.S_IMODE(os.stat(self._runtime.main).st_mode)).drift()

    def _refuse_later(self, others: Sequence[File]) -> None:
        """Refuse a file that has the last word because it comes after ours."""
        patterns = [f"{os.path.dirname(self.name)}/*"]
        if self._runtime.name == CONTAINERD.name:
            patterns = imports(File(self._runtime.main, with_import(others[0], self.name)))
        order = [path for pattern in patterns for path in sorted({*glob(pattern), *fnmatch.filter([self.name], pattern)})]
        later = order[order.index(self.name) + 1 :]
        for file in others:
            if file.path in later and decides(self._runtime, file, config_version(others)):
                why = f"{file.path} comes after {self.name} and has the last word: give it an earlier name, or set the directories there"
                raise refuse(self._node, "runtime", self._runtime.name, why)


def runtime_target(node: str, options: Mapping[str, Any]) -> RuntimeFiles:
    """The target of `cni_runtime`."""
    usual = RUNTIMES[options["runtime"]]
    given = {
        "config": options["config"] or usual.main,
        "path": options["path"] or usual.drop_in,
        "conf_directory": options["conf_directory"],
        "plugin_directory": options["plugin_directory"],
    }
    for option, path in given.items():
        if not PATH.fullmatch(path):
            raise refuse(node, option, path, "one absolute path of letters, digits and ._@+- would be accepted")
    directories = (given["conf_directory"], given["plugin_directory"]) if options["state"] == "present" else None
    return RuntimeFiles(node, usual._replace(main=given["config"], drop_in=given["path"]), directories)


def refuse_elsewhere(node: str, options: Mapping[str, Any]) -> None:
    """Refuse a place where a runtime of this node does not look. With `auto` the runtimes are those that have a configuration."""
    named = options["runtime"]
    places = {"path": os.path.dirname(options["path"]), "plugin_directory": options["plugin_directory"]}
    for runtime in RUNTIMES.values() if named == "auto" else [RUNTIMES[named]]:
        files = read_files(runtime._replace(main=options["runtime_config"] or runtime.main))
        if named == "auto" and not (files and serves_pods(files)):
            continue
        for (option, place), setting in zip(places.items(), looked_up(runtime, files)):
            if not same_place(place, setting.values):
                where = f"{runtime.name} looks in {', '.join(setting.values)}, by {setting.source}"
                raise refuse(node, option, options[option], f"{where}: that would be accepted, or to tell it by cni_runtime")


def looks(runtime: Runtime, files: Sequence[File], conf_directory: str, plugin_directory: str) -> bool:
    conf, plugins = looked_up(runtime, files)
    return same_place(conf_directory, conf.values) and same_place(plugin_directory, plugins.values)


def same_place(path: str, others: Iterable[str]) -> bool:
    """Is one of the directories of a path with colons among the others, be it by a link?"""
    there = set(map(os.path.realpath, others))
    return any(os.path.realpath(directory) in there for directory in path.split(":"))


def read_files(runtime: Runtime) -> list[File]:
    """The configuration files of a runtime, in the order in which it reads them; none if it has none."""
    if runtime.name != CONTAINERD.name:
        return [_read(path) for path in [runtime.main, *sorted(glob(f"{os.path.dirname(runtime.drop_in)}/*"))] if os.path.isfile(path)]
    files: list[File] = []
    waiting = [runtime.main]
    while waiting:
        path = waiting.pop(0)
        if os.path.isfile(path) and path not in [file.path for file in files]:
            files.append(_read(path))
            waiting += [found for pattern in imports(files[-1]) for found in sorted(glob(pattern))]
    return files


def _read(path: str) -> File:
    try:
        with open(path, encoding="utf-8") as file:
            return File(path, file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read as the configuration of a container runtime: {error}.") from error
