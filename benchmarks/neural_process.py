"""How near agents of NeuralProcess get to goals of a toy that they were not trained on.

    rllib train file tuned_examples/reuse/toy_goal.yaml -n toy-goal-0 --seed 0 --storage-path results
    python benchmarks/neural_process.py results/toy-goal-*

Each agent plays the same episodes of every test goal, with its most likely actions. Errors are distances to the goal in
m, means over the second half of episodes. The last column is the share of the latents' variance between goals there:
1 if they depend on the goal alone. References: the zero action, random actions, and a controller that knows the goal.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from task_inference import Act, play, play_agent

from rllib_sami import envs

TOY = "Reuse/ToyGoal-v0"


def control(_: np.ndarray, batch: Sequence[Any]) -> np.ndarray:
    """The actions of a controller that knows the goal."""
    return np.array([[env.goal - env.quantity("goal")] for env in batch])


def share_between(values: np.ndarray, goals: np.ndarray) -> float:
    """Returns the share of the variance of values ``[T, n, L]`` that is between the goals ``[n]``."""
    means = np.array([values[:, goals == goal].mean(axis=(0, 1)) for goal in goals])
    return means.var(axis=0).sum() / values.var(axis=(0, 1)).sum()


def means_of(networks: Any, obs: np.ndarray, context: np.ndarray) -> np.ndarray:
    """Returns the means of the latents, ``[n, L]``."""
    return context[:, : networks.config.latent_dim]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="+", help="Checkpoints, runs or exported agents.")
    arguments = parser.parse_args()
    rng, move = np.random.default_rng(0), envs.make(TOY).max_move
    references: dict[str, Act] = {
        "zero action": lambda obs, _: np.zeros((len(obs), 1)),
        "random actions": lambda obs, _: rng.uniform(-move, move, (len(obs), 1)),
        "controller that knows the goal": control,
    }
    print("| agent | error | of the worst goal | return | latent tells goal |\n|---|---:|---:|---:|---:|")
    for path in arguments.agents:
        rewards, batch, latents = play_agent(path, TOY, means_of)
        goals = np.array([env.goal for env in batch])
        print_row(path, rewards, batch, f"{share_between(latents[len(latents) // 2 :], goals):.3f}")
    for name, act in references.items():
        print_row(name, *play(act, TOY), "-")


def print_row(name: str, rewards: np.ndarray, batch: Sequence[Any], told: str) -> None:
    goals, errors = np.array([env.goal for env in batch]), -rewards[len(rewards) // 2 :].mean(axis=0)
    worst = max(errors[goals == goal].mean() for goal in goals)
    print(f"| {name} | {errors.mean():.3f} | {worst:.3f} | {rewards.sum(axis=0).mean():.1f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
