"""Returns of two policies that learn nothing, the zero action and uniformly random actions, per family and split.

    python benchmarks/baselines.py                          # what rllib_sami/evaluation/baselines.csv lacks
    python benchmarks/baselines.py SaMI/Ant-v0              # one family again
    python benchmarks/baselines.py --oracle benchmarks/results/learning/cpu/results.parquet    # the agent told the task
    python benchmarks/baselines.py --neutral --max-steps 1000 SaMI/Ant-v0   # the unchanged robot; prints only

Episodes are as long as the family's usual cap allows, and visit every meta-task equally often. Seeds are fixed: the
same versions give the same figures. All of it takes some ten minutes of CPU time.
"""

import argparse
import math
import multiprocessing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_sami import envs
from rllib_sami.evaluation.baselines import FILE as RESULTS
from rllib_sami.evaluation.names import ORACLE

POLICIES = ("zero", "random")
KEY = ["env_id", "split", "policy"]
Job = tuple[str, str | None, str, int | None]  # environment, split (None: the neutral task), policy, cap on the length


def measure(job: Job) -> dict[str, Any]:
    """Plays at least 20 episodes, 10,000 steps and every meta-task; returns a row of the table."""
    env_id, split, policy, max_steps = job
    env = envs.make(env_id, max_steps=max_steps, **({"split": split} if split else {"tasks": [{}]}))
    env.next_task_id = 0  # where the walk over the meta-tasks begins, whatever the seed
    rounds = math.ceil(max(20, 10_000 / env.max_steps) / env.num_tasks)
    rng = np.random.default_rng(0)
    low, high = env.action_space.low, env.action_space.high
    action = np.zeros_like(low)
    played = []
    for episode in range(rounds * env.num_tasks):
        env.reset(seed=0 if episode == 0 else None)
        total, done, length = 0.0, False, 0
        while not done:
            if policy == "random":
                action = rng.uniform(low, high).astype(np.float32)
            _, reward, terminated, truncated, info = env.step(action)
            total, length, done = total + reward, length + 1, terminated or truncated
        played.append((total, length, info.get("is_success")))
    env.close()
    return _row(env_id, split or "neutral", policy, *zip(*played, strict=True))


def _row(env_id: str, split: str, policy: str, returns: Sequence, lengths: Sequence, successes: Sequence) -> dict:
    """Returns a row of the table; ``success_rate`` is empty where the environment knows no success."""
    success = np.mean(np.array(successes, float))
    return {
        **dict(zip(KEY, (env_id, split, policy), strict=True)),
        "return_mean": round(float(np.mean(returns)), 3),
        "return_std": round(float(np.std(returns)), 3),
        "episodes": len(returns),
        "episode_length": round(float(np.mean(lengths)), 2),
        "success_rate": "" if np.isnan(success) else round(float(success), 4),
    }


def oracles(episodes: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yields the oracle's rows from a learning benchmark's episodes, where these have the family's usual cap."""
    for name, mine in episodes[episodes["algorithm"] == ORACLE].groupby("environment"):
        env_id = f"SaMI/{name}-v0"
        if mine["length"].max() == envs.ENVIRONMENTS[env_id].default_max_steps:
            for split, rows in mine.groupby("split"):
                yield _row(env_id, str(split), ORACLE, rows["return"], rows["length"], rows["success"])


def read() -> pd.DataFrame:
    """Returns what is recorded, as text, by environment, split and policy."""
    return pd.read_csv(RESULTS, dtype=str, keep_default_na=False).set_index(KEY)


def write(*rows: dict[str, Any]) -> None:
    """Adds rows to what is recorded, in the families' order; those of environments and splits that are no more go."""
    table = read()
    for row in rows:
        new = pd.DataFrame([row]).set_index(KEY).astype(str)
        table = pd.concat([table.drop(new.index, errors="ignore"), new])
    keys = [job[:3] for job in all_jobs((*POLICIES, ORACLE))]
    table.loc[[key for key in keys if key in table.index]].to_csv(RESULTS, lineterminator="\n")


def all_jobs(policies: tuple[str, ...] = POLICIES) -> list[Job]:
    families = envs.ENVIRONMENTS.items()
    return [(env_id, split, policy, None) for env_id, cls in families for split in cls.splits for policy in policies]


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

    if arguments.oracle:
        write(*oracles(pd.read_parquet(arguments.oracle)))
        return
    chosen = arguments.env_ids or list(envs.ENVIRONMENTS)
    if arguments.neutral:
        todo = [(env_id, None, policy, arguments.max_steps) for env_id in chosen for policy in POLICIES]
    else:
        recorded = () if arguments.env_ids else read().index
        todo = [job for job in all_jobs() if job[0] in chosen and job[:3] not in recorded]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for row in pool.imap_unordered(measure, todo):
            print(
                f"{row['env_id']} {row['split']} {row['policy']}: {row['return_mean']:.1f} ± {row['return_std']:.1f}, "
                f"{row['episodes']} episodes of {row['episode_length']:g} steps {row['success_rate']}",
                flush=True,
            )
            if not arguments.neutral:
                write(row)  # at once, so that a broken-off run can go on


if __name__ == "__main__":
    main()
