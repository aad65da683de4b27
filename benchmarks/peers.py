"""What other libraries learn on the same tasks: SAC of Stable-Baselines3 and RecurrentPPO of sb3-contrib, as they come.

\b
    pip install stable-baselines3 sb3-contrib
    python benchmarks/peers.py sac Hopper-v5 --env-steps 20000 --out peers.csv
    python benchmarks/peers.py recurrent-ppo benchmarks.small_tasks:Small/DelayedCue-v0 --cpu-seconds 200

Trains in this process with one thread, plays deterministic episodes and appends a line to ``--out``: mean return,
environment steps and CPU-seconds of training. Needs Gymnasium and the libraries named, nothing of this package.
"""  # noqa: D301 - click's mark for "do not rewrap", not a backslash

import csv
import time
from pathlib import Path

import click
import gymnasium
import numpy as np

FIELDS = ("algorithm", "env", "seed", "env_steps", "cpu_s", "return_mean", "version")


@click.command(help=__doc__)
@click.argument("algorithm", type=click.Choice(["sac", "recurrent-ppo"]))
@click.argument("env")
@click.option("--env-steps", type=int, help="Train for so many environment steps.")
@click.option("--cpu-seconds", type=float, help="Or until so much CPU time is used up.")
@click.option("--episodes", default=50, show_default=True, help="Played at the end.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("peers.csv"), show_default=True)
def main(algorithm, env, env_steps, cpu_seconds, episodes, seed, out) -> None:
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    if (env_steps is None) == (cpu_seconds is None):
        raise click.UsageError("Give either --env-steps or --cpu-seconds.")
    torch.set_num_threads(1)

    class Budget(BaseCallback):
        def _on_step(self) -> bool:
            return cpu_seconds is None or time.process_time() - start < cpu_seconds

    if algorithm == "sac":
        import stable_baselines3 as library

        model = library.SAC("MlpPolicy", gymnasium.make(env), seed=seed, device="cpu")
    else:
        import sb3_contrib as library

        model = library.RecurrentPPO("MlpLstmPolicy", gymnasium.make(env), seed=seed, device="cpu")
    start = time.process_time()
    model.learn(env_steps or 10**9, callback=Budget())
    line = {
        "algorithm": algorithm,
        "env": env.rpartition("/")[2],
        "seed": seed,
        "env_steps": model.num_timesteps,
        "cpu_s": round(time.process_time() - start, 1),
        "return_mean": round(float(np.mean([_play(model, env, 1_000 + index) for index in range(episodes)])), 2),
        "version": library.__version__,
    }
    is_new = not out.exists()
    with out.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, FIELDS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(line)
    click.echo(line)


def _play(model, env_id: str, seed: int) -> float:
    """Return of one deterministic episode; a policy without memory keeps no state."""
    env = gymnasium.make(env_id)
    obs, _ = env.reset(seed=seed)
    state, begins, total, done = None, np.ones(1, bool), 0.0, False
    while not done:
        action, state = model.predict(obs, state=state, episode_start=begins, deterministic=True)
        obs, reward, terminated, truncated, _ = env.step(action)
        begins, total, done = np.zeros(1, bool), total + float(reward), terminated or truncated
    env.close()
    return total


if __name__ == "__main__":
    main()
