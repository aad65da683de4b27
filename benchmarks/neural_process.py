"""How near agents of NeuralProcess get to goals of a toy that they were not trained on.

    rllib train file tuned_examples/reuse/toy_goal.yaml -n toy-goal-0 --seed 0 --storage-path results
    python benchmarks/neural_process.py results/toy-goal-*
    python benchmarks/neural_process.py results/toy-goal-* --low-level results/point_mass_low_level   # on its body

Each agent plays the same episodes of every test goal, with its most likely actions. Errors are distances to the goal in
m, means over the second half of episodes. The last column is the share of the latents' variance between goals there:
1 if they depend on the goal alone. References: the zero action, random actions, and a controller that knows the goal.
With a low level, agents steer its body instead: 250 strides to each goal, whose rewards are minus the distance.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from task_inference import Act, play, play_agent

from rllib_sami import envs
from rllib_sami.exports.task_transfer import make_striding

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
    parser.add_argument("--low-level", help="Checkpoint of a policy that was trained in Reuse/LowLevel-v0.")
    parser.add_argument("--strides", type=int, nargs="+", default=[1, 5, 10])
    arguments = parser.parse_args()
    if arguments.low_level:
        steer(arguments.agents, arguments.low_level, arguments.strides)
        return
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


def steer(agents: Sequence[str], low_level: str, strides: Sequence[int]) -> None:
    """Prints how near agents bring a body to the toy's test goals."""
    tasks = [{"goal": task["goal"]} for task in envs.ENVIRONMENTS[TOY].splits["test"]]
    print("| agent | stride | error | of the worst goal |\n|---|---:|---:|---:|")
    for path in agents:
        for stride in strides:
            settings = {"tasks": tasks, "max_steps": 250 * stride, "relative_reward": False}
            env = make_striding(toy=path, low_level=low_level, fixed_stride=stride, **settings)
            errors = []
            for task_id, task in enumerate(tasks):
                env.reset(seed=task_id, options={"task_id": task_id})
                of_goal, is_over = [], False
                while not is_over:
                    _, _, terminated, truncated, _ = env.step(np.zeros(1))
                    is_over = terminated or truncated
                    of_goal.append(abs(env.quantity("goal") - task["goal"]))
                errors.append(np.mean(of_goal[len(of_goal) // 2 :]))
            print(f"| {path} | {stride} | {np.mean(errors):.3f} | {max(errors):.3f} |", flush=True)


def print_row(name: str, rewards: np.ndarray, batch: Sequence[Any], told: str) -> None:
    goals, errors = np.array([env.goal for env in batch]), -rewards[len(rewards) // 2 :].mean(axis=0)
    worst = max(errors[goals == goal].mean() for goal in goals)
    print(f"| {name} | {errors.mean():.3f} | {worst:.3f} | {rewards.sum(axis=0).mean():.1f} | {told} |", flush=True)


if __name__ == "__main__":
    main()
