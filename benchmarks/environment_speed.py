"""Environment steps per CPU-second of every family, one by one and vectorised, beside the bare simulator.

\b
    python benchmarks/environment_speed.py                     # all families, 16 environments
    python benchmarks/environment_speed.py SaMI/Ant-v0 --threads 2 --out ant.json

Every round measures every contestant once, in turn, on the same actions: the simulator alone with the same models
(``mj_step``), single environments, Gymnasium's ``SyncVectorEnv``, our vector environment in one thread, and in
``--threads`` threads. CPU time is that of the process (all threads); wall time tells what threads bring. Medians.
"""  # noqa: D301 - click's mark for "do not rewrap", not a backslash

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import gymnasium
import mujoco
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from rich.console import Console
from rich.table import Table

from rllib_sami import envs
from rllib_sami.envs.mujoco.base import MujocoTaskEnv
from rllib_sami.envs.vector import MetaTaskVectorEnv

Actions = np.ndarray  # [T, n, A]
NAMES = ("simulator", "single", "SyncVectorEnv", "ours", "ours, threads")


@dataclass(frozen=True)
class Contestant:
    """One way of stepping: ``begin`` resets, ``run`` plays all actions."""

    begin: Callable[[], object]
    run: Callable[[], None]


def _members(env_class: type[envs.MetaTaskEnv], number: int) -> tuple[list, Callable[[], None]]:
    """Environments with the tasks and seeds that our vector environment gives them, and their reset."""
    members = [env_class() for _ in range(number)]
    for index, env in enumerate(members):
        env.next_task_id = index % env.num_tasks

    def begin() -> None:
        for index, env in enumerate(members):
            env.reset(seed=index)

    return members, begin


def simulator(env_class: type[envs.MetaTaskEnv], actions: Actions) -> Contestant | None:
    """The same models and actions, nothing observed or rewarded; None where there is no MuJoCo."""
    if not issubclass(env_class, MujocoTaskEnv):
        return None
    members, begin = _members(env_class, actions.shape[1])

    def run() -> None:
        for step in actions:
            for env, action in zip(members, step, strict=True):
                env.data.ctrl[:] = action
                mujoco.mj_step(env.model, env.data, env.frame_skip)

    return Contestant(begin, run)


def single(env_class: type[envs.MetaTaskEnv], actions: Actions) -> Contestant:
    """Single environments in turn."""
    members, begin = _members(env_class, actions.shape[1])

    def run() -> None:
        for step in actions:
            for env, action in zip(members, step, strict=True):
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()

    return Contestant(begin, run)


def vector(env: gymnasium.vector.VectorEnv, actions: Actions) -> Contestant:
    """A vector environment."""

    def run() -> None:
        for step in actions:
            env.step(step)

    return Contestant(lambda: env.reset(seed=0), run)


def measure(env_class: type[envs.MetaTaskEnv], num_envs: int, threads: int, rounds: int, seconds: float) -> dict:
    """Steps per CPU-second and per second of wall time, medians over the rounds, by contestant."""
    space = env_class().action_space
    rng = np.random.default_rng(0)

    def contestants(num_steps: int) -> dict[str, Contestant | None]:
        actions = rng.uniform(space.low, space.high, (num_steps, num_envs, *space.shape)).astype(np.float32)
        sync = SyncVectorEnv([env_class] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
        result = {
            "simulator": simulator(env_class, actions),
            "single": single(env_class, actions),
            "SyncVectorEnv": vector(sync, actions),
            "ours": vector(MetaTaskVectorEnv(env_class, num_envs), actions),
        }
        if threads > 1 and env_class.thread_safe:
            result["ours, threads"] = vector(MetaTaskVectorEnv(env_class, num_envs, threads), actions)
        return result

    def timed(contestant: Contestant) -> tuple[float, float]:
        contestant.begin()
        cpu, wall = time.process_time(), time.perf_counter()
        contestant.run()
        return time.process_time() - cpu, time.perf_counter() - wall

    trial = timed(contestants(20)["single"])[0] / 20
    num_steps = max(20, int(seconds / trial))
    runs = {name: run for name, run in contestants(num_steps).items() if run}
    times = np.array([[timed(run) for run in runs.values()] for _ in range(rounds)])  # [rounds, contestants, 2]
    rates = np.median(num_steps * num_envs / times, axis=0)
    return {name: {"cpu": rate[0], "wall": rate[1]} for name, rate in zip(runs, rates.tolist(), strict=True)}


@click.command(help=__doc__)
@click.argument("env_ids", nargs=-1)
@click.option("--num-envs", default=16, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=0.4, show_default=True, help="CPU time of one measurement, about.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def main(env_ids: tuple[str, ...], num_envs: int, threads: int, rounds: int, seconds: float, out: Path | None) -> None:
    table = Table(title=f"Steps per CPU-second (and share of the simulator's), {num_envs} environments")
    for column in ("", *NAMES, "wall: ours", "wall: threads"):
        table.add_column(column, justify="right" if column else "left")
    figures = {}
    for env_id in env_ids or envs.ENVIRONMENTS:
        rates = figures[env_id] = measure(envs.ENVIRONMENTS[env_id], num_envs, threads, rounds, seconds)
        bare = rates.get("simulator", {}).get("cpu")
        shares = {name: f" ({rate['cpu'] / bare:.2f})" if bare else "" for name, rate in rates.items()}
        cells = [f"{rates[name]['cpu']:,.0f}{shares[name]}" if name in rates else "" for name in NAMES]
        walls = [f"{rates[name]['wall']:,.0f}" if name in rates else "" for name in NAMES[3:]]
        table.add_row(env_id, *cells, *walls)
    Console(width=160).print(table)
    if out:
        out.write_text(json.dumps({"num_envs": num_envs, "threads": threads, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
