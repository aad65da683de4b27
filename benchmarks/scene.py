"""What OGBench's oracles do in ``Manipulation/Scene-v0``: the sub-tasks in their order, and in a data set of play.

python benchmarks/scene.py oracles              # 20 episodes
rllib data make scene --trajectories 50 --out data/scene
python benchmarks/scene.py data data/scene
"""

import argparse
import time

import numpy as np

from rllib_sami.datasets import Dataset
from rllib_sami.envs.manipulation import Scene
from rllib_sami.envs.manipulation.play import Player
from rllib_sami.envs.manipulation.scene import SUBTASKS, done

TARGETS = ("open drawer", "window button", "open window", "cube to drawer")  # one for each sub-task


def oracles(episodes: int, noise: float) -> None:
    """Lets oracles do the sub-tasks in their order, again where they fail; prints how that went."""
    env, steps, completed, began = Scene(), [], [], time.process_time()
    for seed in range(episodes):
        rng, player, is_over = np.random.default_rng(seed), Player(env, noise), False
        env.reset(seed=seed)
        while not is_over:
            if player.is_done:
                player.begin(TARGETS[env.num_completed], rng)
            _, _, terminated, truncated, info = env.step(player.act())
            is_over = terminated or truncated
        steps.append(round((env.data.time) / env.dt))
        completed.append(len(info["tasks_completed"]))
    per_step = (time.process_time() - began) / sum(steps)
    print(f"all sub-tasks in {np.mean(np.array(completed) == len(SUBTASKS)):.0%} of {episodes} episodes")
    print(
        f"steps: {min(steps)} to {max(steps)}, mean {np.mean(steps):.0f}; CPU time of a step: {1e3 * per_step:.2f} ms"
    )


def data(folder: str) -> None:
    """Prints how often each sub-task was done in each trajectory of a data set."""
    dataset = Dataset(folder)
    times = []
    for one in dataset:
        state = done(one.observations)
        times.append((~state[:-1] & state[1:]).sum(axis=0))
    counts = np.array(times)
    print(f"{len(dataset)} trajectories, {dataset.num_steps:,} steps")
    for name, mine in zip(SUBTASKS, counts.T, strict=True):
        print(f"{name}: {mine.mean():.2f} times in a trajectory; in {np.mean(mine > 0):.0%} of them")
    print(
        f"all {len(SUBTASKS)} sub-tasks, in any order: in {np.mean((counts > 0).all(axis=1)):.0%} of the trajectories"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for_oracles = commands.add_parser("oracles", help=oracles.__doc__)
    for_oracles.add_argument("--episodes", type=int, default=20)
    for_oracles.add_argument("--noise", type=float, default=0.1)
    commands.add_parser("data", help=data.__doc__).add_argument("folder")
    arguments = vars(parser.parse_args())
    {"oracles": oracles, "data": data}[arguments.pop("command")](**arguments)


if __name__ == "__main__":
    main()
