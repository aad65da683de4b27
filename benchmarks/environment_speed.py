"""Environment steps per CPU-second of every family, one by one and vectorised, beside the bare simulator.

\b
    python benchmarks/environment_speed.py                     # all families, 16 environments
    python benchmarks/environment_speed.py SaMI/Ant-v0 --threads 2 --out ant.json

Every round measures every contestant once, in turn, on the same actions: the simulator alone with the same models
(``mj_step``), single environments, Gymnasium's ``SyncVectorEnv``, our vector environment in one thread, and in
``--threads`` threads. CPU time is that of the process (all threads); wall time tells what threads bring. Medians.
The reset at the beginning of a round is not measured; those of episodes that end during it are.
"""  # noqa: D301 - click's mark for "do not rewrap", not a backslash

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import gymnasium
import mujoco
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from measure import Action, Times, interleave
from rich.console import Console
from rich.table import Table

from rllib_sami import envs
from rllib_sami.envs.mujoco.base import MujocoTaskEnv
from rllib_sami.envs.vector import MetaTaskVectorEnv

NAMES = ("simulator", "single", "SyncVectorEnv", "ours", "ours, threads")


class Contestant(NamedTuple):
    """One way of stepping.

    Attributes:
        begin: Resets the environments.
        run: Plays all actions; returns the environment steps.
    """

    begin: Callable[[], Any]
    run: Action


def one_by_one(env_class: type[envs.MetaTaskEnv], actions: np.ndarray, bare: bool = False) -> Contestant:
    """Single environments in turn, with the tasks and seeds that our vector environment gives them.

    Args:
        env_class: Of the environments.
        actions: ``[T, n, A]``.
        bare: Whether their simulators alone step: the same models and actions, nothing observed or rewarded.
    """
    members = [env_class() for _ in range(actions.shape[1])]

    def simulate(env: MujocoTaskEnv, action: np.ndarray) -> None:
        env.data.ctrl[:] = action
        mujoco.mj_step(env.model, env.data, env.frame_skip)

    def step(env: envs.MetaTaskEnv, action: np.ndarray) -> None:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    advance = simulate if bare else step

    def begin() -> None:
        for index, env in enumerate(members):
            env.next_task_id = index % env.num_tasks
            env.reset(seed=index)

    def run() -> int:
        for row in actions:
            for env, action in zip(members, row, strict=True):
                advance(env, action)
        return len(actions) * len(members)

    return Contestant(begin, run)


def vector(env: gymnasium.vector.VectorEnv, actions: np.ndarray) -> Contestant:
    """A vector environment, stepped by actions ``[T, n, A]``."""

    def run() -> int:
        for row in actions:
            env.step(row)
        return len(actions) * env.num_envs

    return Contestant(lambda: env.reset(seed=0), run)


def times_of(contestants: dict[str, Contestant], rounds: int) -> dict[str, Times]:
    """The times of contestants, the resets before them left out."""
    runs = {name: one.run for name, one in contestants.items()}
    return interleave(runs, rounds, before={name: one.begin for name, one in contestants.items()})


def measure(env_class: type[envs.MetaTaskEnv], num_envs: int, threads: int, rounds: int, seconds: float) -> dict:
    """Steps per CPU-second and per second of wall time, medians over the rounds, by contestant."""
    space = env_class().action_space
    rng = np.random.default_rng(0)

    def random_actions(num_steps: int) -> np.ndarray:
        return rng.uniform(space.low, space.high, (num_steps, num_envs, *space.shape)).astype(np.float32)

    (trial,) = times_of({"single": one_by_one(env_class, random_actions(20))}, rounds=1).values()
    actions = random_actions(max(20, int(seconds / trial.cpu[0] / num_envs)))
    contestants = {"single": one_by_one(env_class, actions)}
    if issubclass(env_class, MujocoTaskEnv):
        contestants = {"simulator": one_by_one(env_class, actions, bare=True), **contestants}
    contestants["SyncVectorEnv"] = vector(
        SyncVectorEnv([env_class] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP), actions
    )
    if env_class.writes_rows():
        contestants["ours"] = vector(MetaTaskVectorEnv(env_class, num_envs), actions)
    if threads > 1 and env_class.writes_rows() and env_class.thread_safe:
        contestants["ours, threads"] = vector(MetaTaskVectorEnv(env_class, num_envs, threads), actions)
    return {
        name: {"cpu": float(np.median(1 / times.cpu)), "wall": float(np.median(1 / times.wall))}
        for name, times in times_of(contestants, rounds).items()
    }


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
