"""Compares agents whose actions are skills with agents that act on the body itself, at equal numbers of steps.

    python benchmarks/skills.py half_cheetah --out results/skills
    python benchmarks/skill_control.py half_cheetah_goal --skills results/skills --out results/control
    python benchmarks/skill_control.py half_cheetah_hurdle --skills results/skills --out results/control --table

Skills are those of ``skills.py``, an agent of seed k uses those of seed k. Returns are means of 48 episodes with the
policy's most likely actions. Steps are those of the body; the steps in which skills were found are counted too.
Finished runs are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

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


def results(folder: Path) -> list[dict[str, Any]]:
    """Results of the newest run in a folder, one for each iteration."""
    files = sorted(folder.glob("*/result.json"), key=lambda file: file.stat().st_mtime)
    return [json.loads(line) for line in files[-1].read_text().splitlines()] if files else []


def train(task: str, method: str, seed: int, skills: Path, out: Path) -> None:
    """Trains one agent with the command line."""
    name = f"{task}-{method}-{seed}"
    if (out / name / "done").exists():
        return
    body, env = TASKS[task]
    command = [str(Path(sys.executable).with_name("rllib")), "train", "file"]
    if method in FLAT:
        command += [str(EXAMPLES / f"{FLAT[method]}.yaml"), "--env", env]
    else:
        checkpoint = max(skills.glob(f"{body}-{method}-{seed}/*/checkpoint_*"), key=lambda path: path.name)
        command += [str(EXAMPLES / f"{task}.yaml"), "--checkpoint", f"{task}_skills={checkpoint}"]
    command += ["--seed", str(seed), "-n", name, "--storage-path", str(out)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    (out / name / "done").touch()


def curve(task: str, method: str, seed: int, skills: Path, out: Path) -> dict[int, float]:
    """Mean return of the evaluations of a finished run, by thousands of steps of the body."""
    name = f"{task}-{method}-{seed}"
    if not (out / name / "done").exists():
        return {}
    before, scale = 0, 1
    if method not in FLAT:
        found = results(skills / f"{TASKS[task][0]}-{method}-{seed}")
        before, scale = found[-1]["num_env_steps_sampled_lifetime"], STEPS_PER_SKILL
    evaluated = [result for result in results(out / name) if "evaluation" in result]
    return {
        round((before + scale * int(result["num_env_steps_sampled_lifetime"])) / 1_000): float(
            result["evaluation"]["env_runners"]["episode_return_mean"]
        )
        for result in evaluated
    }


def table(task: str, seeds: list[int], skills: Path, out: Path) -> str:
    """Returns a Markdown table: the return after each number of steps, mean and range over seeds."""
    rows = []
    for method in (*WITH_SKILLS, *FLAT):
        curves = [found for seed in seeds if (found := curve(task, method, seed, skills, out))]
        for steps in curves[0] if curves else ():
            returns = [found[steps] for found in curves if steps in found]
            name = method if method in FLAT else f"PPO on skills of {method}"
            value = f"{np.mean(returns):.1f} ({min(returns):.1f} to {max(returns):.1f})"
            rows.append(f"| {name} | {len(returns)} | {steps},000 | {value} |")
    rows.append(f"| random actions | 1 | - | {random_return(TASKS[task][1]):.1f} |")
    return "\n".join(["| agent | seeds | steps | return |", "|---|---|---:|---:|", *rows])


def random_return(env_id: str, episodes: int = 200) -> float:
    """Mean return of uniformly random actions."""
    env, rng, total = envs.make(env_id), np.random.default_rng(0), 0.0
    for episode in range(episodes):
        env.reset(seed=episode)
        truncated = False
        while not truncated:
            _, reward, _, truncated, _ = env.step(rng.uniform(env.action_space.low, env.action_space.high))
            total += float(reward)
    return total / episodes


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
    print(table(arguments.task, arguments.seeds, arguments.skills, arguments.out))


if __name__ == "__main__":
    main()
