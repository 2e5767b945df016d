# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: what ours costs beside what it is compared with, as a table and as a file. I/O: namespaces of its own, build/bench.json."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import plans
import plays
import programs
import repair
import simulate
import sizes
from enclosed import enclosed
from measure import Row

SIZES = (10, 100, 1000, 5000)  # of clusters
OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"
COLUMNS = ("name", "n", "unit", "ours (min..max)", "reference (min..max)", "ratio", "limit", "reached")
WIDTHS = "{:42} {:>5} {:>8} {:>28} {:>28} {:>7} {:>5}  {}\n"


@dataclass(frozen=True)
class Bench:
    """What gives some rows: their names, for ROWS to choose by, and the function of n, the number of runs and a directory."""

    names: tuple[str, ...]
    n: int
    rows: Callable[[int, int, Path], Iterator[Row]]
    runs: int = 7
    unasked: bool = True

    def chosen(self, pattern: str) -> bool:
        """Whether a name matches; what is too long to run unasked has to be asked for by its n."""
        return any(re.search(pattern, f"{name} {self.n}") and (self.unasked or not re.search(pattern, name)) for name in self.names)

    def measured(self, pattern: str, scratch: Path) -> Iterator[Row]:
        """The rows whose names match."""
        return (row for row in self.rows(self.n, self.runs, scratch) if re.search(pattern, row.label))


BENCHES = (
    *(Bench(("program",), n, programs.from_nothing) for n in (10, 100, 1000, 5000, 10000)),
    *(Bench(("no-op", "no-op memory"), n, programs.again) for n in SIZES),
    Bench(("one peer more", "one peer more, messages"), 5000, programs.one_more),
    *(Bench(("repair", "repair, from nothing"), n, repair.repair) for n in (3, 250, 1000)),
    *(Bench(sizes.NAMES, n, sizes.tables) for n in SIZES),
    *(Bench(plans.NAMES, n, plans.from_nothing) for n in SIZES),
    Bench(("leases from nothing", "one lease more", "leases, memory"), 65536, plans.as_many_as_fit, runs=5),
    Bench(("module call, ordinary", "module call, short road"), 1000, plays.call),
    Bench(("mesh by site.yml's overlay part",), 10, plays.mesh),
    Bench((simulate.PART,), 5000, simulate.part, runs=3),
    Bench(simulate.names("peers"), 1000, partial(simulate.controller, "peers"), runs=5),
    *(Bench(simulate.names(play), 1000, partial(simulate.controller, play), runs=1) for play in ("site", "nothing")),
    *(Bench(simulate.names(play), 5000, partial(simulate.controller, play), runs=1, unasked=False) for play in simulate.PLAYS),
    *(Bench(simulate.names_of_whole("peers"), n, partial(simulate.whole, "peers"), runs=1, unasked=n < 5000) for n in SIZES),
    *(Bench(simulate.names_of_whole("site"), n, partial(simulate.whole, "site"), runs=1, unasked=n < 1000) for n in SIZES),
    *(Bench(simulate.FORKS, n, simulate.forks, runs=1) for n in (5, 10, 20, 50)),
)


def main() -> int:
    parser = argparse.ArgumentParser(description="What ours costs beside what it is compared with.")
    parser.add_argument("--rows", default=os.environ.get("ROWS", ""), help="a regular expression of names and n")
    parser.add_argument("--runs", default=os.environ.get("RUNS", ""), help="how often each side is measured, instead of what a row says")
    given = parser.parse_args()
    pattern = given.rows
    chosen = [replace(bench, runs=int(given.runs or bench.runs)) for bench in BENCHES if bench.chosen(pattern)]
    if not chosen:
        parser.error(f"no row matches {pattern}")
    return enclosed(lambda scratch: table(chosen, pattern, scratch))


def table(benches: Sequence[Bench], pattern: str, scratch: Path) -> int:
    """Print each row as soon as it is there, and write all of them, or what there is if one fails."""
    rows: list[Row] = []
    say(COLUMNS)
    try:
        for bench in benches:
            for row in bench.measured(pattern, scratch):
                rows.append(row)
                say(cells(row))
    finally:
        OUTPUT.write_text(json.dumps([row.record() for row in rows], indent=2) + "\n", encoding="ascii")
    return 0


def say(texts: Sequence[str]) -> None:
    sys.stdout.write(WIDTHS.format(*texts))
    sys.stdout.flush()


def cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
    limit = "" if row.limit is None else f"{row.limit:g}"
    reached = {None: "", True: "yes", False: "no"}[row.reached]
    return (row.name, str(row.n), row.unit, spread(row.ours), spread(row.reference), ratio, limit, reached)


def spread(values: Sequence[float]) -> str:
    """The median, and from where to where."""
    return f"{median(values):.4g} ({min(values):.4g}..{max(values):.4g})" if values else ""


if __name__ == "__main__":
    sys.exit(main())
