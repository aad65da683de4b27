"""Trains skills with several methods and seeds, and says what they cover.

    python benchmarks/skills.py posture_point --out results/skills --seeds 0 1 2
    python benchmarks/skills.py half_cheetah --out results/skills --methods CSF METRA DIAYN
    python benchmarks/skills.py half_cheetah --out results/skills --table

A run is ``rllib train file tuned_examples/csf/NAME.yaml --algo ... --seed ...``, in a process of its own; finished ones
are not repeated, and a stopped one starts over. CPU seconds are those of training, without evaluation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import trainings
import yaml

from rllib_sami import envs
from rllib_sami.algorithms.skill_discovery.evaluation import coverage

EXAMPLES = Path(__file__).parents[1] / "tuned_examples" / "csf"
# Name in the table -> algorithm and what differs from the example.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "CSF": ("CSF", {}),
    "METRA": ("METRA", {}),
    "METRA-C": ("METRA", {"representation_objective": "contrastive"}),
    "DIAYN": ("DIAYN", {"skill_dim": 48}),
    "VISR": ("VISR", {}),
    "CIC": ("CIC", {}),
    "DADS": ("DADS", {}),
    "CSF, no bottleneck": ("CSF", {"information_bottleneck": False}),
    "CSF, MLP": ("CSF", {"representation_type": "mlp"}),
    "CSF, scalar critic": ("CSF", {"critic_type": "scalar"}),
    "CSF, twice the updates": ("CSF", {"updates_per_env_step": "double"}),
}
COLUMNS = {
    "cells": "evaluation/skills/state_coverage",
    "end distance": "evaluation/skills/end_distance",
    "stay": "evaluation/goals/staying_time",
    "goals reached": "evaluation/goals/success_rate",
    "‖v‖²": "learners/default_policy/feature_norm_squared",
    "env steps": "num_env_steps_sampled_lifetime",
    "CPU s": "cpu_time_total_s",
}


@dataclass(frozen=True)
class Run:
    """One training."""

    example: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        words = "".join(c if c.isalnum() else "_" for c in self.method)
        return f"{self.example}-{words}-{self.seed}"

    def results(self, out: Path) -> pd.DataFrame | None:
        """The results of evaluations, a row each; None if it has not ended."""
        rows = [flat(row) for row in trainings.results(out / self.name)]
        if not rows:
            return None
        table = pd.DataFrame([{name: row.get(key) for name, key in COLUMNS.items()} for row in rows])
        return table[table["cells"].notna()]

    def train(self, out: Path) -> None:
        algorithm, settings = METHODS[self.method]
        if settings.get("updates_per_env_step") == "double":
            settings = {"updates_per_env_step": 2 * example(self.example)["config"]["updates_per_env_step"]}
        arguments = [str(EXAMPLES / f"{self.example}.yaml"), "--algo", algorithm, "--seed", str(self.seed)]
        arguments += [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        trainings.train(arguments, self.name, out)


def example(name: str) -> dict[str, Any]:
    """The only experiment of an example."""
    (body,) = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text("utf-8")).values()
    return body


def random_actions(name: str, seeds: Sequence[int], episodes: int = 48) -> list[str]:
    """Cells and distance from start to end of uniformly random actions, the first cells of a row of the table."""
    cells, ends = [], []
    for seed in seeds:
        rng, paths = np.random.default_rng(seed), []
        for episode in range(episodes):
            env = envs.make(example(name)["env"])
            env.reset(seed=1_000 * seed + episode)
            path = [env.coordinates.copy()]
            for _ in range(env.max_steps):
                env.step(rng.uniform(env.action_space.low, env.action_space.high))
                path.append(env.coordinates.copy())
            paths.append(np.stack(path))
        cells.append(coverage(paths, env.cell_size))
        ends.append(np.mean([np.linalg.norm(path[-1] - path[0]) for path in paths]))
    return [_range(np.array(cells, float)), _range(np.array(ends))]


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dicts by path."""
    leaves: dict[str, Any] = {}
    for key, value in nested.items():
        leaves |= flat(value, f"{prefix}{key}/") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def table(name: str, runs: list[Run], seeds: Sequence[int], out: Path) -> str:
    """Returns a Markdown table: the last evaluation of each method, mean and range over its seeds."""
    lines = ["| method | seeds | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---:|" * len(COLUMNS)]
    for method in dict.fromkeys(run.method for run in runs):
        found = [results.iloc[-1] for run in runs if run.method == method and (results := run.results(out)) is not None]
        if found:
            cells = [_range(np.array([row[column] for row in found], float)) for column in COLUMNS]
            lines.append(f"| {method} | {len(found)} | " + " | ".join(cells) + " |")
    cells = [*random_actions(name, seeds), *["-"] * (len(COLUMNS) - 2)]
    lines.append(f"| random actions | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _range(values: np.ndarray) -> str:
    values = values[~np.isnan(values)]
    if not values.size:
        return "-"
    digits = 0 if values.mean() >= 100 else 1 if values.mean() >= 10 else 2 if values.mean() >= 0.1 else 3
    low, mean, high = (f"{value:,.{digits}f}" for value in (values.min(), values.mean(), values.max()))
    return mean if low == high else f"{mean} ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("example", choices=sorted(path.stem for path in EXAMPLES.glob("*.yaml")))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["CSF", "METRA", "DIAYN"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="Only print the table of what has ended.")
    arguments = parser.parse_args()
    runs = [Run(arguments.example, method, seed) for seed in arguments.seeds for method in arguments.methods]
    for run in runs if not arguments.table else ():
        run.train(arguments.out)
    print(table(arguments.example, runs, arguments.seeds, arguments.out))


if __name__ == "__main__":
    main()
