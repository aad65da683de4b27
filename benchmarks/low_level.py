"""How well a low-level policy carries out commands: velocities of 1 to 2.5 m/s, and places within 1.5 m.

    rllib train file tuned_examples/reuse/half_cheetah.yaml --storage-path results
    python benchmarks/low_level.py results/half_cheetah_low_level

Each command is given to a body at its start. Of a velocity, the mean error of steps 51 to 100 is shown; of a place,
whether the body was within 0.3 m of it within 40 steps. A body that falls counts as standing still from there on.
"""

import argparse
from typing import Any

import numpy as np

from rllib_sami.core.acting import RecurrentPolicy
from rllib_sami.exports.checkpoints import load
from rllib_sami.exports.task_transfer import make_low_level
from rllib_sami.hierarchy.commands import Command

NUMBER = 20  # commands of each sign
STEPS = {"velocity": 100, "goal": 40}
RANGES = {"velocity": (1.0, 2.5), "goal": (0.5, 1.5)}
NEAR = 0.3  # m


def play(checkpoint: Any, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the errors of each command ``[T, n]``, and whether the body fell ``[n]``."""
    settings = dict(checkpoint.config.env_config) | {"max_steps": STEPS[quantity], "command_steps": [1000, 1000]}
    values = np.linspace(*RANGES[quantity], NUMBER)
    values = np.concatenate([values, -values])
    batch = [make_low_level(**settings) for _ in values]
    policy, errors, fallen = RecurrentPolicy(checkpoint.module().acting, len(batch)), [], np.zeros(len(batch), bool)
    policy.begin()
    for seed, (env, value) in enumerate(zip(batch, values, strict=True)):
        env.reset(seed=seed)
        env.command = Command(
            quantity, float(value) + (env.body.get_wrapper_attr("quantity")("goal") if quantity == "goal" else 0.0)
        )
    commands = [env.command for env in batch]
    for _ in range(STEPS[quantity]):
        actions = policy.act(np.stack([env._observation() for env in batch]))
        row = []
        for index, env in enumerate(batch):
            if not fallen[index]:
                fallen[index] = env.step(actions[index])[2]
                env.command = commands[index]  # a place that was reached makes room for another command
            row.append(abs(values[index]) if fallen[index] else commands[index].error(env.body))
        errors.append(row)
    return np.array(errors), fallen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="+", help="Checkpoints, runs or exported agents.")
    print("| agent | steps | error, velocity + | velocity - | worst | places reached + | - | fallen |")
    print(f"|---|{'---:|' * 7}")
    for path in parser.parse_args().agents:
        checkpoint = load(path)
        velocity, fell = play(checkpoint, "velocity")
        place, also_fell = play(checkpoint, "goal")
        of_each = velocity[50:].mean(axis=0)
        reached = (place < NEAR).any(axis=0)
        cells = [
            *(f"{part.mean():.2f}" for part in np.split(of_each, 2)),
            f"{of_each.max():.2f}",
            *(f"{part.mean():.0%}" for part in np.split(reached, 2)),
            f"{np.mean([fell, also_fell]):.0%}",
        ]
        print(f"| {path} | {checkpoint.env_steps():,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
