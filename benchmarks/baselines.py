"""Returns of two policies that learn nothing, the zero action and uniformly random actions, per family and split.

    python benchmarks/baselines.py                          # what rllib_sami/evaluation/baselines.csv lacks
    python benchmarks/baselines.py SaMI/Ant-v0              # one family again
    python benchmarks/baselines.py --oracle benchmarks/results/learning/cpu/results.parquet    # the agent told the task
    python benchmarks/baselines.py --neutral --max-steps 1000 SaMI/Ant-v0   # the unchanged robot; prints only

Episodes are as long as the family's usual cap allows, and visit every meta-task equally often. Seeds are fixed: the
same versions give the same figures. All of it takes some ten minutes of CPU time.
"""

import argparse
import csv
import math
import multiprocessing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from rllib_sami import envs
from rllib_sami.evaluation.baselines import FILE as RESULTS
from rllib_sami.evaluation.names import ORACLE

POLICIES = ("zero", "random")


@dataclass(frozen=True)
class Job:
    """One cell of the table; a split of None is the neutral task."""

    env_id: str
    split: str | None
    policy: str
    max_steps: int | None = None


@dataclass(frozen=True)
class Baseline:
    """What was measured; ``success_rate`` is empty where the environment knows no success."""

    env_id: str
    split: str
    policy: str
    return_mean: float
    return_std: float
    episodes: int
    episode_length: float
    success_rate: float | str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.env_id, self.split, self.policy


def measure(job: Job) -> Baseline:
    """Plays at least 20 episodes, 10,000 steps and every meta-task."""
    tasks = {"split": job.split} if job.split else {"tasks": [{}]}
    env = envs.make(job.env_id, max_steps=job.max_steps, **tasks)
    env.next_task_id = 0  # where the walk over the meta-tasks begins, whatever the seed
    rounds = math.ceil(max(20, 10_000 / env.max_steps) / env.num_tasks)
    rng = np.random.default_rng(0)
    low, high = env.action_space.low, env.action_space.high
    action = np.zeros_like(low)
    returns, lengths, successes = [], [], []
    for episode in range(rounds * env.num_tasks):
        env.reset(seed=0 if episode == 0 else None)
        total, done, length = 0.0, False, 0
        while not done:
            if job.policy == "random":
                action = rng.uniform(low, high).astype(np.float32)
            _, reward, terminated, truncated, info = env.step(action)
            total, length, done = total + reward, length + 1, terminated or truncated
        returns.append(total)
        lengths.append(length)
        successes.append(info.get("is_success"))
    env.close()
    return Baseline(
        job.env_id,
        job.split or "neutral",
        job.policy,
        round(float(np.mean(returns)), 3),
        round(float(np.std(returns)), 3),
        len(returns),
        round(float(np.mean(lengths)), 2),
        "" if successes[-1] is None else round(float(np.mean(successes)), 4),
    )


def oracles(episodes: pd.DataFrame) -> list[Baseline]:
    """Returns the oracle's baselines of a learning benchmark's episodes, where these have the family's usual cap."""
    found = []
    for name, mine in episodes[episodes["algorithm"] == ORACLE].groupby("environment"):
        env_id = f"SaMI/{name}-v0"
        if mine["length"].max() != envs.ENVIRONMENTS[env_id].default_max_steps:
            continue
        for split, rows in mine.groupby("split"):
            returns, success = rows["return"], rows["success"].astype(float).mean()
            spread = (
                round(returns.mean(), 3),
                round(returns.std(ddof=0), 3),
                len(rows),
                round(rows["length"].mean(), 2),
            )
            found.append(Baseline(env_id, split, ORACLE, *spread, "" if math.isnan(success) else round(success, 4)))
    return found


def read() -> dict[tuple[str, str, str], dict[str, str]]:
    """Returns the recorded rows by environment, split and policy."""
    if not RESULTS.exists():
        return {}
    with RESULTS.open(newline="") as file:
        return {(row["env_id"], row["split"], row["policy"]): row for row in csv.DictReader(file)}


def write(rows: dict[tuple[str, str, str], dict[str, str]]) -> None:
    """Writes the rows in the families' order, those of environments and splits that are no more left out."""
    jobs = all_jobs((*POLICIES, ORACLE))
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Baseline)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for job in jobs if (key := (job.env_id, str(job.split), job.policy)) in rows)


def all_jobs(policies: tuple[str, ...] = POLICIES) -> list[Job]:
    return [
        Job(env_id, split, policy)
        for env_id, cls in envs.ENVIRONMENTS.items()
        for split in cls.splits
        for policy in policies
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", metavar="ENV_ID", help="these again; none: all that is not recorded yet")
    parser.add_argument("--neutral", action="store_true", help="the unchanged robot instead of the splits; record none")
    parser.add_argument("--max-steps", type=int, help="cap on the episode's length, with --neutral")
    parser.add_argument("--oracle", type=Path, metavar="PARQUET", help="results of the learning benchmark to take from")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.max_steps and not arguments.neutral:
        parser.error("--max-steps goes with --neutral: what is recorded has the family's usual cap.")

    jobs, rows = all_jobs(), read()
    if arguments.oracle:
        write(rows | {one.key: asdict(one) for one in oracles(pd.read_parquet(arguments.oracle))})
        return
    chosen = arguments.env_ids or list(envs.ENVIRONMENTS)
    if arguments.neutral:
        todo = [Job(env_id, None, policy, arguments.max_steps) for env_id in chosen for policy in POLICIES]
    elif arguments.env_ids:
        todo = [job for job in jobs if job.env_id in chosen]
    else:
        todo = [job for job in jobs if (job.env_id, job.split, job.policy) not in rows]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for result in pool.imap_unordered(measure, todo):
            print(
                f"{result.env_id} {result.split} {result.policy}: {result.return_mean:.1f} ± {result.return_std:.1f}, "
                f"{result.episodes} episodes of {result.episode_length:g} steps {result.success_rate}",
                flush=True,
            )
            if not arguments.neutral:
                rows[result.key] = asdict(result)
                write(rows)  # at once, so that a broken-off run can go on


if __name__ == "__main__":
    main()
