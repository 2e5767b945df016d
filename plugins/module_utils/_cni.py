# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container runtime does with CNI: choose a configuration, run its plugins, remember the result. Does I/O."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from glob import escape, glob
from typing import Any

from ansible_collections.podnet.baremetal.plugins.module_utils._bridges import RESULTS, bridge_steps
from ansible_collections.podnet.baremetal.plugins.module_utils._conflist import (
    IDENTIFIER,
    INTERFACE,
    Conflist,
    Plugin,
    can_check,
    desired,
    knows_check,
    matching,
    parsed,
    plugin_types,
    printed,
)
from ansible_collections.podnet.baremetal.plugins.module_utils._errors import Failed, Refused, refuse
from ansible_collections.podnet.baremetal.plugins.module_utils._files import Step, TextFile, file_mode, make_directories, take
from ansible_collections.podnet.baremetal.plugins.module_utils._netns import inside, is_namespace
from ansible_collections.podnet.baremetal.plugins.module_utils._node import node_lock
from ansible_collections.podnet.baremetal.plugins.module_utils._runtime_files import refuse_elsewhere

Result = dict[str, Any]

# A configuration that was moved out of the way keeps its name with this behind it, and no runtime loads that.
ASIDE = ".podnet-aside"
CONFIGURATIONS = (".conf", ".conflist", ".json")  # what runtimes load (libcni, ConfFiles), in the order of their names
NETWORKS = "/var/lib/cni/networks"  # of host-local, which would make it without our mark (backend/disk, defaultDataDir)
NAMESPACES = "/run/netns"  # of `ip netns`
PORTS = range(1, 65536)
RECORD_MODE = 0o600


# --- one configuration file: cni_conflist -----------------------------------------------------------------------------------------


class Configuration(TextFile):
    """A configuration list in a runtime's directory, and nothing that keeps pods from being attached by it.

    `shadows` says what becomes of the files that a runtime takes before it; those that were moved come back when it goes.
    """

    def __init__(self, options: Mapping[str, Any], node: str, text: str | None) -> None:
        super().__init__(options["path"], text, file_mode(options["mode"], node), directory_mode=0o700)  # as containerd makes it
        self._options = options
        self._node = node

    def drift(self, beside: Iterable[str] = ()) -> list[Step]:
        if self.text is None:
            return [*self._back(), *super().drift(beside)]
        if self._options["runtime"] != "none":
            refuse_elsewhere(self._node, self._options)
        steps = bridge_steps(self._node, self._options["bridge"], self._options["subnets"] or [])
        return [*steps, *super().drift(beside), *self._aside()]

    def facts(self) -> dict[str, Any]:
        directory, name = os.path.split(self.name)
        names = set(configurations(directory)) - {name}
        if self.text is None:
            names |= set(self._moved())
        else:
            names = {name, *(other for other in names if other > name or self._options["shadows"] != "move")}
        first = min(names, default=None)
        return {
            "path": self.name,
            "wins": first and os.path.join(directory, first),
            "shadowed_by": os.path.join(directory, first) if first and first < name else None,
        }

    def _aside(self) -> Iterator[Step]:
        directory, name = os.path.split(self.name)
        for path in (os.path.join(directory, other) for other in configurations(directory) if other < name):
            if self._options["shadows"] == "refuse":
                why = f"a runtime takes {path} before it: remove that, or let shadows be move or report"
                raise refuse(self._node, "path", self.name, why)
            if self._options["shadows"] == "move":
                yield _renaming(path, f"{path}{ASIDE}")

    def _back(self) -> Iterator[Step]:
        for name in self._moved():
            path = os.path.join(os.path.dirname(self.name), name)
            yield _renaming(f"{path}{ASIDE}", path)

    def _moved(self) -> list[str]:
        """The names that files had which were moved out of the way, where nobody has put another one there since."""
        paths = glob(os.path.join(escape(os.path.dirname(self.name)), f"*{ASIDE}"))
        names = (os.path.basename(path) for path in sorted(paths) if not os.path.lexists(path.removesuffix(ASIDE)))
        return [name.removesuffix(ASIDE) for name in names]


def configuration(options: Mapping[str, Any], node: str) -> Configuration:
    """The target of `cni_conflist`. Raises Refused for a list that could not work on this node."""
    path = options["path"]
    if not os.path.isabs(path) or not path.endswith(".conflist"):
        raise refuse(node, "path", path, "an absolute path that ends in .conflist would be accepted, as runtimes go by the name")
    if options["state"] == "absent":
        return Configuration(options, node, None)
    conflist = desired(options, node)
    if options["require_plugins"]:
        require_plugins(conflist, options["plugin_directory"], node)
    return Configuration(options, node, printed(conflist))


def _renaming(path: str, other: str) -> Step:
    return Step(f"mv {path} {other}", path, other, partial(os.rename, path, other))


def configurations(directory: str) -> list[str]:
    """The names of the files that a runtime would look at, the one that it takes first."""
    if not os.path.isdir(directory):
        return []
    return sorted(
        name for name in os.listdir(directory) if name.endswith(CONFIGURATIONS) and not os.path.isdir(os.path.join(directory, name))
    )


def require_plugins(conflist: Conflist, plugin_path: str, who: str) -> None:
    for kind in plugin_types(conflist):
        plugin_file(kind, plugin_path, who)


def plugin_file(kind: str, plugin_path: str, who: str) -> str:
    """Where the plugin is: in the first directory of CNI_PATH that has it."""
    for directory in plugin_path.split(":"):
        path = os.path.join(directory, kind)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    there = sorted(name for directory in plugin_path.split(":") if os.path.isdir(directory) for name in os.listdir(directory))
    raise Refused(f"{who}: there is no CNI plugin {kind} that can be run in {plugin_path}, which holds {', '.join(there) or 'nothing'}.")


# --- one pod on one network: cni_pod ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attachment:
    """A container's interface on a network. Its text is what libcni keeps (cachedInfo), so that any runtime could take it away.

    `arguments` are those for capabilities. There is no `result` while the plugins are still adding the container.
    """

    container: str
    netns: str
    ifname: str
    conflist: Conflist
    arguments: dict[str, Any]
    result: Result | None = None

    @property
    def path(self) -> str:
        return f"{RESULTS}/{self.conflist['name']}-{self.container}-{self.ifname}"

    @property
    def addresses(self) -> list[str]:
        return [ip["address"] for ip in (self.result or {}).get("ips") or []]

    def text(self) -> str:
        entry = {
            "kind": "cniCacheV1",
            "containerId": self.container,
            "config": base64.b64encode(printed(self.conflist).encode()).decode(),
            "ifName": self.ifname,
            "networkName": self.conflist["name"],
            "netns": self.netns,
            "capabilityArgs": self.arguments,
            "result": self.result,
        }
        return json.dumps({key: value for key, value in entry.items() if value not in (None, {})}) + "\n"

    def line(self) -> str:
        arguments = f" with {json.dumps(self.arguments)}" if self.arguments else ""
        return f"{self.container}: {self.ifname} in {self.netns} on network {self.conflist['name']}{arguments}"


def remembered(container: str) -> Iterator[Attachment]:
    """Every attachment of the container that a runtime, or we, have on record."""
    if not os.path.isdir(RESULTS):
        return
    for name in sorted(os.listdir(RESULTS)):
        if f"-{container}-" in name and not name.startswith("."):
            attachment = _recalled(os.path.join(RESULTS, name))
            if attachment.container == container:
                yield attachment


def _recalled(path: str) -> Attachment:
    try:
        with open(path, encoding="utf-8") as file:
            entry = json.load(file)
        conflist = parsed(base64.b64decode(entry["config"], validate=True).decode(), path)
        arguments, result = entry.get("capabilityArgs", {}), entry.get("result")
        if not (result is None or is_result(result)):
            raise ValueError("its result is not one")
        return Attachment(entry["containerId"], entry.get("netns", ""), entry["ifName"], conflist, arguments, result)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path} is not a CNI result that can be read ({type(error).__name__}: {error}): restore or remove it.") from error


@dataclass(frozen=True)
class Plugins:
    """The node's plugins, and how they are run."""

    path: str
    timeout: int
    node: str

    def commands(self, verb: str, attachment: Attachment) -> list[str]:
        """One for each plugin, in the order in which they are run."""
        plugins = attachment.conflist["plugins"]
        return [self._command(verb, attachment, plugin["type"]) for plugin in (reversed(plugins) if verb == "DEL" else plugins)]

    def add(self, attachment: Attachment) -> Result:
        result: Result = {}
        for plugin in attachment.conflist["plugins"]:
            output = self._run("ADD", attachment, plugin, result)
            result = _object(output)
            if not is_result(result):
                command = self._command("ADD", attachment, plugin["type"])
                raise Failed(f"{self.node}: {command}: what it printed is not a CNI result: {output.strip() or 'nothing'}.")
        return result

    def check(self, attachment: Attachment) -> None:
        for plugin in attachment.conflist["plugins"]:
            self._run("CHECK", attachment, plugin, with_gateways(attachment.result or {}))

    def delete(self, attachment: Attachment) -> None:
        previous = attachment.result if knows_check(attachment.conflist) else None
        for plugin in reversed(attachment.conflist["plugins"]):
            self._run("DEL", attachment, plugin, previous)

    def _command(self, verb: str, attachment: Attachment, kind: str) -> str:
        pairs = (f"{name}={value}" for name, value in self._environment(verb, attachment).items())
        return " ".join([*pairs, plugin_file(kind, self.path, self.node)])

    def _environment(self, verb: str, attachment: Attachment) -> dict[str, str]:
        gone = verb == "DEL" and not is_namespace(attachment.netns)  # plugins then free what is left on the node
        return {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": attachment.container,
            "CNI_NETNS": "" if gone else attachment.netns,
            "CNI_IFNAME": attachment.ifname,
            "CNI_PATH": self.path,
        }

    def _run(self, verb: str, attachment: Attachment, plugin: Plugin, previous: Result | None) -> str:
        binary = plugin_file(plugin["type"], self.path, self.node)
        text = json.dumps(plugin_configuration(attachment, plugin, previous))
        environment = {**self._environment(verb, attachment), "CNI_ARGS": ""}
        code, output, errors = run_program([binary], environment, text, self.timeout)
        if code:
            raise Failed(f"{self.node}: {self._command(verb, attachment, plugin['type'])}: {_complaint(code, output, errors)}.")
        return output


def plugin_configuration(attachment: Attachment, plugin: Plugin, previous: Result | None) -> Plugin:
    """What one plugin of the list reads on its standard input. Pure."""
    declared = {name: value for name, value in attachment.arguments.items() if plugin.get("capabilities", {}).get(name)}
    return {
        **plugin,
        "name": attachment.conflist["name"],
        "cniVersion": attachment.conflist["cniVersion"],
        **({"runtimeConfig": declared} if declared else {}),
        **({"prevResult": previous} if previous else {}),
    }


def is_result(value: Any) -> bool:
    """Has it what we read in a CNI result? Pure."""
    try:
        texts = [*(ip["address"] for ip in value.get("ips") or []), *(route["dst"] for route in value.get("routes") or [])]
    except (AttributeError, KeyError, TypeError):
        return False
    return bool(value) and all(isinstance(text, str) for text in texts)


def with_gateways(result: Result) -> Result:
    """A route without a gateway goes by that of its family. The plugins make it so, and before 1.3.0 their CHECK then misses it. Pure."""
    if not result.get("routes"):
        return result
    gateways = {":" in ip["address"]: {"gw": ip["gateway"]} for ip in result.get("ips") or [] if ip.get("gateway")}
    return {**result, "routes": [{**gateways.get(":" in route["dst"], {}), **route} for route in result["routes"]]}


class Pod:
    """The attachment is there and works, or is gone; and with it the namespace, if that is the one named after the container."""

    def __init__(self, options: Mapping[str, Any], node: str) -> None:
        self.container = matching(node, "name", options["name"], IDENTIFIER)
        self.ifname = matching(node, "ifname", options["ifname"], INTERFACE)
        self.netns = options["netns"] or f"{NAMESPACES}/{self.container}"
        self.name = f"{self.container}/{self.ifname}"
        self.node = node
        self.plugins = Plugins(options["plugin_directory"], options["timeout"], node)
        self.arguments = _arguments(options["port_mappings"] or [], node)
        self.options = options
        if os.path.exists(self.netns) and os.path.samefile(self.netns, "/proc/self/ns/net"):
            raise refuse(node, "netns", self.netns, "it is the node's own, and a pod's would be accepted")

    def lock(self) -> AbstractContextManager[None]:
        return node_lock()

    def drift(self) -> list[Step]:
        return list(self._arrival() if self.options["state"] == "present" else self._departure())

    def apply(self, changes: Sequence[Step]) -> None:
        take(changes)

    def facts(self) -> dict[str, Any]:
        found = self._found()
        return {
            "result": found.result or {} if found else {},
            "addresses": found.addresses if found else [],
            "interface": self.ifname,
            "netns": self.netns,
        }

    # what is to be done

    def _arrival(self) -> Iterator[Step]:
        found = self._found()
        fault = self._fault(found) if found else "not attached"
        if not fault:
            return
        wanted = self._wanted()
        if found:
            yield from self._detaching(found, f" ({fault})")
        elif self._has([]):
            why = f"the network namespace has one that no record in {RESULTS} speaks of: remove it, or name another"
            raise refuse(self.node, "ifname", self.ifname, why)
        yield from self._namespace_steps()
        act = partial(self._attach, wanted)
        for number, command in enumerate(self.plugins.commands("ADD", wanted)):
            yield Step(command, "", "" if number else wanted.line(), act)

    def _departure(self) -> Iterator[Step]:
        found = self._found() or self._unrecorded()
        if found:
            yield from self._detaching(found, "")
        others = any(other.ifname != self.ifname for other in remembered(self.container))
        if self._is_own_namespace() and os.path.lexists(self.netns) and not others:
            yield self._ip_step(["netns", "delete", self.container], before=self.netns)

    def _detaching(self, found: Attachment, fault: str) -> Iterator[Step]:
        act = partial(self._detach, found)
        for number, command in enumerate(self.plugins.commands("DEL", found)):
            yield Step(command, "" if number else f"{found.line()}{fault}", "", act)

    def _namespace_steps(self) -> Iterator[Step]:
        """As a runtime does: a namespace with its loopback up. Somebody else's namespace is taken as it is."""
        directory, name = os.path.split(self.netns)
        up = self._ip_step(["-netns", name, "link", "set", "lo", "up"])
        if is_namespace(self.netns):
            if self._is_own_namespace() and not inside(self.netns, partial(_holds, "lo", ["127.0.0.1"])):
                yield up
            return
        if os.path.realpath(directory) != NAMESPACES:
            raise refuse(self.node, "netns", self.netns, f"no network namespace is there, and only one in {NAMESPACES} would be made")
        if os.path.lexists(self.netns):  # an `ip netns add` was killed before its mount
            yield self._ip_step(["netns", "delete", name])
        yield self._ip_step(["netns", "add", name], after=self.netns)
        yield up

    def _ip_step(self, arguments: list[str], before: str = "", after: str = "") -> Step:
        return Step(" ".join(["ip", *arguments]), before, after, partial(self._ip, arguments))

    # what is there

    def _found(self) -> Attachment | None:
        matches = (entry for entry in remembered(self.container) if entry.ifname == self.ifname)
        return next((replace(entry, netns=entry.netns or self.netns) for entry in matches), None)

    def _unrecorded(self) -> Attachment | None:
        """The record was lost: the plugins can still take the container away by its name, if a configuration says which they are."""
        return self._wanted() if self._has([]) and self._configuration_file() else None

    def _fault(self, found: Attachment) -> str:
        """Why the attachment is not as it should be; nothing when it is."""
        if found.result is None:
            return "its attaching was interrupted"
        if (found.netns, found.arguments) != (self.netns, self.arguments):
            return "not as it is wanted"
        if not is_namespace(self.netns):
            return "the network namespace is gone"
        if not can_check(found.conflist):
            return "" if self._has(found.addresses) else "the interface or its address is gone"
        try:
            self.plugins.check(found)
        except Failed as error:
            return str(error)
        return ""

    def _has(self, addresses: Sequence[str]) -> bool:
        return is_namespace(self.netns) and inside(self.netns, partial(_holds, self.ifname, [text.split("/")[0] for text in addresses]))

    def _is_own_namespace(self) -> bool:
        return bool(self.netns == f"{NAMESPACES}/{self.container}")

    def _configuration_file(self) -> str | None:
        directory = self.options["conflist_directory"]
        first = next(iter(configurations(directory)), None)
        return self.options["conflist"] or (first and os.path.join(directory, first))

    def _wanted(self) -> Attachment:
        path = self._configuration_file()
        if not path:
            raise Refused(f"{self.node}: there is no CNI configuration in {self.options['conflist_directory']}.")
        conflist = read_configuration(path)
        require_plugins(conflist, self.plugins.path, f"{self.node}: {path}")
        declared = {name for plugin in conflist["plugins"] for name, value in plugin.get("capabilities", {}).items() if value}
        if not declared >= self.arguments.keys():
            raise refuse(self.node, "port_mappings", json.dumps(self.options["port_mappings"]), f"no plugin in {path} can do that")
        return Attachment(self.container, self.netns, self.ifname, conflist, self.arguments)

    # doing it

    def _attach(self, wanted: Attachment) -> None:
        """The record comes first, without a result: after a kill in between the next run knows what there is to undo."""
        _record(wanted)
        try:
            result = self.plugins.add(wanted)
        except Failed as error:
            raise Failed(f"{error}{self._undone(wanted)}") from error
        attached = replace(wanted, result=result)
        _record(attached)
        fault = self._fault(attached)
        if fault:
            raise Failed(f"{self.node}: {attached.line()}: every plugin was content, yet {fault.rstrip('.')}.")

    def _undone(self, wanted: Attachment) -> str:
        try:
            self._detach(wanted)
        except Failed as error:
            return f" Undoing it failed too: {error}"
        return ""

    def _detach(self, found: Attachment) -> None:
        self.plugins.delete(found)
        take(TextFile(found.path, None, RECORD_MODE).drift())

    def _ip(self, arguments: list[str]) -> None:
        code, output, errors = run_program(["ip", *arguments], {}, "", self.plugins.timeout)
        if code:
            raise Failed(f"{self.node}: ip {' '.join(arguments)}: {_complaint(code, output, errors)}.")


def read_configuration(path: str) -> Conflist:
    try:
        with open(path, encoding="utf-8") as file:
            return parsed(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read as a CNI configuration: {error}.") from error


def run_program(arguments: list[str], environment: Mapping[str, str], text: str, timeout: int) -> tuple[int, str, str]:
    """Exit status, output and errors of a program; on a timeout it is killed with all that it has started."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"  # portmap runs iptables; cron and sudo may leave sbin out
    try:
        return _finished(arguments, {**os.environ, "PATH": path, **environment}, text, timeout)
    except OSError as error:
        return 1, "", str(error)


def _finished(arguments: list[str], environment: Mapping[str, str], text: str, timeout: int) -> tuple[int, str, str]:
    with subprocess.Popen(
        arguments,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(text, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return 1, "", f"it was ended after {timeout} seconds"
    return process.returncode, output, errors


def _holds(ifname: str, addresses: Sequence[str]) -> bool:
    """Is the interface here, and every address? The kernel lets a socket have an address only where it is local."""
    try:
        socket.if_nametoindex(ifname)
        for address in addresses:
            family, kind, protocol, _name, name = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(name)
    except OSError:
        return False
    return True


def _arguments(port_mappings: Sequence[Mapping[str, Any]], node: str) -> dict[str, Any]:
    """In the words of the portMappings capability (CNI conventions)."""
    for mapping in port_mappings:
        for name in ("host_port", "container_port"):
            if mapping[name] not in PORTS:
                raise refuse(node, f"port_mappings.{name}", mapping[name], f"one from {PORTS[0]} to {PORTS[-1]} would be accepted")
    words = {"host_port": "hostPort", "container_port": "containerPort", "protocol": "protocol", "host_ip": "hostIP"}
    mappings = [{word: mapping[name] for name, word in words.items() if mapping[name] is not None} for mapping in port_mappings]
    return {"portMappings": mappings} if mappings else {}


def _record(attachment: Attachment) -> None:
    make_directories(NETWORKS)
    take(TextFile(attachment.path, attachment.text(), RECORD_MODE, directory_mode=0o700).drift())


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _complaint(code: int, output: str, errors: str) -> str:
    """The plugin's own words: its error object on standard output, or else whatever it wrote."""
    error = _object(output)
    if "msg" not in error:
        return " ".join((errors or output).split()).rstrip(".") or f"it ended with status {code}"
    details = f": {error['details']}" if error.get("details") else ""
    return " ".join(f"{error['msg']}{details} (code {error.get('code')})".split())
