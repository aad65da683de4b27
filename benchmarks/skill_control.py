"""Compares agents whose actions are skills with agents that act on the body itself, at equal numbers of steps.

    python benchmarks/skills.py half_cheetah --out results/skills
    python benchmarks/skill_control.py half_cheetah_goal --skills results/skills --out results/control
    python benchmarks/skill_control.py half_cheetah_hurdle --skills results/skills --out results/control --table

Skills are those of ``skills.py``, an agent of seed k uses those of seed k. Steps are those of the body; the steps in
which skills were found are counted too. Last agents are played with their most likely actions, all with the same goals
and initial states. Finished runs are not repeated, and a stopped one starts over.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import trainings

from rllib_sami import envs

EXAMPLES = Path(__file__).parents[1] / "tuned_examples" / "csf"
# Task -> body whose skills it takes, environment.
TASKS = {
    "half_cheetah_goal": ("half_cheetah", "Skills/HalfCheetahGoal-v0"),
    "half_cheetah_hurdle": ("half_cheetah", "Skills/HalfCheetahHurdle-v0"),
}
WITH_SKILLS = ("CSF", "METRA", "DIAYN")
FLAT = {"PPO": "flat_ppo", "SAC": "flat_sac"}  # name in the table -> example
STEPS_PER_SKILL = 25
STEPS = (400_000, 600_000, 800_000, 1_000_000, 1_200_000)
EPISODES = 200


def train(task: str, method: str, seed: int, skills: Path, out: Path) -> None:
    """Trains one agent with the command line."""
    body, env = TASKS[task]
    if method in FLAT:
        arguments = [str(EXAMPLES / f"{FLAT[method]}.yaml"), "--env", env]
    else:
        checkpoint = max(
            skills.glob(f"{body}-{method}-{seed}/*/checkpoint_*"), key=lambda path: path.name, default=None
        )
        if checkpoint is None:
            raise SystemExit(
                f"{skills} has no {body}-{method}-{seed}: python benchmarks/skills.py {body} --out {skills}"
            )
        arguments = [str(EXAMPLES / f"{task}.yaml"), "--checkpoint", f"{task}_skills={checkpoint}"]
    trainings.train([*arguments, "--seed", str(seed)], f"{task}-{method}-{seed}", out)


def evaluate(task: str, method: str, seed: int, out: Path) -> None:
    """Plays the last agent of a run, with the command line; all play the same episodes."""
    name = f"{task}-{method}-{seed}"
    if not (out / "played" / name).exists():
        command = [trainings.RLLIB, "evaluate", str(out / name)]
        command += ["--episodes", str(EPISODES), "--out", str(out / "played" / name)]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def curve(task: str, method: str, seed: int, skills: Path, out: Path) -> list[float]:
    """Returns in training of a finished run, after each number of ``STEPS``."""
    before, scale = 0, 1
    if method not in FLAT:
        found = trainings.results(skills / f"{TASKS[task][0]}-{method}-{seed}")
        before, scale = found[-1]["num_env_steps_sampled_lifetime"], STEPS_PER_SKILL
    run = trainings.results(out / f"{task}-{method}-{seed}")
    steps = [before + scale * result["num_env_steps_sampled_lifetime"] for result in run]
    returns = [result["env_runners"]["episode_return_mean"] for result in run]
    return [float(np.interp(at, steps, returns, right=np.nan)) for at in STEPS]


def table(task: str, seeds: list[int], skills: Path, out: Path) -> str:
    """Returns a Markdown table, mean and range over seeds: returns in training, and of the last agents."""
    titles = ["agent", "seeds", *(f"at {steps:,} steps" for steps in STEPS), "last agent"]
    lines = [f"| {' | '.join(titles)} |", f"|---|---|{'---:|' * (len(STEPS) + 1)}"]
    for method in (*WITH_SKILLS, *FLAT):
        runs = [seed for seed in seeds if (out / "played" / f"{task}-{method}-{seed}").exists()]
        curves = [curve(task, method, seed, skills, out) for seed in runs]
        played = [out / "played" / f"{task}-{method}-{seed}" / "results.parquet" for seed in runs]
        if runs:
            last = [pd.read_parquet(file)["return"].mean() for file in played]
            cells = [_range(values) for values in [*zip(*curves, strict=True), last]]
            name = method if method in FLAT else f"PPO on skills of {method}"
            lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    for file in [*(out / "played").glob(f"{task}-*/results.parquet")][:1]:
        for name, value in reference_returns(TASKS[task][1], pd.read_parquet(file)["episode_seed"]).items():
            lines.append(f"| {name} | - |{' - |' * len(STEPS)} {value:.1f} |")
    return "\n".join(lines)


def _range(values: Sequence[float]) -> str:
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def reference_returns(env_id: str, seeds: Sequence[int]) -> dict[str, float]:
    """Mean returns of agents that learn nothing in the same episodes."""
    env, rng, returns = envs.make(env_id), np.random.default_rng(0), {}
    for name, scale in (("zero action", 0.0), ("random actions", 1.0)):
        total = 0.0
        for seed in seeds:
            env.reset(seed=int(seed))
            truncated = False
            while not truncated:
                action = scale * rng.uniform(env.action_space.low, env.action_space.high)
                _, reward, _, truncated, _ = env.step(action)
                total += float(reward)
        returns[name] = total / len(seeds)
    return returns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--skills", type=Path, required=True, help="Folder of the results of skills.py.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=(*WITH_SKILLS, *FLAT), default=[*WITH_SKILLS, *FLAT])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="Only print the table of what has ended.")
    arguments = parser.parse_args()
    for method in arguments.methods if not arguments.table else ():
        for seed in arguments.seeds:
            train(arguments.task, method, seed, arguments.skills, arguments.out)
            evaluate(arguments.task, method, seed, arguments.out)
    print(table(arguments.task, arguments.seeds, arguments.skills, arguments.out))


if __name__ == "__main__":
    main()
