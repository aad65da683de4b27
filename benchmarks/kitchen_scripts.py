"""How reliably the scripts do the kitchen's sub-tasks: alone, in the tasks' orders, and in random orders.

    python benchmarks/kitchen_scripts.py            # 20 seeds of each; two CPU minutes

Prints shares of sub-tasks done, and the steps they took. Sequences have 280 steps, as episodes have, but the last line.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from rllib_sami.envs import ENVIRONMENTS, make
from rllib_sami.envs.kitchen import Kitchen
from rllib_sami.envs.kitchen.demonstration import demonstrate
from rllib_sami.envs.kitchen.scripts import SCRIPTS


def measure(env: Kitchen, subtasks: Sequence[str] | None, seeds: int, action_noise: float, max_steps: int) -> str:
    """Returns one line about some sub-tasks in their order; None: in random orders."""
    done, lengths, whole = 0, [], 0
    count = 4 if subtasks is None else len(subtasks)
    for seed in range(seeds):
        one = demonstrate(env, np.random.default_rng([7, seed]), subtasks, action_noise, max_steps)
        done += len(one.done)
        whole += len(one.done) == count
        lengths.append(len(one.actions))
    return (
        f"{done / (seeds * count):6.1%} of sub-tasks, all {whole} of {seeds} times, "
        f"{min(lengths)} to {max(lengths)} steps, mean {np.mean(lengths):.0f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--action-noise", type=float, default=0.1)
    given = parser.parse_args()
    started, kitchens = time.process_time(), [name for name, cls in ENVIRONMENTS.items() if issubclass(cls, Kitchen)]
    env = make(kitchens[0])
    for name in SCRIPTS:
        print(f"{name:22}", measure(env, [name], given.seeds, given.action_noise, 280), flush=True)
    for name in kitchens:
        print(f"{name:22}", measure(env, make(name).subtasks, given.seeds, given.action_noise, 280), flush=True)
    print(f"{'random orders':22}", measure(env, None, given.seeds, given.action_noise, 280), flush=True)
    print(f"{'random, 1,000 steps':22}", measure(env, None, given.seeds, given.action_noise, 1000), flush=True)
    print(f"{time.process_time() - started:.0f} CPU seconds")
