# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ways in which a request ends without success. No I/O."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# What a next look may not meet: the system was short of something, or somebody else made or deleted the thing at the same time.
PASSING = {errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.EEXIST, errno.ENODEV, errno.ENXIO}
LONGEST = 500


class Refused(Exception):
    """The input cannot be accepted. The message is one sentence for the user; nothing was changed."""


class Failed(Exception):
    """The node or the controller refused a step. `done` lists the commands that had already taken effect.

    `passing`: the reason may be gone at the next look.
    """

    def __init__(self, sentence: str, done: Sequence[str] = (), *, passing: bool = False) -> None:
        super().__init__(sentence)
        self.done = tuple(done)
        self.passing = passing


def failed(what: str, error: OSError, done: Sequence[str] = ()) -> Failed:
    """Word a system's refusal with its own words."""
    return Failed(f"{what}: {error.strerror or error}.", done, passing=error.errno in PASSING)


def refuse(who: str, what: str, value: object, why: str) -> Refused:
    """Word a rejected input: the host (or the file), the variable, its value, and what is wrong or would be accepted."""
    return Refused(f"{shown(who)}: {shown(what)} is {shown(value)}: {why}.")


def shown(value: object) -> str:
    """Whatever somebody has given, on one line, with no sign that a terminal would obey, and not longer than a screen."""
    text = str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@contextmanager
def about(who: str) -> Iterator[None]:
    """Put the host's name before what is refused or fails inside, where that does not know it."""
    try:
        yield
    except Refused as error:
        raise Refused(f"{who}: {error}") from error
    except Failed as error:
        raise Failed(f"{who}: {error}", error.done, passing=error.passing) from error
