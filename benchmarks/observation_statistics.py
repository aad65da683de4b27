"""Prints mean and standard deviation of the observations of random rollouts, for the classes in ``envs/skills``.

python benchmarks/observation_statistics.py HalfCheetah

Standard deviations below 0.05 are printed as 0.05: what random actions hardly move, such as a door, would otherwise be
a huge number as soon as it is moved.
"""

import argparse

import numpy as np

from rllib_sami.envs import skills
from rllib_sami.envs.vector import EnvBatch

LEAST_STD = 0.05


def statistics(name: str, rollouts: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation ``[O]`` over random rollouts."""
    cls = getattr(skills, name)
    batch, rng = (
        EnvBatch([cls(max_steps=steps, normalize_observation=False) for _ in range(10)]),
        np.random.default_rng(0),
    )
    rewards, terminated, truncated = np.zeros(10), *np.zeros((2, 10), bool)
    total, squares, count = 0.0, 0.0, 0
    for round_ in range(rollouts // 10):
        for index, env in enumerate(batch.envs):
            env.reset(seed=10 * round_ + index)
        for _ in range(steps):
            space = batch.envs[0].action_space
            batch.step(rng.uniform(space.low, space.high, (10, *space.shape)), rewards, terminated, truncated)
            rows = batch.rows.astype(float)
            total, squares, count = total + rows.sum(0), squares + np.square(rows).sum(0), count + 10
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - np.square(mean), LEAST_STD**2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env", choices=["Ant", "BinPicking", "HalfCheetah", "Humanoid", "Kitchen", "Quadruped"])
    parser.add_argument("--rollouts", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=50)
    arguments = parser.parse_args()
    for values in statistics(arguments.env, arguments.rollouts, arguments.steps):
        print(", ".join(f"{value:.3g}" for value in values))
