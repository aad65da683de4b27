"""Measuring two or more sides in turns, and what is shown of it: a table, one line of JSON, a file."""

import functools
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from rllib_sami.evaluation.provenance import provenance_of

Action = Callable[[], int]  # does some work and returns how many items (steps, updates) that was


@dataclass(frozen=True)
class Times:
    """Seconds per item in each round, of this process (all its threads) and on the clock.

    Attributes:
        cpu: ``[rounds]``.
        wall: ``[rounds]``.
        others: Cores that other jobs of the machine had meanwhile, ``[rounds]``.
    """

    cpu: np.ndarray
    wall: np.ndarray
    others: np.ndarray


@dataclass(frozen=True)
class Options:
    """What every command takes."""

    quick: bool
    rounds: int
    out: Path | None


@dataclass(frozen=True)
class Case:
    """A ratio, round by round, and where its median should be."""

    name: str
    ratios: np.ndarray
    target: float
    at_least: bool = False

    @property
    def ratio(self) -> float:
        return float(np.median(self.ratios))

    @property
    def met(self) -> bool:
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target

    @property
    def margin(self) -> float:
        """How far on the right side of the target the ratio is, as a share of it; below 0 is a miss."""
        gap = (self.ratio - self.target) / self.target
        return gap if self.at_least else -gap

    def as_dict(self) -> dict[str, Any]:
        low, high = float(self.ratios.min()), float(self.ratios.max())
        found = {"case": self.name, "ratio": self.ratio, "min": low, "max": high}
        return {**found, "target": self.target, "at_least": self.at_least, "met": self.met}


def interleave(
    actions: dict[str, Action],
    rounds: int,
    warm_up: int = 1,
    before: Mapping[str, Callable[[], Any]] | None = None,
) -> dict[str, Times]:
    """Runs every action once in each round, one after the other, so that a slower machine slows all of them.

    Args:
        actions: What to measure, by name.
        rounds: Rounds that count.
        warm_up: Rounds before these.
        before: What is called before an action, by its name, each time. It is not measured.
    """
    records: dict[str, list[tuple[float, float, float]]] = {name: [] for name in actions}
    for number in range(warm_up + rounds):
        for name, action in actions.items():
            if before and name in before:
                before[name]()
            torch.set_num_threads(1)  # whatever was built in between
            others_before = _cpu_of_others()
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            done = action()
            cpu, wall = time.process_time() - cpu_start, time.perf_counter() - wall_start
            others = max(0.0, _cpu_of_others() - others_before) / wall
            if number >= warm_up:
                records[name].append((cpu / done, wall / done, others))
    return {name: Times(*np.array(some).T) for name, some in records.items()}


def _cpu_of_others() -> float:
    """CPU seconds so far of all processes but this one and those it started, idle time left out."""
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    parent, ticks = {}, {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(file.parent.name)
        parent[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    ours, found = set(), {os.getpid()}
    while found:
        ours |= found
        found = {pid for pid, of in parent.items() if of in found}
    busy = user + nice + system + sum(interrupts)
    return (busy - sum(ticks.get(pid, 0) for pid in ours)) / tick


def repeat(action: Callable[[], Any], count: int, items: int = 1) -> Action:
    """The action, ``count`` times, each being so many items."""

    def run() -> int:
        for _ in range(count):
            action()
        return count * items

    return run


def spread(values: np.ndarray, scale: float = 1.0) -> str:
    """Median, smallest and largest of ``values * scale``, as text."""
    low, middle, high = (number(scale * function(values)) for function in (np.min, np.median, np.max))
    return f"{middle} [{low}, {high}]"


def number(value: float) -> str:
    """Three or more digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def figures(values: np.ndarray, scale: float = 1.0) -> dict[str, float]:
    """Median, smallest and largest of ``values * scale``, for JSON."""
    return {name: float(scale * getattr(np, name)(values)) for name in ("median", "min", "max")}


def table_of(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A table whose first column is text, the others numbers."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def times_table(title: str, unit: str, times: dict[str, Times], scale: float = 1.0, per_second: bool = False) -> Table:
    """A table of each side's CPU and wall time, or with ``per_second`` of the items in a second of each."""
    rows = []
    for name, some in times.items():
        values = (1 / some.cpu, 1 / some.wall) if per_second else (some.cpu, some.wall)
        rows.append([name, *(spread(value, scale) for value in values)])
    return table_of(title, [unit, "CPU", "wall"], rows)


def options(rounds: int, quick_rounds: int = 2) -> Callable:
    """Gives a command ``--quick``, ``--rounds`` and ``--out``, as one argument ``Options``."""

    def decorate(command: Callable) -> Callable:
        @click.option("--quick", is_flag=True, help="Few rounds of little work: does it run, and roughly what.")
        @click.option("--rounds", type=click.IntRange(1), help=f"Rounds measured; {rounds}, quick {quick_rounds}.")
        @click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write figures and machine here.")
        @functools.wraps(command)
        def with_options(*, quick: bool, rounds: int | None, out: Path | None, **arguments) -> None:
            command(options=Options(quick, rounds or default(quick), out), **arguments)

        return with_options

    def default(quick: bool) -> int:
        return quick_rounds if quick else rounds

    return decorate


def report(name: str, tables: list[Table], cases: list[Case], options: Options, **fields: Any) -> None:
    """Prints the tables and the one line of JSON, whose ratio is the case's that is furthest from its target."""
    worst = min(cases, key=lambda case: case.margin)
    result = {
        "name": name,
        **{key: value for key, value in worst.as_dict().items() if key != "met"},
        "met": all(case.met for case in cases),
        "rounds": options.rounds,
        "quick": options.quick,
        "cases": [case.as_dict() for case in cases],
        **fields,
    }
    console = Console(width=None if sys.stdout.isatty() else 140)
    rows = [
        [
            case.name,
            spread(case.ratios),
            f"{'≥' if case.at_least else '≤'} {number(case.target)}",
            "yes" if case.met else "no",
        ]
        for case in cases
    ]
    for table in [*tables, table_of(name, ["ratio", "median [min, max]", "to reach", "reached"], rows)]:
        console.print(table)
    result = rounded(result)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**result, "command": command_line(), "machine": machine()}, indent=2, ensure_ascii=False)
        options.out.write_text(text + "\n")
    print(json.dumps(result, ensure_ascii=False))


def rounded(value: Any) -> Any:
    """Five digits of every number within dicts and lists."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def command_line() -> str:
    """The command as one would type it; what is written to is left out."""
    arguments = sys.argv[1:]
    if "--out" in arguments:
        place = arguments.index("--out")
        del arguments[place : place + 2]
    return shlex.join(["python", "benchmarks/speed.py", *arguments])


def machine() -> dict[str, Any]:
    """Where this ran, and with which versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return provenance_of(
        usable_cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory, 1),
        load=round(os.getloadavg()[0], 2),
        torch_threads=torch.get_num_threads(),
    )
