"""Sampling and update speed beside RLlib's own SAC, in one process, on the same environment and network sizes.

    python benchmarks/speed.py --env SaMI/HalfCheetah-v0 --rounds 9 --out speed.json

Every round measures every contestant once, one after the other, so that a machine that gets slower slows all of them.
Figures are CPU time of this process with one torch thread, medians over the rounds with the smallest and largest; the
ratios are taken round by round. An update includes drawing its batch. SAC has no context encoder and no contrast: it
is the yardstick, not an equal.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ray
import torch
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from rich.console import Console
from rich.table import Table

from rllib_sami import CCMConfig, SaCCMConfig, TESACConfig, compat

UPDATES_PER_CALL = 16


def build_sac(env: str, num_envs: int, hidden: list[int], batch_size: int):
    """RLlib's SAC with plain networks of the given sizes."""
    config = (
        SACConfig()
        .environment(env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs, rollout_fragment_length=25)
        .training(
            train_batch_size_per_learner=batch_size,
            replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 100_000},
            num_steps_sampled_before_learning_starts=0,
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=hidden, head_fcnet_hiddens=[]))
    )
    return config.build_algo()


def build_sami(config_class, env: str, num_envs: int, hidden: list[int], batch_size: int):
    """One of ours."""
    config = (
        config_class()
        .environment(env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs, rollout_fragment_length=25)
        .training(actor_hidden=hidden, critic_hidden=hidden, loss_timesteps=batch_size)
    )
    return config.build_algo()


def sac_update(algorithm) -> int:
    episodes = algorithm.local_replay_buffer.sample(
        num_items=algorithm.config.train_batch_size_per_learner, n_step=1, gamma=0.99, sample_episodes=True
    )
    steps = {compat.NUM_ENV_STEPS_SAMPLED_LIFETIME: 0}
    algorithm.learner_group.update(episodes=episodes, timesteps=steps)
    return 1


def sami_update(algorithm) -> int:
    compat.update_learners(algorithm, [algorithm.replay_buffer.sample(UPDATES_PER_CALL)])
    return UPDATES_PER_CALL


def cpu_time_per(action: Callable[[], int], count: int = 1) -> float:
    """CPU seconds per item of ``count`` calls; the action returns how many items it did."""
    start, done = time.process_time(), 0
    for _ in range(count):
        done += action()
    return (time.process_time() - start) / done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="SaMI/HalfCheetah-v0")
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--batch-size", type=int, default=256, help="transitions in the losses of one update")
    parser.add_argument("--max-steps", type=int, default=200, help="length of the episodes")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()

    torch.set_num_threads(1)
    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    env_name = f"{args.env}-{args.max_steps}"
    ray.tune.register_env(env_name, lambda context: _make(args.env, args.max_steps))
    sizes = (env_name, args.num_envs, args.hidden, args.batch_size)
    algorithms = {
        "SAC (RLlib)": build_sac(*sizes),
        "TESAC": build_sami(TESACConfig, *sizes),
        "CCM": build_sami(CCMConfig, *sizes),
        "SaCCM": build_sami(SaCCMConfig, *sizes),
    }
    for name, algorithm in algorithms.items():  # fill the buffers: 16 episodes in each of the slots
        for _ in range(16 * args.max_steps // 25):
            episodes = algorithm.env_runner.sample(random_actions=True)
            (algorithm.local_replay_buffer if name.startswith("SAC") else algorithm.replay_buffer).add(episodes)

    figures: dict[str, dict[str, list[float]]] = {name: {"sample": [], "update": []} for name in algorithms}
    for _ in range(args.rounds + 1):
        for name, algorithm in algorithms.items():
            sample = cpu_time_per(lambda a=algorithm: sum(map(len, a.env_runner.sample())), count=4)
            torch.set_num_threads(1)
            if name.startswith("SAC"):
                update = cpu_time_per(lambda a=algorithm: sac_update(a), count=4)
            else:
                update = cpu_time_per(lambda a=algorithm: sami_update(a))
            figures[name]["sample"].append(sample)
            figures[name]["update"].append(update)
    figures = {name: {key: values[1:] for key, values in rows.items()} for name, rows in figures.items()}  # warm-up
    report(figures, args)


def _make(env_id: str, max_steps: int):
    import rllib_sami

    return rllib_sami.envs.make(env_id, max_steps=max_steps)


def report(figures: dict[str, dict[str, list[float]]], args: argparse.Namespace) -> None:
    table = Table(
        title=f"{args.env}, {args.num_envs} environments, networks {args.hidden}, {args.batch_size} transitions"
    )
    for column in ("", "env steps per CPU-s", "x SAC", "CPU-ms per update", "x SAC"):
        table.add_column(column, justify="left" if not column else "right")
    base = {key: np.array(values) for key, values in figures["SAC (RLlib)"].items()}
    summary = {}
    for name, rows in figures.items():
        sample, update = np.array(rows["sample"]), np.array(rows["update"])
        rate, cost = np.sort(1 / sample), np.sort(update * 1e3)
        faster = {"sample": np.median(base["sample"] / sample), "update": np.median(base["update"] / update)}
        table.add_row(
            name,
            f"{np.median(rate):,.0f} [{rate[0]:,.0f}, {rate[-1]:,.0f}]",
            f"{faster['sample']:.1f}",
            f"{np.median(cost):.1f} [{cost[0]:.1f}, {cost[-1]:.1f}]",
            f"{faster['update']:.1f}",
        )
        summary[name] = {
            "env_steps_per_cpu_s": float(np.median(rate)),
            "cpu_ms_per_update": float(np.median(cost)),
            "sampling_times_sac": float(faster["sample"]),
            "update_times_sac": float(faster["update"]),
        }
    Console().print(table)
    if args.out:
        args.out.write_text(json.dumps({"arguments": {**vars(args), "out": None}, "figures": summary}, indent=2) + "\n")


if __name__ == "__main__":
    main()
